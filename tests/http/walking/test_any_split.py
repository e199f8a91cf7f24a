"""A walk over any split into pages gives exactly all rows, in order, and goes on the same from any page on."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

SPLITS = st.lists(st.integers(1, 5), min_size=1, max_size=7)


def rows_in_pages(sizes: list[int]) -> list[list[dict[str, int]]]:
    pages, number = [], 0
    for size in sizes:
        pages.append([{"id": number + i} for i in range(size)])
        number += size
    return pages


def link_header(pages, request, base):
    page = request.whole("p", 0)
    more = {"Link": f'<{base}/items?p={page + 1}>; rel="next"'} if page + 1 < len(pages) else {}
    return 200, more, pages[page]


def json_link(pages, request, base):
    page = request.whole("p", 0)
    return {"data": pages[page], "next": f"/items?p={page + 1}" if page + 1 < len(pages) else None}


def relative_link(pages, request, base):
    page = request.whole("p", 0)
    return {"data": pages[page], "paging": {"next": f"?p={page + 1}" if page + 1 < len(pages) else ""}}


def cursor(pages, request, base):
    page = int(request.query.get("cursor", "c0")[1:])
    return {"data": pages[page], "cursors": {"next": f"c{page + 1}" if page + 1 < len(pages) else None}}


def body_cursor(pages, request, base):
    page = int(((request.body or {}).get("page") or {}).get("after", "c0")[1:])
    more = page + 1 < len(pages)
    return {"data": pages[page], "pageInfo": {"endCursor": f"c{page + 1}", "hasNextPage": more}}


def header_cursor(pages, request, base):
    page = int(request.query.get("after", "c0")[1:])
    more = {"X-Next": f"c{page + 1}"} if page + 1 < len(pages) else {}
    return 200, more, pages[page]


def page_number(pages, request, base):
    page = request.whole("page", 1)
    return {"data": pages[page - 1] if 0 < page <= len(pages) else []}


def counted_pages(pages, request, base):
    return {**page_number(pages, request, base), "meta": {"pages": len(pages), "page": request.whole("page", 1)}}


def uncertain_pages(pages, request, base):
    page = max(1, request.whole("page", 1))
    return {"data": pages[page - 1] if page <= len(pages) else [], "total_pages": len(pages)}


def zero_based_pages(pages, request, base):
    page = request.whole("page", 0)
    return {"data": pages[page] if page < len(pages) else [], "total_pages": len(pages)}


def offset(pages, request, base):
    rows = [row for page in pages for row in page]
    start, limit = request.whole("offset", 0), min(request.whole("limit", 3), 3)
    return {"data": rows[start : start + limit]}


def offset_with_total(pages, request, base):
    return {**offset(pages, request, base), "total": sum(map(len, pages))}


CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "header_link": (link_header, {"paginator": "header_link"}),
    "header_link, found": (link_header, {}),
    "json_link": (json_link, {"paginator": "json_link"}),
    "json_link, found": (json_link, {}),
    "relative link": (relative_link, {"paginator": {"type": "json_link", "next_url_path": "paging.next"}}),
    "cursor": (cursor, {"paginator": "cursor", "data_selector": "data"}),
    "cursor in the body": (
        body_cursor,
        {
            "method": "POST",
            "json": {"page": {"first": 5}},
            "paginator": {
                "type": "cursor",
                "cursor_path": "pageInfo.endCursor",
                "cursor_body_path": "page.after",
                "has_more_path": "pageInfo.hasNextPage",
            },
        },
    ),
    "header_cursor": (
        header_cursor,
        {"paginator": {"type": "header_cursor", "cursor_key": "X-Next", "cursor_param": "after"}},
    ),
    "page_number": (page_number, {"paginator": {"type": "page_number", "base_page": 1, "total_path": None}}),
    "page_number with total": (
        counted_pages,
        {"paginator": {"type": "page_number", "base_page": 1, "total_path": "meta.pages"}},
    ),
    "page_number, found": (counted_pages, {}),
    "page_number from 1, found without its number": (uncertain_pages, {}),
    "page_number from 1, taken for 0": (uncertain_pages, {"paginator": "page_number"}),
    "page_number from 0, found without its number": (zero_based_pages, {}),
    "offset": (offset, {"paginator": {"type": "offset", "limit": 3, "total_path": None}}),
    "offset, limit capped": (offset, {"paginator": {"type": "offset", "limit": 50}}),
    "offset with total": (offset_with_total, {"paginator": {"type": "offset", "limit": 2}}),
    "offset with total, capped": (offset_with_total, {"paginator": {"type": "offset", "limit": 50}}),
}


@pytest.mark.parametrize("name", CASES)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sizes=SPLITS)
def test_every_row_once_and_in_order_from_any_page_on(api, name, sizes):
    server, endpoint = CASES[name]
    pages = rows_in_pages(sizes)
    rows = [row for page in pages for row in page]
    api.answer = lambda request: server(pages, request, api.url)
    with api.client() as client:
        api.requests.clear()
        walked = list(client.paginate("items", **endpoint))
        undisturbed = [(r.method, r.path, r.raw_query, r.body) for r in api.requests]
        assert [row for page in walked for row in page] == rows
        assert walked[-1].next is None
        assert all(page.complete for page in walked)
        for index, page in enumerate(walked[:-1]):
            api.requests.clear()
            state = json.loads(json.dumps(page.next))
            rest = list(client.paginate("items", state=state, **endpoint))
            assert [p.records for p in rest] == [p.records for p in walked[index + 1 :]]
            assert [(r.method, r.path, r.raw_query, r.body) for r in api.requests] == undisturbed[index + 1 :]


@pytest.mark.parametrize(
    "name", ["page_number with total", "page_number, found", "offset with total", "offset with total, capped"]
)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(count=st.integers(1, 40), backwards=st.booleans())
def test_pages_ahead_in_any_order_give_the_same_as_one_after_another(api, name, count, backwards):
    server, endpoint = CASES[name]
    pages = rows_in_pages([2] * (count // 2) + [1] * (count % 2))
    api.answer = lambda request: server(pages, request, api.url)
    with api.client() as client:
        walk = client.walk("items", **endpoint)
        alone = [page.records for page in walk.pages()]
        api.requests.clear()
        first = walk.page()
        second = walk.page(first.next) if first.next else None
        fetched = [first] + ([second] if second is not None else [])
        if second is not None and second.ahead:
            ahead = type(second.ahead).from_json(json.loads(json.dumps(second.ahead.to_json())))
            found = {i: walk.page(ahead[i]) for i in (reversed if backwards else list)(range(len(ahead)))}
            assert all(page.fits for page in found.values())
            fetched += [found[i] for i in sorted(found)]
        assert fetched[-1].next is None or len(fetched) == 2
        if fetched[-1].next is not None:
            fetched += list(walk.pages(fetched[-1].next))
        assert [page.records for page in fetched] == alone
