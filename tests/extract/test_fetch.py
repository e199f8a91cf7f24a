"""Fetching: order, one call per key, bounded threads, and going on where a try died."""

from __future__ import annotations

import random
import threading
import time
from typing import Any

import pytest

from dagster_restapi.errors import Cancelled, ExtractError, RequestError
from dagster_restapi.model import Slice

PAGED = {
    "name": "items",
    "endpoint": {
        "params": {"size": 10},
        "paginator": {"type": "page_number", "base_page": 1, "total_path": "pages"},
        "data_selector": "rows",
    },
}
CURSOR = {
    "name": "items",
    "endpoint": {"paginator": {"type": "cursor", "cursor_path": "next"}, "data_selector": "rows"},
}
PARENTS = {"name": "parents", "selected": False, "endpoint": {"data_selector": "rows", "paginator": "single_page"}}
CHILDREN = {
    "name": "children",
    "include_from_parent": ["name"],
    "endpoint": {"path": "parents/{resources.parents.id}/children", "data_selector": "rows", "paginator": "cursor"},
}


def serve_pages(api: Any, count: int = 50, *, delay: float = 0.0, fail_at: int | None = None) -> dict[str, Any]:
    """`/items?page=N` of `count` pages with ten rows each; the page `fail_at` fails until `state["fail"]` is None."""
    state = {"fail": fail_at}

    def page(request: Any) -> Any:
        number = int(request.query["page"])
        time.sleep(random.random() * delay)
        if number == state["fail"]:
            return 500, {}
        return {"pages": count, "rows": [{"id": number * 10 + index} for index in range(10)]}

    api.route("/items", page)
    return state


def serve_cursors(api: Any, count: int = 50, *, fail_at: int | None = None) -> dict[str, Any]:
    state = {"fail": fail_at}

    def page(request: Any) -> Any:
        number = int(request.query.get("cursor", 1))
        if number == state["fail"]:
            return 500, {}
        rows = [{"id": number * 10 + index} for index in range(10)]
        return {"next": str(number + 1) if number < count else None, "rows": rows}

    api.route("/items", page)
    return state


def serve_family(api: Any, count: int = 40, *, delay: float = 0.0) -> set[int]:
    """Parents 0 … count-1, each with two pages of children; those in the returned set fail."""
    failing: set[int] = set()
    parents = [{"id": number, "name": f"p{number}"} for number in range(count)]
    api.route("/parents", {"rows": [*parents, parents[0], {"id": None, "name": "nobody"}]})
    for parent in parents:
        api.route(f"/parents/{parent['id']}/children", child_pages(parent["id"], failing, delay))
    return failing


def child_pages(number: int, failing: set[int], delay: float) -> Any:
    def page(request: Any) -> Any:
        time.sleep(random.random() * delay)
        if "cursor" not in request.query:
            return {"rows": [{"n": 1}], "cursors": {"next": "two"}}
        return (500, {}) if number in failing else {"rows": [{"n": 2}], "cursors": {"next": None}}

    return page


ALL_ITEMS = [{"id": number} for number in range(10, 510)]


# ---- pages side by side --------------------------------------------------------------------------------------------
def test_pages_side_by_side_come_in_the_order_of_pages(api: Any, fetch: Any) -> None:
    serve_pages(api, delay=0.02)
    run = fetch("items", PAGED)
    assert run.rows == ALL_ITEMS
    assert len(api.seen("/items")) == run.fetched.requests == 50
    assert run.fetched.complete


def test_with_concurrency_1_the_pages_come_one_after_another(api: Any, fetch: Any) -> None:
    serve_pages(api)
    assert fetch("items", {**PAGED, "concurrency": 1}).rows == ALL_ITEMS
    assert [int(request.query["page"]) for request in api.seen("/items")] == list(range(1, 51))


def test_a_short_page_in_the_middle_makes_the_rest_come_one_after_another(api: Any, fetch: Any) -> None:
    rows = [{"id": number} for number in range(100)]

    def page(request: Any) -> Any:  # a server that gives five rows where ten are asked, from the fourth page on
        offset = int(request.query["offset"])
        return {"total": 100, "rows": rows[offset : offset + (5 if offset >= 30 else 10)]}

    api.route("/items", page)
    paginator = {"type": "offset", "limit": 10}
    run = fetch("items", {"name": "items", "endpoint": {"paginator": paginator, "data_selector": "rows"}})
    assert run.rows == rows
    assert any("come one after another" in line for line in run.lines)


