"""Dispositions: what a second load does to the rows of the first."""

from __future__ import annotations

from typing import Any

import pytest

from dagster_restapi.config.table import ColumnHint
from dagster_restapi.errors import PartError, TableError
from dagster_restapi.model import Cursor, TablePlan, Window

APPEND = TablePlan(resource="t", table="t", cursor_path="at")
REPLACE = TablePlan(resource="t", table="t", disposition="replace")
MERGE = TablePlan(resource="t", table="t", disposition="merge", primary_key=("id",))


# ---- append ----------------------------------------------------------------------------------------------------------
def test_append_without_a_cursor_adds_every_time(loads: Any) -> None:
    plan = TablePlan(resource="t", table="t")
    for _ in range(2):
        loads(plan, [{"id": 1, "l": [1]}])
    assert loads.rows("t", "id") == [(1,), (1,)]
    assert len({row[0] for row in loads.rows("t", "_restapi_id")}) == 2
    assert loads.rows("t__l", "count(DISTINCT _restapi_parent_id)") == [(2,)]


@pytest.mark.parametrize(
    ("kind", "at", "spelled"),
    [
        ("instant", "2024-01-01T10:00:00Z", "2024-01-01T12:00:00+02:00"),
        ("number", 5, 5),
        ("number", 2**53 + 1, 2**53 + 1),
        ("number", 1.5, 1.5),
        ("date", "2024-01-01", "2024-01-01"),
        ("text", "b", "b"),
    ],
)
def test_rows_at_the_very_cursor_are_compared_by_content(loads: Any, kind: Any, at: Any, spelled: Any) -> None:
    first = [{"id": 1, "at": at, "v": "old"}, {"id": 2, "at": at, "v": "same"}, {"id": 3, "at": at, "v": "same"}]
    load_id = loads(APPEND, first).load_id
    cursor = Cursor(value=spelled, kind=kind, load_id=load_id)
    again = [*first[1:], {"id": 1, "at": at, "v": "edited"}, {"id": 9, "at": at, "v": "new"}]
    result = loads(APPEND, again, cursor=cursor)
    assert loads.rows("t", "id, v") == [(1, "edited"), (1, "old"), (2, "same"), (3, "same"), (9, "new")]
    assert (result.rows_inserted, result.rows_unchanged) == (2, 2)


def test_equal_rows_at_the_cursor_count_as_often_as_they_stand_there(loads: Any) -> None:
    row = {"at": "2024-01-01T10:00:00Z", "v": 1}
    load_id = loads(APPEND, [row, row]).load_id
    cursor = Cursor(value=row["at"], kind="instant", load_id=load_id)
    loads(APPEND, [row, row, row], cursor=cursor)
    assert len(loads.rows("t")) == 3


def test_a_million_ties_cost_no_metadata(loads: Any) -> None:
    rows = [{"at": "2024-01-01T10:00:00Z", "v": number} for number in range(50_000)]
    first = loads(APPEND, rows)
    cursor = Cursor(value="2024-01-01T10:00:00Z", kind="instant", load_id=first.load_id)
    result = loads(APPEND, rows, cursor=cursor)
    assert result.rows_unchanged == 50_000
    assert loads.rows("_restapi_loads", "max(length(tell))", order="1")[0][0] < 5_000


def test_rows_of_a_load_that_was_never_told_go_first(loads: Any) -> None:
    plan = TablePlan(resource="t", table="t")
    loads(plan, [{"id": 0}])
    lost = loads(plan, [{"id": 1, "l": [1]}]).load_id
    loads(plan, [{"id": 1, "l": [1]}], remove_load=lost)
    assert loads.rows("t", "id") == [(0,), (1,)]
    assert loads.rows("t__l", "count(*)") == [(1,)]
    assert (lost,) not in loads.rows("_restapi_loads", "load_id")


