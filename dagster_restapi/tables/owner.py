"""Whose a table is: it belongs to whoever made it, and nobody else writes to it, drops it, or mixes rows into it.

Two things prove that a table is an asset's own: an entry in the registry, and the columns that this library gives to
tables of its resources. An entry alone proves nothing, since the table may have been dropped and made anew by somebody
else. A frame of another asset has no such columns: there the entry has to do.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

import duckdb

from dagster_restapi.errors import TableError
from dagster_restapi.tables.sql import Space, literal
from dagster_restapi.tables.types import plain

REGISTRY = "_restapi_tables"
_ROOT_PATH = "[]"
# What every version has given to its tables; columns that came later prove nothing.
_MARKS_OF_ROOT = frozenset({"_restapi_load_id", "_restapi_id", "_restapi_row_hash"})
_MARKS_OF_CHILD = frozenset({"_restapi_load_id", "_restapi_id", "_restapi_parent_id", "_restapi_root_id"})
_LETTERS = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")


def fold(name: str) -> str:
    """A name as DuckDB compares it: without case, but only of the letters A to Z."""
    return name.translate(_LETTERS)


@dataclass(frozen=True, slots=True)
class Relation:
    """A table or view that stands in the schema.

    Attributes:
        columns: Name -> type.
    """

    name: str
    columns: dict[str, str]
    is_table: bool = True

    def is_root(self, name: str) -> bool:
        """Whether it is the table of a resource, under this very name."""
        return self._is(name, _MARKS_OF_ROOT)

    def is_child(self, name: str) -> bool:
        """Whether it is the table of a list, under this very name."""
        return self._is(name, _MARKS_OF_CHILD)

    def _is(self, name: str, marks: Collection[str]) -> bool:
        return self.is_table and self.name == name and self.columns.keys() >= set(marks)


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the registry.

    Attributes:
        root: The resource's own table; None: the table is a frame of another asset.
        asset: None: the asset was forgotten, and another one may take the table over.
        path: The list of the record, as JSON.
    """

    table: str
    root: str | None
    asset: str | None
    path: str | None

    @property
    def is_frame(self) -> bool:
        """Whether it is of a frame."""
        return self.root is None

    @property
    def is_root(self) -> bool:
        """Whether it is a resource's own table."""
        return self.root is not None and self.path == _ROOT_PATH


@dataclass(frozen=True, slots=True)
class Claim:
    """Who wants which table.

    Attributes:
        resource: Name in the configuration; with `database` it makes the command that hands a table over.
    """

    table: str
    asset: str
    resource: str = ""
    database: str = ""


@dataclass(frozen=True, slots=True)
class Holdings:
    """What stands in a schema, and what the registry says of it; by the names as DuckDB compares them."""

    schema: str
    relations: Mapping[str, Relation] = field(default_factory=dict)
    entries: Mapping[str, Entry] = field(default_factory=dict)

    def relation(self, name: str) -> Relation | None:
        """The table or view that stands under a name."""
        return self.relations.get(fold(name))

    def entry(self, name: str) -> Entry | None:
        """What the registry says of a name."""
        return self.entries.get(fold(name))

    def lists_of(self, root: str) -> Iterator[Entry]:
        """The registered tables of a root's lists."""
        for entry in self.entries.values():
            if entry.root is not None and fold(entry.root) == fold(root) and not entry.is_root:
                yield entry

    def check(self, claim: Claim) -> None:
        """Refuses a root table, or a registered table of one of its lists, that is not the asset's own.

        Raises:
            TableError: The table belongs to somebody else.
        """
        relation, entry = self.relation(claim.table), self.entry(claim.table)
        if relation is not None:
            self._check_entry(claim, entry)
            if not relation.is_root(claim.table):
                raise foreign(relation, claim.table, claim.asset, registered=entry is not None)
        for child in self.lists_of(claim.table):
            standing = self.relation(child.table)
            if standing is None:
                continue
            if child.asset not in (None, claim.asset):
                raise self._taken(claim, child.table, child.asset or "", "the asset")
            if not standing.is_child(child.table):
                raise foreign(standing, child.table, claim.asset, registered=True)

    def _check_entry(self, claim: Claim, entry: Entry | None) -> None:
        if entry is None:  # the registry is lost: the table's columns decide alone
            return
        if entry.is_frame:
            raise TableError(
                f"the table {entry.table!r} belongs to the asset {entry.asset}, which keeps a frame in it",
                where=claim.asset,
                hint=_ANOTHER_NAME,
            )
        if not entry.is_root:
            raise self._taken(claim, entry.table, f"{entry.root}, as a child table of it", "")
        if entry.asset not in (None, claim.asset):
            raise self._taken(claim, entry.table, entry.asset or "", "the asset")

    def _taken(self, claim: Claim, table: str, owner: str, what: str) -> TableError:
        hint = "Give this resource another `table_name`, or another schema."
        if what:
            command = self.rename_command(claim, owner)
            hint += f" If {owner} is this asset's former name, hand its tables over: {command}"
        return TableError(f"the table {table!r} belongs to {f'{what} {owner}'.strip()}", where=claim.asset, hint=hint)

    def rename_command(self, claim: Claim, owner: str) -> str:
        """The command that hands everything of an asset over to the one that claims its table."""
        words = ["dagster-restapi", "state", "CONFIG", "rename", owner, claim.resource or claim.table]
        words += ["--database", claim.database] if claim.database else []
        words += ["--schema", self.schema]
        prefix, slash, _ = claim.asset.rpartition("/")
        return shlex.join(words + (["--key-prefix", prefix] if slash else []))


