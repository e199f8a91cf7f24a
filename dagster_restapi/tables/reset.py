"""Making a resource begin again: with its rows, which the next load meets, or without them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import duckdb

from dagster_restapi.errors import TableError
from dagster_restapi.tables import ledger
from dagster_restapi.tables.evolve import PARTITION
from dagster_restapi.tables.load import abandon
from dagster_restapi.tables.marks import is_mark, mark
from dagster_restapi.tables.owner import Claim, Entry, Holdings, look
from dagster_restapi.tables.sql import Space, literal
from dagster_restapi.tables.target import Target

_SLICE = "asset = ? AND partition IS NOT DISTINCT FROM ?"


@contextmanager
def transaction(target: Target) -> Iterator[tuple[duckdb.DuckDBPyConnection, Space]]:
    """A transaction in which the ledger and the registry are there, in the format of this version.

    Raises:
        TableError: The database refused something; nothing is changed.
    """
    fault = ""
    try:
        with target.write() as connection:
            space = target.space(connection)
            connection.execute("BEGIN")
            try:
                ledger.prepare(connection, space)
                yield connection, space
                connection.execute("COMMIT")
            except BaseException:
                abandon(connection)
                raise
    except duckdb.Error as error:
        fault = str(error)
    if fault:
        raise TableError(f"nothing was changed: {fault.splitlines()[0]}", where=target.database)


def reset(target: Target, asset: str, partition: str | None = None) -> int:
    """Makes an asset's slices, or one partition, begin again; the rows stay. Gives the number of slices.

    The next load starts at `initial_value`, asks with all rows of its parent, and goes by the resource's disposition.
    Parents that are owed stay so.
    """
    if not target.exists:
        return 0
    with transaction(target) as (connection, space):
        slices = ledger.newest_ones(connection, space, asset, partition)
        for newest in slices:
            # All rows lie beyond a cursor that is none: an append has to look for what comes again among all of them.
            noted: dict[str, Any] = {"reset": True, "beyond_cursor": True}
            noted |= dict.fromkeys(("cursor_path", "cursor_direction", "cursor_format"))
            mark(connection, space, newest, "reset", notes=noted, cursor=None, parent_load_id=None)
            connection.execute(f"DELETE FROM {space.table(ledger.CURSORS)} WHERE {_SLICE}", [asset, newest.partition])
    return len(slices)


def reset_parent(target: Target, asset: str, parent_key: str, partition: str | None = None) -> int:
    """The same for one parent key of a child, as `key_text` spells it; gives 1, or 0 where nothing was known."""
    if not target.exists:
        return 0
    with transaction(target) as (connection, space):
        found = connection.execute(
            f"DELETE FROM {space.table(ledger.CURSORS)} WHERE {_SLICE} AND parent_key = ? RETURNING 1",
            [asset, partition, parent_key],
        ).fetchall()
        newest = ledger.newest(connection, space, asset, partition)
        if found and newest:
            mark(connection, space, newest, "reset", notes={"beyond_cursor": True})
    return len(found)


# ---- with the rows ---------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Dropped:
    """What a reset with its rows takes away, or would take.

    Attributes:
        rows: Rows by table.
        loads: Loads that the ledger forgets.
    """

    rows: dict[str, int] = field(default_factory=dict)
    loads: int = 0


def what_would_go(target: Target, claim: Claim, partition: str | None = None) -> Dropped:
    """The tables and rows that `drop_rows` would remove.

    Raises:
        TableError: One of the tables is not the asset's own.
    """
    if not target.exists:
        return Dropped()
    with target.read() as connection:
        space = target.space(connection)
        if not (ledger.stands(connection, space) and ledger.stands(connection, space, ledger.TABLES)):
            return Dropped()
        return _count(connection, space, claim, partition)


def drop_rows(target: Target, claim: Claim, partition: str | None = None) -> Dropped:
    """Drops an asset's tables, or removes the rows of one partition, and forgets its loads: all in one transaction.

    Raises:
        TableError: One of the tables is not the asset's own.
    """
    with transaction(target) as (connection, space):
        found = _count(connection, space, claim, partition)
        for table in found.rows:
            name = space.table(table)
            if partition is None:
                connection.execute(f"DROP TABLE {name}")
            else:
                connection.execute(f"DELETE FROM {name} WHERE {PARTITION} = ?", [partition])
        if partition is None:
            _forget_tables(connection, space, claim)
        whose, values = ("asset = ?", [claim.asset]) if partition is None else (_SLICE, [claim.asset, partition])
        for known in (ledger.LOADS, ledger.CURSORS):
            connection.execute(f"DELETE FROM {space.table(known)} WHERE {whose}", values)
    return found


def own_tables(held: Holdings, claim: Claim) -> list[Entry]:
    """The registered tables of an asset that stand, root first.

    Raises:
        TableError: The root table is not the asset's own, or is registered nowhere.
    """
    held.check(claim)
    root, entry = held.relation(claim.table), held.entry(claim.table)
    if root is not None and (entry is None or entry.asset != claim.asset):
        raise TableError(
            f"the table {claim.table!r} is registered for no asset",
            where=claim.asset,
            hint="The next load of the asset that it is of takes it over.",
        )
    found = [entry] if root is not None and entry is not None else []
    return found + [child for child in held.lists_of(claim.table) if held.relation(child.table) is not None]


def _count(connection: duckdb.DuckDBPyConnection, space: Space, claim: Claim, partition: str | None) -> Dropped:
    held = look(connection, space)
    rows: dict[str, int] = {}
    for entry in own_tables(held, claim):
        relation = held.relation(entry.table)
        if partition is not None and not (relation and PARTITION in relation.columns):
            continue
        where = "" if partition is None else f" WHERE {PARTITION} = {literal(partition)}"
        counted = connection.execute(f"SELECT count(*) FROM {space.table(entry.table)}{where}").fetchone()
        rows[entry.table] = int(counted[0]) if counted else 0
    known = [
        row
        for row in ledger.rows_of(connection, space, claim.asset)
        if (partition is None or row.partition == partition) and not is_mark(row)
    ]
    return Dropped(rows, len(known))


def _forget_tables(connection: duckdb.DuckDBPyConnection, space: Space, claim: Claim) -> None:
    registry, columns = space.table(ledger.TABLES), space.table(ledger.COLUMNS)
    whose = "root = ? AND (asset = ? OR asset IS NULL)"
    connection.execute(
        f"DELETE FROM {columns} WHERE table_name IN (SELECT table_name FROM {registry} WHERE {whose})",
        [claim.table, claim.asset],
    )
    connection.execute(f"DELETE FROM {registry} WHERE {whose}", [claim.table, claim.asset])
