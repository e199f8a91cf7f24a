"""Types: every value is kept exactly, in whatever order and split the records arrive."""

from __future__ import annotations

import json
import re
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

import pytest

from dagster_restapi.config.table import ColumnHint
from dagster_restapi.errors import RowsError, TableError
from dagster_restapi.model import TablePlan

PLAN = TablePlan(resource="things", table="things")


def test_integers_are_exact_beside_nulls(loads: Any) -> None:
    values = {"a": 2**53 + 1, "b": 2**63 - 1, "c": 2**63, "d": 2**64, "e": 2**70, "f": -(2**127)}
    loads(PLAN, [values, dict.fromkeys(values), dict.fromkeys(values, 1), {}])
    assert set(loads.types("things").values()) == {"BIGINT", "HUGEINT"}
    for name, value in values.items():
        assert {row[0] for row in loads.rows("things", name)} == {value, 1, None}


def test_integers_beyond_int128_keep_their_digits_as_text(loads: Any) -> None:
    loads(PLAN, [{"n": 2**127}, {"n": 7}])
    assert loads.types("things") == {"n": "VARCHAR"}
    assert {row[0] for row in loads.rows("things", "n")} == {str(2**127), "7"}


def test_a_column_of_nulls_takes_the_type_of_its_first_value(loads: Any) -> None:
    loads(PLAN, [{"n": None}])
    assert loads.types("things") == {"n": "VARCHAR"}
    result = loads(PLAN, [{"n": 2**70}])
    assert loads.types("things") == {"n": "HUGEINT"}
    assert result.schema_changes == ("things.n VARCHAR -> HUGEINT",)


@pytest.mark.parametrize("nested", ["tables", "native", "json"])
def test_a_null_in_place_of_an_object_or_a_list_makes_no_column(loads: Any, nested: Any) -> None:
    plan = TablePlan(resource="things", table="things", nested=nested)
    loads(plan, [{"id": 1, "who": {"name": "ada", "at": {"city": "X"}}, "tags": ["a"], "deep": {"list": [1]}}])
    before = loads.types("things")
    told = loads(
        plan, [{"id": 2, "who": None, "tags": None, "deep": None}, {"id": 3, "who": {"name": "b", "at": None}}]
    )
    assert told.schema_changes == ()
    assert loads.types("things") == before
    changes = loads(plan, [{"id": 4, "who": {"name": "eve"}, "other": None}]).schema_changes
    assert changes == ("new column things.other VARCHAR",)


PAIRS: list[tuple[object, object, str, set[object]]] = [
    (1, 2.5, "DOUBLE", {1.0, 2.5}),
    (2**53 + 1, 2.5, "VARCHAR", {str(2**53 + 1), "2.5"}),
    (2**70, 2.5, "VARCHAR", {str(2**70), "2.5"}),
    (1, "x", "VARCHAR", {"1", "x"}),
    (1.0, "x", "VARCHAR", {"1", "x"}),
    (1e300, "x", "VARCHAR", {"1e+300", "x"}),
    (True, 1, "VARCHAR", {"true", "1"}),
    (1, 2**64, "HUGEINT", {1, 2**64}),
    (2**64, 2**127, "VARCHAR", {str(2**64), str(2**127)}),
    ("2024-01-01T00:00:00Z", 5, "VARCHAR", {"2024-01-01T00:00:00Z", "5"}),
    ("007", 7, "VARCHAR", {"007", "7"}),
    (False, "no", "VARCHAR", {"false", "no"}),
]


@pytest.mark.parametrize("way", [1, -1])
@pytest.mark.parametrize("at_once", [True, False])
def test_two_kinds_widen_to_one_column_over_every_route(loads: Any, way: int, at_once: bool) -> None:
    records = [{f"c{number}": pair[side] for number, pair in enumerate(PAIRS)} for side in (0, 1)][::way]
    for batch in [records] if at_once else [records[:1], records[1:]]:
        loads(PLAN, batch)
    assert loads.types("things") == {f"c{number}": kind for number, (_, _, kind, _) in enumerate(PAIRS)}
    for number, (_, _, _, values) in enumerate(PAIRS):
        assert {row[0] for row in loads.rows("things", f"c{number}")} == values