def test_max_pages_caps_the_pages_side_by_side_and_says_that_more_follow(api: Any, fetch: Any) -> None:
    serve_pages(api)
    run = fetch("items", PAGED, slice_=Slice(asset="items", max_pages=5))
    assert run.rows == ALL_ITEMS[:50]
    assert not run.fetched.complete


def test_max_pages_caps_a_walk(api: Any, fetch: Any) -> None:
    serve_cursors(api)
    run = fetch("items", CURSOR, slice_=Slice(asset="items", max_pages=2))
    assert (run.rows, run.fetched.complete, run.fetched.requests) == (ALL_ITEMS[:20], False, 2)


# ---- going on after a failure ----------------------------------------------------------------------------------------
def test_a_walk_that_died_on_page_41_of_50_goes_on_there(api: Any, fetch: Any) -> None:
    state = serve_cursors(api, fail_at=41)
    with pytest.raises(RequestError):
        fetch("items", CURSOR)
    api.requests.clear()
    state["fail"] = None
    run = fetch("items", CURSOR)
    assert run.rows == ALL_ITEMS
    assert len(api.seen("/items")) == 10
    assert run.fetched.requests == 51


def test_pages_side_by_side_that_died_on_page_41_of_50_go_on_there(api: Any, fetch: Any) -> None:
    state = serve_pages(api, fail_at=41)
    with pytest.raises(RequestError):
        fetch("items", {**PAGED, "concurrency": 4})
    done = {int(request.query["page"]) for request in api.seen("/items")}
    api.requests.clear()
    state["fail"] = None
    assert fetch("items", {**PAGED, "concurrency": 4}).rows == ALL_ITEMS
    assert len(api.seen("/items")) <= 50 - len(done) + 4  # those that were under way when page 41 failed


def test_a_complete_spool_is_not_fetched_again(api: Any, fetch: Any) -> None:
    serve_cursors(api)
    first = fetch("items", CURSOR)
    api.requests.clear()
    again = fetch("items", CURSOR)
    assert (again.fetched, again.rows, api.requests) == (first.fetched, first.rows, [])


def test_children_go_on_with_the_parent_that_failed(api: Any, fetch: Any) -> None:
    failing = serve_family(api)
    failing.add(33)
    with pytest.raises(RequestError, match="33"):
        fetch("children", PARENTS, {**CHILDREN, "concurrency": 1})
    api.requests.clear()
    failing.clear()
    assert [row["_parents_name"] for row in fetch("children", PARENTS, {**CHILDREN, "concurrency": 1}).rows] == [
        f"p{number}" for number in range(40) for _ in range(2)
    ]
    assert len(api.requests) == 1 + 6 * 2  # the second page of number 33, and those behind it


def test_a_stopped_fetch_ends_its_threads_and_keeps_what_is_committed(api: Any, fetch: Any) -> None:
    serve_pages(api, delay=0.2)
    stop = threading.Event()
    threading.Timer(0.5, stop.set).start()
    started = time.monotonic()
    with pytest.raises(Cancelled):
        fetch("items", PAGED, stop=stop)
    assert time.monotonic() - started < 5
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("restapi-")]
    before = len(api.requests)
    assert 1 < before < 50
    serve_pages(api)
    assert fetch("items", PAGED).rows == ALL_ITEMS
    assert len(api.requests) - before <= 50 - before + 1 + 8


# ---- many parents ----------------------------------------------------------------------------------------------------
def test_children_come_in_the_order_of_their_parents_with_one_call_per_distinct_key(api: Any, fetch: Any) -> None:
    serve_family(api, delay=0.02)
    run = fetch("children", PARENTS, {**CHILDREN, "concurrency": 8})
    assert run.rows == [{"n": n, "_parents_name": f"p{number}"} for number in range(40) for n in (1, 2)]
    assert len(api.seen("/parents")) == 1
    assert len(api.seen("/parents/0/children")) == 2
    assert (run.fetched.parents, run.fetched.skipped_parents) == (40, 1)


def test_a_failing_parent_fails_the_load_by_default(api: Any, fetch: Any) -> None:
    serve_family(api).add(3)
    with pytest.raises(RequestError, match="id=3"):
        fetch("children", PARENTS, CHILDREN)


