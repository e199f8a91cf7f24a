"""A server that never ends a walk by itself gets at most two requests too many."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dagster_restapi.errors import PagingError
from dagster_restapi.http.circles import Trail


def rows(*ids):
    return [{"id": i} for i in ids]


def test_a_repeated_token_with_rows_is_an_error(api):
    fresh = itertools.count()
    api.answer = lambda request: {"data": rows(next(fresh)), "cursors": {"next": "again"}}
    with pytest.raises(PagingError, match="fetched already"):
        api.walk(paginator="cursor")
    assert len(api.requests) == 2


def test_a_repeated_token_with_an_empty_page_ends_the_walk(api):
    def answer(request):
        return {"data": rows(1) if "cursor" not in request.query else [], "cursors": {"next": "tail"}}

    api.answer = answer
    assert api.walk(paginator="cursor", data_selector="data") == rows(1)
    assert len(api.requests) == 2


@pytest.mark.parametrize("length", [1, 2, 3, 7, 64, 150])
@pytest.mark.parametrize("kind", ["cursor", "json_link", "header_link", "header_cursor"])
def test_a_circle_of_tokens_of_any_length_is_an_error(api, length, kind):
    fresh = itertools.count()

    def answer(request):
        following = (int(request.query.get("cursor", "0")) + 1) % length
        link = f"{api.url}/items?cursor={following}"
        headers = {"Link": f'<{link}>; rel="next"', "next": str(following)}
        return 200, headers, {"data": rows(next(fresh)), "next": link, "cursors": {"next": str(following)}}

    api.answer = answer
    with pytest.raises(PagingError, match="fetched already"):
        api.walk(paginator=kind)
    assert len(api.requests) <= length + 2


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    links=st.lists(st.one_of(st.none(), st.integers(0, 9)), min_size=10, max_size=10),
    total=st.one_of(st.none(), st.integers(0, 12)),
    resumed=st.booleans(),
)
def test_any_chain_of_links_is_walked_to_its_end_or_refused(api, links, total, resumed):
    """Ten pages that name each other at will: each is taken once, and a circle costs at most two requests."""

    def answer(request):
        page = request.whole("page", 0)
        following = None if links[page] is None else f"?page={links[page]}"
        return {"data": rows(page), "next": following, "total": total}

    path = [0]
    while links[path[-1]] is not None and links[path[-1]] not in path:
        path.append(links[path[-1]])
    ends = links[path[-1]] is None
    api.answer, taken, state = answer, [], None
    api.requests.clear()
    client = api.client()
    try:
        while True:
            for page in client.paginate("items", paginator="json_link", state=state, max_pages=1 if resumed else None):
                taken += [row["id"] for row in page]
                state = page.next
            if state is None:
                break
    except PagingError:
        assert not ends
        assert taken[: len(path)] == path[: len(taken)]
    else:
        assert ends or (links[path[-1]] == path[-1] and total is not None and len(taken) >= total)
        assert not ends or taken == path
    assert len(api.requests) <= len(path) + 2


@pytest.mark.parametrize("prefix", [0, 5])
@pytest.mark.parametrize("length", [2, 3, 7, 90])
def test_pages_that_come_round_again_under_fresh_tokens_are_an_error(api, length, prefix):
    def answer(request):
        page = int(request.query.get("cursor", "0"))
        shown = page if page < prefix else prefix + (page - prefix) % length
        return {"data": rows(shown, shown + 1000), "cursors": {"next": str(page + 1)}}

    api.answer = answer
    with pytest.raises(PagingError, match="come round again"):
        api.walk(paginator="cursor")
    assert len(api.requests) == prefix + length + 2


@pytest.mark.parametrize(
    "paginator",
    [
        "page_number",
        {"type": "page_number", "base_page": 1},
        {"type": "page_number", "total_path": "pages"},
        {"type": "offset", "limit": 2},
        {"type": "offset", "limit": 2, "total_path": None, "stop_after_empty_page": False, "has_more_path": "more"},
        {"type": "cursor"},
    ],
)
def test_a_server_that_ignores_the_parameter_is_found_within_two_requests(api, paginator):
    fresh = itertools.count()

    def answer(request):
        count = next(fresh)
        return {
            "at": count,
            "data": rows(1, 2),
            "pages": 50,
            "total": 100,
            "more": True,
            "cursors": {"next": f"c{count}"},
        }

    api.answer = answer
    with pytest.raises(PagingError, match="same rows as the one before") as caught:
        api.walk(paginator=paginator)
    assert len(api.requests) <= 3
    assert "repeated_page: allow" in str(caught.value)
    assert "page " in str(caught.value.where)


def test_the_last_page_once_more_instead_of_an_empty_one_is_an_error(api):
    api.answer = lambda request: {"data": rows(min(request.whole("page", 1), 4))}
    with pytest.raises(PagingError, match="same rows"):
        api.walk(paginator={"type": "page_number", "base_page": 1})
    assert len(api.requests) == 5


def test_pages_may_be_alike_where_the_configuration_says_so(api):
    api.answer = lambda request: {"data": [{"reading": 0}] * 2 if request.whole("page", 0) < 4 else []}
    paginator = {"type": "page_number", "repeated_page": "allow"}
    assert len(api.walk(paginator=paginator)) == 8


def test_a_resumed_walk_still_knows_where_it_has_been(api):
    fresh = itertools.count()

    def answer(request):
        return {"data": rows(next(fresh)), "cursors": {"next": str((int(request.query.get("cursor", "0")) + 1) % 5)}}

    api.answer = answer

    def one_page_a_process():
        state = None
        while True:
            page = api.client().walk("items", paginator="cursor").page(state)
            state = json.loads(json.dumps(page.next))

    with pytest.raises(PagingError, match="fetched already"):
        one_page_a_process()
    assert len(api.requests) <= 7


@pytest.mark.parametrize(("prefix", "length"), [(0, 65), (0, 1000), (500, 300), (3, 7)])
def test_any_circle_is_found_in_constant_space(prefix, length):
    trail = Trail()
    for step in itertools.count():
        name = str(step if step < prefix else prefix + (step - prefix) % length)
        if trail.knows(name, None):
            break
        trail = trail.extended(name, None)
        assert len(json.dumps(trail.recent)) < 1000
    assert step <= 3 * (prefix + length)


def test_pages_that_stay_empty_for_ever_are_an_error(api):
    api.answer = lambda request: {"data": [], "more": True}
    paginator = {"type": "page_number", "total_path": None, "stop_after_empty_page": False, "has_more_path": "more"}
    with pytest.raises(PagingError, match="1000 empty pages"):
        api.walk(paginator=paginator)


def test_without_total_something_else_must_end_the_walk(api):
    api.answer = lambda request: {"data": []}
    with pytest.raises(PagingError, match="nothing says when"):
        api.walk(paginator={"type": "offset", "limit": 5, "stop_after_empty_page": False})


def test_max_pages_caps_a_walk_and_shows_that_more_follows(api):
    api.answer = lambda request: {"data": rows(request.whole("page", 0))}
    pages = list(api.client().paginate("items", paginator="page_number", max_pages=3))
    assert [page.records for page in pages] == [rows(0), rows(1), rows(2)]
    assert pages[-1].next is not None
    assert len(api.requests) == 3


@pytest.mark.parametrize("key", ["id", ["kind", "id"]])
def test_rows_are_the_same_by_their_key_though_a_time_stamp_in_them_changes(api, key):
    fresh = itertools.count()
    api.answer = lambda request: {"data": [{"kind": "x", "id": i, "seen_at": next(fresh)} for i in range(30)]}
    with pytest.raises(PagingError, match="same rows as the one before"):
        list(api.client().paginate("items", paginator={"type": "page_number", "base_page": 1}, primary_key=key))
    assert len(api.requests) == 2


def test_rows_without_their_key_are_compared_as_they_are(api):
    api.answer = lambda request: {"data": [{"id": None, "page": request.whole("page", 0)}]}
    pages = api.client().paginate("items", paginator="page_number", primary_key=["id"], max_pages=9)
    assert len(list(pages)) == 9
