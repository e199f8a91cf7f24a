"""The ledger: one row per load, written in the load's own transaction, and what else stands beside the tables.

_restapi_loads     the ledger
_restapi_cursors   one cursor per parent key, of child assets with an `incremental` of their own
_restapi_tables    which table belongs to which asset, and to which list of its records
_restapi_columns   which column holds which path of a record
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import duckdb
import msgspec

from dagster_restapi.config.time_format import TimeFormat
from dagster_restapi.model import Conditions, Cursor, JsonScalar, LedgerRow, LoadResult
from dagster_restapi.slice_state import key_text
from dagster_restapi.tables.owner import REGISTRY, Claim, look_at
from dagster_restapi.tables.owner import columns_of as _columns_of
from dagster_restapi.tables.spelling import Respelled
from dagster_restapi.tables.sql import Space, literal
from dagster_restapi.tables.target import Target
from dagster_restapi.tables.types import instant_text

FORMAT = 1
LOADS, CURSORS, TABLES, COLUMNS = "_restapi_loads", "_restapi_cursors", REGISTRY, "_restapi_columns"

_COLUMNS = {
    LOADS: {
        "load_id": "VARCHAR",
        "asset": "VARCHAR",
        "partition": "VARCHAR",
        "run_id": "VARCHAR",
        "root_run_id": "VARCHAR",
        "sequence": "BIGINT",
        "rows": "BIGINT",
        "cursor_before": "VARCHAR",
        "cursor": "VARCHAR",
        "parent_load_id": "VARCHAR",
        "failed_parents": "VARCHAR",
        "tables": "VARCHAR",
        "wipe": "VARCHAR",
        "data_version": "VARCHAR",
        "layout": "VARCHAR",
        "tell": "VARCHAR",
        "format_version": "INTEGER",
        "committed_at": "TIMESTAMPTZ",
    },
    CURSORS: {
        "asset": "VARCHAR",
        "partition": "VARCHAR",
        "parent_key": "VARCHAR",
        "value": "VARCHAR",
        "kind": "VARCHAR",
        "load_id": "VARCHAR",
        "spelling": "VARCHAR",  # of the parent key: 'api', or null where it was read from typed columns
    },
    TABLES: {"table_name": "VARCHAR", "root": "VARCHAR", "asset": "VARCHAR", "path": "VARCHAR"},
    COLUMNS: {"table_name": "VARCHAR", "column_name": "VARCHAR", "path": "VARCHAR"},
}
SYSTEM = frozenset(_COLUMNS)
_encode = msgspec.json.Encoder(order="sorted").encode
_decode = msgspec.json.Decoder().decode


@dataclass(frozen=True, slots=True)
class Record:
    """What the ledger and the tables say of an asset before a run.

    Attributes:
        has_table: Whether the asset's root table stands.
        newest: The newest load of each of the slices that has any, by partition.
        before: The same by load id, without those of the run itself and of the runs that it goes on from.
        last: The newest load of the asset, whatever its partition.
    """

    has_table: bool = False
    newest: Mapping[str | None, LedgerRow] = field(default_factory=dict)
    before: Mapping[str | None, str] = field(default_factory=dict)
    last: LedgerRow | None = None


@dataclass(frozen=True, slots=True)
class CursorSummary:
    """The cursors that a child keeps per parent key."""

    count: int
    minimum: JsonScalar
    maximum: JsonScalar


def to_json(value: Any) -> str:
    """JSON text with sorted keys, as the ledger keeps it."""
    return _encode(value).decode()


# ---- making and migrating --------------------------------------------------------------------------------------------
def stands(connection: duckdb.DuckDBPyConnection, space: Space, table: str = LOADS) -> bool:
    """Whether a table is there. Looked up first: a missing table inside a transaction would abort it."""
    row = connection.execute(
        "SELECT count(*) FROM duckdb_tables() WHERE database_name = ? AND schema_name = ? AND table_name = ?",
        [space.catalog, space.schema, table],
    ).fetchone()
    return bool(row and row[0])


def _columns(connection: duckdb.DuckDBPyConnection, space: Space, *tables: str) -> dict[str, list[str]]:
    """The columns of those of the tables that are there."""
    marks = ", ".join("?" for _ in tables)
    return dict(
        connection.execute(
            "SELECT table_name, list(column_name) FROM duckdb_columns() "
            f"WHERE database_name = ? AND schema_name = ? AND table_name IN ({marks}) GROUP BY table_name",
            [space.catalog, space.schema, *tables],
        ).fetchall()
    )


def prepare(connection: duckdb.DuckDBPyConnection, space: Space) -> None:
    """Makes the schema and the tables of this module, or brings older ones to this format. Part of a transaction."""
    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {space.text}")
    known = _columns(connection, space, *_COLUMNS)
    for table, columns in _COLUMNS.items():
        if table not in known:
            listing = ", ".join(f"{name} {kind}" for name, kind in columns.items())
            connection.execute(f"CREATE TABLE {space.table(table)} ({listing})")
            continue
        for name, kind in columns.items():
            if name not in known[table]:  # written by an older version of this library
                connection.execute(f"ALTER TABLE {space.table(table)} ADD COLUMN {name} {kind}")


# ---- rows ------------------------------------------------------------------------------------------------------------
def append(connection: duckdb.DuckDBPyConnection, space: Space, row: LedgerRow) -> None:
    """Adds a row; `committed_at` is the transaction's time."""
    values: dict[str, Any] = {
        "load_id": row.load_id,
        "asset": row.asset,
        "partition": row.partition,
        "run_id": row.run_id,
        "root_run_id": row.root_run_id,
        "sequence": row.sequence,
        "rows": row.rows,
        "cursor_before": row.cursor_before and to_json(row.cursor_before),
        "cursor": row.cursor and to_json(row.cursor),
        "parent_load_id": row.parent_load_id,
        "failed_parents": to_json(row.failed_parents),
        "tables": to_json(row.tables),
        "wipe": row.wipe,
        "data_version": row.data_version,
        "layout": row.layout,
        "tell": to_json(row.tell),
        "format_version": FORMAT,
    }
    marks = ", ".join("?" for _ in values)
    connection.execute(
        f"INSERT INTO {space.table(LOADS)} ({', '.join(values)}, committed_at) VALUES ({marks}, now())",
        list(values.values()),
    )


