"""A run after the configuration has changed: what the last load left is gone on from only where it still means that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dagster_restapi.assets.haul import Haul
from dagster_restapi.model import Conditions


def parent(name: str) -> dict[str, Any]:
    endpoint = {"paginator": "single_page", "incremental": {"cursor_path": "at"}}
    return {"name": name, "primary_key": "id", "write_disposition": "merge", "endpoint": endpoint}


def child(of: str, **endpoint: Any) -> dict[str, Any]:
    path = f"parts/{{resources.{of}.id}}"
    return {
        "name": "parts",
        "primary_key": "part",
        "write_disposition": "merge",
        "endpoint": {"path": path, "paginator": "single_page", **endpoint},
    }


@pytest.fixture
def houses(source: Callable[..., Any], api: Any) -> Callable[..., Any]:
    """Orders and offers with numbers that meet, and the parts of each number, in a house with a child of either."""
    for name, numbers in {"orders": [1, 2], "offers": [1, 2, 3]}.items():
        api.route(f"/{name}", [{"id": number, "at": f"2024-01-0{number}T00:00:00Z"} for number in numbers])
    for number in (1, 2, 3):
        api.route(f"/parts/{number}", [{"part": number, "at": "2024-02-01T00:00:00Z"}])

    def make(of: str, **endpoint: Any) -> Any:
        return source(parent("orders"), parent("offers"), child(of, **endpoint))

    return make


def asked(api: Any) -> list[str]:
    """The parts that were asked for since the last time."""
    found = sorted(request.path for request in api.requests if request.path.startswith("/parts/"))
    api.requests.clear()
    return found


def test_a_child_of_another_parent_asks_for_all_its_rows(houses: Callable[..., Any], api: Any) -> None:
    houses("orders").load("orders", "offers", "parts")
    asked(api)
    house = houses("offers")
    told = house.load("parts")
    assert (asked(api), told["parents"]) == (["/parts/1", "/parts/2", "/parts/3"], 3)
    assert told["dagster/row_count"] == 3
    assert house.load("parts")["parents"] == 0, "from then on only those that change"


def test_a_child_of_other_keys_of_its_parent_asks_for_all_its_rows(houses: Callable[..., Any], api: Any) -> None:
    houses("orders").load("orders", "parts")
    asked(api)
    told = houses("orders", path="parts/{resources.orders.id}", params={"at": "{resources.orders.at}"}).load("parts")
    assert (asked(api), told["parents"]) == (["/parts/1", "/parts/2"], 2)


def test_cursors_per_key_of_another_parent_are_not_gone_on_from(houses: Callable[..., Any], api: Any) -> None:
    cursor = {"cursor_path": "at", "initial_value": "2000-01-01T00:00:00Z"}
    houses("orders", incremental=cursor).load("orders", "parts")
    api.route("/parts/1", [{"part": 10, "at": "2023-01-01T00:00:00Z"}])  # of the offer with this number
    house = houses("offers", incremental=cursor)
    api.route("/offers", [{"id": 1, "at": "2024-01-01T00:00:00Z"}])
    house.load("offers")
    assert house.load("parts")["cursors"]["count"] == 1, "none of those of the orders is left for an offer to come"
    assert house.query("SELECT part FROM tracker.parts ORDER BY part") == [(1,), (2,), (10,)]


def items(path: str, **settings: Any) -> dict[str, Any]:
    endpoint = {"paginator": "single_page", "incremental": {"cursor_path": path, "initial_value": 0}}
    return {"name": "items", "primary_key": "id", "write_disposition": "merge", "endpoint": endpoint, **settings}


def test_a_cursor_is_not_compared_with_values_at_another_path(
    source: Callable[..., Any], api: Any, failure_of: Callable[..., str]
) -> None:
    api.route("/items", [{"id": 1, "big": 1000}])
    source(items("big")).load("items")
    api.route("/items", [{"id": 1, "big": 1000}, {"id": 2, "big": 2000}])
    api.requests.clear()
    house = source(items("id"))
    for by_hand in ({}, {"start_value": "1"}, {"max_pages": 1}):
        told = failure_of(house.run("items", **by_hand))
        assert "the cursor is a value at 'big', and `cursor_path` is 'id' now" in told
        assert "`full_refresh: true`, or put the setting back" in told
    assert api.requests == []
    assert house.load("items", full_refresh=True)["dagster/row_count"] == 2
    assert house.load("items")["cursor_before"] == 2


def test_a_cursor_outlives_the_time_without_one(
    source: Callable[..., Any], api: Any, failure_of: Callable[..., str]
) -> None:
    api.route("/items", [{"id": 1, "big": 1000}])
    source(items("big")).load("items")
    source({**items("big"), "endpoint": {"paginator": "single_page"}}).load("items")
    assert "the cursor is a value at 'big'" in failure_of(source(items("id")).run("items"))
    assert source(items("big")).load("items")["cursor_before"] == 1000


def test_cursors_per_key_are_not_compared_with_values_at_another_path(
    houses: Callable[..., Any], api: Any, failure_of: Callable[..., str]
) -> None:
    houses("orders", incremental={"cursor_path": "at"}).load("orders", "parts")
    assert "`cursor_path` is 'part' now" in failure_of(
        houses("orders", incremental={"cursor_path": "part"}).run("parts")
    )


def test_a_cursor_is_not_gone_on_from_in_the_other_direction(
    source: Callable[..., Any], api: Any, failure_of: Callable[..., str]
) -> None:
    api.route("/items", [{"id": 1, "big": 1000}])
    source(items("big")).load("items")
    endpoint = {"paginator": "single_page", "incremental": {"cursor_path": "big", "last_value_func": "min"}}
    house = source(items("big", endpoint=endpoint))
    told = failure_of(house.run("items"))
    assert "the cursor is the max of the values, and `last_value_func` is 'min' now" in told
    assert house.load("items", full_refresh=True)["dagster/row_count"] == 1


@pytest.mark.parametrize("case", ["the same path", "a table that is replaced", "nothing loaded yet", "an older load"])
def test_another_spelling_or_nothing_to_go_on_from_is_no_other_path(
    source: Callable[..., Any], api: Any, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    settings = {"write_disposition": "replace"} if case == "a table that is replaced" else {}
    api.route("/items", [] if case == "nothing loaded yet" else [{"id": 1, "big": 1000}])
    with monkeypatch.context() as before:
        if case == "an older load":
            before.setattr(Haul, "_conditions", lambda self, rules, fetched: Conditions(settings="x"))
        source(items("big", **settings)).load("items")
    api.route("/items", [{"id": 2000, "big": 2000}])
    other = "$.big" if case == "the same path" else "id"
    assert source(items(other, **settings)).load("items")["rows_inserted"] == 1


SHAPES = [
    ({}, {"nested": "json"}, "o", '{"x":1}'),
    ({"nested": "json"}, {}, "o__x", 1),
    ({"schema_contract": {"columns": "discard_value"}}, {}, "o__x", 1),
]


@pytest.mark.parametrize(("before", "after", "column", "value"), SHAPES)
def test_rows_that_come_again_fill_the_columns_of_the_new_settings(
    source: Callable[..., Any], api: Any, before: Any, after: Any, column: str, value: Any
) -> None:
    thing = {"name": "things", "primary_key": "id", "write_disposition": "merge", "endpoint": "things"}
    api.replies("/things", [{"id": 1}], [{"id": 1, "o": {"x": 1}}])
    for settings in ({}, before, after):
        house = source({**thing, **settings})
        house.load("things")
    assert house.query(f"SELECT {column} FROM tracker.things") == [(value,)]
    assert house.load("things")["rows_updated"] == 0