# ---- replace ---------------------------------------------------------------------------------------------------------
def test_replace_takes_the_place_of_all_rows_and_children(loads: Any) -> None:
    loads(REPLACE, [{"id": 1, "l": [1, 2]}, {"id": 2, "old": "x"}])
    result = loads(REPLACE, [{"id": 3, "l": [3]}])
    assert loads.rows("t", "id, old") == [(3, None)]
    assert loads.rows("t__l", "value") == [(3,)]
    assert (result.row_count_before, result.rows_deleted, result.row_count) == (2, 2, 1)


def test_an_empty_answer_keeps_the_table_unless_it_is_allowed(loads: Any) -> None:
    loads(REPLACE, [{"id": 1}])
    for options in ({}, {"replace": True}):
        result = loads(REPLACE, [], **options)
        assert loads.rows("t", "id") == [(1,)]
        assert "allow_empty" in result.warnings[0]
    allowed = TablePlan(resource="t", table="t", disposition="replace", allow_empty=True)
    result = loads(allowed, [])
    assert loads.rows("t") == []
    assert (result.row_count_before, result.row_count) == (1, 0)


@pytest.mark.parametrize(
    ("plan", "options"),
    [
        (REPLACE, {}),
        (TablePlan(resource="t", table="t"), {"replace": True, "partition": "eu"}),
        (MERGE, {"replace": True, "partition": "d", "window": Window(start="2024-01-01", end="2024-01-02")}),
    ],
)
def test_rows_of_a_parent_that_failed_stay(loads: Any, plan: TablePlan, options: dict[str, Any]) -> None:
    def failed(*parents: int) -> dict[str, Any]:
        return {"fetched": {"failed_parents": tuple({"p": number} for number in parents)}, **options}

    loads(plan, [{"id": 1, "l": [1]}, {"id": 2}], **failed(3))
    loads(plan, [{"id": 1, "l": [1]}, {"id": 2, "v": 2}], **failed(3))
    for rows in ([{"id": 1}], []):
        with pytest.raises(PartError, match=r"requests of 1 parents failed.* place of 2 rows") as error:
            loads(plan, rows, **failed(2, 3))
        assert "on_error: fail" in str(error.value)
        assert loads.rows("t", "id, v") == [(1, None), (2, 2)]
        assert loads.rows("t__l", "value") == [(1,)]
    loads(plan, [{"id": 1}], slice_={"full_refresh": True}, **failed(2, 3))
    loads(plan, [{"id": 4}], **failed(2, 3))
    assert loads.rows("t", "id") == [(4,)]


def test_a_full_refresh_starts_with_fresh_types(loads: Any) -> None:
    loads(MERGE, [{"id": 1, "v": "x", "gone": 1, "l": [1]}])
    loads(MERGE, [{"id": 2, "v": 5}], replace=True)
    assert loads.types("t") == {"id": "BIGINT", "v": "BIGINT"}
    assert loads.tables() == {"t"}


def test_a_replaced_table_keeps_its_columns(loads: Any) -> None:
    loads(REPLACE, [{"id": 1, "v": "x"}])
    loads(REPLACE, [{"id": 2}])
    assert loads.types("t") == {"id": "BIGINT", "v": "VARCHAR"}


# ---- merge -----------------------------------------------------------------------------------------------------------
def test_merge_replaces_changed_rows_with_their_children_and_leaves_the_rest_untouched(loads: Any) -> None:
    first = loads(MERGE, [{"id": 1, "v": "a", "l": [1, 2]}, {"id": 2, "v": "b", "l": [3]}])
    second = loads(MERGE, [{"id": 1, "v": "a", "l": [1, 2]}, {"id": 2, "v": "c", "l": []}, {"id": 3, "v": "d"}])
    assert loads.rows("t", "id, v, _restapi_load_id") == [
        (1, "a", first.load_id),
        (2, "c", second.load_id),
        (3, "d", second.load_id),
    ]
    assert loads.rows("t__l", "value, _restapi_load_id") == [(1, first.load_id), (2, first.load_id)]
    assert (second.rows_inserted, second.rows_updated, second.rows_deleted, second.rows_unchanged) == (1, 1, 0, 1)
    assert second.data_version == second.load_id
    third = loads(MERGE, [{"id": 3, "v": "d"}])
    assert (third.rows_unchanged, third.data_version) == (1, second.load_id)