def newest(connection: duckdb.DuckDBPyConnection, space: Space, asset: str, partition: str | None) -> LedgerRow | None:
    """The newest load of an asset's slice."""
    rows = _rows(
        connection,
        space,
        "asset = ? AND partition IS NOT DISTINCT FROM ? ORDER BY sequence DESC LIMIT 1",
        [asset, partition],
    )
    return rows[0] if rows else None


def rows_of(connection: duckdb.DuckDBPyConnection, space: Space, asset: str | None) -> list[LedgerRow]:
    """All rows of an asset, or of the schema, oldest first."""
    return _rows(connection, space, "? IS NULL OR asset = ? ORDER BY sequence", [asset, asset])


def newest_ones(
    connection: duckdb.DuckDBPyConnection, space: Space, asset: str | None, partition: str | None = None
) -> list[LedgerRow]:
    """The newest row of each slice of an asset, or of the schema; or of one partition alone."""
    return _rows(
        connection,
        space,
        "(CAST(? AS VARCHAR) IS NULL OR asset = ?) AND (CAST(? AS VARCHAR) IS NULL OR partition = ?) "
        "QUALIFY row_number() OVER (PARTITION BY asset, partition ORDER BY sequence DESC) = 1 ORDER BY sequence",
        [asset, asset, partition, partition],
    )


def newest_of_asset(connection: duckdb.DuckDBPyConnection, space: Space, asset: str) -> LedgerRow | None:
    """The newest load of an asset, whatever its partition."""
    rows = _rows(connection, space, "asset = ? ORDER BY sequence DESC LIMIT 1", [asset])
    return rows[0] if rows else None


def drop_asset(connection: duckdb.DuckDBPyConnection, space: Space, asset: str) -> None:
    """Takes an asset out of the ledger, within the transaction of the load that begins it anew."""
    for table in (LOADS, CURSORS):
        connection.execute(f"DELETE FROM {space.table(table)} WHERE asset = ?", [asset])


def find(connection: duckdb.DuckDBPyConnection, space: Space, load_id: str) -> LedgerRow | None:
    """The row of one load."""
    rows = _rows(connection, space, "load_id = ?", [load_id])
    return rows[0] if rows else None


