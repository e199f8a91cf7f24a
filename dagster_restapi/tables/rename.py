"""Handing everything of an asset over to its new name: loads, cursors, tables; rows and positions stay as they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import duckdb

from dagster_restapi.config.columns import child_name
from dagster_restapi.config.fingerprint import fingerprint
from dagster_restapi.errors import TableError
from dagster_restapi.model import LedgerRow, TablePlan
from dagster_restapi.tables import ledger
from dagster_restapi.tables.evolve import name_mark, table_path
from dagster_restapi.tables.marks import is_mark, mark
from dagster_restapi.tables.owner import Claim, Holdings, fold, look, strike
from dagster_restapi.tables.reset import own_tables, transaction
from dagster_restapi.tables.sql import Space, quote
from dagster_restapi.tables.target import Target


@dataclass(frozen=True, slots=True)
class Renamed:
    """What was handed over.

    Attributes:
        loads: Loads of the ledger.
        tables: Former name of each table that has another one now -> that name.
    """

    loads: int
    tables: Mapping[str, str]


def assets(target: Target) -> list[str]:
    """The assets of which the ledger knows loads."""
    return sorted({row.asset for row in ledger.loads(target)})


def rename(target: Target, old: str, new: str, plan: TablePlan) -> Renamed:
    """Hands loads, cursors and tables of one asset over to another, in one transaction.

    The tables get the names that the new one's would have. Children of the asset go on as if nothing had happened.

    Args:
        old: Asset key as the ledger has it.
        new: Asset key of the resource that takes it over.
        plan: That resource's tables.

    Raises:
        TableError: The new asset has loads already, the old one has none, or a table is in the way or somebody else's.
    """
    with transaction(target) as (connection, space):
        return _Rename(connection, space, old, new, plan).run()


class _Rename:
    def __init__(
        self, connection: duckdb.DuckDBPyConnection, space: Space, old: str, new: str, plan: TablePlan
    ) -> None:
        self._connection, self._space, self._plan = connection, space, plan
        self._old, self._new = old, new
        self._held: Holdings = look(connection, space)

    def run(self) -> Renamed:
        rows = ledger.rows_of(self._connection, self._space, self._old)
        self._check(rows)
        root = self._root(rows)
        names = self._names(root)
        self._move_tables(root, names)
        self._move_ledger(root)
        self._tell_children(rows)
        return Renamed(sum(not is_mark(row) for row in rows), {old: name for old, name in names.items() if old != name})

    def _check(self, rows: list[LedgerRow]) -> None:
        if not rows:
            raise TableError(f"the ledger knows no load of the asset {self._old}", where=self._space.schema)
        if self._old == self._new:
            raise TableError(f"the asset is called {self._new} already", where=self._space.schema)
        if ledger.newest_of_asset(self._connection, self._space, self._new):
            raise TableError(
                f"the asset {self._new} has loads of its own",
                where=self._space.schema,
                hint="If they are not wanted, take them away first: `state CONFIG reset RESOURCE --drop-rows`.",
            )

    # ---- tables ------------------------------------------------------------------------------------------------------
    def _root(self, rows: list[LedgerRow]) -> str:
        """The old asset's root table: as it is registered, else as its newest load named it."""
        registered = [entry for entry in self._held.entries.values() if entry.is_root and entry.asset == self._old]
        return registered[0].table if registered else (rows[-1].tables or (self._old.rpartition("/")[2],))[0]

    def _names(self, root: str) -> dict[str, str]:
        """Former name of each registered table -> the name that it gets."""
        if root == self._plan.table and self._held.entry(root) is None:
            return {}  # the registry is lost: the next load finds its tables by their names
        tables = own_tables(self._held, Claim(root, self._old))
        if root == self._plan.table:
            return {entry.table: entry.table for entry in tables}
        paths = {table_path(entry.path or "[]"): entry for entry in tables}
        names: dict[tuple[tuple[str, ...], ...], str] = {(): self._plan.table}
        for path in sorted(paths, key=len):
            if path:
                parent = names.get(path[:-1]) or self._plan.table
                name = child_name(self._plan, parent, path[-1])
                taken = fold(name) in map(fold, names.values())
                names[path] = f"{name}_{name_mark(path)}" if taken else name
        found = {entry.table: names[path] for path, entry in paths.items()}
        self._check_free(found)
        return found

    def _check_free(self, names: Mapping[str, str]) -> None:
        own = {fold(name) for name in names}
        for name in (self._plan.table, *names.values()):
            relation = self._held.relation(name)
            if relation is not None and fold(name) not in own:
                kind = "table" if relation.is_table else "view"
                raise TableError(
                    f"the {kind} {relation.name!r} stands where a table of {self._new} would",
                    where=self._space.schema,
                    hint="Rename or drop it, or give the resource another `table_name`.",
                )

    def _move_tables(self, root: str, names: Mapping[str, str]) -> None:
        """By names in between: the name of a list's table may be the new name of the one above it."""
        moved = [(old, name) for old, name in names.items() if old != name]
        for number, (old, _) in enumerate(moved):
            self._alter(old, f"_restapi_renamed_{number}")
        for number, (_, name) in enumerate(moved):
            self._alter(f"_restapi_renamed_{number}", name)
        entries = [self._held.entry(old) for old in names]
        columns = {old: self._columns(old) for old in names}
        registry, known = self._space.table(ledger.TABLES), self._space.table(ledger.COLUMNS)
        gone = {entry.table for entry in self._held.lists_of(root)} | {root} | set(names.values())
        for name in gone:
            strike(self._connection, self._space, name)
            self._connection.execute(f"DELETE FROM {known} WHERE table_name = ?", [name])
        for entry in entries:
            assert entry is not None
            self._connection.execute(
                f"INSERT INTO {registry} (table_name, root, asset, path) VALUES (?, ?, ?, ?)",
                [names[entry.table], self._plan.table, self._new, entry.path],
            )
            for column, path in columns[entry.table]:
                self._connection.execute(
                    f"INSERT INTO {known} (table_name, column_name, path) VALUES (?, ?, ?)",
                    [names[entry.table], column, path],
                )

    def _alter(self, old: str, new: str) -> None:
        self._connection.execute(f"ALTER TABLE {self._space.table(old)} RENAME TO {quote(new)}")

    def _columns(self, table: str) -> list[tuple[str, str]]:
        return self._connection.execute(
            f"SELECT column_name, path FROM {self._space.table(ledger.COLUMNS)} WHERE table_name = ?", [table]
        ).fetchall()

    # ---- the ledger --------------------------------------------------------------------------------------------------
    def _move_ledger(self, root: str) -> None:
        for table in (ledger.LOADS, ledger.CURSORS):
            self._connection.execute(
                f"UPDATE {self._space.table(table)} SET asset = ? WHERE asset = ?", [self._new, self._old]
            )
        for newest in ledger.newest_ones(self._connection, self._space, self._new):
            notes = {"tables": self._fingerprint(root, newest)} if newest.conditions.tables else {}
            kept = {"cursor": newest.cursor, "parent_load_id": newest.parent_load_id}
            mark(self._connection, self._space, newest, "rename", notes=notes, **kept)

    def _fingerprint(self, root: str, newest: LedgerRow) -> str | None:
        """Of what is said of the tables: if only the name is another one, no row has to be written anew for it."""
        for resource in {self._old.rpartition("/")[2], root, self._plan.resource}:
            if newest.conditions.tables == fingerprint(replace(self._plan, resource=resource, table=root)):
                return fingerprint(self._plan)
        return newest.conditions.tables

    def _tell_children(self, rows: list[LedgerRow]) -> None:
        """Notes the parent's new name in the newest loads of its children.

        Who they are is told by the load of their parent up to which they have asked. That their requests name the
        parent otherwise now changes no record, so it is left open under which settings these have got their form.
        """
        loads = {row.load_id for row in rows}
        for newest in ledger.newest_ones(self._connection, self._space, None):
            parent = _under_another_name(newest.conditions.parent or "", self._plan.resource)
            if newest.parent_load_id in loads and parent not in (None, newest.conditions.parent):
                noted = {**newest.tell["notes"], "parent": parent, "records": None}
                self._connection.execute(
                    f"UPDATE {self._space.table(ledger.LOADS)} SET tell = ? WHERE load_id = ?",
                    [ledger.to_json({**newest.tell, "notes": noted}), newest.load_id],
                )


def _under_another_name(fields: str, resource: str) -> str | None:
    """`old.id, old.name` as `new.id, new.name`; None where the text is of another form."""
    parts = fields.split(", ") if fields else []
    if not parts or len({part.partition(".")[0] for part in parts}) != 1:
        return None
    return ", ".join(f"{resource}.{part.partition('.')[2]}" for part in parts)