def test_only_date_times_that_fit_become_time_stamps(loads: Any) -> None:
    record = {
        "zulu": "2024-02-29T10:00:00Z",
        "minutes": "2024-01-01T10:00Z",
        "offset": "2024-01-01T10:00:00.123456+0530",
        "naive": "2024-01-01T10:00:00",
        "nanoseconds": "2024-01-01T10:00:00.123456789Z",
        "day": "2024-01-01",
        "no_day": "2023-02-29T10:00:00Z",
        "epoch": 1700000000,
    }
    loads(PLAN, [record])
    kinds = loads.types("things")
    assert {name for name, kind in kinds.items() if kind == "TIMESTAMP WITH TIME ZONE"} == {
        "zulu",
        "minutes",
        "offset",
        "naive",
    }
    assert loads.rows("things", "nanoseconds, day, no_day, epoch") == [
        ("2024-01-01T10:00:00.123456789Z", "2024-01-01", "2023-02-29T10:00:00Z", 1700000000)
    ]
    assert loads.rows("things", 'CAST(epoch("offset") * 1000000 AS BIGINT), CAST(naive AS VARCHAR)') == [
        (1704083400123456, "2024-01-01 10:00:00+00")
    ]


def test_a_date_time_beyond_the_calendar_stays_text(loads: Any) -> None:
    loads(PLAN, [{"at": "0001-01-01T00:00:00+05:00"}, {"at": "2024-01-01T00:00:00Z"}])
    assert loads.types("things") == {"at": "VARCHAR"}
    assert {row[0] for row in loads.rows("things", '"at"')} == {"0001-01-01T00:00:00+05:00", "2024-01-01T00:00:00Z"}


def test_text_is_kept_as_it_came(loads: Any) -> None:
    values = ["", " ", "NULL", "null", "'", '"', "a\x00b", "é🙂", "line\nbreak", "01", "1e5", "{}", "x" * 100_000]
    loads(PLAN, [{"v": value} for value in values])
    assert [row[0] for row in loads.rows("things", "v", order="rowid")] == values


def test_a_number_that_is_text_stays_apart_from_a_number(loads: Any) -> None:
    loads(PLAN, [{"v": "1.50"}, {"v": 1.5}, {"v": 1e17}, {"v": "1e17"}])
    assert [row[0] for row in loads.rows("things", "v", order="rowid")] == ["1.50", "1.5", "1e+17", "1e17"]


EXACT = "12345678901234567890.123456789"
HINTED: list[tuple[dict[str, Any], Any, str, Any]] = [
    ({"data_type": "text"}, 12, "VARCHAR", "12"),
    ({"data_type": "bigint"}, "12", "BIGINT", 12),
    ({"data_type": "bigint", "precision": 32}, 12, "INTEGER", 12),
    ({"data_type": "double"}, 3, "DOUBLE", 3.0),
    ({"data_type": "bool"}, "true", "BOOLEAN", True),
    ({"data_type": "date"}, "2024-05-06", "DATE", date(2024, 5, 6)),
    ({"data_type": "decimal", "precision": 10, "scale": 2}, "12.30", "DECIMAL(10,2)", Decimal("12.30")),
    ({"data_type": "decimal"}, EXACT, "DECIMAL(38,9)", Decimal(EXACT)),
    ({"data_type": "wei"}, str(10**30), "DECIMAL(38,0)", Decimal(10**30)),
    ({"data_type": "json"}, {"a": [1]}, "JSON", '{"a":[1]}'),
    ({"data_type": "timestamp", "timezone": False}, "2024-01-01T02:00:00+02:00", "TIMESTAMP", datetime(2024, 1, 1)),
    ({"data_type": "timestamp", "timezone": False}, 1704067200, "TIMESTAMP", datetime(2024, 1, 1)),
    ({"data_type": "binary"}, "aGk=", "BLOB", b"hi"),
]


