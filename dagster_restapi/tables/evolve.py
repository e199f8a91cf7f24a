"""From a staged load to the tables it goes into: names, new tables and columns, wider types, contracts.

All of it happens before the first row of the load is written, in the load's transaction.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from hashlib import md5

import duckdb

from dagster_restapi.config.columns import Path, child_name, column_name
from dagster_restapi.errors import ContractError, TableError
from dagster_restapi.model import TablePlan
from dagster_restapi.tables.ledger import COLUMNS, TABLES
from dagster_restapi.tables.owner import Holdings, Relation, fold, foreign, register
from dagster_restapi.tables.shape import Field, Shape
from dagster_restapi.tables.sql import Space, listing, literal, quote
from dagster_restapi.tables.stage import Staged
from dagster_restapi.tables.types import (
    Inner,
    any_inside,
    as_text,
    beyond_calendar,
    convert,
    differences,
    exact,
    inexact,
    loses_integers,
    same_digits,
    widen,
)

SYSTEM_ROOT = {"_restapi_load_id": "VARCHAR", "_restapi_row_hash": "UUID", "_restapi_id": "VARCHAR"}
SYSTEM_CHILD = {
    "_restapi_load_id": "VARCHAR",
    "_restapi_id": "VARCHAR",
    "_restapi_parent_id": "VARCHAR",
    "_restapi_root_id": "VARCHAR",
    "_restapi_index": "BIGINT",
}
PARTITION = "_restapi_partition"
REQUEST_FIELDS = "_restapi_request_fields"
# Digests do not compress, and trying costs half of the time for which the file is locked.
_STORED = {"_restapi_id": " USING COMPRESSION uncompressed"}
TablePath = tuple[Path, ...]
_NO_INSTANT = r"^\s*[^\d\s]|\.\d{6}\d*[1-9]"  # `epoch`, or digits behind the microseconds: DuckDB takes both


@dataclass(frozen=True, slots=True)
class Written:
    """One table of the load, and how a staged row becomes one of its rows.

    Attributes:
        source: SQL of the staged rows, as far as the contract lets them in.
        columns: Column of the table -> SQL over `source`, named `s`.
        by_path: Column name and its type by the path in the record.
    """

    name: str
    path: TablePath
    source: str
    columns: dict[str, str]
    by_path: dict[Path, tuple[str, str]]
    filtered: bool = False

    @property
    def is_root(self) -> bool:
        """Whether this is the resource's own table."""
        return not self.path


@dataclass(frozen=True, slots=True)
class Evolved:
    """The tables of a load, ready to be written.

    Attributes:
        written: Root first, parents before their children.
        below: Names of all child tables that belong to the root, also those without rows in this load.
        before: Rows of the root table before this load.
        dropped: The root table was dropped and made anew.
    """

    written: tuple[Written, ...]
    below: tuple[str, ...]
    before: int
    dropped: bool
    changes: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def root(self) -> Written:
        """The resource's own table."""
        return self.written[0]


@dataclass(slots=True)
class _Known:
    """What stands in the target: tables that belong to this root, and their columns."""

    tables: dict[TablePath, str] = field(default_factory=dict)
    others: set[str] = field(default_factory=set)  # names of registered tables of others, as DuckDB compares them
    columns: dict[str, dict[str, str]] = field(default_factory=dict)  # table -> column -> type
    paths: dict[str, dict[Path, str]] = field(default_factory=dict)  # table -> path -> column
    remembered: set[tuple[str, str]] = field(default_factory=set)  # table and column that `paths` was read from


def evolve(
    connection: duckdb.DuckDBPyConnection,
    space: Space,
    plan: TablePlan,
    staged: Staged,
    *,
    held: Holdings,
    asset: str,
    partitioned: bool,
    fresh: bool,
) -> Evolved:
    """Makes the target's tables fit for the staged rows.

    Args:
        held: What stands in the schema, after `Holdings.check`: the tables of this root are the asset's own.
        partitioned: The asset has partitions: every table gets `_restapi_partition`.
        fresh: The load replaces all there is: older tables are dropped, so that their types do not outlive their rows.

    Raises:
        ContractError: The contract freezes what this load would change.
        TableError: A list's table belongs to somebody else, or stored values do not fit a hint.
    """
    return _Evolver(connection, space, plan, staged, held, asset, partitioned).run(fresh)


