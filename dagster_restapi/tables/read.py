"""Reading tables: as frames, as a stream, as a relation on a private copy; and what describes a table."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import Any, Literal

import duckdb

from dagster_restapi.errors import TableError
from dagster_restapi.model import Column, TablePlan
from dagster_restapi.tables import ledger
from dagster_restapi.tables.evolve import PARTITION
from dagster_restapi.tables.load import columns_of
from dagster_restapi.tables.sql import Space, listing, literal, numbered, quote
from dagster_restapi.tables.target import Target
from dagster_restapi.tables.types import as_text

_BATCH = 100_000  # rows of a streamed batch
Kind = Literal["arrow", "reader", "pandas", "polars", "relation"]
_AS_THEY_ARE = ("BIGINT", "INTEGER", "SMALLINT", "TINYINT", "BOOLEAN", "VARCHAR")


def read_table(
    target: Target,
    table: str,
    *,
    columns: Sequence[str] | None = None,
    partition: str | Sequence[str] | None = None,
    where: str | None = None,
    kind: Kind = "arrow",
    asset: str | None = None,
) -> Any:
    """A table, or a part of it.

    Args:
        columns: Only these.
        partition: Only rows of these partitions, by `_restapi_partition`.
        where: Only rows that meet this SQL condition.
        kind: `arrow` (pyarrow.Table), `reader` (pyarrow.RecordBatchReader), `pandas`, `polars`, or `relation`
            (a DuckDB relation). Reader and relation work on a private copy: the file is closed when this returns.
        asset: Named in the error where the table is missing.

    Raises:
        TableError: The table or a column is not there; the message says which asset to materialize.
    """
    if not target.exists:
        raise _missing(target, table, asset)
    if kind in ("reader", "relation"):
        return _private(target, table, columns, partition, where, kind, asset)
    with target.read() as connection:
        query = _query(connection, target, target.space(connection), table, columns, partition, where, asset)
        found = connection.sql(query).to_arrow_table()
    if kind == "pandas":
        return _pandas(found)
    if kind == "polars":
        import polars

        return polars.from_arrow(found)
    return found


def _private(
    target: Target,
    table: str,
    columns: Sequence[str] | None,
    partition: str | Sequence[str] | None,
    where: str | None,
    kind: Kind,
    asset: str | None,
) -> Any:
    if target.in_memory:  # nobody else waits for it
        with target.read() as connection:
            space = target.space(connection)
            found = connection.sql(_query(connection, target, space, table, columns, partition, where, asset))
            rows = found.to_arrow_table()
        return rows.to_reader() if kind == "reader" else duckdb.connect().from_arrow(rows)
    with target.copying() as (connection, space):
        query = _query(connection, target, space, table, columns, partition, where, asset)
        connection.execute(f"CREATE TABLE memory.main.{quote(table)} AS {query}")
    relation = connection.table(f"memory.main.{quote(table)}")
    if kind == "relation":
        weakref.finalize(relation, connection.close)  # the copy lives as long as the relation that reads it
        return relation
    return _stream(connection, relation)


def _stream(connection: duckdb.DuckDBPyConnection, relation: duckdb.DuckDBPyRelation) -> Any:
    """A reader that keeps its private copy alive, and closes it behind the last batch."""
    import pyarrow

    batches = relation.to_arrow_reader(_BATCH) if hasattr(relation, "to_arrow_reader") else _older(relation)

    def stream() -> Iterator[Any]:
        with connection:
            yield from batches

    return pyarrow.RecordBatchReader.from_batches(batches.schema, stream())


def _older(relation: duckdb.DuckDBPyRelation) -> Any:
    return relation.fetch_record_batch(_BATCH)  # DuckDB 1.4


def _query(
    connection: duckdb.DuckDBPyConnection,
    target: Target,
    space: Space,
    table: str,
    columns: Sequence[str] | None,
    partition: str | Sequence[str] | None,
    where: str | None,
    asset: str | None,
) -> str:
    have = [column.name for column in columns_of(connection, space, table)]
    if not have:
        raise _missing(target, table, asset)
    unknown = [name for name in columns or () if name not in have]
    if unknown:
        near = get_close_matches(unknown[0], have, n=3)
        raise TableError(f"the table {table!r} has no column {unknown[0]!r}", hint=f"It has {', '.join(near or have)}.")
    conditions = [f"({where})"] if where else []
    if partition is not None:
        keys = [partition] if isinstance(partition, str) else list(partition)
        conditions.append(f"{PARTITION} IN ({listing(map(literal, keys))})" if keys else "false")
    chosen = listing(map(quote, columns)) if columns else "*"
    return f"SELECT {chosen} FROM {space.table(table)}" + (f" WHERE {' AND '.join(conditions)}" if conditions else "")


def _missing(target: Target, table: str, asset: str | None) -> TableError:
    return TableError(
        f"the table {target.schema}.{table} does not exist",
        where=target.database,
        hint=f"Materialize the asset {asset or table} first.",
    )


def _pandas(found: Any) -> Any:
    """A pandas frame in which integers beside nulls stay exact: `Int64`, not floats."""
    import pyarrow

    frame = found.to_pandas(integer_object_nulls=True)
    for field in found.schema:
        if pyarrow.types.is_integer(field.type) and found.column(field.name).null_count:
            frame[field.name] = frame[field.name].astype("Int64")
    return frame


def describe(target: Target, table: str, *, plan: TablePlan | None = None) -> tuple[Column, ...]:
    """The columns of a table as they stand in DuckDB; none where it does not exist.

    Args:
        plan: Its hints give descriptions.
    """
    if not target.exists:
        return ()
    with target.read() as connection:
        return columns_of(connection, target.space(connection), table, plan)


def row_count(target: Target, table: str, *, partition: str | None = None) -> int:
    """Rows of a table, or of one partition of it; 0 where it does not exist."""
    if not target.exists:
        return 0
    with target.read() as connection:
        space = target.space(connection)
        if not ledger.stands(connection, space, table):
            return 0
        where = f" WHERE {PARTITION} = {literal(partition)}" if partition is not None else ""
        row = connection.execute(f"SELECT count(*) FROM {space.table(table)}{where}").fetchone()
        return int(row[0]) if row else 0


def previews(
    target: Target,
    table: str,
    *,
    rows: int = 5,
    hidden: Sequence[str] = (),
    partitions: Sequence[str | None] = (None,),
) -> dict[str | None, list[dict[str, Any]]]:
    """The rows written last of each partition, without system columns; None is the whole table.

    Numbers and booleans are as they are, everything else is text. A partition without rows has no entry.

    Args:
        hidden: Columns that are not shown.
    """
    if not partitions or rows <= 0 or not target.exists:
        return {}
    with target.read() as connection:
        space = target.space(connection)
        columns = columns_of(connection, space, table)
        shown = [column for column in columns if not column.name.startswith("_restapi_") and column.name not in hidden]
        if not shown:
            return {}
        source, keys = numbered(connection, space.table(table)), [key for key in partitions if key is not None]
        whose = PARTITION if keys else "NULL"
        chosen = f"WHERE {PARTITION} IN ({listing(map(literal, keys))})" if keys else ""
        newest = connection.execute(
            f"SELECT max(_restapi_rowid, {rows}) FROM {source} {chosen} GROUP BY {whose}"
        ).fetchall()
        values = listing(
            f"{quote(column.name) if column.type in _AS_THEY_ARE else as_text(quote(column.name), column.type)}"
            for column in shown
        )
        ids = [number for (numbers,) in newest for number in numbers]
        if not ids:
            return {}
        found = connection.execute(
            f"SELECT {whose}, {values} FROM {source} WHERE _restapi_rowid IN ({listing(map(str, ids))}) "
            "ORDER BY _restapi_rowid"
        ).fetchall()
    told: dict[str | None, list[dict[str, Any]]] = {}
    for key, *row in found:
        told.setdefault(key, []).append(dict(zip((column.name for column in shown), row, strict=True)))
    return told