def has(connection: duckdb.DuckDBPyConnection, space: Space, load_id: str) -> bool:
    """Whether a load is in the ledger."""
    return bool(connection.execute(f"SELECT 1 FROM {space.table(LOADS)} WHERE load_id = ?", [load_id]).fetchall())


def next_sequence(connection: duckdb.DuckDBPyConnection, space: Space) -> int:
    """The number of the load that is about to be written."""
    row = connection.execute(f"SELECT coalesce(max(sequence), 0) + 1 FROM {space.table(LOADS)}").fetchone()
    assert row is not None
    return int(row[0])


def _rows(connection: duckdb.DuckDBPyConnection, space: Space, where: str, values: Iterable[Any]) -> list[LedgerRow]:
    table = space.table(LOADS)
    instant = instant_text("committed_at")  # a time stamp with zone would need pytz on this side
    cursor = connection.execute(
        f"SELECT * REPLACE ({instant} AS committed_at) FROM {table} WHERE {where}", list(values)
    )
    names = [column[0] for column in cursor.description or ()]
    return [_row(dict(zip(names, values, strict=True))) for values in cursor.fetchall()]


def _row(values: Mapping[str, Any]) -> LedgerRow:
    tell = _decode(values["tell"] or "{}")
    return LedgerRow(
        load_id=values["load_id"],
        asset=values["asset"],
        partition=values["partition"],
        run_id=values["run_id"] or "",
        sequence=values["sequence"] or 0,
        rows=values["rows"] or 0,
        cursor_before=_cursor(values["cursor_before"]),
        cursor=_cursor(values["cursor"]),
        parent_load_id=values["parent_load_id"],
        failed_parents=tuple(_decode(values["failed_parents"] or "[]")),
        tables=tuple(_decode(values["tables"] or "[]")),
        tell=tell,
        format_version=values["format_version"] or 0,
        committed_at=values["committed_at"] or "",
        root_run_id=values.get("root_run_id") or "",
        wipe=values.get("wipe"),
        data_version=values.get("data_version") or "",
        layout=_layout(values),
        conditions=msgspec.convert(tell.get("notes") or {}, Conditions),
    )


def _layout(values: Mapping[str, Any]) -> str | None:
    """An older version did not write it; a load of no partition has no layout."""
    return values.get("layout") or ("" if values["partition"] is None else None)


def _cursor(text: str | None) -> Cursor | None:
    return msgspec.json.decode(text, type=Cursor) if text else None


def read_back(row: LedgerRow) -> LoadResult:
    """What a load told when it was committed, from its row in the ledger."""
    told = row.tell.get("load")
    if told is None:  # written by an older version
        return LoadResult(load_id=row.load_id, already_loaded=True, rows_loaded=row.rows, cursor=row.cursor)
    return replace(msgspec.convert(told, LoadResult), already_loaded=True)


# ---- reading from outside --------------------------------------------------------------------------------------------
def newest_load(target: Target, asset: str, partition: str | None = None) -> LedgerRow | None:
    """The newest load of an asset's slice; None where file, schema or ledger are not there yet. Read-only and brief."""
    if not target.exists:
        return None
    with target.read() as connection:
        space = target.space(connection)
        return newest(connection, space, asset, partition) if stands(connection, space) else None


