"""What a child needs of its parent's stored rows, copied to a private file: one line per distinct key."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import duckdb
import msgspec

from dagster_restapi.config.columns import Path as KeyPath
from dagster_restapi.config.columns import column_name, keys_of
from dagster_restapi.config.jsonpath import EACH, each, inner_of, kept_as
from dagster_restapi.config.placeholders import unseen
from dagster_restapi.errors import TableError
from dagster_restapi.model import JsonScalar, TablePlan
from dagster_restapi.slice_state import key_text
from dagster_restapi.tables import ledger
from dagster_restapi.tables.evolve import PARTITION, REQUEST_FIELDS, TablePath
from dagster_restapi.tables.spelling import RESPELLED_FILE, Respelled, match
from dagster_restapi.tables.sql import Space, literal, numbered, quote
from dagster_restapi.tables.target import Target, may_pass
from dagster_restapi.tables.types import instant_text, number_text, plain

_BATCH = 10_000


@dataclass(frozen=True, slots=True)
class ParentRows:
    """What was copied.

    Attributes:
        rows: Rows of the parent that were looked at.
        keys: Distinct keys written, one line each.
        skipped_null: Rows left out because a part of their key is null or not there.
        newest_load_id: The parent's newest load at that moment.
        warnings: What a person should know: fields that no row has.
        beside: The file that tells the load of spellings, where there is anything to tell.
    """

    rows: int
    keys: int
    skipped_null: int
    newest_load_id: str | None
    warnings: tuple[str, ...] = ()
    beside: tuple[Path, ...] = ()


def copy_parent_rows(
    target: Target,
    parent: TablePlan,
    *,
    fields: Sequence[str],
    include: Sequence[str],
    elements: str | None = None,
    destination: Path,
    partition: str | None = None,
    newer_than: str | None = None,
    also: Sequence[Mapping[str, JsonScalar]] = (),
    cursors_of: str | None = None,
    cursors_partition: str | None = None,
) -> ParentRows:
    """Writes the parent's keys as newline-delimited JSON, mode 0600, in the order in which they first appear.

    A line is `{"key": {field: value}, "include": {field: value}, "cursor": …, "cursor_kind": …, "owed": …}`. Values
    are as the API sent them, in spelling and JSON type, and keys are the same only where both are. Where several rows
    have one key, what is included comes from the row written last.

    Rows that keep no such values, as those of earlier versions, have them read from their columns: time stamps are ISO
    8601 text in UTC, an object is put together again without its nulls, a list from its child table. Cursors and keys
    in `also` that are spelled like that are found by either spelling; what the load has to know of it is written beside
    the lines, to `RESPELLED_FILE`.

    Args:
        fields: Plain JSONPaths of the parent's record that make the key: `number`, `user.login`, `labels[0].name`.
        include: The same, for what is copied beside the key; objects and lists as well.
        elements: JSONPath of the elements that fields go through, as in `labels[*].name`: each makes a key of its own.
        partition: Only the rows of this partition.
        newer_than: Only rows of loads later than this one.
        also: Keys that are due whatever their age.
        cursors_of: Asset whose cursors per parent key stand in the lines.
        cursors_partition: The partition of that asset.

    Raises:
        TableError: The parent's table is not there, or cannot give a field; the message says what to do.
    """
    part = destination.with_name(destination.name + ".part")
    beside = destination.with_name(RESPELLED_FILE)
    fault = ""
    try:
        with (
            target.read() as connection,
            open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as lines,
        ):
            space = target.space(connection)
            beside.unlink(missing_ok=True)  # of a copy that was never finished
            source = _Source(connection, space, parent, elements)
            cursors, typed = None, frozenset[str]()
            if cursors_of:
                cursors = ledger.parent_cursors(connection, space, cursors_of, cursors_partition)
                typed = ledger.typed_cursors(connection, space, cursors_of, cursors_partition)
            due, owed = source.due(partition, newer_than), set(map(key_text, also))
            source.select(fields, include, due, also, everything=bool(typed))
            if not typed and not source.has(owed):  # an older spelling, or the parent does not have them any more
                source.select(fields, include, due, also, everything=True)
            owed |= _respell(source, cursors, typed, owed, beside)
            found = source.summary(partition)
            keys = _write(source.lines(), lines, cursors, owed)
        part.replace(destination)
    except duckdb.Error as error:
        fault = str(error)
    if fault:
        raise TableError(
            f"the parent's rows cannot be read: {fault.splitlines()[0]}",
            where=parent.table,
            transient=may_pass(fault),
        )
    return replace(found, keys=keys, beside=(beside,) if beside.exists() else ())


def _respell(
    source: _Source,
    cursors: dict[str, tuple[JsonScalar, str]] | None,
    typed: frozenset[str],
    owed: set[str],
    destination: Path,
) -> set[str]:
    """Finds the cursors and the owed keys that are spelled by typed columns, and tells the load of the cursors.

    Gives the owed keys as they are spelled today.

    Args:
        cursors: By parent key; they are given the keys of today.
        typed: Those of them that are spelled by typed columns.
    """
    found: dict[str, set[str]] = {}
    renamed: dict[str, set[str]] = {}
    provisional = source.typed_keys() if cursors is not None else frozenset()
    if typed or not source.has(owed):
        rows = source.spellings()
        renamed = match(owed - {key for key, _ in rows}, rows)
        source.owe(key for keys in renamed.values() for key in keys)
        if cursors is not None:
            found = match(typed, [row for row in rows if row[0] in typed or row[0] not in cursors])
            cursors.update({key: cursors[old] for old, keys in found.items() for key in keys})
            found = {old: keys for old, keys in found.items() if keys != {old} or old not in provisional}
    told = Respelled(found, provisional)
    if told:
        part = destination.with_name(destination.name + ".part")
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(told.to_json())
        part.replace(destination)
    return {key for keys in renamed.values() for key in keys}


def _write(
    found: Iterator[tuple[str, str]],
    lines: IO[bytes],
    cursors: Mapping[str, tuple[JsonScalar, str]] | None,
    owed: set[str],
) -> int:
    number = 0
    for key, include in found:
        text = f'{{"key":{key},"include":{include}'
        if cursors is not None:
            value, kind = cursors.get(_canonical(key), (None, None))
            text += f',"cursor":{_compact(value)},"cursor_kind":{_compact(kind)}'
        if owed and _canonical(key) in owed:
            text += ',"owed":true'
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

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, space: Space, parent: TablePlan, elements: str | None
    ) -> None:
        self._connection, self.space, self._parent, self._elements = connection, space, parent, elements
        self._aliases = 0
        self._warnings: dict[str, None] = {}
        self._scope, self._kept = "true", "CAST(NULL AS VARCHAR)"
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
        self._kept = f"t.{REQUEST_FIELDS}" if REQUEST_FIELDS in have else self._kept
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
        self,
        fields: Sequence[str],
        include: Sequence[str],
        due: str,
        also: Sequence[Mapping[str, JsonScalar]],
        *,
        everything: bool,
    ) -> None:
        """Sets up the rows to copy: their key and what goes with it, as JSON.

        Args:
            everything: Also the rows that are not due, for the spellings of their keys.
        """
        paths = [*fields, *include]
        inner = [inner_of(path, self._elements) for path in paths]
        typed = [
            self._value(path, key=number < len(fields)) if inner[number] is None else "CAST(NULL AS JSON)"
            for number, path in enumerate(paths)
        ]
        columns = "".join(f", {sql} AS v{number}" for number, sql in enumerate(typed))
        rows = numbered(self._connection, self.space.table(self._parent.table))
        read = f"SELECT t._restapi_rowid AS rid, {due} AS due, {self._kept} AS kept{columns}"
        through = [path for path, rest in zip(paths, inner, strict=True) if rest is not None]
        read += f", {self._list_of_elements(through)} AS elements" if through else ""
        read += f" FROM {rows} t WHERE {self._scope}" + ("" if everything or also else f" AND {due}")
        apis = [f"json_extract(kept, {literal(_pointer([path]))})" for path in paths]
        if through:
            read = _one_row_each(read, _kept_list(through[0]))
            for number, rest in enumerate(inner):
                if rest is not None:
                    apis[number] = f"json_extract({_kept_list(paths[number])}, position)"
                    read = _with_inner(read, number, keys_of(rest))
        values = [_preferred(api, f"v{number}") for number, api in enumerate(apis)]
        key = f"CAST({_object(zip(fields, values, strict=False))} AS VARCHAR)"
        typed_key = f"CAST({_object((path, f'v{number}') for number, path in enumerate(fields))} AS VARCHAR)"
        beside = f"CAST({_object(zip(include, values[len(fields) :], strict=True))} AS VARCHAR)"
        missing = " OR ".join(f"{value} IS NULL" for value in values[: len(fields)])
        whole = " AND ".join(f"{api} IS NOT NULL" for api in apis[: len(fields)])
        owed = f"{key} IN (SELECT unnest([{', '.join(_as_key(item, fields) for item in also)}]))" if also else "false"
        self._connection.execute(
            f"CREATE OR REPLACE TEMP TABLE _parents AS SELECT rid, due OR {owed} AS due, {key} AS parent_key, "
            f"{typed_key} AS typed_key, {beside} AS beside, ({missing}) AS missing, ({whole}) AS whole FROM ({read})"
            + ("" if everything or not also else f" WHERE due OR {owed}")
        )
        self._adopt()

    def _adopt(self) -> None:
        """A row whose key was read from columns is of the parent whose key they give as well, where that is only one.

        An append table has the same parent several times, loaded by an earlier version and by this one.
        """
        if len(self._connection.execute("SELECT DISTINCT whole FROM temp._parents").fetchall()) < 2:
            return
        self._connection.execute(
            "UPDATE temp._parents AS p SET parent_key = n.parent_key, whole = true FROM (SELECT typed_key, "
            "min(parent_key) AS parent_key FROM temp._parents WHERE whole AND NOT missing GROUP BY typed_key "
            "HAVING count(DISTINCT parent_key) = 1) n WHERE p.typed_key = n.typed_key AND NOT p.whole"
        )

    def has(self, keys: set[str]) -> bool:
        """Whether there is a row for each of these keys."""
        if not keys:
            return True
        found = self._connection.execute("SELECT DISTINCT parent_key FROM temp._parents WHERE due").fetchall()
        return keys <= {_canonical(key) for (key,) in found}

    def spellings(self) -> list[tuple[str, str]]:
        """Key and typed key of the rows, each pair once."""
        found = self._connection.execute(
            "SELECT DISTINCT parent_key, typed_key FROM temp._parents WHERE NOT missing"
        ).fetchall()
        return [(_canonical(key), _canonical(typed)) for key, typed in found]

    def typed_keys(self) -> frozenset[str]:
        """The keys that were read from typed columns."""
        found = self._connection.execute(
            "SELECT DISTINCT parent_key FROM temp._parents WHERE NOT whole AND NOT missing"
        ).fetchall()
        return frozenset(_canonical(key) for (key,) in found)

    def owe(self, keys: Iterable[str]) -> None:
        """Takes the rows with these keys for due."""
        wanted = set(keys)
        if not wanted:
            return
        found = self._connection.execute("SELECT DISTINCT parent_key FROM temp._parents WHERE NOT due").fetchall()
        chosen = ", ".join(literal(key) for (key,) in found if _canonical(key) in wanted)
        if chosen:
            self._connection.execute(f"UPDATE temp._parents SET due = true WHERE parent_key IN ({chosen})")

    def summary(self, partition: str | None) -> ParentRows:
        """Counts of the rows to copy, and the parent's newest load."""
        row = self._connection.execute(
            "SELECT count(*), count(*) FILTER (WHERE missing) FROM temp._parents WHERE due"
        ).fetchone()
        assert row is not None
        warnings = tuple(self._warnings) if row[0] else ()
        return ParentRows(int(row[0]), 0, int(row[1]), self._newest(partition), warnings)

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
            "SELECT parent_key, arg_max(beside, rid) FROM temp._parents "
            "WHERE due AND NOT missing GROUP BY parent_key ORDER BY min(rid)"
        )
        while batch := result.fetchmany(_BATCH):
            yield from batch

    # ---- values ------------------------------------------------------------------------------------------------------
    def _value(self, path: str, *, key: bool) -> str:
        """SQL of the JSON value that the columns have at a path."""
        keys = keys_of(path)
        found = self._find((), keys, "t", scalar=key) if keys else None
        if found is not None:
            return found
        if self._is_kept(path):
            return "CAST(NULL AS JSON)"
        if not keys:
            raise self._unreadable(path)
        return self._nothing(path)

    def _nothing(self, path: str) -> str:
        """SQL of what no row has, and a warning of it."""
        known = [".".join(known) for known in self._tables[()].columns]
        self._warnings[unseen(self._parent.resource, path, known)] = None
        return "CAST(NULL AS JSON)"

    def _list_of_elements(self, paths: Sequence[str]) -> str:
        """SQL of the list that the columns have of the elements which all these paths go through."""
        many = each(paths[0])
        assert many is not None, "a path that matches once goes through no elements"
        keys = keys_of(many.container) if many.container else None
        found = self._find((), keys, "t", scalar=False) if keys else None
        if found is not None:
            return f"CASE WHEN json_type({found}) = 'ARRAY' THEN {found} END"
        if not self._is_kept(kept_as(paths[0], self._elements)):
            if keys is None:
                raise self._unreadable(paths[0])
            for path in paths:
                self._nothing(path)
        return "CAST(NULL AS JSON)"

    def _unreadable(self, path: str) -> TableError:
        return TableError(
            f"{path!r} cannot be read from a stored table",
            where=f"resource {self._parent.resource}",
            hint="Name a field by its keys and indexes, or the elements of one list: `user.login`, `labels[0].name`, "
            "`labels[*].name`. Or load the parent anew: from then on its rows keep what the path finds.",
        )

    def _is_kept(self, path: str) -> bool:
        """Whether rows keep the value beside their columns: a contract may have left it out of these."""
        return bool(
            self._connection.execute(
                f"SELECT 1 FROM {self.space.table(self._parent.table)} t "
                f"WHERE json_exists({self._kept}, {literal(_pointer([path]))}) LIMIT 1"
            ).fetchall()
        )

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


