"""Attempts that follow each other: what the next one resumes, what is fetched anew, and where the cursor moves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from timeline import DAILY, events, serve

Damage = Callable[[Path], None]
LINKS = {"type": "cursor", "cursor_path": "next"}
PLAIN = {"name": "items", "primary_key": "id", "endpoint": {"data_selector": "rows", "paginator": LINKS}}
SINCE = {"params": {"since": "{incremental.start_value}"}, "incremental": {"cursor_path": "at", "initial_value": 0}}
ITEMS = {**PLAIN, "endpoint": {**PLAIN["endpoint"], **SINCE}}


class Pages:
    """Three pages of two rows, `id` in order, each asked for by the cursor that the page before gave; one may fail."""

    def __init__(self, fails: int | None = 3) -> None:
        self.rows = {number: number for number in range(1, 7)}  # id -> at
        self.fails = fails

    def __call__(self, request: Any) -> Any:
        number = int(request.query.get("cursor", request.query.get("page", 1)))
        if number == self.fails:
            return 500, {}
        since = float(request.query.get("since", 0))
        found = [{"id": id_, "at": at} for id_, at in self.rows.items() if abs(at) >= abs(since)]
        page = found[number * 2 - 2 : number * 2]
        return {"rows": page, "next": str(number + 1) if len(found) > number * 2 else None}


@pytest.fixture
def pages(api: Any) -> Pages:
    """At `/items`."""
    pages = Pages()
    api.route("/items", pages)
    return pages


def asked(api: Any, path: str = "/items") -> list[int]:
    """The pages that were asked for since the last look."""
    seen = [int(request.query.get("cursor", request.query.get("page", 1))) for request in api.seen(path)]
    api.requests.clear()
    return seen


def log_of(house: Any, result: Any) -> list[str]:
    return [entry.user_message for entry in house.instance.all_logs(result.run_id)]


def spool_of(house: Any) -> Path:
    [journal] = Path(f"{house.database}.spool").glob("*/journal")
    return journal.parent


# ---- damage ----------------------------------------------------------------------------------------------------------
def segment(spool: Path) -> Path:
    return next(iter(sorted(spool.glob("0*.ndjson"))))


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


DAMAGE: dict[str, Damage] = {
    "a segment is gone": lambda spool: segment(spool).unlink(),
    "a segment is cut": lambda spool: segment(spool).write_bytes(segment(spool).read_bytes()[:-1]),
    "a byte of a segment": lambda spool: flip(segment(spool), -5),
    "a byte of the journal": lambda spool: flip(spool / "journal", 300),
    "the journal's first line": lambda spool: flip(spool / "journal", 5),
    "a line of the journal": lambda spool: (spool / "journal").write_bytes(
        b"".join((spool / "journal").read_bytes().splitlines(keepends=True)[::2])
    ),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_spool_is_fetched_anew_in_the_same_run_with_one_line(
    api: Any, pages: Pages, source: Callable[..., Any], kind: str
) -> None:
    house = source(ITEMS)
    failed = house.run("items")
    assert not failed.success
    assert asked(api) == [1, 2, 3]
    DAMAGE[kind](spool_of(house))
    pages.fails = None
    again = house.run("items", again=failed)
    assert house.told(again, "items")["cursor"] == 6
    assert asked(api) == [1, 2, 3]
    assert house.query("SELECT id FROM tracker.items ORDER BY 1") == [(number,) for number in range(1, 7)]
    lines = [line for line in log_of(house, again) if "thrown away" in line]
    assert len(lines) == 1
    assert lines[0].startswith("items: an earlier attempt is thrown away and fetched anew: ")


def test_damage_in_the_spool_of_one_asset_is_nothing_to_another(
    api: Any, pages: Pages, source: Callable[..., Any]
) -> None:
    api.route("/others", {"rows": [{"id": 1}]})
    house = source(ITEMS, {**PLAIN, "name": "others"})
    assert not house.run("items").success
    (spool_of(house) / "journal").write_bytes(b"\xff\x00\n" * 9)
    assert house.load("others")["rows_loaded"] == 1


@pytest.mark.parametrize("name", ["parents.ndjson", "cursors.ndjson"])
@pytest.mark.parametrize("how", ["gone", "changed"])
def test_a_load_never_lacks_the_files_beside_its_records(
    api: Any, source: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, name: str, how: str
) -> None:
    api.route("/parents", {"rows": [{"id": 1}, {"id": 2}]})
    for number in (1, 2):
        api.route(f"/parents/{number}/children", {"rows": [{"id": number, "at": number}]})
    house = source(*family())

    def full(*_: Any, **__: Any) -> Any:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:  # everything is fetched, and cannot be loaded
        patch.setattr("dagster_restapi.assets.haul.load", full)
        failed = house.run("children")
    assert not failed.success
    path = spool_of(house) / name
    if how == "gone":
        path.unlink()
    else:
        flip(path, -4)
    again = house.run("children", again=failed)
    assert any("thrown away" in line and name in line for line in log_of(house, again))
    assert house.told(again, "children")["dagster/row_count"] == 2
    kept = house.query("SELECT parent_key, value FROM tracker._restapi_cursors ORDER BY 1")
    assert [str(value) for _, value in kept] == ["1", "2"]


def family(**incremental: Any) -> list[dict[str, Any]]:
    """Parents without a table, and their children with a cursor for each."""
    endpoint = {**PLAIN["endpoint"], "path": "parents/{resources.parents.id}/children"}
    cursor = {**SINCE, "incremental": {**SINCE["incremental"], **incremental}}
    return [
        {"name": "parents", "selected": False, "endpoint": {"data_selector": "rows", "paginator": "single_page"}},
        {"name": "children", "concurrency": 1, "endpoint": {**endpoint, **cursor}},
    ]


# ---- who may go on -----------------------------------------------------------------------------------------------
BY_NUMBER = {"type": "page_number", "base_page": 1, "total_path": None}
STATIC = {"type": "static", "keys": ["a"]}
KINDS: dict[str, tuple[dict[str, Any], bool]] = {  # and whether another run goes on
    "plain": (PLAIN, True),
    "with a cursor": (ITEMS, False),
    "by position": ({**PLAIN, "endpoint": {"data_selector": "rows", "paginator": BY_NUMBER}}, False),
    "static partition": ({**PLAIN, "partitions": STATIC}, False),
    "window": (
        {
            **PLAIN,
            "endpoint": {**PLAIN["endpoint"], "params": {"day": "{partition.key}"}},
            "partitions": DAILY,
        },
        False,
    ),
}


@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_the_same_run_goes_on_and_another_one_only_where_nothing_can_have_passed(
    api: Any, pages: Pages, source: Callable[..., Any], kind: str, same: bool
) -> None:
    resource, shared = KINDS[kind]
    key = {"static partition": "a", "window": "2024-01-01"}.get(kind)
    house = source(resource)
    failed = house.run("items", partition=key)
    assert not failed.success
    assert asked(api) == [1, 2, 3]
    pages.fails = None
    if same:
        tags = {"dagster/partition": key} if key else {}
        again = house._re_execute(failed, house.assets(), tags)
    else:
        again = house.run("items", partition=key)
    assert again.success
    first_page = 3 if same or shared else 1
    assert asked(api)[0] == first_page
    assert house.query("SELECT id FROM tracker.items ORDER BY 1") == [(number,) for number in range(1, 7)]
    lines = log_of(house, again)
    assert any("resuming after 4 rows from an earlier attempt" in line for line in lines) == (first_page == 3)
    assert any("it is of another run" in line for line in lines) == (first_page == 1)


def test_what_another_run_went_on_from_is_its_own_from_then_on(api: Any, source: Callable[..., Any]) -> None:
    """The first run has fetched pages by links; the second one goes on and comes to be the owner by a refusal."""
    pages = Pages()
    api.route("/items", pages)
    house = source({**PLAIN, "columns": {"at": {"nullable": False}}})
    first = house.run("items")
    pages.fails = None
    pages.rows[6] = None  # type: ignore[assignment]
    api.route("/items", lambda request: nullable(pages, request))
    second = house.run("items")
    assert not second.success
    assert asked(api) == [1, 2, 3, 3]
    pages.rows[6] = 6
    assert house.told(house.run("items", again=first), "items")["rows_loaded"] == 6
    assert asked(api) == [1, 2, 3], "not what the other one refused"


def nullable(pages: Pages, request: Any) -> Any:
    number = int(request.query.get("cursor", 1))
    rows = [{"id": id_, "at": pages.rows[id_]} for id_ in (number * 2 - 1, number * 2)]
    return {"rows": rows, "next": str(number + 1) if number < 3 else None}


# ---- the environment -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("place", ["base_url", "header", "path", "parent"])
def test_another_environment_means_that_everything_is_asked_anew(
    api: Any, source: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    fails = {"value": True}

    def page(tenant: str) -> Callable[[Any], Any]:
        def answer(request: Any) -> Any:
            number = int(request.query.get("cursor", 1))
            if number == 2 and fails["value"]:
                return 500, {}
            whose = request.headers.get("x-tenant") or tenant
            return {"rows": [{"id": number, "tenant": whose}], "next": "2" if number == 1 else None}

        return answer

    for tenant in ("c4nary-staging", "c4nary-production"):
        api.route(f"/{tenant}/items", page(tenant))
        api.route(f"/{tenant}/parents", {"rows": [{"id": 1, "tenant": tenant}]})
    api.route("/items", page("?"))
    endpoint: dict[str, Any] = {"data_selector": "rows", "paginator": LINKS}
    base = api.url
    parents: list[dict[str, Any]] = []
    if place == "base_url":
        base = f"{api.url}/{{env.TENANT}}"
    elif place == "header":
        endpoint["headers"] = {"X-Tenant": "{env.TENANT}"}
    elif place == "path":
        endpoint["path"] = "{env.TENANT}/items"
    else:
        endpoint["headers"] = {"X-Tenant": "{resources.parents.tenant}"}
        above = {"path": "{env.TENANT}/parents", "data_selector": "rows", "paginator": "single_page"}
        parents = [{"name": "parents", "selected": False, "endpoint": above}]
    house = source(*parents, {"name": "items", "endpoint": endpoint})
    house.config["client"]["base_url"] = base
    monkeypatch.setenv("TENANT", "c4nary-staging")
    failed = house.run("items")
    assert not failed.success
    for path in Path(f"{house.database}.spool").rglob("*"):
        secret = b"c4nary" if place in ("base_url", "path") else b"nothing"  # the API itself sends it back elsewhere
        assert path.is_dir() or path.name.endswith("0000.ndjson") or secret not in path.read_bytes(), path
    fails["value"] = False
    monkeypatch.setenv("TENANT", "c4nary-production")
    house.told(house.run("items", again=failed), "items")
    assert house.query("SELECT id, tenant FROM tracker.items ORDER BY 1") == [
        (1, "c4nary-production"),
        (2, "c4nary-production"),
    ]


def test_in_the_same_environment_an_attempt_goes_on(
    api: Any, pages: Pages, source: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TENANT", "one")
    monkeypatch.setenv("UNRELATED", "one")
    house = source({**ITEMS, "endpoint": {**ITEMS["endpoint"], "headers": {"X-Tenant": "{env.TENANT}"}}})
    failed = house.run("items")
    pages.fails = None
    monkeypatch.setenv("UNRELATED", "two")
    house.told(house.run("items", again=failed), "items")
    assert asked(api) == [1, 2, 3, 3]
    root = Path(f"{house.database}.spool")
    assert sorted(path.name for path in root.iterdir()) == ["key", "key.lock"]


# ---- the cursor of a load that was resumed -----------------------------------------------------------------------
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("disposition", ["append", "merge"])
def test_what_was_edited_on_a_page_fetched_before_comes_with_the_next_run(
    api: Any, pages: Pages, source: Callable[..., Any], disposition: str, sign: int
) -> None:
    pages.rows = {id_: at * sign for id_, at in pages.rows.items()}
    house = source(directed({**ITEMS, "write_disposition": disposition}, sign))
    failed = house.run("items")
    assert not failed.success
    pages.rows |= {1: 10 * sign, 5: 20 * sign}  # on page 1, which is fetched, and on page 3
    pages.fails = None
    assert house.told(house.run("items", again=failed), "items")["cursor"] == 4 * sign
    assert asked(api) == [1, 2, 3, 3]
    house.load("items")
    stored = house.query(f'SELECT id, "at" FROM tracker.items ORDER BY id, "at" * {sign}')
    edited = [(1, sign), (1, 10 * sign)] if disposition == "append" else [(1, 10 * sign)]
    assert stored == [*edited, (2, 2 * sign), (3, 3 * sign), (4, 4 * sign), (5, 20 * sign), (6, 6 * sign)]
    assert house.load("items")["cursor"] == 20 * sign


def directed(resource: dict[str, Any], sign: int, **incremental: Any) -> dict[str, Any]:
    incremental = {"last_value_func": "max" if sign > 0 else "min", **incremental}
    endpoint = resource["endpoint"]
    return {**resource, "endpoint": {**endpoint, "incremental": {**endpoint["incremental"], **incremental}}}


def test_rows_in_the_order_of_the_cursor_need_no_such_care(pages: Pages, source: Callable[..., Any]) -> None:
    house = source(directed(ITEMS, 1, row_order="asc"))
    failed = house.run("items")
    pages.fails = None
    assert house.told(house.run("items", again=failed), "items")["cursor"] == 6


def test_the_first_of_several_interruptions_counts(api: Any, pages: Pages, source: Callable[..., Any]) -> None:
    house = source(ITEMS)
    pages.fails = 2
    first = house.run("items")
    pages.fails = 3
    second = house.run("items", again=first)
    assert not second.success
    pages.fails = None
    assert house.told(house.run("items", again=second), "items")["cursor"] == 2
    assert asked(api) == [1, 2, 2, 3, 3]


def test_an_attempt_that_had_seen_nothing_holds_nothing_back(pages: Pages, source: Callable[..., Any]) -> None:
    house = source(ITEMS)
    pages.fails = 1
    failed = house.run("items")
    pages.fails = None
    assert house.told(house.run("items", again=failed), "items")["cursor"] == 6


def test_a_page_of_which_no_row_was_in_range_holds_the_cursor_where_it_is(api: Any, source: Callable[..., Any]) -> None:
    pages = Pages(fails=2)
    api.route("/items", lambda request: pages(without_since(request)))
    house = source(directed(ITEMS, 1, initial_value=3))
    failed = house.run("items")
    pages.fails = None
    pages.rows |= {1: 10, 5: 20}
    assert house.told(house.run("items", again=failed), "items").get("cursor") is None
    house.load("items")
    assert (1, 10) in house.query('SELECT id, "at" FROM tracker.items')


def without_since(request: Any) -> Any:
    request.query.pop("since")
    return request


def test_a_parent_whose_walk_was_interrupted_is_held_back_and_no_other(api: Any, source: Callable[..., Any]) -> None:
    api.route("/parents", {"rows": [{"id": number} for number in (1, 2, 3)]})
    walks = {number: Pages(fails=3 if number == 2 else None) for number in (1, 2, 3)}
    for number, walk in walks.items():
        api.route(f"/parents/{number}/children", walk)
    house = source(*family())
    failed = house.run("children")
    assert not failed.success
    walks[2].rows |= {1: 10, 5: 20}
    walks[2].fails = None
    again = house.run("children", again=failed)
    assert again.success
    assert cursors(house) == {1: "6", 2: "4", 3: "6"}
    house.load("children")
    assert (1, 10) in house.query('SELECT id, "at" FROM tracker.children')
    assert cursors(house) == {1: "6", 2: "20", 3: "6"}


def cursors(house: Any) -> Mapping[int, str]:
    found = house.query("SELECT parent_key, value FROM tracker._restapi_cursors ORDER BY 1")
    return {number: str(value) for number, (_, value) in enumerate(found, 1)}


# ---- names that are ours ---------------------------------------------------------------------------------------------
OURS = [f"_restapi_{name}" for name in ("place", "row_hash", "id", "load_id", "partition")]
ODD = [form for name in OURS for form in (name, name.upper(), name.title())]


def odd(number: int) -> dict[str, Any]:
    """A record with all these names, at the top and below."""
    return {name: f"{name}/{number}" for name in ODD} | {"inner": {name: f"{name}.{number}" for name in ODD}}


def values_of(house: Any, table: str) -> set[str]:
    return {str(value) for row in house.query(f"SELECT * FROM tracker.{table}") for value in row}


def expected(*numbers: int) -> set[str]:
    return {text for number in numbers for value in odd(number).values() for text in texts(value)}


def texts(value: Any) -> list[str]:
    return list(value.values()) if isinstance(value, dict) else [value]


def test_records_with_our_names_lose_nothing_where_they_are_plain(api: Any, source: Callable[..., Any]) -> None:
    api.route("/items", {"rows": [{"id": 1, "at": 1, **odd(1)}, {"id": 2, "at": 2, **odd(2)}]})
    house = source({**ITEMS, "write_disposition": "merge"})
    assert house.load("items")["rows_loaded"] == 2
    assert house.load("items").get("rows_loaded", 0) == 0, "they are known again"
    assert expected(1, 2) <= values_of(house, "items")


def test_nor_in_windows_that_are_fetched_together(api: Any, source: Callable[..., Any]) -> None:
    rows = [{"id": number, "at": f"2024-01-0{number}T06:00:00Z", **odd(number)} for number in (1, 2, 3)]
    serve(api, rows)
    house = source(events(DAILY))
    house.each(house.run("events", between=("2024-01-01", "2024-01-03")), "events")
    assert len(api.requests) == 1
    stored = house.query("SELECT id, _restapi_partition FROM tracker.events ORDER BY 1")
    assert stored == [(number, f"2024-01-0{number}") for number in (1, 2, 3)]
    assert expected(1, 2, 3) <= values_of(house, "events")


def test_nor_in_static_partitions(api: Any, source: Callable[..., Any]) -> None:
    api.route("/items", {"rows": [{"id": 1, **odd(1)}]})
    house = source({**PLAIN, "partitions": STATIC})
    assert house.run("items", partition="a").success
    assert expected(1) <= values_of(house, "items")


def test_nor_in_a_child_with_cursors(api: Any, source: Callable[..., Any]) -> None:
    api.route("/parents", {"rows": [{"id": 1, **odd(7)}]})
    api.route("/parents/1/children", {"rows": [{"id": number, "at": number, **odd(number)} for number in (1, 2)]})
    parents, children = family()
    house = source(parents, {**children, "include_from_parent": ["_restapi_place"]})
    house.load("children")
    assert house.load("children").get("rows_loaded", 0) == 0, "the row at the cursor is known again"
    assert expected(1, 2) | {"_restapi_place/7"} <= values_of(house, "children")
