"""What is staged while records still come gives the very tables that staging behind them gives."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterable, Sequence
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dagster_restapi import spool as spool_module
from dagster_restapi.errors import OutOfMemory, TableError
from dagster_restapi.model import Fetched, LoadResult, Slice, TablePlan
from dagster_restapi.spool import SMALL_SEGMENTS, Spool
from dagster_restapi.tables import stage
from dagster_restapi.tables.load import load
from dagster_restapi.tables.stage import Staging
from dagster_restapi.tables.target import Target

EXAMPLES = int(os.environ.get("RESTAPI_EXAMPLES", "6"))
APPEND = TablePlan(resource="t", table="t", disposition="append")
MERGE = TablePlan(resource="t", table="t", disposition="merge", primary_key=("id",))
Page = list[dict[str, Any]]


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every page is worth staging at once, and few fit into a segment."""
    monkeypatch.setattr(stage, "_WORTH", 1)
    monkeypatch.setattr(stage, "_WORTH_EACH", 0)
    monkeypatch.setattr(stage, "_PAUSE", -1)
    monkeypatch.setattr(spool_module, "SEGMENT_BYTES", 300)


def target_in(folder: str | Path) -> Target:
    return Target(str(Path(folder, "t.duckdb")), schema="s")


def bring(
    folder: str | Path,
    plan: TablePlan,
    pages: Iterable[tuple[int, Page, bool]],
    *,
    then: Iterable[tuple[int, Page, bool]] = (),
    ahead: bool = True,
) -> LoadResult:
    """Writes pages (unit, records, whether they are its last) and loads them all.

    Args:
        then: Further pages, behind which nothing is staged ahead any more.
    """
    target, where = target_in(folder), Slice(asset="t")
    with (
        Spool.open(Path(folder, "spools"), "one") as spool,
        Staging(target, plan, where, spool, lambda _: None) as staging,
    ):
        spool.load_id = "the same each time"
        writers: dict[int, Any] = {}
        turns = chain(((page, ahead) for page in pages), ((page, False) for page in then))
        for (unit, records, last), advances in turns:
            writer = writers.setdefault(unit, spool.writer(unit))
            writer.write([dict(record) for record in records])
            writer.commit(None, {}, done=last)
            if advances:
                staging.advance()
        fetched = Fetched(load_id=spool.load_id, rows=spool.rows)
        with staging.staged() as staged:
            result = load(target, plan, where, spool, fetched, cursor=None, expected=None, staged=staged)
        spool.remove()
    return result


def one_by_one(pages: Sequence[Page]) -> list[tuple[int, Page, bool]]:
    return [(number, page, True) for number, page in enumerate(pages)]


def tables(folder: str | Path) -> dict[str, Any]:
    """Everything in the tables, system columns and the order of rows included, but for the time of the load."""
    with duckdb.connect(str(Path(folder, "t.duckdb")), read_only=True) as connection:
        names = connection.execute(
            "SELECT table_name FROM duckdb_tables() "
            "WHERE schema_name = 's' AND NOT starts_with(table_name, '_restapi_')"
        ).fetchall()
        found = {}
        for (name,) in names:
            rows = connection.execute(f'SELECT * FROM s."{name}" ORDER BY rowid')
            found[name] = [column[:2] for column in rows.description], repr(rows.fetchall())
        return found


# ---- any records, in any order ---------------------------------------------------------------------------------------
_values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.sampled_from([0, 1, 2**53 + 1, 2**64, 0.5, 1e300]),
        st.sampled_from(
            ["", "x", "1", "2024-01-01T10:00:00Z", "2024-01-01T10:00:00.25+02:00", "0001-01-01T00:00+05:00"]
        ),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("ab"), inner, max_size=2)),
    max_leaves=4,
)
_records = st.fixed_dictionaries({"id": st.integers(0, 9)}, optional={"a": _values, "b": _values})
_units = st.lists(st.lists(st.lists(_records, max_size=4), min_size=1, max_size=4), min_size=1, max_size=5)


@pytest.mark.parametrize("plan", [APPEND, MERGE], ids=["append", "merge"])
@pytest.mark.parametrize("nested", ["tables", "json", "native"])
def test_tables_are_the_same_whether_staged_ahead_or_behind(plan: TablePlan, nested: Any) -> None:
    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(units=_units, data=st.data())
    def check(units: list[list[Page]], data: st.DataObject) -> None:
        turns = data.draw(st.permutations([number for number, pages in enumerate(units) for _ in pages]))
        left = [iter(enumerate(pages, 1)) for pages in units]
        pages = []
        for unit in turns:
            number, page = next(left[unit])
            pages.append((unit, page, number == len(units[unit])))
        shaped = TablePlan(
            resource="t", table="t", disposition=plan.disposition, primary_key=plan.primary_key, nested=nested
        )
        with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
            ahead, behind = bring(one, shaped, pages), bring(other, shaped, pages, ahead=False)
            assert tables(one) == tables(other)
            assert (ahead.rows_loaded, ahead.tables, ahead.warnings) == (
                behind.rows_loaded,
                behind.tables,
                behind.warnings,
            )

    check()


