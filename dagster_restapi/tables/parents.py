"""What a child needs of its parent's stored rows, copied to a private file: one line per distinct key."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import IO

import duckdb
import msgspec

from dagster_restapi.config.columns import Path as KeyPath
from dagster_restapi.config.columns import column_name, keys_of
from dagster_restapi.errors import TableError
from dagster_restapi.model import JsonScalar, TablePlan
from dagster_restapi.slice_state import key_text
from dagster_restapi.tables import ledger
from dagster_restapi.tables.evolve import PARTITION, TablePath
from dagster_restapi.tables.sql import Space, literal, numbered, quote
from dagster_restapi.tables.target import Target
from dagster_restapi.tables.types import instant_text, number_text, plain

_BATCH = 10_000


@dataclass(frozen=True, slots=True)
class ParentRows:
    """What was copied.

    Attributes:
        rows: Rows of the parent that were looked at.
        keys: Distinct keys written, one line each.
        skipped_null: Rows left out because a part of their key is null.
        newest_load_id: The parent's newest load at that moment.
    """

    rows: int
    keys: int
    skipped_null: int
    newest_load_id: str | None


def copy_parent_rows(
    target: Target,
    parent: TablePlan,
    *,
    fields: Sequence[str],
    include: Sequence[str],
    destination: Path,
    partition: str | None = None,
    newer_than: str | None = None,
    also: Sequence[Mapping[str, JsonScalar]] = (),
    cursors_of: str | None = None,
    cursors_partition: str | None = None,
) -> ParentRows:
    """Writes the parent's keys as newline-delimited JSON, mode 0600, in the order in which they first appear.

    A line is `{"key": {field: value}, "include": {field: value}, "cursor": …, "cursor_kind": …}`; time stamps are
    ISO 8601 text in UTC. Where several rows have one key, what is included comes from the row written last. An object
    is put together again from its columns without its nulls, a list from its child table.

    Args:
        fields: Plain JSONPaths of the parent's record that make the key: `number`, `user.login`, `labels[0].name`.
        include: The same, for what is copied beside the key; objects and lists as well.
        partition: Only the rows of this partition.
        newer_than: Only rows of loads later than this one.
        also: Keys that are due whatever their age.
        cursors_of: Asset whose cursors per parent key stand in the lines.
        cursors_partition: The partition of that asset.

    Raises:
        TableError: The parent's table or a field of it is not there; the message says what to materialize.
    """
    part = destination.with_name(destination.name + ".part")
    fault = ""
    try:
        with (
            target.read() as connection,
            open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as lines,
        ):
            source = _Source(connection, target.space(connection), parent)
            cursors = (
                ledger.parent_cursors(connection, source.space, cursors_of, cursors_partition) if cursors_of else None
            )
            source.select(fields, include, source.due(partition, newer_than), also)
            found = source.summary(partition)
            keys = _write(source.lines(), lines, cursors)
        part.replace(destination)
    except duckdb.Error as error:
        fault = str(error)
    if fault:
        raise TableError(f"the parent's rows cannot be read: {fault.splitlines()[0]}", where=parent.table)
    return ParentRows(found.rows, keys, found.skipped_null, found.newest_load_id)


def _write(
    found: Iterator[tuple[str, str]], lines: IO[bytes], cursors: Mapping[str, tuple[JsonScalar, str]] | None
) -> int:
    number = 0
    for key, include in found:
        text = f'{{"key":{key},"include":{include}'
        if cursors is not None:
            value, kind = cursors.get(key_text(msgspec.json.decode(key)), (None, None))
            text += f',"cursor":{_compact(value)},"cursor_kind":{_compact(kind)}'
        lines.write(f"{text}}}\n".encode())
        number += 1
    return number


@dataclass(frozen=True, slots=True)
class _Table:
    """A table with what is known of it: its columns' names and types by the path in the record."""

    name: str
    columns: dict[KeyPath, tuple[str, str]]


