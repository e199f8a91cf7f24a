"""Fetching: order, one call per key, bounded threads, and going on where a try died."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dagster_restapi.errors import Cancelled, ConfigError, RequestError, ResponseError
from dagster_restapi.extract.parents import Frozen, freeze_parents
from dagster_restapi.extract.progress import Progress
from dagster_restapi.model import Parent, Slice

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


def test_rows_of_a_parent_without_a_table_that_are_skipped_make_the_load_incomplete(api: Any, fetch: Any) -> None:
    api.route("/tops", {"rows": [{"id": 1}, {"id": 2}]})
    api.route("/tops/1/parents", {"rows": [{"id": 10, "name": "p"}]})
    api.route("/tops/2/parents", (500, {}))
    api.route("/parents/10/children", {"rows": [{"n": 1}]})
    between = {"path": "tops/{resources.tops.id}/parents", "data_selector": "rows", "paginator": "single_page"}
    run = fetch(
        "children",
        {**PARENTS, "name": "tops"},
        {**PARENTS, "endpoint": between, "on_error": "skip"},
        {**CHILDREN, "endpoint": {**CHILDREN["endpoint"], "paginator": "single_page"}},
    )
    assert (len(run.rows), run.fetched.complete) == (1, False)
    (warning,) = run.fetched.warnings
    assert "parents: 1 of 2 rows of tops were skipped" in warning
    assert "id=2" in warning


def test_when_every_parent_fails_the_load_fails(api: Any, fetch: Any) -> None:
    serve_family(api, 3).update({0, 1, 2})
    with pytest.raises(RequestError):
        fetch("children", PARENTS, {**CHILDREN, "on_error": "skip"})


def test_a_parent_without_the_field_has_no_children_and_the_run_says_what_is_there(api: Any, fetch: Any) -> None:
    api.route("/parents", {"rows": [{"number": 1, "name": "a", "o": {"ids": 2}}]})
    run = fetch("children", PARENTS, CHILDREN)
    assert (run.rows, run.fetched.parents, run.fetched.skipped_parents) == ([], 0, 1)
    assert run.fetched.warnings == ("no row of parents has a field 'id'; there are o.ids",)


def test_a_row_without_the_field_is_skipped_like_one_with_a_null(api: Any, fetch: Any) -> None:
    api.route("/parents", {"rows": [{"name": "a"}, {"id": 1}, {"id": None}]})
    api.route("/parents/1/children", {"rows": [{"n": 1}]})
    run = fetch("children", PARENTS, CHILDREN)
    assert (run.rows, run.fetched.skipped_parents) == ([{"n": 1, "_parents_name": None}], 2)
    assert run.fetched.warnings == ()


def test_a_parent_without_rows_has_no_children(api: Any, fetch: Any) -> None:
    api.route("/parents", {"rows": []})
    run = fetch("children", PARENTS, CHILDREN)
    assert (run.rows, run.fetched.parents, run.fetched.warnings) == ([], 0, ())


def test_elements_of_a_list_are_parents_of_their_own_each_once(api: Any, fetch: Any) -> None:
    labels = [[{"id": 1, "n": "a"}, {"id": 2, "n": "b"}], [{"id": 2, "n": "c"}, {"n": "d"}], [], None]
    api.route("/parents", {"rows": [*({"id": n, "labels": items} for n, items in enumerate(labels)), {"id": 9}]})
    for number in (1, 2):
        api.route(f"/labels/{number}", {"rows": [{"label": number}]})
    child = {
        "name": "children",
        "endpoint": {"path": "labels/{resources.parents.labels[*].id}", "data_selector": "rows"},
        "include_from_parent": ["$.labels.*.n", "id"],
    }
    run = fetch("children", PARENTS, child)
    assert run.rows == [
        {"label": 1, "_parents_$.labels.*.n": "a", "_parents_id": 0},
        {"label": 2, "_parents_$.labels.*.n": "c", "_parents_id": 1},
    ]
    assert (run.fetched.parents, run.fetched.skipped_parents) == (2, 3)
    assert len(api.seen("/labels/2")) == 1


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


# ---- what is not complete --------------------------------------------------------------------------------------------
IGNORED = {"response_actions": [{"status_code": 404, "action": "ignore"}]}


def test_a_walk_that_was_cut_moves_its_parents_cursor_nowhere(api: Any, fetch: Any) -> None:
    api.route("/parents", {"rows": [{"id": 1}, {"id": 2}]})
    for number in (1, 2):
        api.replies(
            f"/parents/{number}/children",
            {"rows": [{"at": 5}], "cursors": {"next": "two"}},
            (404, {}) if number == 1 else {"rows": [{"at": 6}], "cursors": {"next": None}},
        )
    endpoint = {**CHILDREN["endpoint"], **IGNORED, "incremental": {"cursor_path": "at", "initial_value": 0}}
    run = fetch("children", PARENTS, {"name": "children", "concurrency": 1, "endpoint": endpoint})
    assert run.files["cursors.ndjson"].splitlines() == ['{"key":{"id":2},"value":6,"kind":"number"}']
    assert not run.fetched.complete


def frozen_parents(count: int, *, since: str | None) -> Any:
    def copy(parent: Parent, path: Path) -> Frozen:
        frozen = freeze_parents([{"id": number} for number in range(count)], parent, path, {})
        return replace(frozen, load_id="newest", since=since)

    return copy


@pytest.mark.parametrize(("cut", "kept"), [(False, "newest"), (True, "before")])
def test_what_counts_as_a_changed_parent_moves_on_with_complete_loads_only(
    api: Any, fetch: Any, cut: bool, kept: str
) -> None:
    serve_family(api, 2)
    options = {"slice_": Slice(asset="children", max_pages=1)} if cut else {}
    child = {**CHILDREN, "include_from_parent": []}
    run = fetch("children", {**PARENTS, "selected": True}, child, stored=frozen_parents(2, since="before"), **options)
    assert (run.fetched.complete, run.fetched.parent_load_id) == (not cut, kept)


def test_a_parent_without_a_table_that_is_cut_makes_its_childrens_load_incomplete(api: Any, fetch: Any) -> None:
    def parents(request: Any) -> Any:
        page = int(request.query["page"])
        return (404, {}) if page == 2 else {"rows": [{"id": page, "name": "x"}]}

    api.route("/parents", parents)
    for number in (0, 1):
        api.route(f"/parents/{number}/children", {"rows": [{"n": number}]})
    parent = {**PARENTS, "endpoint": {"data_selector": "rows", "paginator": "page_number", **IGNORED}}
    run = fetch("children", parent, CHILDREN)
    assert [row["n"] for row in run.rows] == [0, 1]
    assert (run.fetched.complete, run.fetched.whole) == (False, False)
    assert any("parents: page 3 was ignored" in warning for warning in run.fetched.warnings)


def test_a_parent_without_a_table_goes_on_at_the_page_where_it_died(api: Any, fetch: Any) -> None:
    state = serve_cursors(api, fail_at=41)
    api.route("/one", {"rows": [{"n": 1}]})
    endpoint = {"path": "one", "params": {"of": "{resources.items.id}"}, "paginator": "single_page"}
    child = {"name": "child", "endpoint": {**endpoint, "data_selector": "rows"}}
    with pytest.raises(RequestError):
        fetch("child", {**CURSOR, "selected": False}, child)
    state["fail"] = None
    run = fetch("child", {**CURSOR, "selected": False}, child)
    assert (len(run.rows), len(api.seen("/items")), run.fetched.requests) == (500, 51, 551)


# ---- what is told ----------------------------------------------------------------------------------------------------
def test_a_long_wait_stands_in_the_log_with_its_reason_and_in_the_counts(
    api: Any, fetch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dagster_restapi.http.session._LONG", 1.0)
    serve_cursors(api, 2)
    api.replies("/limited", (429, {}, {"Retry-After": "2"}), {"rows": [{"id": 1}]})
    limited = {"name": "limited", "endpoint": {"data_selector": "rows"}}
    told: list[tuple[float, str]] = []
    started = time.monotonic()
    run = fetch("limited", limited, tell=lambda line: told.append((time.monotonic() - started, line)))
    at, line = next(item for item in told if "waiting" in item[1])
    assert at < 1.5  # while it waits, not afterwards
    assert "waiting 2 s because the API asks for it (status 429, Retry-After: 2)" in line
    assert run.fetched.waited_seconds == pytest.approx(2, abs=0.5)
    assert run.fetched.retries == 1


def test_what_a_token_store_would_have_kept_is_warned_of(api: Any, fetch: Any) -> None:
    api.route("/token", {"access_token": "access", "refresh_token": "refresh-two"})
    api.route("/items", {"rows": []})
    auth = {"type": "oauth2_refresh_token", "access_token_url": f"{api.url}/token", "refresh_token": "refresh-one"}
    assert any("no `store`" in warning for warning in fetch("items", CURSOR, auth=auth).fetched.warnings)


@pytest.mark.parametrize(
    ("expected", "told"),
    [
        ({"expected_rows": 400}, "25% of 400 rows, about "),
        ({"expected_pages": 8}, "25% of 8 pages, about "),
        ({"expected_walks": 4}, "50% of 4 parents, about "),
        ({}, " rows/s"),
        ({"expected_rows": 100}, "100% of 100 rows"),
    ],
)
def test_progress_tells_how_much_is_left_where_the_api_tells(expected: dict[str, int], told: str) -> None:
    lines: list[str] = []
    progress = Progress("items", lines.append, every=0.05)
    for name, value in expected.items():
        setattr(progress, name, value)
    for _ in range(2):
        progress.page(30, 1000, received=50)
        progress.walk()
        progress.tick()
    assert not lines
    time.sleep(0.06)
    progress.tick()
    progress.tick()
    assert len(lines) == 1
    assert lines[0].startswith("items: 2 pages, 60 rows, 0.0 MB, ")
    assert told in lines[0]
    assert lines[0].endswith(" s to go" if told.endswith("about ") else told if expected else "rows/s")


def test_progress_counts_what_an_earlier_try_has_done(api: Any, fetch: Any) -> None:
    state = serve_pages(api, 4, fail_at=4)
    paged = {**PAGED, "concurrency": 1}
    with pytest.raises(RequestError):
        fetch("items", paged)
    state["fail"] = None
    lines = fetch("items", paged).lines
    assert lines[0] == "items: resuming after 30 rows from an earlier attempt"
    assert lines[-1].endswith("100% of 4 pages")
    assert lines[-1].startswith("items: 1 pages, 10 rows, ")


def test_progress_counts_the_parents_that_an_earlier_try_has_done(api: Any, fetch: Any) -> None:
    failing = serve_family(api, 8)
    failing.add(5)
    children = {**CHILDREN, "concurrency": 1}
    with pytest.raises(RequestError):
        fetch("children", PARENTS, children)
    failing.clear()
    run = fetch("children", PARENTS, children)
    assert run.lines[-1].startswith("children: 5 pages, ")
    assert run.lines[-1].endswith("100% of 8 parents")


def test_progress_foretells_the_rest_by_the_speed_of_this_try() -> None:
    progress = Progress("items", print)
    progress.expected_pages = 10
    progress.goes_on(walks=0, received=0, pages=8)
    assert progress.line().endswith("80% of 10 pages")
    progress._started -= 100
    progress.page(1, 1)
    assert progress.line().endswith("90% of 10 pages, about 100 s to go")


# ---- hostile answers -------------------------------------------------------------------------------------------------
NESTED = {"objects": ('{"a":', "}"), "lists": ("[", "]"), "both": ('[{"a":', "}]")}


@pytest.mark.parametrize("kind", NESTED)
@pytest.mark.parametrize("levels", [65, 400, 900])
def test_a_record_that_is_nested_too_deeply_is_one_clear_error(api: Any, fetch: Any, kind: str, levels: int) -> None:
    opening, closing = NESTED[kind]
    body = '{"next": null, "rows": [{"x": ' + opening * levels + "1" + closing * levels + "}]}"
    api.route("/items", api.Reply(body))
    with pytest.raises(ResponseError, match=r"nested (more than 64 levels deep|too deeply).*resource items, page 1"):
        fetch("items", CURSOR)


@pytest.mark.parametrize("kind", NESTED)
def test_so_it_is_where_numbers_are_looked_at_for_a_hint(api: Any, fetch: Any, kind: str) -> None:
    opening, closing = NESTED[kind]
    api.route("/items", api.Reply('{"rows": [{"x": ' + opening * 450 + "1" + closing * 450 + "}]}"))
    with pytest.raises(ResponseError, match=r"nested (more than 64 levels deep|too deeply).*resource items, page 1"):
        fetch("items", {**CURSOR, "columns": {"price": {"data_type": "decimal"}}})


def test_a_record_of_many_levels_is_taken(api: Any, fetch: Any) -> None:
    body = '{"next": null, "rows": [{"x": ' + '{"a":' * 60 + "1" + "}" * 60 + "}]}"
    api.route("/items", api.Reply(body))
    assert fetch("items", CURSOR).fetched.rows == 1


@pytest.mark.parametrize(("lag", "sent"), [(60, "60"), (0.5, "0.5"), (0, "0"), (None, None)])
def test_lag_and_path_of_the_cursor_may_stand_in_a_request(
    api: Any, fetch: Any, lag: float | None, sent: str | None
) -> None:
    api.route("/items", [{"meta": {"at": 5}}])
    params = {"lag": "{incremental.lag}", "sort": "{incremental.cursor_path}:asc"}
    cursor = {"cursor_path": "meta.at", "initial_value": 1, "lag": lag, "convert": lambda value: f"n{value}"}
    fetch("items", {"name": "items", "endpoint": {"params": params, "incremental": cursor}})
    (request,) = api.requests
    assert (request.query.get("lag"), request.query["sort"]) == (sent, "meta.at:asc")


def test_a_lag_that_is_not_there_cannot_stand_within_a_text(fetch: Any) -> None:
    endpoint = {"params": {"x": "-{incremental.lag}"}, "incremental": {"cursor_path": "at"}}
    for more in ({}, {"partitions": {"type": "daily", "start": "2024-01-01"}}):
        with pytest.raises(ConfigError, match=r"\{incremental.lag\} stands within a text"):
            fetch("items", {"name": "items", "endpoint": endpoint, **more})


def test_another_host_is_asked_where_the_endpoint_names_it_and_not_where_a_row_does(
    api: Any, stranger: Any, fetch: Any
) -> None:
    stranger.route("/items", [{"id": 1}])
    assert fetch("items", {"name": "items", "endpoint": f"{stranger.url}/items"}).rows == [{"id": 1}]
    with pytest.raises(RequestError, match="allowed_hosts"):
        fetch(
            "items",
            {"name": "items", "endpoint": f"{stranger.url}/items"},
            spool_name="auth",
            auth={"token": "t-12345"},
        )
    api.route("/parents", {"rows": [{"id": 1, "name": "a", "port": stranger.port}]})
    child = {"name": "children", "endpoint": "http://127.0.0.1:{resources.parents.port}/items"}
    with pytest.raises(RequestError, match="allowed_hosts"):
        fetch("children", PARENTS, child, spool_name="children")
    assert len(stranger.requests) == 1