def test_compound_keys_and_keys_whose_type_widens(loads: Any) -> None:
    plan = TablePlan(resource="t", table="t", disposition="merge", primary_key=("a", "o.b"))
    loads(plan, [{"a": 1, "o": {"b": 1}, "v": 1}, {"a": 1, "o": {"b": 2}, "v": 1}])
    loads(plan, [{"a": "1", "o": {"b": 2.0}, "v": 2}, {"a": "x", "o": {"b": 2.5}, "v": 3}])
    assert loads.rows("t", "a, v") == [("1", 1), ("1", 2), ("x", 3)]
    loads(plan, [{"a": 1, "o": {"b": 1}, "v": 4}])
    assert loads.rows("t", "a, v") == [("1", 2), ("1", 4), ("x", 3)]


def test_an_instant_is_one_key_however_it_is_spelled(loads: Any) -> None:
    plan = TablePlan(resource="t", table="t", disposition="merge", primary_key=("k",))
    loads(plan, [{"k": "2024-01-01T10:00:00Z", "v": 1}])
    loads(plan, [{"k": "2024-01-01T12:00:00+02:00", "v": 2}, {"k": "n/a", "v": 3}])
    assert loads.rows("t", "v") == [(2,), (3,)]


def test_the_last_of_twins_wins_unless_dedup_sort_says_otherwise(loads: Any) -> None:
    twins = [{"id": 1, "n": 2, "l": [2]}, {"id": 1, "n": 3, "l": [3]}, {"id": 1, "n": 1, "l": [1]}]
    result = loads(MERGE, twins)
    assert loads.rows("t", "n") == [(1,)]
    assert loads.rows("t__l", "value") == [(1,)]
    assert "2 records were left out" in result.warnings[0]
    for order, expected in (("desc", 3), ("asc", 1)):
        hints = {"n": ColumnHint(dedup_sort=order)}
        plan = TablePlan(resource=order, table=order, disposition="merge", primary_key=("id",), hints=hints)
        loads(plan, twins)
        assert loads.rows(order, "n") == [(expected,)]


def test_a_merge_key_replaces_whole_groups(loads: Any) -> None:
    plan = TablePlan(resource="t", table="t", disposition="merge", merge_key=("day",))
    first = loads(plan, [{"day": 1, "v": 1}, {"day": 1, "v": 2}, {"day": 1, "v": 2}, {"day": 2, "v": 1}, {"v": 9}])
    result = loads(plan, [{"day": 1, "v": 2}, {"day": 1, "v": 3}, {"day": None, "v": 10}])
    assert loads.rows("t", "day, v", order="day NULLS LAST, v") == [(1, 2), (1, 3), (2, 1), (None, 10)]
    assert (first.load_id, 2) in loads.rows("t", "_restapi_load_id, v")
    assert (result.rows_unchanged, result.rows_inserted, result.rows_deleted) == (1, 2, 3)


def test_a_null_key_is_an_error_that_counts(loads: Any) -> None:
    with pytest.raises(TableError, match="1 of 2 records have no value for 'id'"):
        loads(MERGE, [{"id": None, "v": 1}, {"id": 1, "v": 2}])
    with pytest.raises(TableError, match="no record has the primary key 'id'"):
        loads(MERGE, [{"ids": 1}])


@pytest.mark.parametrize("name", ["rowid", "RowID"])
@pytest.mark.parametrize("value", [7, None, "x"])
@pytest.mark.parametrize("keys", [{"primary_key": ("id",)}, {"merge_key": ("id",)}])
def test_a_field_with_the_name_of_duckdbs_rowid_is_data_like_others(
    loads: Any, name: str, value: Any, keys: dict[str, Any]
) -> None:
    def record(number: int, v: int) -> dict[str, Any]:
        return {"id": number, "v": v, name: value}

    plan = TablePlan(resource="t", table="t", disposition="merge", naming="as_is", **keys)
    first = loads(plan, [record(1, 1), record(2, 1), record(3, 1)])
    result = loads(plan, [record(1, 1), record(2, 2), record(3, 1), record(4, 1)])
    assert loads.rows("t", f'id, v, "{name}"') == [(1, 1, value), (2, 2, value), (3, 1, value), (4, 1, value)]
    assert [row[0] for row in loads.rows("t", "id, _restapi_load_id") if row[1] == first.load_id] == [1, 3]
    assert (result.rows_unchanged, result.row_count) == (2, 4)