def test_a_hint_sets_the_type(loads: Any) -> None:
    hints = {f"c{number}": ColumnHint(**hint) for number, (hint, _, _, _) in enumerate(HINTED)}
    plan = TablePlan(resource="things", table="things", hints=hints)
    loads(plan, [{f"c{number}": value for number, (_, value, _, _) in enumerate(HINTED)}, dict.fromkeys(hints)])
    assert loads.types("things") == {f"c{number}": kind for number, (_, _, kind, _) in enumerate(HINTED)}
    [row] = loads.rows("things", ", ".join(hints), order="c0 LIMIT 1")
    assert row == tuple(stored for _, _, _, stored in HINTED)


@pytest.mark.parametrize(
    ("value", "text"), [(1.0, "1"), (1e22, "1e+22"), (1.5, "1.5"), (10**40, str(10**40)), (7, "7")]
)
@pytest.mark.parametrize("others", [[], ["x"], [2.5], [None, 3]])
def test_the_text_of_a_number_does_not_depend_on_what_else_came(
    loads: Any, value: object, text: str, others: list[object]
) -> None:
    plan = TablePlan(resource="things", table="things", hints={"v": ColumnHint(data_type="text")})
    loads(plan, [{"v": value}, *({"v": other} for other in others)])
    assert loads.rows("things", "v", order="rowid LIMIT 1") == [(text,)]


LOST: list[tuple[str, object]] = [
    ("bigint", 1.5),
    ("bigint", "many"),
    ("bigint", "1e-7"),
    ("bigint", "+1.5"),
    ("bigint", " 1.5"),
    ("bigint", "1.5e0"),
    ("bigint", "0x10"),
    ("bigint", 2**63),
    ("bigint", {"a": 1}),
    ("decimal", "0.1234567891"),
    ("decimal", "1.5e-12"),
    ("decimal", "+1.1234567899"),
    ("decimal", "0.0000000000000000000000000000000000000000000001e40"),
    ("wei", "1.5e-7"),
    ("double", 2**53 + 1),
    ("double", "12345678901234567890"),
    ("double", "1e400"),
    ("double", "many"),
    ("bool", 2),
    ("date", "soon"),
    ("date", "2024-01-02T15:00:00Z"),
    ("date", "infinity"),
    ("time", "2024-01-02T15:00:00Z"),
    ("time", "15:00:00+02:00"),
    ("time", "15:00:00.123456789"),
    ("binary", "?"),
]


@pytest.mark.parametrize(("kind", "value"), LOST)
def test_a_value_that_its_hint_would_lose_is_an_error(loads: Any, kind: Any, value: object) -> None:
    plan = TablePlan(resource="things", table="things", hints={"o.v": ColumnHint(data_type=kind)})
    told = re.escape(f"{json.dumps(value, separators=(',', ':'))} in o.v does not fit ")
    with pytest.raises(RowsError, match=told + ".* without loss; .* in its `columns` hint, or remove it"):
        loads(plan, [{"o": {"v": None}}, {"o": {"v": value}}])
    assert not loads.target.exists