def record_of(
    target: Target, asset: str, partitions: Sequence[str | None], *, table: str, resource: str, root_run_id: str = ""
) -> Record:
    """Everything that a run has to know before its first request, in one brief read.

    Args:
        partitions: The slices that the run is about; None is the slice of an asset without partitions.
        table: The asset's root table.
        resource: Its name in the configuration.
        root_run_id: Of the run.

    Raises:
        TableError: The table, or one of its lists', belongs to somebody else: the load would fail for it.
    """
    if not target.exists:
        return Record()
    with target.read() as connection:
        space = target.space(connection)
        held = look_at(connection, space, table)
        held.check(Claim(table, asset, resource, target.database))
        has_table = held.relation(table) is not None
        columns = _columns_of(connection, space, LOADS)
        if not columns:
            return Record(has_table)
        last = newest_of_asset(connection, space, asset)
        chosen, values = "asset = ? AND partition IS NULL", [asset]
        if keys := [key for key in partitions if key is not None]:
            connection.execute("CREATE OR REPLACE TEMP TABLE _asked AS SELECT unnest(?) AS partition", [keys])
            chosen = "asset = ? AND partition IN (SELECT partition FROM temp._asked)"
        if last and list(partitions) == [last.partition]:
            if last.root_run_id and last.root_run_id != root_run_id:
                return Record(has_table, {last.partition: last}, {last.partition: last.load_id}, last)
            newest_ones = [last]
        else:
            newest_of_each = "QUALIFY row_number() OVER (PARTITION BY partition ORDER BY sequence DESC) = 1"
            newest_ones = _rows(connection, space, f"{chosen} {newest_of_each}", values)
        # An older version did not write of which root run a load is: it is of none that goes on now.
        of_others = "root_run_id IS DISTINCT FROM ?" if "root_run_id" in columns else "? IS NOT NULL"
        before = connection.execute(
            f"SELECT partition, arg_max(load_id, sequence) FROM {space.table(LOADS)} "
            f"WHERE {chosen} AND {of_others} GROUP BY partition",
            [*values, root_run_id],
        ).fetchall()
        return Record(has_table, {row.partition: row for row in newest_ones}, dict(before), last)


def find_load(target: Target, load_id: str) -> LedgerRow | None:
    """The ledger's row of a load; None where it was never committed."""
    if not target.exists:
        return None
    with target.read() as connection:
        space = target.space(connection)
        return find(connection, space, load_id) if stands(connection, space) else None


def loads(target: Target, asset: str | None = None) -> list[LedgerRow]:
    """All loads of the schema, or of one asset, oldest first."""
    if not target.exists:
        return []
    with target.read() as connection:
        space = target.space(connection)
        return rows_of(connection, space, asset) if stands(connection, space) else []


def forget(target: Target, asset: str, partition: str | None = None) -> int:
    """Takes an asset, or one partition of it, out of the ledger; its tables stay as they are.

    Gives the number of loads forgotten. The next load of it starts at `initial_value`, and another asset
    may take the tables over.
    """
    if not target.exists:
        return 0
    with target.write() as connection:
        space = target.space(connection)
        if not stands(connection, space):
            return 0
        one = "asset = ? AND (CAST(? AS VARCHAR) IS NULL OR partition = ?)"
        connection.execute("BEGIN")
        counted = connection.execute(
            f"SELECT count(*) FROM {space.table(LOADS)} WHERE {one}", [asset, partition, partition]
        ).fetchone()
        for table in (LOADS, CURSORS):
            if stands(connection, space, table):
                connection.execute(f"DELETE FROM {space.table(table)} WHERE {one}", [asset, partition, partition])
        if partition is None and stands(connection, space, TABLES):
            connection.execute(f"UPDATE {space.table(TABLES)} SET asset = NULL WHERE asset = ?", [asset])
        connection.execute("COMMIT")
        return int(counted[0]) if counted else 0


# ---- cursors per parent ----------------------------------------------------------------------------------------------
def store_cursors(
    connection: duckdb.DuckDBPyConnection,
    space: Space,
    lines: Iterable[Mapping[str, Any]],
    *,
    asset: str,
    partition: str | None,
    load_id: str,
    clear: bool,
    respelled: Respelled,
) -> None:
    """Updates the cursors of a child's parents, in the load's transaction; a line without a value forgets one.

    Args:
        respelled: Cursors of earlier versions get the API's spelling of their keys.
    """
    table = space.table(CURSORS)
    slice_ = "asset = ? AND partition IS NOT DISTINCT FROM ?"
    if clear:
        connection.execute(f"DELETE FROM {table} WHERE {slice_}", [asset, partition])
    elif respelled.cursors:
        _respell_cursors(connection, table, asset, partition, respelled)
    rows = {key_text(line["key"]): (to_json(line["value"]), line["kind"]) for line in lines}
    if not rows:
        return
    columns = ("parent_key", "value", "kind", "spelling")
    _fill(connection, "_moved", columns, [(key, *row, respelled.of(key)) for key, row in rows.items()])
    connection.execute(
        f"DELETE FROM {table} WHERE {slice_} AND parent_key IN (SELECT parent_key FROM temp._moved)",
        [asset, partition],
    )
    connection.execute(
        f"INSERT INTO {table} (asset, partition, parent_key, value, kind, load_id, spelling) "
        f"SELECT ?, ?, parent_key, value, kind, {literal(load_id)}, spelling FROM temp._moved WHERE value <> 'null'",
        [asset, partition],
    )