class _Evolver:
    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        space: Space,
        plan: TablePlan,
        staged: Staged,
        held: Holdings,
        asset: str,
        partitioned: bool,
    ) -> None:
        self._connection, self._space, self._plan, self._staged = connection, space, plan, staged
        self._held = held
        self._asset, self._partitioned = asset, partitioned
        self._changes: list[str] = []
        self._warnings: list[str] = []
        self._known = _Known()
        self._stood = self._dropped = False  # the root table, before this load; and by it

    def run(self, fresh: bool) -> Evolved:
        self._known = self._look()
        known = self._known
        self._stood = existed = self._plan.table in known.columns
        self._own()
        before = self._count(self._space.table(self._plan.table)) if existed else 0
        self._dropped = dropped = fresh and existed
        if dropped:
            self._drop()
            existed = False
        written: list[Written] = []
        skipped: set[TablePath] = set()
        for shape in self._staged.shape.walk():
            if shape.path[:-1] in skipped or (shape.path and self._forbidden(shape, existed)):
                skipped.add(shape.path)
                continue
            parent = next((table for table in written if table.path == shape.path[:-1]), None) if shape.path else None
            written.append(self._table(shape, parent))
        below = tuple(name for path, name in known.tables.items() if path and name in known.columns)
        return Evolved(tuple(written), below, before, dropped, tuple(self._changes), tuple(self._warnings))

    def _count(self, source: str) -> int:
        row = self._connection.execute(f"SELECT count(*) FROM {source}").fetchone()
        assert row is not None
        return int(row[0])

    # ---- what stands there -------------------------------------------------------------------------------------------
    def _look(self) -> _Known:
        known = _Known()
        for entry in self._held.entries.values():
            if entry.root == self._plan.table:
                known.tables[table_path(entry.path or "[]")] = entry.table
            else:
                known.others.add(fold(entry.table))
        known.columns = {relation.name: relation.columns for relation in self._held.relations.values()}
        for name in known.tables.values():
            self._recall(known, name)
        return known

    def _recall(self, known: _Known, table: str) -> None:
        """Which path each column of a table holds."""
        for column, path in self._connection.execute(
            f"SELECT column_name, path FROM {self._space.table(COLUMNS)} WHERE table_name = ?", [table]
        ).fetchall():
            known.paths.setdefault(table, {})[tuple(json.loads(path))] = column
            known.remembered.add((table, column))

    def _own(self) -> None:
        """Enters the root table as this asset's; one that nobody loads any more is taken over with its lists."""
        table, entry = self._plan.table, self._held.entry(self._plan.table)
        if not self._stood:  # dropped by hand: what was known of it is void
            self._forget()
            self._connection.execute(f"DELETE FROM {self._space.table(COLUMNS)} WHERE table_name = ?", [table])
        if not self._stood or entry is None or entry.asset != self._asset:
            self._register((), table)
            self._connection.execute(
                f"UPDATE {self._space.table(TABLES)} SET asset = ? WHERE root = ?", [self._asset, table]
            )
            self._recall(self._known, table)

    def _register(self, path: TablePath, name: str) -> None:
        self._known.tables[path] = name
        register(self._connection, self._space, name, root=self._plan.table, asset=self._asset, path=json.dumps(path))

    def _forget(self) -> None:
        for name in self._known.tables.values():
            self._connection.execute(f"DELETE FROM {self._space.table(COLUMNS)} WHERE table_name = ?", [name])
        self._connection.execute(f"DELETE FROM {self._space.table(TABLES)} WHERE root = ?", [self._plan.table])
        for name in [name for path, name in self._known.tables.items() if path and name in self._known.columns]:
            self._drop_table(name)  # rows of a root that is gone
        self._known.tables.clear()
        self._known.paths.clear()
        self._known.remembered.clear()

    def _drop(self) -> None:
        self._drop_table(self._plan.table)
        self._forget()
        self._register((), self._plan.table)

    def _drop_table(self, name: str) -> None:
        self._connection.execute(f"DROP TABLE {self._space.table(name)}")
        del self._known.columns[name]

    # ---- contract: tables --------------------------------------------------------------------------------------------
    def _forbidden(self, shape: Shape, existed: bool) -> bool:
        mode = self._plan.contract.tables
        name = self._known.tables.get(shape.path)
        if not existed or mode == "evolve" or (name and name in self._known.columns):
            return False
        path = ".".join(key for part in shape.path for key in part)
        if not self._staged.rows[shape.path]:
            return True
        if mode == "freeze":
            raise ContractError(
                f"the list {path!r} would make a new table",
                where=self._asset,
                hint="Set `schema_contract.tables` to evolve, or to discard_value to leave such lists out.",
            )
        self._warnings.append(
            f"{self._staged.rows[shape.path]} rows of the new list {path!r} were left out (schema_contract.tables)"
        )
        return True

    # ---- one table ---------------------------------------------------------------------------------------------------
    def _table(self, shape: Shape, parent: Written | None) -> Written:
        name = self._name(shape, parent)
        have = self._known.columns.get(name)
        system = dict(SYSTEM_ROOT if not shape.path else SYSTEM_CHILD)
        if self._partitioned:
            system[PARTITION] = "VARCHAR"
        if not shape.path and self._plan.disposition == "merge" and self._plan.strategy == "scd2":
            system |= {self._plan.valid_from: "TIMESTAMPTZ", self._plan.valid_to: "TIMESTAMPTZ"}
        if not shape.path and self._plan.request_fields:
            system[REQUEST_FIELDS] = "VARCHAR"
        names = self._column_names(shape, name, system)
        table = Written(name, shape.path, self._staged.sources[shape.path], {}, {})
        if have is None:
            self._create(shape, name, names, system)
        else:
            self._add(name, have, {column: kind for column, kind in system.items() if column not in have})
        table = self._columns(shape, table, names, have)
        if parent and parent.filtered:
            kept = f"_parent_id IN (SELECT _id FROM {parent.source} AS s)"
            table = replace(table, source=f"(SELECT * FROM {table.source} WHERE {kept})", filtered=True)
        return table

    def _name(self, shape: Shape, parent: Written | None) -> str:
        if not shape.path:
            return self._plan.table
        known = self._known.tables.get(shape.path)
        if known:
            return known
        assert parent is not None
        name = child_name(self._plan, parent.name, shape.path[-1])
        taken = {fold(other) for other in self._known.tables.values()} | self._known.others
        if fold(name) in taken:
            name = f"{name}_{name_mark(shape.path)}"
            self._warnings.append(f"the list {shape.path[-1]!r} goes to the table {name!r}: its name was taken")
        self._take_over(name)
        self._register(shape.path, name)
        return name

    def _take_over(self, name: str) -> None:
        """What stands under a new list's name must be the table of that list, of which only the entry is lost.

        Without the root to which its rows belonged, nothing says whose they are.
        """
        standing = next((known for known in self._known.columns if fold(known) == fold(name)), None)
        if standing is None:
            return
        relation = self._held.relation(name) or Relation(standing, self._known.columns[standing])
        entry = self._held.entry(name)
        if entry is not None or not relation.is_child(name) or not self._stood:
            raise foreign(relation, name, self._asset, registered=entry is not None)
        if self._dropped:
            self._drop_table(name)
        else:
            self._recall(self._known, name)

    def _column_names(self, shape: Shape, table: str, system: dict[str, str]) -> list[str]:
        """A name for each field: the one it has, or a new one that no other path of this table has."""
        owned = self._known.paths.setdefault(table, {})
        taken = {name.casefold() for name in owned.values()} | {name.casefold() for name in system}
        order = sorted(range(len(shape.fields)), key=lambda index: _precedence(self._plan, shape.fields[index].path))
        for index in order:
            path = shape.fields[index].path
            if path in owned or shape.fields[index].announced:
                continue
            name = column_name(self._plan, path)
            if name.casefold() in taken:
                name = f"{name}_{name_mark(path)}"
                self._warnings.append(
                    f"{'.'.join(path)!r} of {table} goes to the column {name!r}: another field has its name"
                )
            owned[path] = name
            taken.add(name.casefold())
        return [owned.get(field.path) or column_name(self._plan, field.path) for field in shape.fields]

    def _remember(self, table: str, field_: Field, column: str) -> None:
        """Writes down which path a column holds; of a column that is only announced, the first record will tell."""
        if field_.announced:
            return
        self._connection.execute(
            f"INSERT INTO {self._space.table(COLUMNS)} (table_name, column_name, path) VALUES (?, ?, ?)",
            [table, column, json.dumps(field_.path)],
        )

    def _create(self, shape: Shape, name: str, names: list[str], system: dict[str, str]) -> None:
        columns = {column: field.type for column, field in zip(names, shape.fields, strict=True)} | system
        kinds = listing(f"{quote(column)} {kind}{_STORED.get(column, '')}" for column, kind in columns.items())
        self._connection.execute(f"CREATE TABLE {self._space.table(name)} ({kinds})")
        self._known.columns[name] = columns
        for column, field_ in zip(names, shape.fields, strict=True):
            self._remember(name, field_, column)
        self._changes.append(f"new table {name}")

    def _add(self, table: str, have: dict[str, str], columns: dict[str, str]) -> None:
        for column, kind in columns.items():
            self._connection.execute(f"ALTER TABLE {self._space.table(table)} ADD COLUMN {quote(column)} {kind}")
            have[column] = kind

    # ---- columns -----------------------------------------------------------------------------------------------------
    def _columns(self, shape: Shape, table: Written, names: list[str], have: dict[str, str] | None) -> Written:
        rejected: list[str] = []
        spelled = {column.casefold(): column for column in have or ()}
        for number, (name, field_) in enumerate(zip(names, shape.fields, strict=True)):
            staged = f"s.c{number}"
            column = spelled.get(name.casefold(), name)
            stored = have.get(column) if have is not None else field_.type
            if stored is None:
                verdict = self._new_column(table, column, field_, staged, have or {})
            else:
                if have is not None and (table.name, column) not in self._known.remembered:
                    self._remember(table.name, field_, column)
                verdict = self._old_column(table, column, stored, field_, staged)
            expression, kind, reject = verdict
            if reject:
                rejected.append(reject)
            if expression:
                table.columns[column] = expression
                table.by_path[field_.path] = (column, kind)
        if not rejected:
            return table
        kept = f"(SELECT * FROM {table.source} AS s WHERE NOT coalesce({' OR '.join(rejected)}, false))"
        self._count_rejected(table, " OR ".join(rejected))
        return replace(table, source=kept, filtered=True)

    def _count_rejected(self, table: Written, condition: str) -> None:
        count = self._count(f"{table.source} AS s WHERE {condition}")
        if count:
            self._warnings.append(f"{count} rows of {table.name} were left out (schema_contract: discard_row)")

    def _new_column(
        self, table: Written, column: str, field_: Field, staged: str, have: dict[str, str]
    ) -> tuple[str, str, str]:
        mode = self._plan.contract.columns
        if field_.unknown and self._is_nested(table, field_.path):
            del self._known.paths[table.name][field_.path]  # null where others are an object or a list
            return "", "", ""
        if mode == "evolve":
            self._add(table.name, have, {column: field_.type})
            self._remember(table.name, field_, column)
            self._changes.append(f"new column {table.name}.{column} {field_.type}")
            return staged, field_.type, ""
        self._known.paths[table.name].pop(field_.path, None)
        if field_.unknown:
            return "", "", ""
        if mode == "freeze":
            raise ContractError(
                f"the field {'.'.join(field_.path)!r} would make a new column of {table.name}",
                where=self._asset,
                hint="Set `schema_contract.columns` to evolve, or to discard_value to leave such fields out.",
            )
        if mode == "discard_row":
            return "", "", f"{staged} IS NOT NULL"
        self._warnings.append(f"the new field {'.'.join(field_.path)!r} of {table.name} was left out (schema_contract)")
        return "", "", ""

    def _is_nested(self, table: Written, path: Path) -> bool:
        """Whether columns or child tables below a path stand already."""
        inside = [known for known in self._known.paths[table.name] if known != path]
        inside += [known[-1] for known in self._known.tables if known and known[:-1] == table.path]
        return any(known[: len(path)] == path for known in inside)

    def _old_column(self, table: Written, column: str, stored: str, field_: Field, staged: str) -> tuple[str, str, str]:
        if field_.unknown:
            return f"CAST(NULL AS {stored})", stored, ""
        if stored == field_.type:
            return staged, stored, ""
        wanted = self._wider(table, column, stored, field_, staged)
        if wanted == stored:
            return convert(staged, field_.type, stored), stored, ""
        if self._plan.contract.data_type != "evolve":
            return self._misfit(table, column, stored, field_, staged)
        target = self._space.table(table.name)
        known = f"CAST(NULL AS {wanted})"
        if self._holds(target, column):
            known = convert(quote(column), stored, wanted)
            if field_.hint and field_.hint.data_type not in (None, "text", "json"):
                known = self._as_hinted(table, column, stored, wanted)
        self._connection.execute(f"ALTER TABLE {target} ALTER COLUMN {quote(column)} TYPE {wanted} USING {known}")
        self._known.columns[table.name][column] = wanted
        self._changes.append(f"{table.name}.{column} {stored} -> {wanted}")
        return convert(staged, field_.type, wanted), wanted, ""

    def _wider(self, table: Written, column: str, stored: str, field_: Field, staged: str) -> str:
        """The type that holds what is stored and what is staged."""
        target = self._space.table(table.name)
        if not self._holds(target, column):
            return field_.type
        if field_.hint and field_.hint.data_type:
            return field_.type  # the user's word
        sides = ((target, quote(column), stored), (f"{table.source} AS s", staged, field_.type))
        return widen(stored, field_.type, self._decide(*sides))

    def _as_hinted(self, table: Written, column: str, stored: str, wanted: str) -> str:
        """The stored values in the type that a hint asks for, which takes those that it would take of a record."""
        value = quote(column)
        text = f"json_extract_string({value}, '$')" if stored == "JSON" else as_text(value, stored)
        known = exact(text, wanted)
        lost = f"{value} IS NOT NULL AND {known} IS NULL"
        # Of what comes, digits may go that no double and no time stamp has; of what is stored, none.
        if wanted == "DOUBLE" and stored.startswith(("DECIMAL", "VARCHAR", "JSON")):
            lost += f" OR NOT {same_digits(text, f'CAST({known} AS VARCHAR)')}"
        if wanted.startswith("TIMESTAMP"):
            lost += f" OR regexp_matches({text}, {literal(_NO_INSTANT)})"
        count = self._count(f"{self._space.table(table.name)} WHERE {lost}")
        if count:
            raise TableError(
                f"{count} stored values of {table.name}.{column} {stored} do not fit {wanted} without loss, "
                "the type that its `columns` hint asks for",
                where=self._asset,
                hint="Take a type that holds them, or load all anew with `full_refresh: true`.",
            )
        return known

    def _decide(self, *sides: tuple[str, str, str]) -> dict[Inner, str]:
        """Types that only the values tell: a place without any has none yet, and a DOUBLE cannot take every integer.

        Args:
            sides: Source, value and its type; of what is stored and what is staged.
        """
        (_, _, stored), (_, _, staged) = sides
        decided: dict[Inner, str] = {}
        for place, here, there in differences(stored, staged):
            for (source, value, _), other in zip(sides, (there, here), strict=True):
                if place and not self._any(source, any_inside(value, place, lambda sql: f"{sql} IS NOT NULL")):
                    decided[place] = other
            if place not in decided and loses_integers(here, there):
                source, value, _ = sides[here in ("DOUBLE", "FLOAT")]
                if self._any(source, any_inside(value, place, inexact)):
                    decided[place] = "VARCHAR"
        return decided

    def _any(self, source: str, condition: str) -> bool:
        return self._count(f"(SELECT 1 FROM {source} WHERE {condition} LIMIT 1)") > 0

    def _holds(self, target: str, column: str) -> bool:
        """Whether any row has a value there; an all-null column has no type yet."""
        return self._any(target, f"{quote(column)} IS NOT NULL")

    def _misfit(self, table: Written, column: str, stored: str, field_: Field, staged: str) -> tuple[str, str, str]:
        """What the contract says of values that the column's type does not hold."""
        cast = convert(staged, field_.type, stored, lenient=True)
        if stored in ("BIGINT", "HUGEINT") and field_.type == "DOUBLE":
            cast = f"CASE WHEN {staged} = trunc({staged}) THEN {cast} END"
        same = f"{as_text(cast, stored)} IS NOT DISTINCT FROM {as_text(staged, field_.type)}"
        if stored == "TIMESTAMPTZ" and field_.type == "VARCHAR":
            same = f"NOT ({beyond_calendar(cast)}) AND NOT regexp_matches({staged}, {literal(_NO_INSTANT)})"
        bad = f"({staged} IS NOT NULL AND NOT ({same}))"
        count = self._count(f"{table.source} AS s WHERE {bad}")
        mode = self._plan.contract.data_type
        if count and mode == "freeze":
            raise ContractError(
                f"{count} values of {'.'.join(field_.path)!r} do not fit {table.name}.{column} {stored}",
                where=self._asset,
                hint="Set `schema_contract.data_type` to evolve, or to discard_value to leave such values out.",
            )
        if mode == "discard_row":
            return cast, stored, bad if count else ""
        if count:
            self._warnings.append(
                f"{count} values of {table.name}.{column} were left out: they do not fit {stored} (schema_contract)"
            )
        return f"CASE WHEN NOT coalesce({bad}, false) THEN {cast} END", stored, ""


def _precedence(plan: TablePlan, path: Path) -> tuple[bool, Path]:
    """Who gets a name that several new paths want: the one that is spelled like it, then the first by its letters."""
    return column_name(plan, path) != "__".join(path), path


def name_mark(path: tuple[object, ...]) -> str:
    """A short name for a path, the same in every load."""
    return md5(json.dumps(path, ensure_ascii=False).encode(), usedforsecurity=False).hexdigest()[:6]


def table_path(text: str) -> TablePath:
    return tuple(tuple(part) for part in json.loads(text))