@pytest.mark.parametrize(
    ("kind", "value", "stored"),
    [
        ("bigint", 1e3, 1000),
        ("bigint", "+12.0 ", 12),
        ("bigint", "9.007199254740993e15", 2**53 + 1),
        ("bigint", "1000e-3", 1),
        ("decimal", "1.5e2", Decimal(150)),
        ("decimal", "-1.5E-8", Decimal("-1.5e-8")),
        ("decimal", "0.10000000000", Decimal("0.1")),
        ("wei", "1e22", Decimal(10**22)),
        ("double", 2**64, 2.0**64),
        ("double", 12345678901234567000.0, 12345678901234567000.0),
        ("double", "0.12345678901234567890", 0.12345678901234568),
        ("double", "Infinity", float("inf")),
        ("date", "2024-01-02T00:00:00.000+05:00", date(2024, 1, 2)),
        ("date", "2024-01-02 00:00", date(2024, 1, 2)),
        ("time", "15:00:01.1234560Z", time(15, 0, 1, 123456)),
        ("time", "5:30", time(5, 30)),
    ],
)
def test_a_value_that_fits_its_hint_is_taken_however_it_is_written(
    loads: Any, kind: Any, value: object, stored: object
) -> None:
    plan = TablePlan(resource="things", table="things", hints={"v": ColumnHint(data_type=kind)})
    loads(plan, [{"v": value}])
    assert loads.rows("things", "v") == [(stored,)]


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (1700000000123, "1700000000123 in o.at is no time stamp of the years 1 to 9999; numbers are seconds"),
        (1e300, "1e300 in o.at is no time stamp"),
        (2**70, f"{2**70} in o.at is no time stamp"),
        ("9999-12-31T23:59:59-05:00", '"9999-12-31T23:59:59-05:00" in o.at is no time stamp .* change or remove'),
        ("infinity", '"infinity" in o.at is no time stamp'),
        ("acct 1", '"acct 1" in o.at is no time stamp'),
    ],
)
@pytest.mark.parametrize("zone", [None, False])
def test_a_time_stamp_beyond_the_calendar_is_an_error_where_a_hint_wants_one(
    loads: Any, value: object, told: str, zone: bool | None
) -> None:
    hint = ColumnHint(data_type="timestamp", timezone=zone)
    plan = TablePlan(resource="things", table="things", hints={"o.at": hint})
    with pytest.raises(RowsError, match=told):
        loads(plan, [{"o": {"at": "2024-01-01T00:00:00Z"}}, {"o": {"at": value}}])
    assert not loads.target.exists


@pytest.mark.parametrize(
    ("first", "hint", "stored"),
    [
        (1.5, {"data_type": "bigint"}, None),
        (1.23456, {"data_type": "decimal", "scale": 2}, None),
        ("2024-01-02T15:00:00Z", {"data_type": "date"}, None),
        ("2024-01-02T15:00:00Z", {"data_type": "time"}, None),
        ("2024-01-02T15:00:00.123456789Z", {"data_type": "timestamp"}, None),
        (2**53 + 1, {"data_type": "double"}, None),
        ("0.12345678901234567890", {"data_type": "double"}, None),
        ("0.10", {"data_type": "double"}, 0.1),
        (2**60, {"data_type": "double"}, 2.0**60),
        (300, {"data_type": "bigint", "precision": 8}, None),
        (2, {"data_type": "bool"}, None),
        ("many", {"data_type": "bigint"}, None),
        ({"a": 1}, {"data_type": "bigint"}, None),
        (2.0, {"data_type": "bigint"}, 2),
        (1e22, {"data_type": "wei"}, Decimal(10**22)),
        (0.1, {"data_type": "decimal"}, Decimal("0.1")),
        ("1.50", {"data_type": "decimal", "scale": 2}, Decimal("1.5")),
        ("2024-01-02T00:00:00Z", {"data_type": "date"}, date(2024, 1, 2)),
        ("2024-01-02T02:00:00+02:00", {"data_type": "timestamp", "timezone": False}, datetime(2024, 1, 2)),
        ("2024-01-02", {"data_type": "timestamp", "timezone": False}, datetime(2024, 1, 2)),
        ("aGk=", {"data_type": "binary"}, b"hi"),
        (1.0, {"data_type": "text"}, "1"),
    ],
)
def test_a_hint_that_comes_later_takes_stored_values_as_those_of_records(
    loads: Any, first: object, hint: dict[str, Any], stored: object
) -> None:
    nested: Any = "json" if isinstance(first, dict) else "tables"
    loads(TablePlan(resource="things", table="things", nested=nested), [{"id": 1, "v": first}, {"id": 2}])
    before, kinds = loads.rows("things"), loads.types("things")
    hinted = TablePlan(resource="things", table="things", nested=nested, hints={"v": ColumnHint(**hint)})
    if stored is not None:
        loads(hinted, [{"id": 3}, {"id": 4, "v": None}])
        assert loads.rows("things", "v", order="id LIMIT 1") == [(stored,)]
        return
    fault = r"1 stored values of things.v \w+ do not fit .* without loss, the type that its `columns` hint asks for"
    with pytest.raises(TableError, match=fault) as told:
        loads(hinted, [{"id": 3}, {"id": 4, "v": None}])
    assert "`full_refresh: true`" in str(told.value)
    assert (loads.rows("things"), loads.types("things")) == (before, kinds)