def _kept_list(path: str) -> str:
    """SQL of what a row keeps of a path through elements."""
    return f"json_extract(kept, {literal(_pointer([f'{EACH}{path}']))})"


def _one_row_each(read: str, kept: str) -> str:
    """One row for each element; a single one, without a position, where a row has no list at all."""
    count = f"coalesce(json_array_length({kept}), json_array_length(elements))"
    positions = f"CASE WHEN {count} IS NULL THEN [NULL] ELSE range(CAST({count} AS BIGINT)) END"
    read = f"SELECT *, unnest({positions}) AS position FROM ({read})"
    return f"SELECT * REPLACE (row_number() OVER (ORDER BY rid, position) AS rid) FROM ({read})"


def _with_inner(read: str, number: int, keys: tuple[str | int, ...] | None) -> str:
    """With the value that each element has at some keys; none where that cannot be told of a column."""
    value = "CAST(NULL AS JSON)" if keys is None else _inside("json_extract(elements, position)", keys)
    return f"SELECT * REPLACE ({value} AS v{number}) FROM ({read})"


def _object(members: Iterable[tuple[str, str]]) -> str:
    return f"json_object({', '.join(f'{literal(name)}, {sql}' for name, sql in members)})"


def _preferred(api: str, typed: str) -> str:
    """The API's value where the row has it: an explicit null is none, and no reason to look further."""
    return f"CASE WHEN {api} IS NULL THEN {typed} WHEN CAST({api} AS VARCHAR) <> 'null' THEN {api} END"


