"""Reading: frames, streams, relations, parent keys; and frames of other assets."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pandas
import polars
import pyarrow
import pytest

from dagster_restapi.errors import TableError
from dagster_restapi.model import TablePlan
from dagster_restapi.tables.frames import write_frame
from dagster_restapi.tables.parents import copy_parent_rows
from dagster_restapi.tables.read import describe, previews, read_table, row_count
from dagster_restapi.tables.target import Target

PLAN = TablePlan(resource="issues", table="issues", disposition="merge", primary_key=("id",))
ISSUES = [
    {
        "id": 1,
        "odd key": 3,
        "user": {"login": "ada", "id": 5, "bio": None, "tags": ["a", "b"]},
        "labels": [{"name": "bug", "o": {"z": 1}}, {"name": "ui"}],
        "at": "2024-01-01T12:00:00+02:00",
    },
    {"id": 2, "user": None, "labels": [], "at": None},
    {"id": 2**53 + 1, "user": {"login": "ada"}},
]


@pytest.mark.parametrize("kind", ["arrow", "reader", "pandas", "polars", "relation"])
def test_every_kind_reads_exact_integers_and_lets_go_of_the_file(loads: Any, kind: Any) -> None:
    loads(PLAN, ISSUES)
    found = read_table(loads.target, "issues", columns=["id", "odd_key"], kind=kind)
    with loads.target.write():
        pass
    if kind == "reader":
        found = found.read_all()
    if kind in ("reader", "arrow"):
        rows = [(row["id"], row["odd_key"]) for row in found.to_pylist()]
    elif kind == "relation":
        rows = found.fetchall()
    elif kind == "pandas":
        assert str(found.dtypes["odd_key"]) == "Int64"
        rows = [(row.id, None if row.odd_key is pandas.NA else row.odd_key) for row in found.itertuples()]
    else:
        rows = found.rows()
    assert sorted(rows) == [(1, 3), (2, None), (2**53 + 1, None)]


@pytest.mark.parametrize("kind", ["reader", "relation"])
def test_a_table_larger_than_memory_is_streamed_from_a_private_copy(tmp_path: Path, kind: Any) -> None:
    target = Target(str(tmp_path / "t.duckdb"), memory_limit="64MB")
    with target.write() as connection:
        connection.execute("CREATE TABLE t AS SELECT i AS id, md5(i::VARCHAR) || i AS v FROM range(2_500_000) r(i)")
    found = read_table(target, "t", kind=kind)
    with target.write() as connection:  # nobody waits for the reader
        connection.execute("DROP TABLE t")
    if kind == "reader":
        assert sum(len(batch) for batch in found) == 2_500_000
    else:
        assert found.aggregate("count(v), max(id)").fetchall() == [(2_500_000, 2_499_999)]
    del found
    assert [path.name for path in tmp_path.iterdir()] == ["t.duckdb"]


def test_reading_a_part(loads: Any) -> None:
    plan = TablePlan(resource="t", table="t")
    for key in ("eu", "us", "it's"):
        loads(plan, [{"id": key}], partition=key)
    assert read_table(loads.target, "t", partition="eu").num_rows == 1
    assert read_table(loads.target, "t", partition=["eu", "it's"], kind="polars").height == 2
    assert read_table(loads.target, "t", where="id <> 'eu'").num_rows == 2
    assert row_count(loads.target, "t", partition="us") == 1
    assert row_count(loads.target, "nothing") == 0


def test_what_is_missing_is_named(loads: Any) -> None:
    with pytest.raises(TableError, match="Materialize the asset github/issues first"):
        read_table(loads.target, "issues", asset="github/issues")
    loads(PLAN, ISSUES)
    with pytest.raises(TableError, match="issues__lables first"):
        read_table(loads.target, "issues__lables")
    with pytest.raises(TableError, match="It has odd_key"):
        read_table(loads.target, "issues", columns=["odd_keys"])


def test_preview_and_description(loads: Any) -> None:
    loads(PLAN, ISSUES)
    rows = previews(loads.target, "issues", rows=2, hidden=["user__login"])[None]
    assert [row["id"] for row in rows] == [2, 2**53 + 1]
    assert "user__login" not in rows[0]
    json.dumps(rows)
    columns = {column.name: column for column in describe(loads.target, "issues", plan=PLAN)}
    assert (columns["id"].type, columns["id"].nullable, columns["at"].type) == ("BIGINT", False, "TIMESTAMPTZ")


@pytest.mark.parametrize("value", [7, None, "x'); --"])
def test_a_preview_of_a_table_with_a_column_rowid(loads: Any, value: Any) -> None:
    for day in ("mon", "tue"):
        loads(PLAN, [{"id": f"{day} {number}", "rowid": value} for number in range(3)], partition=day)
    told = previews(loads.target, "issues", rows=2, partitions=("mon", "tue"))
    assert {key: [row["id"] for row in rows] for key, rows in told.items()} == {
        "mon": ["mon 1", "mon 2"],
        "tue": ["tue 1", "tue 2"],
    }
    assert told["mon"][0]["rowid"] == value


# ---- parent keys -----------------------------------------------------------------------------------------------------
def _copy(loads: Any, *fields: str, include: tuple[str, ...] = (), **options: Any) -> tuple[Any, list[Any]]:
    path = Path(loads.folder) / "parents.ndjson"
    found = copy_parent_rows(loads.target, PLAN, fields=fields, include=include, destination=path, **options)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    return found, [json.loads(line) for line in path.read_text().splitlines()]


def test_keys_come_once_each_in_order_with_what_is_included(loads: Any) -> None:
    result = loads(PLAN, ISSUES)
    found, lines = _copy(loads, "user.login", include=("id", "odd key"))
    assert (found.rows, found.keys, found.skipped_null) == (3, 1, 1)
    assert found.newest_load_id == result.load_id
    assert lines == [{"key": {"user.login": "ada"}, "include": {"id": 2**53 + 1, "odd key": None}}]


@pytest.mark.parametrize("rowid", [lambda number: -number, lambda number: None])
def test_a_column_rowid_has_no_say_in_the_order_of_keys(loads: Any, rowid: Any) -> None:
    loads(PLAN, [{"id": number, "k": key, "rowid": rowid(number)} for number, key in enumerate("abac")])
    _, lines = _copy(loads, "k", include=("id", "rowid"))
    assert [(line["key"]["k"], line["include"]["id"]) for line in lines] == [("a", 2), ("b", 1), ("c", 3)]
    assert [line["include"]["rowid"] for line in lines] == [rowid(number) for number in (2, 1, 3)]


def test_objects_lists_and_time_stamps_come_back_as_json(loads: Any) -> None:
    loads(PLAN, ISSUES)
    _, lines = _copy(loads, "id", include=("user", "labels", "at", "labels[0].o", "$.user.tags", "labels[1].name"))
    assert lines[0] == {
        "key": {"id": 1},
        "include": {
            "user": {"login": "ada", "id": 5, "tags": ["a", "b"]},
            "labels": [{"name": "bug", "o": {"z": 1}}, {"name": "ui"}],
            "at": "2024-01-01T10:00:00Z",
            "labels[0].o": {"z": 1},
            "$.user.tags": ["a", "b"],
            "labels[1].name": "ui",
        },
    }
    assert lines[1]["include"]["user"] is None


@pytest.mark.parametrize("nested", ["json", "native"])
def test_fields_inside_nested_columns_are_found(loads: Any, nested: Any) -> None:
    plan = TablePlan(resource="issues", table="issues", nested=nested)
    loads(plan, ISSUES)
    path = Path(loads.folder) / "p.ndjson"
    copy_parent_rows(loads.target, plan, fields=("user.login", "labels[0].name"), include=(), destination=path)
    assert json.loads(path.read_text()) == {"key": {"user.login": "ada", "labels[0].name": "bug"}, "include": {}}


def test_a_key_that_became_a_double_is_still_whole(loads: Any) -> None:
    loads(PLAN, [{"id": 1}])
    loads(PLAN, [{"id": 2.5}])
    _, lines = _copy(loads, "id")
    assert [line["key"]["id"] for line in lines] == [1, 2.5]
    assert isinstance(lines[0]["key"]["id"], int)


def test_only_rows_that_changed_since_a_load(loads: Any) -> None:
    first = loads(PLAN, [{"id": 1, "v": 1}, {"id": 2, "v": 1}])
    second = loads(PLAN, [{"id": 1, "v": 1}, {"id": 2, "v": 2}, {"id": 3, "v": 1}])
    found, lines = _copy(loads, "id", newer_than=first.load_id)
    assert [line["key"]["id"] for line in lines] == [2, 3]
    assert found.newest_load_id == second.load_id
    assert _copy(loads, "id", newer_than=second.load_id)[1] == []
    _, lines = _copy(loads, "id", newer_than=second.load_id, also=[{"id": 1}, {"id": 99}])
    assert [line["key"]["id"] for line in lines] == [1]
    assert len(_copy(loads, "id", newer_than="unknown")[1]) == 3


def test_keys_come_with_the_childs_cursors(loads: Any) -> None:
    loads(PLAN, [{"id": 1, "at": "2024-01-01T10:00:00Z"}, {"id": 2, "at": "2024-01-01T11:00:00Z"}])
    child = TablePlan(resource="comments", table="comments")
    key = {"at": "2024-01-01T10:00:00Z", "id": 1}
    loads(child, [{"x": 1}], cursors=[{"key": key, "value": "2024-05-05", "kind": "date"}])
    _, lines = _copy(loads, "id", "at", cursors_of="comments")
    assert [(line["cursor"], line["cursor_kind"]) for line in lines] == [("2024-05-05", "date"), (None, None)]


def test_a_missing_parent_says_what_to_materialize(loads: Any) -> None:
    with pytest.raises(TableError, match="does not exist"):
        _copy(loads, "id")
    loads(TablePlan(resource="other", table="other"), [{"id": 1}])
    with pytest.raises(TableError, match="Materialize the asset of 'issues' first"):
        _copy(loads, "id")
    loads(PLAN, ISSUES)
    with pytest.raises(TableError, match="cannot be read from a stored table"):
        _copy(loads, "labels[?@.name]")
    with pytest.raises(TableError, match="cannot be read from a stored table"):
        _copy(loads, "labels[?@.name].name", elements="$['labels'][?@['name']]")


def test_a_field_that_no_row_has_gives_no_key_and_a_warning(loads: Any) -> None:
    loads(PLAN, ISSUES)
    found, lines = _copy(loads, "user.logn", include=("idd",))
    assert (lines, found.keys, found.skipped_null) == ([], 0, 3)
    assert found.warnings == (
        "no row of issues has a field 'user.logn'; there are user.login, user.bio, user.id",
        "no row of issues has a field 'idd'; there are id",
    )


def test_a_parent_that_never_had_a_row_gives_no_key(loads: Any) -> None:
    result = loads(PLAN, [])
    found, lines = _copy(loads, "user.login", include=("id",))
    assert (lines, found.rows, found.warnings, found.newest_load_id) == ([], 0, (), result.load_id)


@pytest.mark.parametrize("nested", ["tables", "json", "native"])
def test_elements_of_rows_that_keep_nothing_are_read_from_their_columns(loads: Any, nested: Any) -> None:
    plan = TablePlan(resource="issues", table="issues", nested=nested)
    rows = [{"id": 1, "l": [{"x": 1, "y": "a"}, {"x": None}, {"x": 2, "y": "b"}]}, {"id": 2, "l": [{"x": 2}]}]
    loads(plan, rows)
    path = Path(loads.folder) / "p.ndjson"
    options = {"fields": ("l[*].x",), "include": ("l[*].y", "id"), "elements": "$['l'][*]"}
    found = copy_parent_rows(loads.target, plan, destination=path, **options)
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"key": {"l[*].x": 1}, "include": {"l[*].y": "a", "id": 1}},
        {"key": {"l[*].x": 2}, "include": {"l[*].y": None, "id": 2}},
    ]
    assert (found.keys, found.skipped_null, found.warnings) == (2, 1, ())


def test_history_gives_the_rows_that_hold_now(loads: Any) -> None:
    plan = TablePlan(resource="h", table="h", disposition="merge", strategy="scd2", primary_key=("id",))
    loads(plan, [{"id": 1, "v": "old"}, {"id": 2, "v": "gone"}])
    loads(plan, [{"id": 1, "v": "new"}])
    path = Path(loads.folder) / "h.ndjson"
    copy_parent_rows(loads.target, plan, fields=("id", "v"), include=(), destination=path)
    assert [json.loads(line)["key"] for line in path.read_text().splitlines()] == [{"id": 1, "v": "new"}]


# ---- frames of other assets ------------------------------------------------------------------------------------------
def test_frames_are_stored_by_name_whole_or_by_slice(loads: Any) -> None:
    target = loads.target
    assert write_frame(target, "f", pandas.DataFrame({"day": [1, 2], "n": [None, None], "v": [1, 2]})) == 2
    assert loads.types("f")["n"] in ("VARCHAR", "INTEGER")  # DuckDB 1.4 says INTEGER of a column of None
    frame = polars.DataFrame({"v": ["x"], "day": [2], "new": [2**60]})
    assert write_frame(target, "f", frame, where="day = 2") == 1
    assert loads.rows("f", "day, v, new") == [(1, "1", None), (2, "x", 2**60)]
    write_frame(target, "f", pyarrow.table({"only": [1]}))
    assert loads.types("f") == {"only": "BIGINT"}


def test_a_failing_frame_leaves_the_table_alone(loads: Any) -> None:
    write_frame(loads.target, "f", pyarrow.table({"a": [1]}))
    with pytest.raises(TableError, match="cannot be stored"):
        write_frame(loads.target, "f", pyarrow.table({"b": [2]}), where="no_such_column = 1")
    assert loads.rows("f") == [(1,)]


def test_frames_and_loads_do_not_overwrite_each_other(loads: Any) -> None:
    loads(PLAN, ISSUES)
    with pytest.raises(TableError, match="loaded by the asset issues"):
        write_frame(loads.target, "issues", pyarrow.table({"a": [1]}))
    copy = read_table(loads.target, "issues", kind="relation")
    assert write_frame(loads.target, "copy", copy) == 3
    assert write_frame(loads.target, "again", read_table(loads.target, "issues", kind="reader")) == 3