def test_a_failing_parent_is_skipped_whole_and_listed_on_request(api: Any, fetch: Any) -> None:
    serve_family(api).update({3, 17})
    run = fetch("children", PARENTS, {**CHILDREN, "on_error": "skip"})
    assert run.fetched.failed_parents == ({"id": 3}, {"id": 17})
    assert {row["_parents_name"] for row in run.rows} == {f"p{number}" for number in range(40)} - {"p3", "p17"}


def test_when_every_parent_fails_the_load_fails(api: Any, fetch: Any) -> None:
    serve_family(api, 3).update({0, 1, 2})
    with pytest.raises(RequestError):
        fetch("children", PARENTS, {**CHILDREN, "on_error": "skip"})


def test_a_parent_without_the_field_is_an_error_that_names_those_it_has(api: Any, fetch: Any) -> None:
    api.route("/parents", {"rows": [{"number": 1}]})
    with pytest.raises(ExtractError, match=r"no field 'id'.*\n.*number"):
        fetch("children", PARENTS, CHILDREN)


def test_path_values_stay_one_segment(api: Any, fetch: Any) -> None:
    api.route("/parents", {"rows": [{"id": "a/b?x#y", "name": "odd"}]})
    api.route("/parents/a%2Fb%3Fx%23y/children", {"rows": [{"n": 1}]})
    assert fetch("children", PARENTS, CHILDREN).rows == [{"n": 1, "_parents_name": "odd"}]


def test_several_levels_without_tables_are_walked_within_the_step(api: Any, fetch: Any) -> None:
    api.route("/a", [{"id": 1}, {"id": 2}])
    for number in (1, 2):
        api.route(f"/a/{number}/b", [{"id": number * 10}])
        api.route(f"/b/{number * 10}/c", [{"leaf": number}])
    a = {"name": "a", "selected": False}
    b = {"name": "b", "selected": False, "endpoint": "a/{resources.a.id}/b", "include_from_parent": "id"}
    c = {"name": "c", "endpoint": "b/{resources.b.id}/c", "include_from_parent": ["_a_id"]}
    assert fetch("c", a, b, c).rows == [{"leaf": 1, "_b__a_id": 1}, {"leaf": 2, "_b__a_id": 2}]


def test_rows_from_python_are_parents_too(api: Any, fetch: Any) -> None:
    api.route("/repos/x/issues", [{"id": 1}])
    repos = {"name": "repos", "rows": lambda: iter([{"full": "x"}]), "selected": False}
    assert fetch("issues", repos, {"name": "issues", "endpoint": "repos/{resources.repos.full}/issues"}).rows == [
        {"id": 1}
    ]


def test_fields_of_the_parent_go_into_params_headers_and_json(api: Any, fetch: Any) -> None:
    api.route("/parents", {"rows": [{"id": 7, "name": "n"}]})
    api.route("/search", {"rows": [{"n": 1}]})
    endpoint = {
        "path": "search",
        "method": "POST",
        "params": {"id": "{resources.parents.id}"},
        "headers": {"X-Name": "{resources.parents.name}"},
        "json": {"id": "{resources.parents.id}", "text": "id-{resources.parents.id}"},
        "paginator": "single_page",
    }
    fetch("found", PARENTS, {"name": "found", "endpoint": endpoint})
    request = api.seen("/search")[0]
    assert request.query == {"id": "7"}
    assert request.headers["x-name"] == "n"
    assert request.json() == {"id": 7, "text": "id-7"}


def test_each_parent_key_has_its_own_cursor(api: Any, fetch: Any) -> None:
    api.route("/parents", {"rows": [{"id": 1}, {"id": 2}, {"id": 3}]})
    for number, cursors in {1: [5, 9], 2: [3], 3: []}.items():
        api.route(f"/parents/{number}/children", {"rows": [{"at": at} for at in cursors]})
    endpoint = {
        **CHILDREN["endpoint"],
        "incremental": {"cursor_path": "at", "initial_value": 0},
        "paginator": "single_page",
    }
    run = fetch("children", PARENTS, {"name": "children", "endpoint": endpoint})
    assert run.files["cursors.ndjson"].splitlines() == [
        '{"key":{"id":1},"value":9,"kind":"number"}',
        '{"key":{"id":2},"value":3,"kind":"number"}',
    ]
