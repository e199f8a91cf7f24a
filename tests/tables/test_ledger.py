"""The ledger: exactly once, whoever else loads, and whatever version wrote it."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import duckdb
import pytest

from dagster_restapi.errors import LedgerConflict, LockTimeout, TableError
from dagster_restapi.model import Conditions, Cursor, Fetched, Slice, TablePlan
from dagster_restapi.spool import Spool
from dagster_restapi.tables.ledger import cursor_summary, find_load, forget, loads, newest_load, read_back
from dagster_restapi.tables.load import load, root_exists
from dagster_restapi.tables.target import Target

PLAN = TablePlan(resource="t", table="t")


def test_nothing_is_there_before_the_first_load(loads: Any) -> None:
    target = loads.target
    assert newest_load(target, "t") is None
    assert find_load(target, "x") is None
    assert not root_exists(target, PLAN)
    with duckdb.connect(target.database):
        pass
    assert newest_load(target, "t") is None


def test_a_row_tells_what_a_lost_event_would_have_told(loads: Any) -> None:
    cursor = Cursor(value=3, kind="number", load_id="before")
    result = loads(
        PLAN,
        [{"id": 2**70, "l": [1]}],
        cursor=cursor,
        fetched={"cursor_value": 9, "cursor_kind": "number", "requests": 4, "failed_parents": ({"n": 1},)},
        slice_={"run_id": "run", "root_run_id": "root", "wipe": "w"},
        conditions=Conditions(settings="abc", partial_loads=("x",)),
    )
    row = newest_load(loads.target, "t")
    assert row is not None
    assert row.cursor == result.cursor == Cursor(value=9, kind="number", load_id=result.load_id)
    assert (row.cursor_before, row.run_id, row.root_run_id, row.wipe) == (cursor, "run", "root", "w")
    assert row.failed_parents == ({"n": 1},)
    assert (row.sequence, row.rows, row.tables) == (1, 1, ("t", "t__l"))
    assert row.committed_at.endswith("Z")
    assert row.tell["fetched"]["requests"] == 4
    assert row.conditions == Conditions(settings="abc", partial_loads=("x",))
    told = read_back(row)
    assert told.already_loaded
    assert (told.columns, told.cursor, told.rows_inserted) == (result.columns, result.cursor, 1)


@pytest.mark.parametrize("why", [{"complete": False}, {"by_hand": True}, {"nothing": True}])
def test_an_incomplete_load_or_a_window_by_hand_leaves_the_cursor_alone(loads: Any, why: dict[str, bool]) -> None:
    cursor = Cursor(value=3, kind="number", load_id="before")
    moved: dict[str, Any] = {} if "nothing" in why else {"cursor_value": 9, "cursor_kind": "number"}
    result = loads(
        PLAN,
        [{"id": 1}],
        cursor=cursor,
        fetched=moved | {"complete": why.get("complete", True)},
        slice_={"start_value": "1"} if why.get("by_hand") else {},
    )
    assert result.cursor == cursor


def test_a_spool_that_was_loaded_already_writes_nothing(tmp_path: Any, target: Target) -> None:
    with Spool.open(tmp_path, "s") as spool:
        writer = spool.writer(0)
        writer.write([{"id": 1}])
        writer.commit(None, {}, done=True)
        fetched = Fetched(load_id=spool.load_id, rows=1)
        first = load(target, PLAN, Slice(asset="t"), spool, fetched, cursor=None, expected=None)
        again = load(target, PLAN, Slice(asset="t"), spool, fetched, cursor=None, expected=None)
        assert again.already_loaded
        assert (again.rows_inserted, again.load_id) == (1, first.load_id)
        assert len(loads(target)) == 1
        assert not list(spool.directory.glob("stage*"))


def test_of_two_loads_that_read_the_same_ledger_row_one_wins(loads: Any) -> None:
    first = loads(PLAN, [{"id": 1}])
    loads(PLAN, [{"id": 2}], expected=first.load_id)
    with pytest.raises(LedgerConflict, match="another load was committed meanwhile"):
        loads(PLAN, [{"id": 3}], expected=first.load_id)
    assert loads.rows("t", "id") == [(1,), (2,)]


def test_slices_have_rows_of_their_own(loads: Any) -> None:
    one = loads(PLAN, [{"id": 1}], partition="a").load_id
    two = loads(PLAN, [{"id": 1}], partition="b").load_id
    found = [newest_load(loads.target, "t", key) for key in ("a", "b", None)]
    assert [row and row.load_id for row in found] == [one, two, None]


def test_an_older_format_is_migrated_by_the_next_load(loads: Any) -> None:
    first = loads(PLAN, [{"id": 1}]).load_id
    with loads.target.write() as connection:
        name = loads.target.space(connection).table("_restapi_loads")
        for column in ("root_run_id", "wipe", "data_version"):
            connection.execute(f"ALTER TABLE {name} DROP COLUMN {column}")
        connection.execute(f"UPDATE {name} SET format_version = 0")
    row = newest_load(loads.target, "t")
    assert row is not None
    assert (row.format_version, row.wipe, row.data_version) == (0, None, "")
    second = loads(PLAN, [{"id": 2}], slice_={"wipe": "w"})
    assert [row.format_version for row in loads_of(loads.target)] == [0, 1]
    assert newest_load(loads.target, "t").wipe == "w"  # type: ignore[union-attr]
    assert [row.load_id for row in loads_of(loads.target)] == [first, second.load_id]


def loads_of(target: Target) -> Any:
    """All rows, oldest first."""
    return loads(target, "t")


def test_forgetting_an_asset_frees_its_tables(loads: Any) -> None:
    loads(PLAN, [{"id": 1}], asset="old/t")
    assert forget(loads.target, "old/t") == 1
    assert newest_load(loads.target, "old/t") is None
    loads(PLAN, [{"id": 2}], asset="new/t")
    assert loads.rows("t", "id") == [(1,), (2,)]


def test_cursors_per_parent_move_with_the_load(loads: Any) -> None:
    def line(key: object, value: object) -> dict[str, object]:
        return {"key": {"n": key}, "value": value, "kind": "number"}

    loads(PLAN, [{"id": 1}], cursors=[line(1, 5), line(2, 7)])
    loads(PLAN, [{"id": 2}], cursors=[line(2, 9), line(3, 0)])
    summary = cursor_summary(loads.target, "t")
    assert (summary.count, summary.minimum, summary.maximum) == (3, 0, 9)
    loads(PLAN, [{"id": 3}], cursors=[line(4, 1)], replace=True)
    assert cursor_summary(loads.target, "t").count == 1


def test_rows_at_a_parents_cursor_are_not_appended_again(loads: Any) -> None:
    plan = TablePlan(resource="t", table="t", cursor_path="n")
    cursors = [{"key": {"p": 1}, "value": 5, "kind": "number"}]
    loads(plan, [{"n": 5, "v": "a"}], cursors=cursors)
    loads(plan, [{"n": 5, "v": "a"}, {"n": 5, "v": "edited"}, {"n": 6, "v": "b"}], cursors=cursors)
    assert loads.rows("t", "v") == [("a",), ("b",), ("edited",)]


@pytest.mark.parametrize("odd", [{}, {"N": 1}])
def test_a_row_is_compared_where_it_stands_at_the_cursor_of_its_own_parent(loads: Any, odd: dict[str, int]) -> None:
    plan = TablePlan(resource="t", table="t", cursor_path="n")
    row = {"n": 5, "v": "a", **odd}
    loads(plan, [row], cursors=[{"key": {"p": 1}, "value": 5, "kind": "number"}], at_cursor=[0])
    both = [{"key": {"p": number}, "value": 5, "kind": "number"} for number in (1, 2)]
    loads(plan, [row, row], cursors=both, at_cursor=[1, 0])
    assert len(loads.rows("t")) == 2, "the second is of a parent that is new"
    loads(plan, [row, row], cursors=both, at_cursor=[1, 1])
    assert len(loads.rows("t")) == 2


def test_the_error_of_a_locked_file_names_its_holder(loads: Any, target: Target) -> None:
    code = f"import duckdb, sys; c = duckdb.connect({target.database!r}); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        impatient = Target(target.database, schema=target.schema, lock_timeout=3)
        lines: list[str] = []
        with pytest.raises(LockTimeout, match=f"PID {holder.pid}"), impatient.write(log=lines.append):
            pass
        assert f"PID {holder.pid}" in lines[0]
        assert holder.stdin is not None
        holder.stdin.close()
    loads(PLAN, [{"id": 1}])


def test_a_file_that_is_no_database_is_a_clear_error(tmp_path: Any) -> None:
    path = tmp_path / "x.duckdb"
    path.write_bytes(b"no database at all" * 1000)
    with pytest.raises(TableError, match="cannot be opened"), Target(str(path)).write():
        pass


def test_a_memory_database_lasts_as_long_as_the_process(tmp_path: Any, make_loader: Any) -> None:
    target = Target(":memory:ledger-test", schema="s")
    assert not target.exists
    loader = make_loader(tmp_path, target)
    loader(PLAN, [{"id": 1}])
    loader(PLAN, [{"id": 2}])
    assert loader.rows("t", "id") == [(1,), (2,)]


@pytest.mark.parametrize("database", ["md:x", "ducklake:x.ducklake"])
def test_what_is_not_built_is_refused(database: str) -> None:
    with pytest.raises(TableError, match="only a DuckDB file"):
        Target(database)
