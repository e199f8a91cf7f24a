"""Writing frames of other assets: the whole table or a slice of it, in one transaction, by column name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import duckdb

from dagster_restapi.errors import TableError
from dagster_restapi.tables import ledger
from dagster_restapi.tables.load import abandon, columns_of
from dagster_restapi.tables.owner import Entry, foreign, look, register
from dagster_restapi.tables.sql import Space, listing, quote
from dagster_restapi.tables.target import Log, Target
from dagster_restapi.tables.types import convert, inexact, loses_integers, plain, widen

_INCOMING = "_restapi_incoming"


def write_frame(
    target: Target,
    table: str,
    data: Any,
    *,
    asset: str | None = None,
    where: str | None = None,
    is_told: Callable[[], bool] = lambda: False,
    log: Log | None = None,
) -> int:
    """Replaces a table, or the slice of it that a condition names, by a frame; gives the frame's rows.

    A slice may bring new columns, and wider types; columns that it lacks are NULL in its rows.

    Args:
        data: A pandas or polars frame, a pyarrow Table or RecordBatchReader, or a DuckDB relation.
        asset: To whom the table belongs from then on. None: to the asset that is called like the table.
        where: SQL condition of the slice that is replaced; None: the whole table.
        is_told: Whether the asset's events say that a table of this name, of which the registry knows nothing, is its
            own: earlier versions wrote no entry, nor does dagster-duckdb.

    Raises:
        TableError: The table belongs to somebody else, or DuckDB cannot take the data. Nothing is changed.
    """
    fault = ""
    try:
        with target.write(log=log) as connection:
            space = target.space(connection)
            connection.register(_INCOMING, _streamed(data))
            try:
                connection.execute("BEGIN")
                ledger.prepare(connection, space)
                _claim(connection, space, table, asset or table, is_told)
                rows = _Frame(connection, space, table).write(where)
                connection.execute("COMMIT")
            except BaseException:
                abandon(connection)
                raise
            finally:
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


def _claim(
    connection: duckdb.DuckDBPyConnection, space: Space, table: str, asset: str, is_told: Callable[[], bool]
) -> None:
    """Refuses a table that is not the asset's own, and enters its name for a new one."""
    held = look(connection, space)
    relation, entry = held.relation(table), held.entry(table)
    if relation is not None:
        if entry is not None:
            _check_entry(entry, space, asset)
        known = entry is not None or (table not in ledger.SYSTEM and is_told())
        if not relation.is_table or relation.name != table or not known:
            raise foreign(relation, table, asset, registered=entry is not None)
        if entry is not None:
            return
    connection.execute(f"DELETE FROM {space.table(ledger.COLUMNS)} WHERE table_name = ?", [table])
    register(connection, space, table, root=None, asset=asset, path=None)


def _check_entry(entry: Entry, space: Space, asset: str) -> None:
    if not entry.is_frame:
        fault = f"is loaded by the asset {entry.asset}" if entry.asset else "holds rows of a resource"
    elif entry.asset != asset:
        fault = f"belongs to the asset {entry.asset}, which keeps a frame in it"
    else:
        return
    raise TableError(
        f"the table {entry.table!r} {fault}",
        where=f"asset {asset}, schema {space.schema}",
        hint="Give this asset another name or another schema, or rename or drop that table.",
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
