"""Contracts: what a load may change in tables that exist."""

from __future__ import annotations

from typing import Any

import pytest

from dagster_restapi.errors import ContractError
from dagster_restapi.model import Contract, TablePlan

OPEN = TablePlan(resource="t", table="t")


def _plan(**modes: Any) -> TablePlan:
    return TablePlan(resource="t", table="t", contract=Contract(**modes))


def _first(loads: Any) -> None:
    loads(OPEN, [{"id": 1, "n": 1, "at": "2024-01-01T00:00:00Z", "l": [{"x": 1}]}])


def test_everything_may_come_with_the_first_load(loads: Any) -> None:
    loads(_plan(tables="freeze", columns="freeze", data_type="freeze"), [{"id": 1, "l": [1]}])
    assert loads.tables() == {"t", "t__l"}


@pytest.mark.parametrize(
    ("modes", "record", "named"),
    [
        ({"tables": "freeze"}, {"id": 2, "m": [1]}, "'m'"),
        ({"columns": "freeze"}, {"id": 2, "new": 1}, "'new'"),
        ({"columns": "freeze"}, {"id": 2, "l": [{"y": 1}]}, "'y'"),
        ({"data_type": "freeze"}, {"id": "x"}, "'id'"),
        ({"data_type": "freeze"}, {"n": 2.5}, "'n'"),
        ({"data_type": "freeze"}, {"at": "soon"}, "'at'"),
    ],
)
def test_freeze_is_an_error_that_names_the_field_and_changes_nothing(
    loads: Any, modes: dict[str, Any], record: dict[str, Any], named: str
) -> None:
    _first(loads)
    before = loads.canonical("t"), loads.types("t")
    with pytest.raises(ContractError, match=named):
        loads(_plan(**modes), [{"id": 9}, record])
    assert (loads.canonical("t"), loads.types("t")) == before


def test_freeze_lets_values_in_that_fit(loads: Any) -> None:
    _first(loads)
    frozen = _plan(tables="freeze", columns="freeze", data_type="freeze")
    loads(frozen, [{"id": "2", "n": 2.0, "at": "2024-01-02T00:00:00Z", "new": None, "m": []}, {"at": None}])
    assert loads.rows("t", "id, n", order="rowid") == [(1, 1), (2, 2), (None, None)]


@pytest.mark.parametrize(
    "text",
    [
        "2024-01-01T00:00:00.123456789Z",
        "2024-01-01T00:00:00.1234560001",
        "infinity",
        " epoch",
        "Epoch",
        "9999-12-31T23:59:59-05:00",
    ],
)
@pytest.mark.parametrize("mode", ["freeze", "discard_value", "discard_row"])
def test_a_text_that_is_no_whole_time_stamp_does_not_fit_one(loads: Any, mode: Any, text: str) -> None:
    _first(loads)
    plan, records = _plan(data_type=mode), [{"id": 2, "at": text}, {"id": 3, "at": "2024-01-02T00:00:00.123456000Z"}]
    if mode == "freeze":
        with pytest.raises(ContractError, match="1 values of 'at' do not fit"):
            loads(plan, records)
        return
    loads(plan, records)
    left = [] if mode == "discard_row" else [(2, None)]
    assert loads.rows("t", 'id, epoch_us("at")')[1:] == [*left, (3, 1704153600123456)]


def test_discard_value_leaves_out_what_is_new_or_does_not_fit(loads: Any) -> None:
    _first(loads)
    discarding = _plan(tables="discard_value", columns="discard_value", data_type="discard_value")
    result = loads(discarding, [{"id": "x", "n": 5, "new": 1, "m": [1]}, {"id": 3, "at": "soon", "l": [{"y": 1}]}])
    assert loads.rows("t", 'id, n, "at" IS NULL', order="rowid")[1:] == [(None, 5, True), (3, None, True)]
    assert loads.types("t").keys() == {"id", "n", "at"}
    assert loads.tables() == {"t", "t__l"}
    assert len(result.warnings) >= 4


def test_discard_row_leaves_out_rows_and_their_children(loads: Any) -> None:
    _first(loads)
    discarding = _plan(columns="discard_row", data_type="discard_row")
    loads(
        discarding,
        [
            {"id": 2, "new": 1, "l": [{"x": 2}]},
            {"id": "x", "l": [{"x": 3}]},
            {"id": 4, "l": [{"x": 4}, {"x": 5, "y": 1}, {"x": "z"}]},
        ],
    )
    assert loads.rows("t", "id") == [(1,), (4,)]
    assert loads.rows("t__l", "x") == [(1,), (4,)]


def test_changes_are_listed(loads: Any) -> None:
    first = loads(OPEN, [{"id": 1}])
    assert first.schema_changes == ("new table t",)
    second = loads(OPEN, [{"id": "x", "new": 1.5, "l": [1]}])
    assert second.schema_changes == ("t.id BIGINT -> VARCHAR", "new column t.new DOUBLE", "new table t__l")
    assert loads(OPEN, [{"id": 3}]).schema_changes == ()