def test_switching_from_append_to_merge_finds_the_old_rows(loads: Any) -> None:
    plan = TablePlan(resource="t", table="t")
    for _ in range(2):
        loads(plan, [{"id": 1, "v": 1, "l": [1]}])
    loads(MERGE, [{"id": 1, "v": 2, "l": [2]}])
    assert loads.rows("t", "id, v") == [(1, 2)]
    assert loads.rows("t__l", "value") == [(2,)]


def test_hard_delete_removes_and_never_inserts(loads: Any) -> None:
    plan = TablePlan(
        resource="t", table="t", disposition="merge", primary_key=("id",), hints={"gone": ColumnHint(hard_delete=True)}
    )
    loads(plan, [{"id": 1, "gone": False, "l": [1]}, {"id": 2, "gone": True}, {"id": 3}])
    assert loads.rows("t", "id") == [(1,), (3,)]
    result = loads(plan, [{"id": 1, "gone": True, "l": [1]}, {"id": 4, "gone": True}])
    assert loads.rows("t", "id") == [(3,)]
    assert loads.rows("t__l") == []
    assert (result.rows_deleted, result.rows_inserted) == (1, 0)
    dated = TablePlan(
        resource="d", table="d", disposition="merge", primary_key=("id",), hints={"at": ColumnHint(hard_delete=True)}
    )
    loads(dated, [{"id": 1, "at": None}, {"id": 2, "at": "2024-01-01T00:00:00Z"}])
    assert loads.rows("d", "id") == [(1,)]


@pytest.mark.parametrize(
    ("other", "options"),
    [
        ("2024-01-01", {}),
        ("2024-01-01T00:00:00Z", {}),
        (0, {}),
        ({"by": "ada"}, {"nested": "json"}),
        (True, {"hints": {"gone": ColumnHint(hard_delete=True, data_type="text")}}),
        (True, {"hints": {"gone": ColumnHint(hard_delete=True, data_type="json")}}),
    ],
)
def test_a_row_that_says_false_stays_whatever_others_say(loads: Any, other: Any, options: dict[str, Any]) -> None:
    options = {"hints": {"gone": ColumnHint(hard_delete=True)}, **options}
    plan = TablePlan(resource="t", table="t", disposition="merge", primary_key=("id",), **options)
    for _ in range(2):
        loads(plan, [{"id": 1, "gone": False}, {"id": 2, "gone": other}, {"id": 3, "gone": None}])
        assert loads.rows("t", "id") == [(1,), (3,)]
    loads(plan, [{"id": 1, "gone": other}, {"id": 3, "gone": False}])
    assert loads.rows("t", "id") == [(3,)]


def test_upsert_and_insert_only(loads: Any) -> None:
    for strategy, kept in (("upsert", "new"), ("insert-only", "old")):
        plan = TablePlan(resource=strategy, table=strategy, disposition="merge", strategy=strategy, primary_key=("id",))
        loads(plan, [{"id": 1, "v": "old", "l": [1]}])
        loads(plan, [{"id": 1, "v": "new", "l": [2]}, {"id": 2, "v": "new", "l": [3]}])
        assert loads.rows(strategy, "id, v") == [(1, kept), (2, "new")]
        assert loads.rows(f"{strategy}__l", "value") == [(2 if kept == "new" else 1,), (3,)]


