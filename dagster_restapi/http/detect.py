"""Which paginator an API needs, read from its first answer in dlt's order. An offset is never guessed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from dagster_restapi.config.jsonpath import MISSING
from dagster_restapi.http.paginators import PageFacts, State, read_number
from dagster_restapi.http.select import key_path

if TYPE_CHECKING:
    from dagster_restapi.http.session import Call

Keys = tuple[str, ...]

_TOTAL_PAGES = ("total_pages", "pages", "totalpages")
_PAGE_KEYS = (
    "page",
    "current_page",
    "currentpage",
    "page_number",
    "pagenumber",
    "page_no",
    "pageno",
    "current",
    "number",
)
_TOTAL_ROWS = (
    "total", "total_count", "totalcount", "total_results", "totalresults", "total_items", "totalitems", "total_records",
    "totalrecords", "totalelements", "total_elements", "total_rows", "totalrows", "count",
)  # fmt: skip
_ENVELOPES = ("meta", "_meta", "metadata", "pagination", "paging", "page", "pageinfo", "page_info", "response_metadata")


def detect_paginator(facts: PageFacts, call: Call) -> tuple[dict[str, Any], State]:
    """The paginator of an API, from the answer to a request that asked for no page in particular.

    dlt's order (`rest_client.detector`): a `Link` header with rel=next; a key that begins with `next` and holds a URL;
    a number of pages; any other key that begins with `next`, as a cursor; one page. Beyond dlt: the number of the page
    that came is read from the call or the answer, since an API may count from 1; where neither tells, the walk finds
    out.

    Returns:
        The paginator as a configuration, and the state that the first page would have had under it.
    """
    if facts.answer.links.get("next"):
        return {"type": "header_link"}, {}
    body = facts.body if isinstance(facts.body, dict) else {}
    following, value = next(_next_keys(body, ()), (None, None))
    if following is not None and isinstance(value, str) and value.startswith(("http", "/")):
        return {"type": "json_link", "next_url_path": key_path(following)}, {}
    pages = next(_total_pages(body, ()), None)
    if pages is not None:
        page, base = _page_that_came(body, pages, call)
        return {"type": "page_number", "total_path": key_path(pages), "base_page": base}, {"page": page, "base": base}
    if following is not None:
        return {"type": "cursor", "cursor_path": key_path(following)}, {}
    return {"type": "single_page"}, {}


def detect_total(facts: PageFacts) -> str | None:
    """The JSONPath of the number of rows in all pages, where the answer to the first request tells it.

    A number under a usual name counts if it is at least the number of elements on the page; `count` only if it is more,
    since at many APIs it is the number on the page.
    """
    if not isinstance(facts.body, dict) or not facts.items:
        return None
    envelopes = [((), facts.body)] + [
        ((key,), value) for key, value in facts.body.items() if key.lower() in _ENVELOPES and isinstance(value, dict)
    ]
    for name in _TOTAL_ROWS:
        for keys, envelope in envelopes:
            for key, value in envelope.items():
                number = read_number(value) if key.lower() == name else None
                if number is not None and (number > facts.items or (number == facts.items and name != "count")):
                    return key_path((*keys, key))
    return None


def _next_keys(body: dict[str, Any], at: Keys) -> Iterator[tuple[Keys, Any]]:
    """Keys that begin with `next` and hold a text or number, depth first; in an object its `href*` or `url*`."""
    for key, value in body.items():
        if key.lower().startswith("next"):
            if isinstance(value, dict):
                for inner, link in value.items():
                    if inner.lower().startswith(("href", "url")) and isinstance(link, str | int | float):
                        yield (*at, key, inner), link
            elif isinstance(value, str | int | float):
                yield (*at, key), value
        if isinstance(value, dict):
            yield from _next_keys(value, (*at, key))


def _total_pages(body: dict[str, Any], at: Keys) -> Iterator[Keys]:
    for key, value in body.items():
        if key.lower() in _TOTAL_PAGES and read_number(value) is not None:
            yield (*at, key)
        if isinstance(value, dict):
            yield from _total_pages(value, (*at, key))


def _page_that_came(body: dict[str, Any], pages: Keys, call: Call) -> tuple[int, int]:
    """Number of the page that came, and number of the API's first page; 0 and 0 where nothing tells."""
    asked = read_number((call.params or {}).get("page", MISSING))
    if asked is not None:
        return asked, min(asked, 1)
    beside: Any = body
    for key in pages[:-1]:
        beside = beside[key]
    for place in (beside, body):
        for name in _PAGE_KEYS:
            for key, value in place.items():
                number = read_number(value) if key.lower() == name else None
                if number is not None:
                    return number, min(number, 1)
    return 0, 0