def _fill(
    connection: duckdb.DuckDBPyConnection, name: str, columns: Sequence[str], rows: Sequence[tuple[str | None, ...]]
) -> None:
    """A temporary table of texts."""
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {name} ({', '.join(f'{column} VARCHAR' for column in columns)})")
    mark = f"({', '.join('?' for _ in columns)})"
    for start in range(0, len(rows), 500):
        part = rows[start : start + 500]
        marks = ", ".join(mark for _ in part)
        connection.execute(f"INSERT INTO temp.{name} VALUES {marks}", [item for row in part for item in row])


def _respell_cursors(
    connection: duckdb.DuckDBPyConnection, table: str, asset: str, partition: str | None, respelled: Respelled
) -> None:
    """Each cursor under the keys of the rows that it is of; what is left over beside another one goes."""
    slice_ = "asset = ? AND partition IS NOT DISTINCT FROM ?"
    rows = [(old, key, respelled.of(key)) for old, keys in respelled.cursors.items() for key in keys or [""]]
    _fill(connection, "_respelled", ("old", "parent_key", "spelling"), rows)
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE _under_other_keys AS SELECT c.* REPLACE (r.parent_key AS parent_key, "
        f"r.spelling AS spelling) FROM {table} c JOIN temp._respelled r ON c.parent_key = r.old WHERE {slice_}",
        [asset, partition],
    )
    connection.execute(
        f"DELETE FROM {table} WHERE {slice_} AND parent_key IN (SELECT old FROM temp._respelled)", [asset, partition]
    )
    connection.execute(f"INSERT INTO {table} BY NAME FROM temp._under_other_keys WHERE parent_key <> ''")


def parent_cursors(
    connection: duckdb.DuckDBPyConnection, space: Space, asset: str, partition: str | None
) -> dict[str, tuple[JsonScalar, str]]:
    """Value and kind of each cursor of a child, by its parent key's text."""
    if not stands(connection, space, CURSORS):
        return {}
    rows = connection.execute(
        f"SELECT parent_key, value, kind FROM {space.table(CURSORS)} "
        "WHERE asset = ? AND partition IS NOT DISTINCT FROM ?",
        [asset, partition],
    ).fetchall()
    return {key: (_decode(value), kind) for key, value, kind in rows}


def typed_cursors(
    connection: duckdb.DuckDBPyConnection, space: Space, asset: str, partition: str | None
) -> frozenset[str]:
    """The parent keys of a child's cursors that were read from typed columns."""
    columns = _columns_of(connection, space, CURSORS)
    if not columns:
        return frozenset()
    typed = "spelling IS NULL" if "spelling" in columns else "true"  # an earlier version knew no other
    rows = connection.execute(
        f"SELECT parent_key FROM {space.table(CURSORS)} WHERE asset = ? AND partition IS NOT DISTINCT FROM ? "
        f"AND {typed}",
        [asset, partition],
    ).fetchall()
    return frozenset(key for (key,) in rows)


def cursor_summary(
    target: Target, asset: str, partition: str | None = None, *, cursor_format: str | None = None
) -> CursorSummary:
    """How many cursors a child keeps, and the lowest and highest of them, compared by their kind.

    Args:
        cursor_format: The setting that gives them their order.
    """
    if not target.exists:
        return CursorSummary(0, None, None)
    with target.read() as connection:
        values = parent_cursors(connection, target.space(connection), asset, partition)
    ordered = sorted((value for value, _ in values.values()), key=lambda value: _order(value, cursor_format))
    return CursorSummary(len(ordered), ordered[0] if ordered else None, ordered[-1] if ordered else None)


def _order(value: JsonScalar, cursor_format: str | None) -> tuple[int, Any]:
    if cursor_format is not None and cursor_format != "text":
        with suppress(ValueError):
            return 1, TimeFormat.of(cursor_format).moment(value).timestamp()
    if isinstance(value, str):
        try:
            instant = datetime.fromisoformat(value)
        except ValueError:
            return 2, value
        return 1, (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp()
    return 0, value
