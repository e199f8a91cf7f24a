"""Opening the database: one DuckDB waits for all uses, and holds nothing between them."""

from __future__ import annotations

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


def test_what_does_not_fit_into_memory_lies_beside_the_database(tmp_path: Path) -> None:
    target = Target(str(tmp_path / "t.duckdb"), memory_limit="64MB")
    with target.write() as connection:
        connection.execute("CREATE TABLE t AS SELECT i, repeat('x', 100) || i AS text FROM range(1_000_000) r(i)")
        connection.execute("CREATE TEMP TABLE sorted AS FROM t ORDER BY text")
        spilled = [path.name for path in tmp_path.iterdir() if path.name.endswith(".tmp")]
    assert spilled == ["t.duckdb.tmp"]
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["t.duckdb"]
