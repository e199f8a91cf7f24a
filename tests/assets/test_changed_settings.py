"""A run after the configuration has changed: what the last load left is gone on from only where it still means that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


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
