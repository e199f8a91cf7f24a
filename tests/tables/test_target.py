"""Opening the database: one DuckDB waits for all uses, and holds nothing between them."""

from __future__ import annotations

import os
import re
from pathlib import Path

import duckdb
import pytest

from dagster_restapi.tables.target import Target


def test_nothing_is_held_between_two_uses(tmp_path: Path) -> None:
    target = Target(str(tmp_path / "t.duckdb"))
    with target.write() as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS number")
        connection.execute("CREATE TEMP TABLE passing AS SELECT 1")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.duckdb"]
    with duckdb.connect(target.database, config={"threads": 1}) as other:
        assert other.execute("FROM kept").fetchall() == [(1,)]
    with target.read() as connection, pytest.raises(duckdb.CatalogException):
        connection.execute("FROM temp.passing")


def test_an_error_rolls_back_and_lets_go_of_the_file(tmp_path: Path) -> None:
    target = Target(str(tmp_path / "t.duckdb"))
    with pytest.raises(duckdb.CatalogException), target.write() as connection:
        connection.execute("BEGIN; CREATE TABLE half AS SELECT 1; FROM missing")
    with duckdb.connect(target.database) as other:
        assert other.execute("SELECT count(*) FROM duckdb_tables()").fetchall() == [(0,)]
    with target.write() as connection:
        connection.execute("CREATE TABLE half AS SELECT 2")


def test_reading_changes_nothing(tmp_path: Path) -> None:
    target = Target(str(tmp_path / "t.duckdb"))
    with target.write() as connection:
        connection.execute("CREATE TABLE t AS SELECT 1")
    with pytest.raises(duckdb.InvalidInputException, match="read-only"), target.read() as connection:
        connection.execute("DROP TABLE t")


def spill(target: Target) -> list[str]:
    """Sorts more than fits into memory; gives the folders that are there meanwhile."""
    with target.write() as connection:
        connection.execute("CREATE TABLE t AS SELECT i, repeat('x', 100) || i AS text FROM range(1_000_000) r(i)")
        connection.execute("CREATE TEMP TABLE sorted AS FROM t ORDER BY text")
        return [path.name for path in Path(target.database).parent.iterdir() if path.is_dir()]


def test_what_does_not_fit_into_memory_lies_beside_the_database_and_goes_away(tmp_path: Path) -> None:
    [spilled] = spill(Target(str(tmp_path / "t.duckdb"), memory_limit="64MB"))
    assert re.fullmatch(rf"t\.duckdb\.{os.getpid()}-\w{{8}}\.tmp", spilled)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.duckdb"]


@pytest.mark.parametrize(
    ("limit", "threads"), [("60MB", 1), ("160MB", 1), ("300MB", 2), ("512 MB", 3), ("1GiB", 8), ("0.5gb", 3)]
)
def test_there_are_as_many_threads_as_the_memory_is_enough_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, threads: int
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    with Target(str(tmp_path / "t.duckdb"), memory_limit=limit).write() as connection:
        assert connection.execute("SELECT current_setting('threads')").fetchall() == [(threads,)]
    with Target(str(tmp_path / "t.duckdb"), memory_limit=limit, config={"threads": 3}).write() as connection:
        assert connection.execute("SELECT current_setting('threads')").fetchall() == [(3,)]


def test_temporary_folders_of_killed_processes_go_away_after_a_day(tmp_path: Path) -> None:
    target = Target(str(tmp_path / "t.duckdb"))
    for name in ("t.duckdb.1-aaaaaaaa.tmp", "t.duckdb.2-bbbbbbbb.tmp", "t.duckdb.tmp", "t.duckdb.mine.tmp"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "duckdb_temp_storage_DEFAULT-0.tmp").write_text("x")
        for path in (tmp_path / name, *(tmp_path / name).iterdir()):
            os.utime(path, (1, 1))
    os.utime(tmp_path / "t.duckdb.2-bbbbbbbb.tmp" / "duckdb_temp_storage_DEFAULT-0.tmp")
    with target.write():
        pass
    left = sorted(path.name for path in tmp_path.iterdir() if path.is_dir())
    assert left == ["t.duckdb.2-bbbbbbbb.tmp", "t.duckdb.mine.tmp"]


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="how much memory a process holds is read from /proc")
def test_databases_that_were_used_before_hold_no_memory(tmp_path: Path) -> None:
    def resident_mb_after(count: int) -> float:
        for number in range(count):
            with Target(str(tmp_path / f"{count}-{number}.duckdb")).write() as connection:
                connection.execute("CREATE TABLE t AS SELECT 1")
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

    assert resident_mb_after(10) + 30 > resident_mb_after(40)  # a DuckDB for each would take 5 MB