_ANOTHER_NAME = (
    "Give one of the two another name (`table_name` of a resource) or another schema, or rename or drop that table."
)


def foreign(relation: Relation, name: str, where: str, *, registered: bool = False) -> TableError:
    """The error about a table that this library did not make, and what to do about it."""
    kind = "table" if relation.is_table else "view"
    what = f"the {kind} {relation.name!r} was not made by this library"
    if relation.name != name:
        what += f", and its name is the same as {name!r} to DuckDB"
    elif registered:
        what += ": it stands in the place of one that was dropped"
    return TableError(what, where=where, hint=f"Nothing was written. {_ANOTHER_NAME}")


# ---- looking ---------------------------------------------------------------------------------------------------------
def look(connection: duckdb.DuckDBPyConnection, space: Space) -> Holdings:
    """Everything that stands in a schema. Part of a transaction, in which the registry is there."""
    place = "database_name = ? AND lower(schema_name) = lower(?)"  # a schema may be spelled otherwise as well
    values = [space.catalog, space.schema]
    tables = {
        name
        for (name,) in connection.execute(f"SELECT table_name FROM duckdb_tables() WHERE {place}", values).fetchall()
    }
    columns: dict[str, dict[str, str]] = {}
    for name, column, kind in connection.execute(
        f"SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE {place} "
        "ORDER BY table_name, column_index",
        values,
    ).fetchall():
        columns.setdefault(name, {})[column] = plain(kind)
    relations = {fold(name): Relation(name, found, name in tables) for name, found in columns.items()}
    return Holdings(space.schema, relations, _entries(connection, space))


def look_at(connection: duckdb.DuckDBPyConnection, space: Space, root: str) -> Holdings:
    """The same for a root table and the registered tables of its lists: quicker, outside of a transaction.

    Whether they are tables or views, and how their names are spelled, is left to the load.
    """
    entries = _entries(connection, space) if columns_of(connection, space, REGISTRY) else {}
    held = Holdings(space.schema, {}, entries)
    names = [root, *(entry.table for entry in held.lists_of(root))]
    found = {name: columns_of(connection, space, name) for name in names}
    relations = {fold(name): Relation(name, columns) for name, columns in found.items() if columns}
    return Holdings(space.schema, relations, entries)


def columns_of(connection: duckdb.DuckDBPyConnection, space: Space, table: str) -> dict[str, str]:
    """The columns of a table, none where it is not there. Not within a transaction, which a missing one would abort.

    `duckdb_columns()` takes some 20 ms when it is first asked, and a SELECT takes a missing `json` for a file's name.
    """
    try:
        found = connection.execute(
            f"SELECT name, type FROM pragma_table_info({literal(space.table(table))})"
        ).fetchall()
    except (duckdb.CatalogException, duckdb.BinderException):  # not there, or a view of what is not there
        return {}
    return dict(found)


def _entries(connection: duckdb.DuckDBPyConnection, space: Space) -> dict[str, Entry]:
    rows = connection.execute(f"SELECT table_name, root, asset, path FROM {space.table(REGISTRY)}").fetchall()
    return {fold(name): Entry(name, root, asset, path) for name, root, asset, path in rows}


# ---- registering -----------------------------------------------------------------------------------------------------
def register(
    connection: duckdb.DuckDBPyConnection, space: Space, table: str, *, root: str | None, asset: str, path: str | None
) -> None:
    """Writes down whose a table is, instead of what was known of that name. Part of the transaction that makes it."""
    strike(connection, space, table)
    connection.execute(
        f"INSERT INTO {space.table(REGISTRY)} (table_name, root, asset, path) VALUES (?, ?, ?, ?)",
        [table, root, asset, path],
    )


def strike(connection: duckdb.DuckDBPyConnection, space: Space, table: str) -> None:
    """Takes a name out of the registry, however it is spelled there."""
    names = connection.execute(f"SELECT DISTINCT table_name FROM {space.table(REGISTRY)}").fetchall()
    for (name,) in names:
        if fold(name) == fold(table):
            connection.execute(f"DELETE FROM {space.table(REGISTRY)} WHERE table_name = ?", [name])