def test_a_merge_without_key_appends_and_says_so(loads: Any) -> None:
    plan = TablePlan(resource="t", table="t", disposition="merge")
    loads(plan, [{"v": 1}])
    assert "appends" in loads(plan, [{"v": 1}]).warnings[0]
    assert len(loads.rows("t")) == 2
    with pytest.raises(TableError, match="needs a primary key"):
        loads(TablePlan(resource="u", table="u", disposition="merge", strategy="upsert"), [{"v": 1}])


# ---- scd2 ------------------------------------------------------------------------------------------------------------
def _history(loads: Any) -> list[Any]:
    rows = loads.rows("t", "id, v, _restapi_valid_to IS NULL, _restapi_valid_from", order="_restapi_valid_from, id, v")
    return [row[:3] for row in rows]


def test_scd2_closes_what_changed_or_went_away_and_keeps_history(loads: Any) -> None:
    plan = TablePlan(resource="t", table="t", disposition="merge", strategy="scd2")
    loads(plan, [{"id": 1, "v": 1, "l": [1]}, {"id": 2, "v": 1}])
    result = loads(plan, [{"id": 1, "v": 2, "l": [2]}, {"id": 2, "v": 1}])
    assert (result.rows_inserted, result.rows_updated, result.rows_unchanged) == (1, 1, 1)
    loads(plan, [{"id": 1, "v": 1, "l": [1]}])
    assert _history(loads) == [(1, 1, False), (2, 1, False), (1, 2, False), (1, 1, True)]
    assert loads.rows("t__l", "value") == [(1,), (1,), (2,)]
    [(ends, starts)] = loads.rows(
        "t", "max(_restapi_valid_to) FILTER (WHERE v = 2)::VARCHAR, max(_restapi_valid_from)::VARCHAR", order="1"
    )
    assert ends == starts
    assert loads(plan, []).warnings
    assert (1, 1, True) in _history(loads)


def test_scd2_with_a_key_or_a_cursor_closes_only_keys_that_the_load_mentions(loads: Any) -> None:
    for options in ({"merge_key": ("id",)}, {"primary_key": ("id",), "cursor_path": "at"}):
        name = next(iter(options))
        plan = TablePlan(resource=name, table=name, disposition="merge", strategy="scd2", **options)
        loads(plan, [{"id": 1, "v": 1}, {"id": 2, "v": 1}])
        loads(plan, [{"id": 1, "v": 2}])
        rows = loads.rows(name, "id, v, _restapi_valid_to IS NULL")
        assert rows == [(1, 1, False), (1, 2, True), (2, 1, True)]


# ---- partitions ------------------------------------------------------------------------------------------------------
def test_a_partition_is_replaced_alone_also_by_nothing(loads: Any) -> None:
    plan = TablePlan(resource="t", table="t")
    for key in ("eu", "us"):
        loads(plan, [{"id": 1, "l": [1]}], partition=key, replace=True)
    result = loads(plan, [{"id": 2, "l": [2]}], partition="eu", replace=True)
    assert loads.rows("t", "_restapi_partition, id") == [("eu", 2), ("us", 1)]
    assert loads.rows("t__l", "_restapi_partition, value") == [("eu", 2), ("us", 1)]
    assert (result.partition_row_count, result.row_count) == (1, 2)
    loads(plan, [], partition="eu", replace=True)
    assert loads.rows("t", "_restapi_partition") == [("us",)]


def test_a_merge_goes_by_key_within_a_static_partition(loads: Any) -> None:
    for key in ("eu", "us"):
        loads(MERGE, [{"id": 1, "v": key, "l": [key]}], partition=key)
    loads(MERGE, [{"id": 1, "v": "new", "l": ["new"]}], partition="eu")
    assert loads.rows("t", "_restapi_partition, v") == [("eu", "new"), ("us", "us")]
    assert loads.rows("t__l", "_restapi_partition, value") == [("eu", "new"), ("us", "us")]


def _window(day: int) -> dict[str, Any]:
    return {"partition": f"2024-01-0{day}", "window": Window(start=f"2024-01-0{day}", end=f"2024-01-0{day + 1}")}