# ---- how much is done ahead ------------------------------------------------------------------------------------------
def test_each_record_is_staged_once_where_the_schema_stands(tmp_path: Path, staged_rows: list[int]) -> None:
    pages = [[{"id": number * 2}, {"id": number * 2 + 1}] for number in range(20)]
    bring(tmp_path, APPEND, one_by_one(pages))
    assert staged_rows == [2] * 20 + [0]


def test_a_walk_is_staged_segment_by_segment(tmp_path: Path, staged_rows: list[int]) -> None:
    pages = [[{"id": number * 2}, {"id": number * 2 + 1}] for number in range(20)]
    bring(tmp_path, APPEND, [(0, page, page is pages[-1]) for page in pages])
    assert sum(staged_rows) == 40
    assert len(staged_rows) > 5


def test_a_schema_that_grows_all_the_time_costs_no_more_than_twice(tmp_path: Path, staged_rows: list[int]) -> None:
    pages = [[{"id": number, f"new{number}": number}] for number in range(60)]
    bring(tmp_path, APPEND, one_by_one(pages))
    assert sum(staged_rows[:-1]) < 2 * 60
    assert staged_rows[-1] == 60, "and the last time for the schema that holds"


def test_a_growing_schema_costs_no_more_where_each_go_takes_a_part_only(
    tmp_path: Path, staged_rows: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "_FILES_AT_ONCE", 5)
    bring(tmp_path, APPEND, one_by_one([[{"id": number, f"new{number}": number}] for number in range(60)]))
    assert sum(staged_rows[:-1]) < 2 * 60
    assert max(staged_rows[:-1]) <= 5


