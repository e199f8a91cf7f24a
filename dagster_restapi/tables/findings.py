"""What can be wrong with stored rows: keys that repeat or are missing, children without parents. Counted in DuckDB."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import duckdb

from dagster_restapi.config.columns import column_name, key_path
from dagster_restapi.model import Column, TablePlan
from dagster_restapi.tables import ledger
from dagster_restapi.tables.evolve import PARTITION, TablePath
from dagster_restapi.tables.keys import primary_key
from dagster_restapi.tables.load import columns_of
from dagster_restapi.tables.sql import Space, listing, literal, quote
from dagster_restapi.tables.target import Target
from dagster_restapi.tables.types import key_text

_SAMPLES = 5


@dataclass(frozen=True, slots=True)
class KeyFinding:
    """The state of a primary key.

    Attributes:
        columns: The key's columns; empty where the table has none of them.
        missing: Columns of the key that the table does not have.
        null_rows: Rows in which a part of the key is null.
        repeated: Keys that more than one row has.
        samples: A few of those, column to text, with `rows`.
    """

    columns: tuple[str, ...]
    missing: tuple[str, ...] = ()
    null_rows: int = 0
    repeated: int = 0
    samples: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class OrphanFinding:
    """Rows of a table whose row in the table above is not there.

    Attributes:
        table: The table below.
        parent: The table above.
        rows: How many.
        samples: A few of the values that lead nowhere.
    """

    table: str
    parent: str
    rows: int
    samples: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Findings:
    """Looks at one resource's tables over an open connection.

    Attributes:
        plan: The resource's tables.
        partitions: Only rows of these; None: all rows.
        by_partition: A key is one within its partition only: static and dynamic partitions.
    """

    connection: duckdb.DuckDBPyConnection
    space: Space
    plan: TablePlan
    partitions: tuple[str, ...] | None = None
    by_partition: bool = False

    @property
    def exists(self) -> bool:
        """Whether the root table is there."""
        return ledger.stands(self.connection, self.space, self.plan.table)

    def columns(self) -> tuple[Column, ...]:
        """The root table's columns."""
        return columns_of(self.connection, self.space, self.plan.table, self.plan)

    def rows(self) -> int:
        """Rows of the root table."""
        return self._count(f"SELECT count(*) FROM {self._root} t WHERE {self._scope()}")

    def key(self, *, unique: bool) -> KeyFinding:
        """The primary key's nulls, and where it must be unique, its repetitions."""
        found = {name: self.column_of(name) for name in primary_key(self.plan)}
        columns = tuple(column for column in found.values() if column)
        missing = tuple(name for name, column in found.items() if not column)
        if missing or not columns:
            return KeyFinding(columns, missing)
        null = " OR ".join(f"t.{quote(column)} IS NULL" for column in columns)
        nulls = self._count(f"SELECT count(*) FROM {self._root} t WHERE {self._current()} AND ({null})")
        if not unique:
            return KeyFinding(columns, null_rows=nulls)
        within = [PARTITION] if self.by_partition and self._has(self.plan.table, PARTITION) else []
        names = listing(quote(name) for name in (*columns, *within))
        repeated = (
            f"SELECT {names}, count(*) AS rows FROM {self._root} t WHERE {self._current()} AND NOT ({null}) "
            f"GROUP BY {names} HAVING count(*) > 1"
        )
        number = self._count(f"SELECT count(*) FROM ({repeated})")
        samples = self._samples(f"{repeated} ORDER BY rows DESC") if number else ()
        return KeyFinding(columns, null_rows=nulls, repeated=number, samples=samples)

    def nulls_of(self, path: str) -> tuple[str, int] | None:
        """The column of a path, and in how many rows it is null; None where there is no such column."""
        column = self.column_of(path)
        if column is None:
            return None
        return column, self._count(
            f"SELECT count(*) FROM {self._root} t WHERE {self._current()} AND t.{quote(column)} IS NULL"
        )

    def orphans(self) -> Iterator[OrphanFinding]:
        """Of every list's table, the rows whose `_restapi_parent_id` no row of the table above has."""
        tables: dict[TablePath, str] = {(): self.plan.table}
        if ledger.stands(self.connection, self.space, ledger.TABLES):
            for name, text in self.connection.execute(
                f"SELECT table_name, path FROM {self.space.table(ledger.TABLES)} WHERE root = ?", [self.plan.table]
            ).fetchall():
                tables[tuple(tuple(part) for part in json.loads(text))] = name
        for path, name in sorted(tables.items()):
            parent = tables.get(path[:-1])
            if not path or parent is None or not ledger.stands(self.connection, self.space, name):
                continue
            joined = "p._restapi_id = t._restapi_parent_id"
            if self._has(name, PARTITION) and self._has(parent, PARTITION):
                joined += f" AND p.{PARTITION} IS NOT DISTINCT FROM t.{PARTITION}"
            condition = (
                f"{self._scope(name)} AND NOT EXISTS (SELECT 1 FROM {self.space.table(parent)} p WHERE {joined})"
            )
            yield self._orphans(name, parent, condition, "t._restapi_parent_id")

    def strangers(self, parent: TablePlan, schema: str, pairs: Sequence[tuple[str, str]]) -> OrphanFinding | None:
        """Rows whose copied parent fields no row of the parent resource has.

        Args:
            parent: The parent's tables.
            schema: Where they are.
            pairs: Path in this resource's record, path in the parent's.

        Returns:
            None where one of the tables or columns is not there.
        """
        above = Findings(self.connection, Space(self.space.catalog, schema), parent)
        if not above.exists:
            return None
        mine, theirs = ({column.name: column.type for column in side.columns()} for side in (self, above))
        columns = [(self.column_of(path), above.column_of(other)) for path, other in pairs]
        if not columns or not all(one and other for one, other in columns):
            return None
        joined = [
            f"{key_text(f'p.{quote(other)}', theirs[other])} = {key_text(f't.{quote(one)}', mine[one])}"
            for one, other in columns
            if one and other
        ]
        present = " AND ".join(f"t.{quote(one)} IS NOT NULL" for one, _ in columns if one)
        condition = (
            f"{self._current()} AND {present} AND NOT EXISTS "
            f"(SELECT 1 FROM {above.space.table(parent.table)} p WHERE {' AND '.join(joined)})"
        )
        names = listing(f"t.{quote(one)}" for one, _ in columns if one)
        return self._orphans(self.plan.table, parent.table, condition, names)

    def column_of(self, path: str) -> str | None:
        """The root table's column that holds a path of the record."""
        return self._column(key_path(path)) or self._column((path,))

    def _column(self, path: tuple[str, ...]) -> str | None:
        if ledger.stands(self.connection, self.space, ledger.COLUMNS):
            row = self.connection.execute(
                f"SELECT column_name FROM {self.space.table(ledger.COLUMNS)} WHERE table_name = ? "
                "AND CAST(path AS JSON) = CAST(? AS JSON)",
                [self.plan.table, json.dumps(list(path), ensure_ascii=False)],
            ).fetchone()
            if row:
                return str(row[0])
        name = column_name(self.plan, path)
        return name if self._has(self.plan.table, name) else None

    # ---- pieces ------------------------------------------------------------------------------------------------------
    @property
    def _root(self) -> str:
        return self.space.table(self.plan.table)

    def _scope(self, table: str | None = None) -> str:
        """The rows that are looked at."""
        if self.partitions is None or not self._has(table or self.plan.table, PARTITION):
            return "true"
        return f"t.{PARTITION} IN ({listing(map(literal, self.partitions))})" if self.partitions else "false"

    def _current(self) -> str:
        """Those of them that hold now: a history (scd2) keeps the older versions of a row."""
        if self.plan.strategy != "scd2" or not self._has(self.plan.table, self.plan.valid_to):
            return self._scope()
        return f"{self._scope()} AND t.{quote(self.plan.valid_to)} IS NULL"

    def _has(self, table: str, column: str) -> bool:
        return any(item.name == column for item in columns_of(self.connection, self.space, table))

    def _orphans(self, table: str, parent: str, condition: str, names: str) -> OrphanFinding:
        source = f"{self.space.table(table)} t WHERE {condition}"
        rows = self._count(f"SELECT count(*) FROM {source}")
        samples = self._samples(f"SELECT {names}, count(*) AS rows FROM {source} GROUP BY ALL") if rows else ()
        return OrphanFinding(table, parent, rows, samples)

    def _count(self, sql: str) -> int:
        row = self.connection.execute(sql).fetchone()
        return int(row[0]) if row else 0

    def _samples(self, sql: str) -> tuple[dict[str, Any], ...]:
        found = self.connection.execute(f"{sql} LIMIT {_SAMPLES}")
        names = [column[0] for column in found.description or ()]
        return tuple(
            {name: value if isinstance(value, int) else str(value) for name, value in zip(names, row, strict=True)}
            for row in found.fetchall()
        )


@contextmanager
def findings(
    target: Target, plan: TablePlan, *, partitions: tuple[str, ...] | None = None, by_partition: bool = False
) -> Iterator[Findings | None]:
    """Opens the database for as long as the body takes; None where it or the table does not exist yet.

    Raises:
        LockTimeout: Another process kept the file for too long.
    """
    if not target.exists:
        yield None
        return
    with target.read() as connection:
        found = Findings(connection, target.space(connection), plan, partitions, by_partition)
        yield found if found.exists else None
