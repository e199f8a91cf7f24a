"""Writing frames of other assets: the whole table or a slice of it, in one transaction, by column name."""

from __future__ import annotations

from typing import Any

import duckdb

from dagster_restapi.errors import TableError
from dagster_restapi.tables import ledger
from dagster_restapi.tables.load import columns_of
from dagster_restapi.tables.sql import Space, listing, quote
from dagster_restapi.tables.target import Log, Target
from dagster_restapi.tables.types import convert, inexact, loses_integers, plain, widen

_INCOMING = "_restapi_incoming"


def write_frame(target: Target, table: str, data: Any, *, where: str | None = None, log: Log | None = None) -> int:
    """Replaces a table, or the slice of it that a condition names, by a frame; gives the frame's rows.

    A slice may bring new columns, and wider types; columns that it lacks are NULL in its rows.

    Args:
        data: A pandas or polars frame, a pyarrow Table or RecordBatchReader, or a DuckDB relation.
        where: SQL condition of the slice that is replaced; None: the whole table.

    Raises:
        TableError: The table belongs to an asset of this library, or DuckDB cannot take the data. Nothing is changed.
    """
    fault = ""
    try:
        with target.write(log=log) as connection:
            space = target.space(connection)
            connection.register(_INCOMING, _streamed(data))
            connection.execute("BEGIN")
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {space.text}")
            _check_free(connection, space, table)
            rows = _Frame(connection, space, table).write(where)
            connection.execute("COMMIT")
            connection.unregister(_INCOMING)
    except duckdb.Error as error:
        fault = str(error)
    if fault:
        raise TableError(f"the frame cannot be stored: {fault.splitlines()[0]}", where=f"{target.schema}.{table}")
    return rows


def _streamed(data: Any) -> Any:
    """What DuckDB can register; a relation belongs to a connection of its own."""
    if isinstance(data, duckdb.DuckDBPyRelation):
        return data.to_arrow_table()
    return data.collect() if type(data).__name__ == "LazyFrame" else data


def _check_free(connection: duckdb.DuckDBPyConnection, space: Space, table: str) -> None:
    if not ledger.stands(connection, space, ledger.TABLES):
        return
    row = connection.execute(
        f"SELECT asset FROM {space.table(ledger.TABLES)} WHERE table_name = ? AND asset IS NOT NULL", [table]
    ).fetchone()
    if row:
        connection.execute("ROLLBACK")
        raise TableError(
            f"the table {table!r} is loaded by the asset {row[0]}",
            where=space.schema,
            hint="Give this asset another name or another schema.",
        )


class _Frame:
    def __init__(self, connection: duckdb.DuckDBPyConnection, space: Space, table: str) -> None:
        self._connection, self._space, self._table = connection, space, table
        self._name = space.table(table)
        rows = connection.execute(f"DESCRIBE SELECT * FROM {_INCOMING}").fetchall()
        # a column without any value has the type "NULL" in DuckDB 2.0, and nothing else fits into it later
        self._kinds = {row[0]: "VARCHAR" if row[1].strip('"') == "NULL" else plain(row[1]) for row in rows}

    def write(self, where: str | None) -> int:
        """Replaces the table or the slice."""
        have = {column.name: column.type for column in columns_of(self._connection, self._space, self._table)}
        if where is None or not have:
            return self._anew()
        values = {name: self._fit(have, name, kind) for name, kind in self._kinds.items()}
        self._connection.execute(f"DELETE FROM {self._name} WHERE {where}")
        row = self._connection.execute(
            f"INSERT INTO {self._name} ({listing(map(quote, values))}) "
            f"SELECT {listing(values.values())} FROM {_INCOMING} s"
        ).fetchone()
        return int(row[0]) if row else 0

    def _anew(self) -> int:
        columns = listing(f"CAST({quote(name)} AS {kind}) AS {quote(name)}" for name, kind in self._kinds.items())
        self._connection.execute(f"DROP TABLE IF EXISTS {self._name}")
        row = self._connection.execute(f"CREATE TABLE {self._name} AS SELECT {columns} FROM {_INCOMING}").fetchone()
        return int(row[0]) if row else 0

    def _fit(self, have: dict[str, str], name: str, kind: str) -> str:
        """Makes the table take a column; gives the value to insert."""
        spelled = next((known for known in have if known.casefold() == name.casefold()), None)
        value = f"CAST(s.{quote(name)} AS {kind})"
        if spelled is None:
            self._connection.execute(f"ALTER TABLE {self._name} ADD COLUMN {quote(name)} {kind}")
            return value
        stored = have[spelled]
        if stored == kind or not self._any(f"{_INCOMING} s WHERE s.{quote(name)} IS NOT NULL"):
            return f"CAST(s.{quote(name)} AS {stored})" if stored != kind else value
        wanted = self._wider(spelled, stored, name, kind)
        if wanted != stored:
            self._connection.execute(
                f"ALTER TABLE {self._name} ALTER COLUMN {quote(spelled)} TYPE {wanted} "
                f"USING {convert(quote(spelled), stored, wanted)}"
            )
        return convert(value, kind, wanted)

    def _wider(self, spelled: str, stored: str, name: str, kind: str) -> str:
        if not self._any(f"{self._name} WHERE {quote(spelled)} IS NOT NULL"):
            return kind
        if loses_integers(stored, kind):
            stored_large = f"{self._name} WHERE {inexact(quote(spelled))}"
            large = f"{_INCOMING} s WHERE {inexact(f's.{quote(name)}')}" if stored == "DOUBLE" else stored_large
            if self._any(large):
                return "VARCHAR"
        return widen(stored, kind)

    def _any(self, source: str) -> bool:
        row = self._connection.execute(f"SELECT count(*) FROM (SELECT 1 FROM {source} LIMIT 1)").fetchone()
        return bool(row and row[0])