def test_looks_take_little_of_the_time(tmp_path: Path, staged_rows: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []
    layout = stage.layout

    def slow(*args: Any, **options: Any) -> Any:
        looks.append(time.monotonic())
        time.sleep(0.01)
        return layout(*args, **options)

    monkeypatch.setattr(stage, "_PAUSE", 20)
    monkeypatch.setattr(stage, "layout", slow)
    bring(tmp_path, APPEND, one_by_one([[{"id": number}] for number in range(60)]))
    assert sum(staged_rows) == 60
    between = [later - sooner for sooner, later in pairwise(looks[:-1])]
    assert all(seconds > 0.2 for seconds in between)


def test_a_wide_table_is_made_in_one_go(tmp_path: Path, staged_rows: list[int]) -> None:
    wide = {f"column{number}": number for number in range(1_000)}
    bring(tmp_path, APPEND, one_by_one([[{"id": number, **wide}] for number in range(20)]))
    assert staged_rows == [20]


def test_many_files_behind_what_is_staged_are_joined_first(
    tmp_path: Path, staged_rows: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_module, "SEGMENT_BYTES", 2**20)
    files = SMALL_SEGMENTS + 10
    held_up = [(0, [{"id": 0}], True), *((number, [{"id": number}], True) for number in range(2, files + 2))]
    bring(tmp_path, APPEND, held_up, then=[(1, [{"id": 1}], True)])
    assert staged_rows == [1, files + 2]
    assert f"({files + 1}, " in tables(tmp_path)["t"][1]


def test_a_kind_that_changes_no_column_lets_what_is_staged_stand(tmp_path: Path, staged_rows: list[int]) -> None:
    bring(tmp_path, APPEND, one_by_one([[{"id": 1, "a": "x"}], [{"id": 2, "a": None}], [{"id": 3}]]))
    assert staged_rows == [1, 1, 1, 0]


def test_what_is_discarded_is_not_in_the_tables(tmp_path: Path) -> None:
    target, where = target_in(tmp_path), Slice(asset="t")
    with (
        Spool.open(tmp_path / "spools", "one") as spool,
        Staging(target, APPEND, where, spool, lambda _: None) as staging,
    ):
        for number in range(4):
            writer = spool.writer(number)
            writer.write([{"id": number}])
            writer.commit(None, {}, done=True)
            staging.advance()
        spool.discard(1)
        rest = spool.writer(500)
        rest.write([{"id": 9}])
        rest.commit(None, {}, done=True)
        staging.advance()
        fetched = Fetched(load_id=spool.load_id, rows=2)
        with staging.staged() as staged:
            load(target, APPEND, where, spool, fetched, cursor=None, expected=None, staged=staged)
    with target.read() as connection:
        assert connection.execute("SELECT id FROM s.t ORDER BY id").fetchall() == [(0,), (9,)]


# ---- faults ----------------------------------------------------------------------------------------------------------
def test_a_date_that_duckdb_does_not_take_is_a_text_behind_what_was_staged_as_dates(
    tmp_path: Path, staged_rows: list[int]
) -> None:
    pages = [[{"id": 1, "at": "2024-01-01T10:00:00Z"}], [{"id": 2, "at": "0001-01-01T00:00:00+05:00"}], [{"id": 3}]]
    bring(tmp_path, APPEND, one_by_one(pages))
    [(_, rows)] = tables(tmp_path).values()
    assert "'2024-01-01T10:00:00Z'" in rows
    assert "'0001-01-01T00:00:00+05:00'" in rows
    assert sum(staged_rows[:-1]) == 3, "all three ahead"
    assert staged_rows[-1] == 3, "and once more"


def test_twins_and_a_date_below_that_duckdb_does_not_take(tmp_path: Path) -> None:
    """Staging starts anew when the root table was changed already."""
    pages = [
        [{"id": 1, "below": [{"at": "2024-01-01T10:00Z"}]}],
        [{"id": 1, "below": [{"at": "0001-01-01T00:00+05:00"}]}],
    ]
    result = bring(tmp_path, MERGE, one_by_one(pages))
    assert result.warnings == ("1 records were left out: a later one of this load has the same key",)
    found = tables(tmp_path)
    assert "0001-01-01T00:00+05:00" in found["t__below"][1]
    assert "2024" not in found["t__below"][1], "of a twin"


def test_a_fault_ahead_ends_the_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engines = []
    fill = stage._Stager.fill

    def failing(self: Any, segments: Any) -> None:
        engines.append(self._scratch.engine)
        fill(self, segments)
        if len(engines) == 2:
            raise duckdb.FatalException("the database has been invalidated")

    monkeypatch.setattr(stage._Stager, "fill", failing)
    bring(tmp_path, APPEND, one_by_one([[{"id": number}] for number in range(5)]))
    assert len(engines) == 3, "no more is staged ahead"
    assert engines[0] is engines[1] is not engines[2]
    assert "(0, " in tables(tmp_path)["t"][1]


def test_a_fault_of_what_was_done_ahead_is_none_of_the_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill, calls = stage._Stager.fill, []

    def failing(self: Any, segments: Any) -> None:
        calls.append(len(self._scratch.begun.segments))
        if len(calls) == 6:  # the first one behind the records
            raise duckdb.OutOfMemoryException("Out of Memory Error: an INSERT needs more")
        fill(self, segments)

    monkeypatch.setattr(stage._Stager, "fill", failing)
    bring(tmp_path, APPEND, one_by_one([[{"id": number}] for number in range(5)]))
    assert calls == [0, 1, 2, 3, 4, 5, 0], "started from the beginning"
    assert "(4, " in tables(tmp_path)["t"][1]


def test_a_missing_key_is_told_when_all_records_are_there(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="1 of 2 records have no value for 'id'"):
        bring(tmp_path, MERGE, one_by_one([[{"name": "x"}], [{"id": 1}]]))


def test_too_little_memory_ahead_is_told_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "room_for", lambda schema, size: 4_000_000)
    target, where, lines = target_in(tmp_path), Slice(asset="t"), []
    with (
        Spool.open(tmp_path / "spools", "one") as spool,
        Staging(target, APPEND, where, spool, lines.append) as staging,
    ):
        for number in range(10):
            writer = spool.writer(number)
            writer.write([{"id": number * 2_000 + row, "text": "much of it " * 20} for row in range(2_000)])
            writer.commit(None, {}, done=True)
            staging.advance()
        fetched = Fetched(load_id=spool.load_id, rows=20_000)
        for _ in range(5):
            try:
                with staging.staged() as staged:
                    load(target, APPEND, where, spool, fetched, cursor=None, expected=None, staged=staged)
                break
            except OutOfMemory as error:
                staging.more_room(error)
    assert lines[0] == "4 MB of memory were not enough for DuckDB: once more with 16 MB"
    with target.read() as connection:
        assert connection.execute("SELECT count(*), count(DISTINCT id) FROM s.t").fetchone() == (20_000, 20_000)


def test_a_fetch_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    def failing() -> Iterable[tuple[int, Page, bool]]:
        yield from one_by_one([[{"id": 1}], [{"id": 2}]])
        raise TimeoutError("the API is gone")

    with pytest.raises(TimeoutError):
        bring(tmp_path, APPEND, failing())
    assert not list(tmp_path.glob("*.tmp"))
    with target_in(tmp_path).engine() as engine:
        names = engine.execute("SELECT database_name FROM duckdb_databases() WHERE NOT internal").fetchall()
    assert names == [("memory",)]
