"""What one run leaves for the next: rows that stay, parents that are owed, records that are known again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import duckdb
import pytest

from dagster_restapi.tables import ledger

SINCE = {"cursor_path": "at", "initial_value": 0}


class Listing:
    """A listing by pages of two that takes `since` and `until`, whose rows a test changes."""

    def __init__(self, api: Any, path: str, rows: list[dict[str, Any]]) -> None:
        self.rows, self.broken, self.api, self.path = rows, False, api, path
        api.route(path, self.answer)

    def answer(self, request: Any) -> Any:
        if self.broken:
            return 404, {"message": "broken"}
        low, page = int(request.query.get("since", 0)), int(request.query.get("page", 0))
        due = [row for row in self.rows if row.get("at") is None or row["at"] >= low]
        more = len(due) > 2 * page + 2
        link = f"{self.api.url}{self.path}?since={low}&page={page + 1}" if more else None
        return {"items": due[2 * page : 2 * page + 2], "next": link}


def events(disposition: str = "append", incremental: dict[str, Any] | None = SINCE, **settings: Any) -> dict[str, Any]:
    endpoint: dict[str, Any] = {"path": "events", "params": {}}
    if incremental:
        endpoint |= {"incremental": incremental, "params": {"since": "{incremental.start_value}"}}
    return (
        {"name": "events", "write_disposition": disposition, "endpoint": endpoint | settings.pop("endpoint", {})}
        | ({"primary_key": "id"} if disposition == "merge" else {})
        | settings
    )


@pytest.fixture
def listing(api: Any) -> Listing:
    """Five events, of 10 to 50."""
    return Listing(api, "/events", [{"id": number, "at": 10 * number} for number in range(1, 6)])


def ids(house: Any, table: str = "events") -> list[int]:
    return [number for (number,) in house.query(f"SELECT id FROM tracker.{table} ORDER BY ALL")]


# ---- partial loads ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("incremental", [SINCE, None])
def test_the_rows_of_a_partial_load_stay_and_come_once(
    source: Callable[..., Any], listing: Listing, incremental: Any
) -> None:
    house = source(events(incremental=incremental))
    house.load("events", max_pages=1)
    gone = listing.rows.pop(0)
    house.load("events", max_pages=1)
    told = house.load("events")
    assert ids(house) == [1, 2, 3, 4, 5], f"also {gone}, which the API has no more"
    assert told["rows_deleted"] == 0
    assert len(ids(house)) + (0 if incremental else 4) == house.load("events")["dagster/row_count"]


def test_a_window_by_hand_stays_and_is_not_doubled_by_any_later_run(
    source: Callable[..., Any], listing: Listing
) -> None:
    house = source(events(incremental={**SINCE, "initial_value": 30}))
    for config in ({"start_value": "10", "end_value": "30"}, {}, {"start_value": "10"}, {"start_value": "20"}, {}):
        house.load("events", **config)
    assert ids(house) == [1, 2, 3, 4, 5]
    listing.rows.append({"id": 6, "at": 60})
    assert house.load("events", start_value="10", max_pages=1)["rows_loaded"] == 0
    assert house.load("events")["rows_loaded"] == 1
    assert ids(house) == [1, 2, 3, 4, 5, 6]


def test_identical_records_are_as_many_as_the_api_has(source: Callable[..., Any], listing: Listing) -> None:
    listing.rows[:] = [{"id": number, "at": 10} for number in (1, 1, 2, 1)]
    house = source(events())
    house.load("events", max_pages=1)
    house.load("events")
    listing.rows.append({"id": 1, "at": 10})
    house.load("events")
    assert ids(house) == [1, 1, 1, 1, 2]


# ---- append that asks again ------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "settings", [{"lag": 25}, {"on_cursor_value_missing": "include"}, {"end_value": 1000}, {"row_order": "asc"}]
)
def test_append_knows_again_what_every_run_brings(
    source: Callable[..., Any], listing: Listing, settings: dict[str, Any]
) -> None:
    if "on_cursor_value_missing" in settings:
        listing.rows.insert(2, {"id": 9, "at": None})
    house = source(events(incremental={**SINCE, **settings}))
    for _ in range(3):
        house.load("events")
    assert ids(house) == sorted(row["id"] for row in listing.rows)
    listing.rows.append({"id": 7, "at": 45})  # late, within the lag
    house.load("events")
    assert (7 in ids(house)) is ("lag" in settings or "end_value" in settings)
    assert len(ids(house)) == len(set(ids(house)))


CHANGES = [
    [events("replace", None), events()],
    [events("append", None), events()],
    [events("merge"), events()],
    [events(), events("replace", None), events()],
    [events(), events("replace"), events()],
    [events(incremental={**SINCE, "lag": 5}), events()],
    [events(), events(incremental={**SINCE, "lag": 5})],
    [events(), events(incremental={**SINCE, "end_value": 1000})],
    [events(), events(incremental={**SINCE, "end_value": 1000}), events()],
]


@pytest.mark.parametrize("number", range(len(CHANGES)))
def test_append_after_other_settings_knows_what_is_there(
    source: Callable[..., Any], listing: Listing, number: int
) -> None:
    house = None
    for settings in CHANGES[number]:
        listing.rows.append({"id": len(listing.rows) + 1, "at": 10 * len(listing.rows) + 10})
        house = source(settings)
        house.load("events")
    assert house is not None
    assert ids(house) == [row["id"] for row in listing.rows]


@pytest.mark.parametrize("lag", [0, 25])
def test_append_is_refused_where_records_have_another_form(
    source: Callable[..., Any], listing: Listing, failure_of: Callable[..., str], lag: int
) -> None:
    def shaped(record: dict[str, Any]) -> dict[str, Any]:
        return {**record, "more": 1}

    incremental = {**SINCE, "lag": lag}
    source(events(incremental=incremental)).load("events")
    house = source(events(incremental=incremental, processing_steps=[{"map": shaped}]))
    listing.rows.append({"id": 6, "at": 60})
    told = failure_of(house.run("events"))
    assert "may be rows that are there in another form" in told
    assert "`full_refresh: true`" in told
    assert ids(house) == [1, 2, 3, 4, 5]
    house.load("events", full_refresh=True)
    assert ids(house) == [1, 2, 3, 4, 5, 6]


def test_append_is_not_refused_for_settings_that_leave_records_alone(
    source: Callable[..., Any], listing: Listing
) -> None:
    source(events(incremental={**SINCE, "lag": 25})).load("events")
    listing.rows.append({"id": 6, "at": 60})
    house = source(events(incremental={**SINCE, "lag": 25}, endpoint={"headers": {"X-Any": "1"}}))
    house.load("events")
    assert ids(house) == [1, 2, 3, 4, 5, 6]


# ---- parents that are owed -------------------------------------------------------------------------------------------
def families(child: dict[str, Any], *, stored: bool = True, incremental: bool = True) -> list[dict[str, Any]]:
    parents: dict[str, Any] = {
        "name": "parents",
        "primary_key": "id",
        "write_disposition": "merge",
        "endpoint": {"path": "parents", **({"incremental": SINCE} if incremental else {})},
    }
    if not stored:
        parents["selected"] = False
    endpoint = {"path": "parents/{resources.parents.id}/events", **child.pop("endpoint", {})}
    return [parents, {"name": "events", "on_error": "skip", "endpoint": endpoint, **child}]


@pytest.fixture
def children(api: Any) -> dict[int, Listing]:
    """Three parents with three events each."""
    Listing(api, "/parents", [{"id": number, "at": number} for number in (1, 2, 3)])
    return {
        parent: Listing(
            api, f"/parents/{parent}/events", [{"id": 10 * parent + number, "at": number} for number in (1, 2, 3)]
        )
        for parent in (1, 2, 3)
    }


ALL = [11, 12, 13, 21, 22, 23, 31, 32, 33]
CHILDREN: list[dict[str, Any]] = [
    {"write_disposition": "append", "endpoint": {"incremental": SINCE}},
    {"write_disposition": "merge", "primary_key": "id", "endpoint": {"incremental": SINCE}},
    {"write_disposition": "merge", "primary_key": "id"},
]
BETWEEN: list[dict[str, Any]] = [{}, {"max_pages": 1}, {"start_value": "2"}, {"start_value": "1", "max_pages": 1}]


@pytest.mark.parametrize("stored", [True, False])
@pytest.mark.parametrize("child", CHILDREN)
@pytest.mark.parametrize("between", BETWEEN)
def test_what_failed_is_owed_until_it_has_come(
    source: Callable[..., Any], children: dict[int, Listing], child: dict[str, Any], between: Any, stored: bool
) -> None:
    if "start_value" in between and "incremental" not in child.get("endpoint", {}):
        pytest.skip("a window needs a cursor")
    house = source(*families(dict(child), stored=stored))
    children[2].broken = True
    if stored:
        house.load("parents")
    told = house.load("events")
    assert told["owed_parents"] == [{"id": 2}]
    assert ids(house) == [number for number in ALL if number // 10 != 2]
    told = house.load("events", **between)
    assert told["owed_parents"] == [{"id": 2}], "it failed once more"
    children[2].broken = False
    told = house.load("events", **between)
    assert (told["owed_parent_count"] == 0) is (between == {})
    told = house.load("events")
    assert (told["owed_parent_count"], "owed_parents" in told) == (0, False)
    assert ids(house) == ALL


def test_a_parent_that_failed_in_a_window_by_hand_is_owed_the_window(
    source: Callable[..., Any], children: dict[int, Listing]
) -> None:
    house = source(*families({"endpoint": {"incremental": {**SINCE, "initial_value": 3}}}))
    house.load("parents", "events")
    children[2].rows[0]["late"] = True
    house = source(*families({"endpoint": {"incremental": SINCE}}))
    children[2].broken = True
    house.load("events", start_value="1", parents="all")
    children[2].broken = False
    assert house.load("events")["owed_parent_count"] == 0
    assert ids(house) == ALL


def test_an_owed_parent_that_is_gone_is_owed_no_more(source: Callable[..., Any], children: dict[int, Listing]) -> None:
    house = source(*families(dict(CHILDREN[0])))
    children[2].broken = True
    house.load("parents", "events")
    with duckdb.connect(str(house.database)) as connection:
        connection.execute("DELETE FROM tracker.parents WHERE id = 2")
    assert house.load("events")["owed_parent_count"] == 0


def test_a_child_load_that_was_cut_keeps_its_rows_with_its_cursors(
    source: Callable[..., Any], children: dict[int, Listing]
) -> None:
    children[1].rows[:] = children[1].rows[:1]
    house = source(*families(dict(CHILDREN[0])))
    house.load("parents")
    house.load("events", max_pages=1)
    assert ids(house) == [11, 21, 22, 31, 32], "the walk over the first parent was whole, the others were cut"
    house.load("events")
    assert ids(house) == [11, 21, 22, 23, 31, 32, 33]


def test_children_of_two_parents_may_be_alike(source: Callable[..., Any], children: dict[int, Listing]) -> None:
    for listing in children.values():
        listing.rows[:] = [{"id": 1, "at": 1}]
    house = source(*families(dict(CHILDREN[0])))
    house.load("parents", "events")
    Listing(house.api, "/parents", [{"id": 4, "at": 4}])
    Listing(house.api, "/parents/4/events", [{"id": 1, "at": 1}])
    house.load("parents", "events")
    house.load("events", start_value="0")
    assert ids(house) == [1, 1, 1, 1]


@pytest.mark.parametrize("stored", [True, False])
def test_where_all_parents_failed_the_next_attempt_asks_again(
    source: Callable[..., Any], children: dict[int, Listing], stored: bool, failure_of: Callable[..., str]
) -> None:
    house = source(*families(dict(CHILDREN[2]), stored=stored))
    if stored:
        house.load("parents")
    for listing in children.values():
        listing.broken = True
    failed = house.run("events")
    assert "404" in failure_of(failed)
    again = house.run("events", again=failed, resume=True)
    assert not again.success, "nobody was asked"
    for listing in children.values():
        listing.broken = False
    assert house.run("events", again=failed, resume=True).success
    assert ids(house) == ALL


# ---- strategies in partitions ----------------------------------------------------------------------------------------
STATIC = {"type": "static", "keys": ["eu", "us"]}


def test_scd2_keeps_its_history_in_a_static_partition(source: Callable[..., Any], listing: Listing) -> None:
    settings = events({"disposition": "merge", "strategy": "scd2"}, None, partitions=STATIC)  # type: ignore[arg-type]
    house = source(settings)
    for key in ("eu", "us"):
        house.load("events", partition=key)
    listing.rows[0] = {"id": 1, "at": 11}
    del listing.rows[4]
    told = house.load("events", partition="eu")
    assert (told["rows_inserted"], told["rows_updated"], told["rows_deleted"]) == (1, 2, 0)
    versions = house.query(
        "SELECT id, \"at\", _restapi_valid_to IS NULL FROM tracker.events WHERE _restapi_partition = 'eu' ORDER BY ALL"
    )
    assert versions == [(1, 10, False), (1, 11, True), (2, 20, True), (3, 30, True), (4, 40, True), (5, 50, False)]
    assert house.query("SELECT count(*) FROM tracker.events WHERE _restapi_partition = 'us'") == [(5,)]


def test_insert_only_changes_nothing_in_a_static_partition(source: Callable[..., Any], listing: Listing) -> None:
    settings = events({"disposition": "merge", "strategy": "insert-only"}, None, partitions=STATIC)  # type: ignore[arg-type]
    house = source({**settings, "primary_key": "id"})
    house.load("events", partition="eu")
    listing.rows[:] = [{"id": 1, "at": 11}, {"id": 6, "at": 60}]
    house.load("events", partition="eu")
    rows = house.query('SELECT id, "at" FROM tracker.events ORDER BY ALL')
    assert rows == [(1, 10), (2, 20), (3, 30), (4, 40), (5, 50), (6, 60)]


DAYS = {"type": "daily", "start": "2024-01-01", "end": "2024-01-04"}


def windows(strategy: str) -> dict[str, Any]:
    return {
        "name": strategy.replace("-", "_"),
        "primary_key": "id",
        "write_disposition": {"disposition": "merge", "strategy": strategy},
        "partitions": DAYS,
        "endpoint": {"path": "events", "incremental": {"cursor_path": "at"}},
    }


def test_windows_keep_what_a_strategy_promises(source: Callable[..., Any], api: Any) -> None:
    def of(days: dict[str, int]) -> None:
        api.route("/events", [{"id": number, "at": f"2024-01-{day}T10:00:00Z"} for day, number in days.items()])

    house = source(windows("scd2"), windows("insert-only"))
    of({"01": 1, "02": 2})
    for day in ("2024-01-01", "2024-01-02"):
        house.load("scd2", "insert_only", partition=day)
    of({"02": 1})  # the first moved, the second is gone
    house.load("scd2", "insert_only", partition="2024-01-02")
    versions = house.query('SELECT id, day("at"), _restapi_valid_to IS NULL FROM tracker.scd2 ORDER BY ALL')
    assert versions == [(1, 1, False), (1, 2, True), (2, 2, False)]
    assert house.query('SELECT id, day("at") FROM tracker.insert_only ORDER BY ALL') == [(1, 1), (2, 2)]


def test_a_window_loaded_anew_changes_other_windows_only_as_its_strategy_promises(
    source: Callable[..., Any], api: Any
) -> None:
    def of(rows: dict[int, str]) -> None:
        api.route("/events", [{"id": number, "at": f"2024-01-{day}T10:00:00Z"} for number, day in rows.items()])

    house = source(*map(windows, ("scd2", "insert-only", "delete-insert")))
    names = ("scd2", "insert_only", "delete_insert")
    of({1: "01", 2: "02"})
    house.load(*names, partition="2024-01-01")
    of({1: "03", 2: "02"})
    for day in ("2024-01-03", "2024-01-02"):  # the first loads of these windows; the first record has moved
        house.load(*names, partition=day)
    of({1: "02", 2: "02"})
    told = house.load("scd2", partition="2024-01-02", full_refresh=True)
    for name in names[1:]:
        house.load(name, partition="2024-01-02", full_refresh=True)
    versions = house.query('SELECT id, day("at"), _restapi_valid_to IS NULL FROM tracker.scd2 ORDER BY ALL')
    assert versions == [(1, 1, False), (1, 2, True), (1, 3, False), (2, 2, True)], "what was closed stays"
    assert (told["rows_inserted"], told["rows_updated"], told["rows_deleted"]) == (2, 1, 1)
    assert house.query('SELECT id, day("at") FROM tracker.insert_only ORDER BY ALL') == [(1, 1), (2, 2)]
    assert house.query('SELECT id, day("at") FROM tracker.delete_insert ORDER BY ALL') == [(1, 2), (2, 2)]


# ---- a fault while a load is committed -------------------------------------------------------------------------------
@pytest.mark.parametrize("committed", [True, False])
def test_after_a_fault_at_the_commit_the_ledger_decides(
    source: Callable[..., Any],
    listing: Listing,
    monkeypatch: pytest.MonkeyPatch,
    failure_of: Callable[..., str],
    committed: bool,
) -> None:
    house = source(events(incremental=None))
    has = ledger.has

    def full(connection: Any, space: Any, load_id: str) -> bool:
        assert has(connection, space, load_id)
        if not committed:
            connection.execute(f"DELETE FROM {space.table('_restapi_loads')}")
        raise duckdb.IOException("No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(ledger, "has", full)
        result = house.run("events")
    if committed:
        assert house.told(result, "events")["rows_loaded"] == 5, "it is in the tables, and so the run says"
    else:
        assert "The tables are as they were" in failure_of(result)
        assert "Free some space" in failure_of(result)


def test_a_load_that_nobody_was_told_of_is_counted_as_deleted_when_it_is_repeated(
    source: Callable[..., Any], listing: Listing, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = source(events(incremental=None))
    from dagster_restapi.assets import step

    with monkeypatch.context() as killed:
        killed.setattr(step, "event_metadata", lambda *_, **__: 1 / 0)
        assert not house.run("events").success
    told = house.load("events")
    assert (told["rows_inserted"], told["rows_deleted"], told["dagster/row_count"]) == (5, 5, 5)


def test_a_load_that_was_told_of_stays_when_an_older_one_is_told_of_later(
    source: Callable[..., Any], listing: Listing, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dagster_restapi.assets import step

    house = source(events(incremental=None))
    event_metadata, between = step.event_metadata, [True]

    def later(*arguments: Any, **named: Any) -> Any:
        if between and between.pop():
            house.load("events")  # another run loads and tells, before this one tells of what it has committed
        return event_metadata(*arguments, **named)

    monkeypatch.setattr(step, "event_metadata", later)
    house.load("events")
    told = house.load("events")
    assert (told["rows_inserted"], told["rows_deleted"], told["dagster/row_count"]) == (5, 0, 10)


@pytest.mark.parametrize("strategy", ["scd2", "delete-insert"])
def test_a_row_with_a_key_stays_what_it_is_when_its_parent_gets_another_key(
    source: Callable[..., Any], children: dict[int, Listing], strategy: str
) -> None:
    child = {"write_disposition": {"disposition": "merge", "strategy": strategy}, "primary_key": "id"}
    house = source(*families(child, incremental=False))
    house.load("parents", "events")
    Listing(house.api, "/parents", [{"id": number, "at": number} for number in (1, 2, 3, 4)])
    Listing(house.api, "/parents/4/events", children[3].rows)
    Listing(house.api, "/parents/3/events", [])
    told = house.load("parents", "events")
    assert (told["rows_inserted"], told["rows_updated"]) == (0, 0)
    assert ids(house) == ALL


def test_a_cursor_never_moves_back(source: Callable[..., Any], listing: Listing) -> None:
    house = source(events(incremental={**SINCE, "lag": 25}))
    assert house.load("events")["cursor"] == 50
    del listing.rows[-1]
    assert house.load("events")["cursor"] == 50


def test_a_cursor_of_a_parent_never_moves_back(source: Callable[..., Any], children: dict[int, Listing]) -> None:
    child = {"endpoint": {"incremental": {**SINCE, "lag": 2}}, "write_disposition": "append"}
    house = source(*families(child, incremental=False))
    house.load("parents", "events")
    del children[1].rows[-1]
    assert house.load("events")["cursors"] == {"count": 3, "minimum": 3, "maximum": 3}


@pytest.mark.parametrize("stored", [True, False])
@pytest.mark.parametrize("missing", ["include", "exclude"])
def test_a_parent_without_a_cursor_value_is_asked_where_it_is_included(
    source: Callable[..., Any], children: dict[int, Listing], stored: bool, missing: str
) -> None:
    Listing(children[1].api, "/parents", [{"id": 1, "at": 1}, {"id": 2, "at": None}, {"id": 3, "at": 3}])
    parents, child = families({"write_disposition": "append"}, stored=stored)
    parents["endpoint"] |= {"incremental": {**SINCE, "on_cursor_value_missing": missing}}
    house = source(parents, child)
    if stored:
        house.load("parents")
    house.load("events")
    assert ids(house) == [number for number in ALL if missing == "include" or number // 10 != 2]


@pytest.mark.parametrize("stored", [True, False])
def test_of_a_parent_that_comes_twice_the_last_row_is_included(
    source: Callable[..., Any], children: dict[int, Listing], stored: bool
) -> None:
    Listing(children[1].api, "/parents", [{"id": 1, "at": 1}, {"id": 2, "at": 2}, {"id": 1, "at": 3}])
    parents, child = families({"include_from_parent": ["at"]}, stored=stored, incremental=False)
    house = source({**parents, "write_disposition": "append", "primary_key": None}, child)
    if stored:
        house.load("parents")
    house.load("events")
    assert set(house.query("SELECT id // 10, _parents_at FROM tracker.events")) == {(1, 3), (2, 2)}