@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize("key", ["primary_key", "merge_key"])
def test_a_record_that_moves_to_another_window_leaves_the_old_one(loads: Any, replace: bool, key: str) -> None:
    plan = TablePlan(resource="t", table="t", disposition="merge", **{key: ("id",)})  # type: ignore[arg-type]
    loads(plan, [{"id": 1, "l": [1]}, {"id": 2, "l": [2]}], **_window(1), replace=replace)
    loads(plan, [{"id": 1, "l": [1]}], **_window(2), replace=replace)
    assert loads.rows("t", "id, _restapi_partition") == [(1, "2024-01-02"), (2, "2024-01-01")]
    assert loads.rows("t__l", "value, _restapi_partition") == [(1, "2024-01-02"), (2, "2024-01-01")]


@pytest.mark.parametrize("living", [[], [{"id": 2, "gone": False, "l": [2]}]])
def test_a_deletion_in_another_window_counts_where_the_living_rows_are_the_same(
    loads: Any, living: list[dict[str, Any]]
) -> None:
    plan = TablePlan(
        resource="t", table="t", disposition="merge", primary_key=("id",), hints={"gone": ColumnHint(hard_delete=True)}
    )
    loads(plan, [{"id": 1, "gone": False, "l": [1]}], **_window(1), replace=True)
    loads(plan, living, **_window(2), replace=True)
    deleting = loads(plan, [{"id": 1, "gone": True, "l": [1]}, *living], **_window(2), replace=True)
    assert loads.rows("t", "id") == [(row["id"],) for row in living]
    assert loads.rows("t__l", "value") == [(row["id"],) for row in living]
    assert deleting.rows_deleted - deleting.rows_inserted == 1
    again = loads(plan, [{"id": 1, "gone": True, "l": [1]}, *living], **_window(2), replace=True)
    assert (again.rows_inserted, again.rows_deleted, again.data_version) == (0, 0, deleting.data_version)


BY_CONTENT: list[tuple[str, Any, dict[str, Any]]] = [
    ("number", 1700000000, {"hints": {"u": ColumnHint(data_type="timestamp")}}),
    ("date", "2024-01-01", {"hints": {"u": ColumnHint(data_type="timestamp")}}),
    ("number", 1, {"hints": {"u": ColumnHint(data_type="decimal")}}),
    ("number", 1.0, {"hints": {"u": ColumnHint(data_type="text")}}),
    ("instant", "2024-01-01T00:00:00Z", {"hints": {"u": ColumnHint(data_type="json")}}),
    ("instant", "2024-01-01 11:00:00 +0200", {}),
    ("instant", "2024-01-01T11:00:00 +02:00", {}),
    ("instant", "2024-01-01T00:00:00.123456789Z", {}),
    ("number", "1267650600228229401496703205376000000000", {}),
]


@pytest.mark.parametrize(("kind", "value", "settings"), BY_CONTENT)
def test_rows_at_the_cursor_are_known_again_however_it_is_spelled(
    loads: Any, kind: Any, value: Any, settings: dict[str, Any]
) -> None:
    plan = TablePlan(resource="events", table="events", cursor_path="u", **settings)
    cursor = Cursor(value=value, kind=kind, load_id="x")
    loads(plan, [{"u": value, "n": 1}])
    for extra in (2, 3):
        loads(plan, [{"u": value, "n": number} for number in range(1, extra + 1)], cursor=cursor)
    assert loads.rows("events", "n") == [(1,), (2,), (3,)]


@pytest.mark.parametrize("settings", [{"nested": "json"}, {"nested": "native"}, {"max_nesting": 0}])
def test_so_are_rows_whose_cursor_has_no_column(loads: Any, settings: dict[str, Any]) -> None:
    plan = TablePlan(resource="events", table="events", cursor_path="m.u", **settings)
    record = {"m": {"u": "2024-01-01T00:00:00Z"}}
    cursor = Cursor(value="2024-01-01T00:00:00Z", kind="instant", load_id="x")
    loads(plan, [record])
    loads(plan, [record, record], cursor=cursor)
    assert loads.rows("events", "count(*)") == [(2,)]
