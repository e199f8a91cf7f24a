"""Cursors in whole runs: rows from the future, formats, and what a change of format means for a cursor that is kept."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

FORMATS = ("%Y-%m-%dT%H:%M:%SZ", "%d.%m.%Y %H:%M:%S", "epoch")
PAST = datetime(2024, 1, 28, 10, tzinfo=UTC)


def at(format_: str, days: float = 0) -> Any:
    """A moment, as the API of this format spells it."""
    moment = PAST + timedelta(days=days)
    return int(moment.timestamp()) if format_ == "epoch" else moment.strftime(format_)


def items(disposition: str = "append", **incremental: Any) -> dict[str, Any]:
    endpoint = {
        "path": "items",
        "params": {"since": "{incremental.start_value}"},
        "incremental": {"cursor_path": "at", **incremental},
    }
    key = {"primary_key": "id"} if disposition == "merge" else {}
    return {"name": "items", "write_disposition": disposition, "endpoint": endpoint, **key}


def ids(house: Any, table: str = "items") -> list[int]:
    return [number for (number,) in house.query(f"SELECT id FROM tracker.{table} ORDER BY ALL")]


# ---- from the future -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("format_", FORMATS)
def test_append_loses_and_doubles_nothing_beside_a_row_from_the_future(
    api: Any, source: Callable[..., Any], format_: str
) -> None:
    rows = [{"id": 1, "at": at(format_)}, {"id": 2, "at": at(format_, 365_000)}]
    api.route("/items", lambda request: {"items": rows})
    house = source(items(cursor_format=None if format_ == FORMATS[0] else format_))
    told = house.load("items")
    assert told["cursor"] == at(format_)
    assert any(repr(at(format_, 365_000)) in warning and "future" in warning for warning in told["warnings"])
    rows += [{"id": 3, "at": at(format_)}, {"id": 4, "at": at(format_, 9)}]  # one at the cursor, one behind it
    told = house.load("items")
    assert (ids(house), told["cursor"]) == ([1, 2, 3, 4], at(format_, 9))
    rows.append({"id": 2, "at": at(format_, 365_000)})  # there are two of the kind now
    house.load("items")
    assert ids(house) == [1, 2, 2, 3, 4]
    del rows[1], rows[-1]
    rows.append({"id": 5, "at": at(format_, 10)})
    told = house.load("items")
    assert (ids(house), told.get("warnings")) == ([1, 2, 2, 3, 4, 5], None)


def test_where_all_rows_are_from_the_future_the_cursor_stays_where_it_is(api: Any, source: Callable[..., Any]) -> None:
    rows = [{"id": 1, "at": "2999-01-01T00:00:00Z"}]
    api.route("/items", lambda request: {"items": rows})
    house = source(items())
    assert house.load("items").get("cursor") is None
    rows.append({"id": 2, "at": "2024-01-01T00:00:00Z"})
    house.load("items")
    assert ids(house) == [1, 2]


def test_the_cursor_of_each_parent_is_held_back_by_its_own_rows(api: Any, source: Callable[..., Any]) -> None:
    rows = {1: [{"id": 1, "at": "2024-01-01"}, {"id": 2, "at": "2999-01-01"}], 2: [{"id": 3, "at": "2024-01-09"}]}
    api.route("/parents", {"items": [{"id": 1}, {"id": 2}]})
    for number, own in rows.items():
        api.route(f"/parents/{number}/items", lambda request, own=own: {"items": own})
    child = items()
    child["endpoint"] |= {"path": "parents/{resources.parents.id}/items"}
    house = source({"name": "parents", "write_disposition": "merge", "primary_key": "id"}, child)
    house.load("parents")
    house.load("items")
    assert house.query("SELECT value FROM tracker._restapi_cursors ORDER BY ALL") == [
        ('"2024-01-01"',),
        ('"2024-01-09"',),
    ]
    rows[1].append({"id": 4, "at": "2024-01-05"})
    rows[2].append({"id": 5, "at": "2024-01-09"})
    house.load("items")
    assert ids(house) == [1, 2, 3, 4, 5]


# ---- formats ---------------------------------------------------------------------------------------------------------
def test_dates_of_a_format_go_on_by_the_calendar(api: Any, source: Callable[..., Any]) -> None:
    rows = [{"id": 1, "at": "15-01-2024"}, {"id": 2, "at": "28-01-2024"}]
    api.route("/items", lambda request: {"items": rows})
    house = source(items(cursor_format="%d-%m-%Y", initial_value="2024-01-01", lag=7))
    assert house.load("items")["cursor"] == "28-01-2024"
    rows += [{"id": 3, "at": "05-02-2024"}, {"id": 4, "at": "21-01-2024"}, {"id": 5, "at": "20-01-2024"}]
    assert house.load("items")["cursor"] == "05-02-2024"
    assert ids(house) == [1, 2, 3, 4]
    assert [request.query["since"] for request in api.requests] == ["01-01-2024", "21-01-2024"]


def test_a_cursor_that_was_found_in_another_order_is_not_gone_on_from(
    api: Any, source: Callable[..., Any], failure_of: Callable[..., str]
) -> None:
    rows = [{"id": 1, "at": "02-01-2024"}, {"id": 2, "at": "01-02-2024"}]
    api.route("/items", lambda request: {"items": rows})
    source(items(cursor_format="text")).load("items")
    house = source(items(cursor_format="%d-%m-%Y"))
    told = failure_of(house.run("items"))
    assert "the cursor was found among values compared as 'text'" in told
    assert "`full_refresh: true`" in told
    house.load("items", full_refresh=True)
    assert house.load("items")["cursor"] == "01-02-2024"
    assert ids(house) == [1, 2]


def test_append_knows_a_day_in_each_of_its_spellings(api: Any, source: Callable[..., Any]) -> None:
    rows = [{"id": 1, "at": "05/01/2024"}, {"id": 2, "at": "5/1/2024"}, {"id": 3, "at": "05/1/2024"}]
    api.route("/items", lambda request: {"items": rows})
    house = source(items(cursor_format="%d/%m/%Y"))
    for _ in range(2):
        house.load("items")
    assert ids(house) == [1, 2, 3]


def test_a_path_of_many_values_goes_on_from_the_furthest(api: Any, source: Callable[..., Any]) -> None:
    rows = [{"id": 1, "history": [{"at": 5}, {"at": 1}]}, {"id": 2, "history": [{"at": 3}]}]
    api.route("/items", lambda request: {"items": rows})
    house = source(items(cursor_path="history[*].at"))
    assert house.load("items")["cursor"] == 5
    rows[1] = {"id": 2, "history": [{"at": 3}, {"at": 9}]}
    assert house.load("items")["cursor"] == 9
    assert ids(house) == [1, 2, 2]
    house.load("items")
    assert ids(house) == [1, 2, 2]


def test_a_range_that_ends_now_asks_for_both_bounds_and_goes_on(api: Any, source: Callable[..., Any]) -> None:
    rows = [{"id": 1, "at": "2024-01-01T00:00:00Z"}]
    api.route("/items", lambda request: {"items": rows})
    before = datetime.now(UTC).replace(microsecond=0)
    house = source(items(end_value="now", end_param="until", param_format="epoch", initial_value="2020-01-01"))
    assert house.load("items")["cursor"] == "2024-01-01T00:00:00Z"
    rows.append({"id": 2, "at": "2024-02-01T00:00:00Z"})
    house.load("items")
    assert ids(house) == [1, 2]
    first, second = (request.query for request in api.requests)
    assert (first["since"], second["since"]) == ("1577836800", "1704067200")
    assert before.timestamp() <= int(first["until"]) <= int(second["until"]) <= datetime.now(UTC).timestamp() + 1