def _as_key(item: Mapping[str, JsonScalar], fields: Sequence[str]) -> str:
    """A parent key as DuckDB writes it: texts are the same only if the same hand wrote them."""
    text = literal(_compact({field: item.get(field) for field in fields}))
    members = ((field, f"json_extract({text}, {literal(_pointer([field]))})") for field in fields)
    return f"CAST({_object(members)} AS VARCHAR)"


def _canonical(key: str) -> str:
    return key_text(msgspec.json.decode(key))


def _pointer(keys: Iterable[str | int]) -> str:
    return "".join("/" + str(key).replace("~", "~0").replace("/", "~1") for key in keys)


def _compact(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _holds_more(kind: str) -> bool:
    return kind == "JSON" or kind.startswith("STRUCT") or kind.endswith("]")


def _inside(sql: str, keys: tuple[str | int, ...]) -> str:
    """What is deeper in a JSON value; an explicit null is none."""
    if not keys:
        return sql
    inner = f"json_extract({sql}, {literal(_pointer(keys))})"
    return f"CASE WHEN json_type({inner}) <> 'NULL' THEN {inner} END"


def _json(sql: str, kind: str) -> str:
    """A column's value as JSON: whole numbers without fraction, time stamps in UTC."""
    if kind == "JSON":
        return sql
    if kind == "DOUBLE":
        return f"CAST({number_text(sql)} AS JSON)"
    return f"to_json({instant_text(sql) if kind == 'TIMESTAMPTZ' else sql})"