def test_a_decimal_does_not_become_a_double_that_has_fewer_digits(loads: Any) -> None:
    exact = TablePlan(resource="things", table="things", hints={"v": ColumnHint(data_type="decimal")})
    double = TablePlan(resource="things", table="things", hints={"v": ColumnHint(data_type="double")})
    loads(exact, [{"v": "0.1"}])
    loads(double, [])
    loads(exact, [{"v": EXACT}])
    with pytest.raises(TableError, match="1 stored values"):
        loads(double, [{"v": 1.5}])
    assert loads.rows("things", "v") == [(Decimal("0.1"),), (Decimal(EXACT),)]


def test_a_column_that_may_not_be_null_is_checked(loads: Any) -> None:
    plan = TablePlan(resource="things", table="things", hints={"v": ColumnHint(nullable=False)})
    with pytest.raises(TableError, match="1 of 2 records have no value for 'v'"):
        loads(plan, [{"v": 1}, {"w": 2}])
    with pytest.raises(TableError, match="1 of 1 records have no value for 'v'"):
        loads(plan, [{"w": 2}])
    columns = {column.name: column.nullable for column in loads(plan, [{"v": 1, "w": 2}]).columns}
    assert (columns["v"], columns["w"]) == (False, True)


def test_a_column_with_a_type_is_there_before_any_record_has_it(loads: Any) -> None:
    hints = {"o.n": ColumnHint(data_type="decimal", precision=9, scale=2), "userName": ColumnHint(data_type="text")}
    plan = TablePlan(resource="things", table="things", hints=hints, disposition="merge", primary_key=("id",))
    loads(plan, [])
    loads(plan, [{"id": 1}])
    assert loads.types("things") == {"o__n": "DECIMAL(9,2)", "user_name": "VARCHAR", "id": "BIGINT"}
    loads(plan, [{"id": 1, "o": {"n": "1.50"}, "userName": 5}])
    loads(plan, [{"id": 2}])
    assert loads.rows("things", "id, o__n, user_name") == [(1, Decimal("1.50"), "5"), (2, None, None)]
    assert len(loads.types("things")) == 3


def test_a_hint_may_name_a_column_as_the_table_does(loads: Any) -> None:
    plan = TablePlan(resource="things", table="things", hints={"o__n": ColumnHint(data_type="text")})
    for record in ({"x": 1}, {"o": {"n": 5}}, {"x": 2}):
        loads(plan, [record])
    assert loads.types("things") == {"x": "BIGINT", "o__n": "VARCHAR"}
    assert loads.rows("things", "x, o__n", order="rowid") == [(1, None), (None, "5"), (2, None)]


def test_a_hint_describes_its_column(loads: Any) -> None:
    plan = TablePlan(resource="t", table="t", hints={"userName": ColumnHint(description="who")})
    result = loads(plan, [{"userName": "x"}])
    assert {column.name: column.description for column in result.columns}["user_name"] == "who"


def test_exact_decimals_keep_their_digits(loads: Any) -> None:
    plan = TablePlan(resource="things", table="things", hints={"v": ColumnHint(data_type="decimal")})
    loads(plan, [{"v": Decimal(EXACT), "w": Decimal("1.5")}, {"v": Decimal("0.10"), "w": 1}])
    assert loads.types("things") == {"v": "DECIMAL(38,9)", "w": "DOUBLE"}
    assert loads.rows("things", "v, w") == [(Decimal("0.1"), 1.0), (Decimal(EXACT), 1.5)]


def test_a_lone_surrogate_is_kept_as_the_text_of_its_escape(loads: Any) -> None:
    loads(PLAN, [{"v": "a\ud800b"}, {"v": "🙂"}])
    assert loads.rows("things", "v", order="rowid") == [("a\uffffud800b",), ("🙂",)]