class _Source:
    """The parent's tables, and SQL that makes JSON of their values again."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, space: Space, parent: TablePlan) -> None:
        self._connection, self.space, self._parent = connection, space, parent
        self._aliases = 0
        self._scope = "true"
        if not ledger.stands(connection, space, parent.table):
            raise TableError(
                f"the table {parent.table!r} of the parent does not exist yet",
                where=f"resource {parent.resource}",
                hint=f"Materialize the asset of {parent.resource!r} first.",
            )
        self._tables = self._look()

    def _look(self) -> dict[TablePath, _Table]:
        names: dict[TablePath, str] = {(): self._parent.table}
        paths: dict[str, dict[str, KeyPath]] = {}
        if ledger.stands(self._connection, self.space, ledger.TABLES):
            for name, path in self._connection.execute(
                f"SELECT table_name, path FROM {self.space.table(ledger.TABLES)} WHERE root = ?", [self._parent.table]
            ).fetchall():
                names[tuple(tuple(part) for part in json.loads(path))] = name
            for name, column, path in self._connection.execute(
                f"SELECT table_name, column_name, path FROM {self.space.table(ledger.COLUMNS)}"
            ).fetchall():
                paths.setdefault(name, {})[column] = tuple(json.loads(path))
        tables: dict[TablePath, _Table] = {path: _Table(name, {}) for path, name in names.items()}
        for path, table in tables.items():
            for column, kind in self._columns(names[path]):
                known = paths.get(table.name, {}).get(column)
                if known is not None:
                    table.columns[known] = (column, kind)
                elif not path and not column.startswith("_restapi_"):  # not written by this library
                    table.columns.setdefault((column,), (column, kind))
        return tables

    def _columns(self, table: str) -> list[tuple[str, str]]:
        rows = self._connection.execute(
            "SELECT column_name, data_type FROM duckdb_columns() "
            "WHERE database_name = ? AND schema_name = ? AND table_name = ? ORDER BY column_index",
            [self.space.catalog, self.space.schema, table],
        ).fetchall()
        return [(name, plain(kind)) for name, kind in rows]

    # ---- which rows --------------------------------------------------------------------------------------------------
    def due(self, partition: str | None, newer_than: str | None) -> str:
        """The condition of the rows that are due by their partition and age."""
        conditions = []
        have = {name for name, _ in self._columns(self._parent.table)}
        if partition is not None:
            if PARTITION not in have:
                raise TableError(
                    f"the table {self._parent.table!r} has no partitions",
                    where=f"resource {self._parent.resource}",
                    hint=f"Materialize the asset of {self._parent.resource!r} for the partition {partition!r} first.",
                )
            conditions.append(f"t.{PARTITION} = {literal(partition)}")
        if self._parent.strategy == "scd2" and self._parent.valid_to in have:
            conditions.append(f"t.{quote(self._parent.valid_to)} IS NULL")
        self._scope = " AND ".join(conditions) or "true"
        if newer_than is None or not ledger.stands(self._connection, self.space):
            return "true"
        loads = self.space.table(ledger.LOADS)
        older = (
            f"SELECT load_id FROM {loads} WHERE sequence <= "
            f"(SELECT max(sequence) FROM {loads} WHERE load_id = {literal(newer_than)})"
        )
        return f"NOT coalesce(t._restapi_load_id IN ({older}), false)"

    def select(
        self, fields: Sequence[str], include: Sequence[str], due: str, also: Sequence[Mapping[str, JsonScalar]]
    ) -> None:
        """Sets up the rows to copy: their key and what goes with it, as JSON."""
        values = {path: self._value(path, key=True) for path in fields}
        key = _object(values.items())
        beside = _object((path, self._value(path, key=False)) for path in include)
        rows = numbered(self._connection, self.space.table(self._parent.table))
        if also and due != "true":
            texts = {_compact({field: item.get(field) for field in fields}) for item in also}
            wanted = ", ".join(f"CAST({literal(text)} AS JSON)" for text in sorted(texts))
            due = f"({due} OR CAST({key} AS VARCHAR) IN (SELECT CAST(unnest([{wanted}]) AS VARCHAR)))"
        missing = " OR ".join(f"{sql} IS NULL" for sql in values.values())
        self._connection.execute(
            f"CREATE OR REPLACE TEMP TABLE _parents AS SELECT t._restapi_rowid AS rid, {key} AS parent_key, "
            f"{beside} AS beside, ({missing}) AS missing FROM {rows} t WHERE {self._scope} AND {due}"
        )

    def summary(self, partition: str | None) -> ParentRows:
        """Counts of the rows to copy, and the parent's newest load."""
        row = self._connection.execute("SELECT count(*), count(*) FILTER (WHERE missing) FROM temp._parents").fetchone()
        assert row is not None
        return ParentRows(int(row[0]), 0, int(row[1]), self._newest(partition))

    def _newest(self, partition: str | None) -> str | None:
        if not ledger.stands(self._connection, self.space, ledger.TABLES):
            return None
        row = self._connection.execute(
            f"SELECT load_id FROM {self.space.table(ledger.LOADS)} WHERE (CAST(? AS VARCHAR) IS NULL OR partition = ?) "
            f"AND asset IN (SELECT asset FROM {self.space.table(ledger.TABLES)} WHERE table_name = ?) "
            "ORDER BY sequence DESC LIMIT 1",
            [partition, partition, self._parent.table],
        ).fetchone()
        return row[0] if row else None

    def lines(self) -> Iterator[tuple[str, str]]:
        """Key and included values of each distinct key, as JSON."""
        result = self._connection.execute(
            "SELECT CAST(parent_key AS VARCHAR), CAST(arg_max(beside, rid) AS VARCHAR) FROM temp._parents "
            "WHERE NOT missing GROUP BY parent_key ORDER BY min(rid)"
        )
        while batch := result.fetchmany(_BATCH):
            yield from batch

    # ---- values ------------------------------------------------------------------------------------------------------
    def _value(self, path: str, *, key: bool) -> str:
        keys = keys_of(path)
        if not keys:
            raise TableError(
                f"{path!r} cannot be read from a stored table",
                where=f"resource {self._parent.resource}",
                hint="Name a field by its keys and indexes, such as `user.login` or `labels[0].name`.",
            )
        found = self._find((), keys, "t", scalar=key)
        if found is None:
            known = [".".join(known) for known in self._tables[()].columns]
            near = get_close_matches(path, known, n=3, cutoff=0.5)
            raise TableError(
                f"the table {self._parent.table!r} has no column for {path!r}",
                where=f"resource {self._parent.resource}",
                hint=f"It has {', '.join(near or known[:12])}. A field that was never in a record has no column.",
            )
        return found

    def _find(self, table: TablePath, keys: tuple[str | int, ...], alias: str, *, scalar: bool) -> str | None:
        """SQL of the JSON value at these keys of a row; None where nothing can be there."""
        places = []
        for cut in range(len(keys), 0, -1):
            if any(isinstance(key, int) for key in keys[:cut]):
                continue
            path = tuple(str(key) for key in keys[:cut])
            column = self._column(table, path)
            if column and (cut == len(keys) or _holds_more(column[1])):
                places.append(_inside(_json(f"{alias}.{quote(column[0])}", column[1]), keys[cut:]))
                break
        index = next((number for number, key in enumerate(keys) if isinstance(key, int)), None)
        if index is not None:
            item = self._item(table, keys, index, alias, scalar=scalar)
            places += [item] if item else []
        elif not scalar:
            path = tuple(str(key) for key in keys)
            places += [sql for sql in (self._object(table, path, alias), self._list(table, path, alias)) if sql]
        if not places:
            return None
        return places[0] if len(places) == 1 else f"coalesce({', '.join(places)})"

    def _column(self, table: TablePath, path: KeyPath) -> tuple[str, str] | None:
        """A column by its path, or by the name that the path has after normalisation."""
        columns = self._tables[table].columns
        if path in columns:
            return columns[path]
        names = {column_name(self._parent, path), ".".join(path)}
        return next((column for column in columns.values() if column[0] in names), None)

    def _below(self, table: TablePath, alias: str, path: KeyPath) -> tuple[TablePath, str, str] | None:
        child = (*table, path)
        if child not in self._tables or not ledger.stands(self._connection, self.space, self._tables[child].name):
            return None
        self._aliases += 1
        inner = f"x{self._aliases}"
        return child, inner, f"{inner}._restapi_parent_id = {alias}._restapi_id"

    def _item(
        self, table: TablePath, keys: tuple[str | int, ...], index: int, alias: str, *, scalar: bool
    ) -> str | None:
        """One item of a list that has a child table."""
        below = self._below(table, alias, tuple(str(key) for key in keys[:index]))
        if below is None:
            return None
        child, inner, joined = below
        rest = keys[index + 1 :]
        value = self._find(child, rest, inner, scalar=scalar) if rest else self._whole(child, inner)
        if value is None:
            return None
        name = self.space.table(self._tables[child].name)
        return f"(SELECT {value} FROM {name} {inner} WHERE {joined} AND {inner}._restapi_index = {keys[index]})"

    def _list(self, table: TablePath, path: KeyPath, alias: str) -> str | None:
        """A list that has a child table, put together again."""
        below = self._below(table, alias, path)
        if below is None:
            return None
        child, inner, joined = below
        items = f"list({self._whole(child, inner)} ORDER BY {inner}._restapi_index)"
        return f"(SELECT to_json({items}) FROM {self.space.table(self._tables[child].name)} {inner} WHERE {joined})"

    def _whole(self, table: TablePath, alias: str) -> str:
        """A row of a child table as the item that it was."""
        scalar = self._tables[table].columns.get(())
        places = [_json(f"{alias}.{quote(scalar[0])}", scalar[1])] if scalar else []
        rebuilt = self._object(table, (), alias)
        places += [rebuilt] if rebuilt else []
        return f"coalesce({', '.join(places)})" if places else "CAST('null' AS JSON)"

    def _object(self, table: TablePath, path: KeyPath, alias: str) -> str | None:
        """An object that was flattened, without its nulls; null where nothing is in it."""
        depth = len(path)
        inside = [column for column in self._tables[table].columns if len(column) > depth and column[:depth] == path]
        inside += [child[-1] for child in self._tables if child[:-1] == table and child and child[-1][:depth] == path]
        members: dict[str, str] = {}
        for name in dict.fromkeys(known[depth] for known in inside if len(known) > depth):
            member = self._find(table, (*path, name), alias, scalar=False)
            if member:
                members[name] = member
        if not members:
            return None
        return f"nullif(json_merge_patch('{{}}', {_object(members.items())}), CAST('{{}}' AS JSON))"


def _object(members: Iterable[tuple[str, str]]) -> str:
    return f"json_object({', '.join(f'{literal(name)}, {sql}' for name, sql in members)})"


def _compact(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _holds_more(kind: str) -> bool:
    return kind == "JSON" or kind.startswith("STRUCT") or kind.endswith("]")


def _inside(sql: str, keys: tuple[str | int, ...]) -> str:
    """What is deeper in a JSON value; an explicit null is none."""
    if not keys:
        return sql
    pointer = "".join("/" + str(key).replace("~", "~0").replace("/", "~1") for key in keys)
    inner = f"json_extract({sql}, {literal(pointer)})"
    return f"CASE WHEN json_type({inner}) <> 'NULL' THEN {inner} END"


def _json(sql: str, kind: str) -> str:
    """A column's value as JSON: whole numbers without fraction, time stamps in UTC."""
    if kind == "JSON":
        return sql
    if kind == "DOUBLE":
        return f"CAST({number_text(sql)} AS JSON)"
    return f"to_json({instant_text(sql) if kind == 'TIMESTAMPTZ' else sql})"
