"""From a recorded schema to the shape of tables: which columns and child tables, and the SQL that fills each of them.

In `nested: tables`, dlt's way, every path has up to three places at once: its scalars have a column, its objects'
fields have columns `path__field`, its lists have a child table `table__path`. What arrives where does not depend on
what arrived first. A path that was only ever an empty list or object makes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import duckdb

from dagster_restapi.config.columns import Hints, Path, column_name
from dagster_restapi.model import TablePlan
from dagster_restapi.schema import Kind, Node
from dagster_restapi.tables.sql import literal, quote
from dagster_restapi.tables.types import (
    INTEGERS,
    SCALARS,
    collides,
    exact,
    hinted_type,
    instant,
    moment,
    native_type,
    number_text,
    parts,
    plain,
    scalar_type,
)

if TYPE_CHECKING:
    from dagster_restapi.config.table import ColumnHint

RECORD = "record"  # the one column of the source where a whole record is read as JSON
_NESTED = Kind.OBJECT | Kind.LIST
_SHOWN = 100  # letters of a value in an error


@dataclass(frozen=True, slots=True)
class Field:
    """One staged column.

    Attributes:
        path: Where the value stands in the table's record.
        type: The narrowest type that holds what was recorded, or the hinted one.
        sql: The value, over the table's source.
        probe: True where a text counts as a date-time here but is none for DuckDB; "" where that cannot be.
        unknown: Only ever null.
        hint: What the user said of the column.
        announced: No record has it: a hint alone says that there is such a column.
    """

    path: Path
    type: str
    sql: str
    probe: str = ""
    unknown: bool = False
    hint: ColumnHint | None = None
    announced: bool = False


@dataclass(frozen=True, slots=True)
class Branch:
    """A list in a table's record that becomes a child table."""

    path: Path
    sql: str
    table: Shape


@dataclass(frozen=True, slots=True)
class Shape:
    """One table: its columns and the lists below it.

    Attributes:
        path: One key path per list on the way from the root table; () for the root itself.
    """

    path: tuple[Path, ...]
    fields: tuple[Field, ...]
    branches: tuple[Branch, ...]

    def walk(self) -> Iterable[Shape]:
        """This table and all below it, parents first."""
        yield self
        for branch in self.branches:
            yield from branch.table.walk()


@dataclass(frozen=True, slots=True)
class Layout:
    """How the spool is read, and the tables that come of it.

    Attributes:
        columns: Type per top-level key for `read_json`; None: whole records are read as JSON.
    """

    columns: dict[str, str] | None
    root: Shape


def layout(plan: TablePlan, schema: Node, *, as_text: frozenset[tuple[tuple[Path, ...], Path]] = frozenset()) -> Layout:
    """The layout of a plan's tables for a recorded schema.

    Args:
        as_text: Date-times that DuckDB does not take, by table path and column path: they stay text.
    """
    return _Shaper(plan, as_text).layout(schema)


class _Shaper:
    def __init__(self, plan: TablePlan, as_text: frozenset[tuple[tuple[Path, ...], Path]]) -> None:
        self._plan = plan
        self._as_text = as_text
        self._levels = 1_000_000 if plan.max_nesting is None else plan.max_nesting
        self._hints = Hints(plan)

    def layout(self, schema: Node) -> Layout:
        whole = collides(schema)
        columns = (
            None
            if whole
            else {
                key: self.read((key,), node, self._levels, self._levels, root=True)
                for key, node in schema.fields.items()
            }
        )
        builder = _Table(self, (), self._levels)
        for key, node in schema.fields.items():
            sql, kind = (self._extract(RECORD, key), "JSON") if columns is None else (quote(key), columns[key])
            builder.value((key,), node, sql, kind, self._levels, root=True)
        builder.announce(self._hints.by_path)
        return Layout(columns, builder.finished())

    # ---- decisions that reading and building share -------------------------------------------------------------------
    def hint(self, path: Path, root: bool) -> ColumnHint | None:
        """What the user said of a column of the root table."""
        return self._hints.of(path) if root else None

    def one_column(self, path: Path, node: Node, level: int, root: bool) -> str | None:
        """The type, where a path has one column for all its kinds; None where they have places of their own."""
        hinted = hinted_type(self.hint(path, root))
        if hinted:
            return hinted
        if not node.mask & _NESTED:
            return None
        if self._plan.nested == "json" or level <= 0:
            return "JSON"
        return plain(native_type(node)) if self._plan.nested == "native" else None

    def read(self, path: Path, node: Node, level: int, table: int, *, root: bool) -> str:
        """The type that `read_json` is asked for.

        Args:
            level: How many more levels of objects may become columns.
            table: The same, at the record of the table that this path belongs to.
        """
        single = self.one_column(path, node, level, root)
        if single:
            hinted = hinted_type(self.hint(path, root))
            return "JSON" if hinted or single == "JSON" else native_type(node, staged=True)
        kinds = node.mask & ~Kind.NULL
        if self.too_deep(path, node, level):
            return "JSON"
        if kinds == Kind.OBJECT and node.fields and not collides(node):
            inner = (
                f"{quote(key)} {self.read((*path, key), child, level - 1, table, root=root)}"
                for key, child in node.fields.items()
            )
            return f"STRUCT({', '.join(inner)})"
        if kinds == Kind.LIST and node.items:
            below = table - (2 if _is_list_in_list(path, node) else 1)
            return f"{self.read((), node.items, below + 1, below, root=False)}[]"
        if kinds & _NESTED:
            return "JSON"
        kind = scalar_type(kinds) or "VARCHAR"
        if kind == "VARCHAR" and kinds & Kind.FLOAT:
            return "JSON"  # a float must be told from a text that looks like one
        return "VARCHAR" if kind == "TIMESTAMPTZ" else kind

    def too_deep(self, path: Path, node: Node, level: int) -> bool:
        """Whether lists at this place, items of another list, stay JSON beside the objects that are there."""
        return self._plan.nested == "tables" and level <= 2 and _is_list_in_list(path, node)

    def stays_text(self, table: tuple[Path, ...], path: Path) -> bool:
        """Whether DuckDB has refused a date-time of this column."""
        return (table, path) in self._as_text

    def _extract(self, sql: str, key: str) -> str:
        pointer = "/" + key.replace("~", "~0").replace("/", "~1")
        return f"json_extract({sql}, {literal(pointer)})"

    def member(self, sql: str, kind: str, key: str, node: Node) -> tuple[str, str]:
        """A field of an object, and the type that it comes in."""
        if kind != "JSON":
            return f"struct_extract({sql}, {literal(key)})", kind
        guarded = node.mask & ~Kind.NULL != Kind.OBJECT  # a pointer "/0" would find a list's item, too
        of_object = f"CASE WHEN json_type({sql}) = 'OBJECT' THEN {sql} END" if guarded else sql
        return self._extract(of_object, key), "JSON"

    @property
    def plan(self) -> TablePlan:
        """The plan that is being laid out."""
        return self._plan


class _Table:
    """Collects the columns and lists of one table."""

    def __init__(self, shaper: _Shaper, path: tuple[Path, ...], level: int) -> None:
        self._shaper, self._path, self._level = shaper, path, level
        self._fields: list[Field] = []
        self._branches: list[Branch] = []

    def finished(self) -> Shape:
        """The table with all that was added."""
        return Shape(self._path, tuple(self._fields), tuple(self._branches))

    def announce(self, hints: Mapping[Path, ColumnHint]) -> None:
        """Adds the columns that only hints know of: those with a type, and those that must have a value."""
        plan = self._shaper.plan
        there = {column_name(plan, field.path).casefold() for field in self._fields}
        for path, hint in hints.items():
            kind = hinted_type(hint)
            names = {column_name(plan, path).casefold(), ".".join(path).casefold()}
            if (kind or hint.nullable is False) and not names & there:
                kind = kind or "VARCHAR"
                nothing = f"CAST(NULL AS {kind})"
                self._fields.append(Field(path, kind, nothing, unknown=True, hint=hint, announced=True))

    def value(self, path: Path, node: Node, sql: str, kind: str, level: int, *, root: bool) -> None:
        """Adds every place that a path needs.

        Args:
            sql: The value.
            kind: The type that it was read in; "JSON" where kinds mix; for anything below an object, any other text.
            level: How many more levels may become columns and tables.
        """
        shaper = self._shaper
        hint = shaper.hint(path, root)
        single = shaper.one_column(path, node, level, root)
        if single:
            self._single(path, node, sql, kind, single, hint)
            return
        kinds = node.mask
        if shaper.too_deep(path, node, level):
            of_list = f"CASE WHEN json_type({sql}) NOT IN ('NULL', 'OBJECT') THEN {sql} END"
            self._fields.append(Field(path, "JSON", of_list, hint=hint))
            kinds &= Kind.OBJECT
        elif kinds & SCALARS or not kinds & _NESTED:
            self._scalar(path, node, sql, kind == "JSON", hint)
        if kinds & Kind.OBJECT:
            for key, child in node.fields.items():
                inner, form = shaper.member(sql, kind, key, node)
                if form != "JSON":
                    form = shaper.read((*path, key), child, level - 1, self._level, root=root)
                self.value((*path, key), child, inner, form, level - 1, root=root)
        if kinds & Kind.LIST and node.items:
            self._list(path, node, sql, kind)

    def _list(self, path: Path, node: Node, sql: str, kind: str) -> None:
        assert node.items is not None
        if kind == "JSON":
            only = node.mask & ~Kind.NULL == Kind.LIST
            of_list = sql if only else f"CASE WHEN json_type({sql}) = 'ARRAY' THEN {sql} END"
            sql, form = f"CAST({of_list} AS JSON[])", "JSON"
        else:
            form = kind[:-2]
        level = self._level - (2 if _is_list_in_list(path, node) else 1)
        table = _Table(self._shaper, (*self._path, path), level)
        table.value((), node.items, "item", form, level + 1, root=False)
        self._branches.append(Branch(path, sql, table.finished()))

    def _scalar(self, path: Path, node: Node, sql: str, is_json: bool, hint: ColumnHint | None) -> None:
        kind = scalar_type(node.mask)
        if kind is None:
            self._fields.append(Field(path, "VARCHAR", "CAST(NULL AS VARCHAR)", unknown=True, hint=hint))
            return
        if kind == "TIMESTAMPTZ" and self._shaper.stays_text(self._path, path):
            kind = "VARCHAR"
        text = _json_scalar(sql, node, kind) if is_json else sql
        probe = ""
        if kind == "TIMESTAMPTZ":
            probe = f"{text} IS NOT NULL AND {instant(text, lenient=True)} IS NULL"
            text = instant(text)
        elif is_json and kind != "VARCHAR":
            text = f"CAST({text} AS {kind})"
        self._fields.append(Field(path, kind, text, probe, hint=hint))

    def _single(self, path: Path, node: Node, sql: str, kind: str, wanted: str, hint: ColumnHint | None) -> None:
        if hinted_type(hint):
            self._fields.append(Field(path, wanted, _hinted(sql, node, wanted, path), hint=hint))
            return
        if wanted == "JSON":
            value = f"CASE WHEN json_type({sql}) <> 'NULL' THEN {sql} END" if kind == "JSON" else f"to_json({sql})"
            self._fields.append(Field(path, wanted, value, hint=hint))
            return
        if kind == "JSON":
            sql = f"from_json({sql}, {literal(_structure(native_type(node, staged=True)))})"
        probe = ""
        if "TIMESTAMPTZ" in wanted:
            probe = f"{sql} IS NOT NULL AND TRY_CAST({sql} AS {wanted}) IS NULL"
            if self._shaper.stays_text(self._path, path):
                wanted, probe = plain(native_type(node, staged=True)), ""
        self._fields.append(Field(path, wanted, f"CAST({sql} AS {wanted})", probe, hint=hint))


def _is_list_in_list(path: Path, node: Node) -> bool:
    """Whether a value is a list's item and may be a list itself: dlt counts two levels for it, so we do."""
    return not path and bool(node.mask & Kind.LIST)


def _structure(kind: str) -> str:
    """A nested type as `from_json` spells it."""

    def spell(part: duckdb.sqltypes.DuckDBPyType) -> object:
        if part.id == "list":
            return [spell(parts(part)["child"])]
        if part.id == "struct":
            return {key: spell(inner) for key, inner in parts(part).items()}
        return plain(str(part))

    return json.dumps(spell(duckdb.sqltype(kind)))


def _json_scalar(sql: str, node: Node, wanted: str) -> str:
    """The text of a JSON value's scalar, on its way to a type; NULL for objects and lists."""
    text = f"json_extract_string({sql}, '$')"
    if node.mask & Kind.FLOAT and wanted == "VARCHAR":
        number = number_text(f"CAST({text} AS DOUBLE)")
        text = (
            f"CASE WHEN json_type({sql}) = 'DOUBLE' AND NOT regexp_full_match({text}, '-?\\d+') THEN {number} "
            f"ELSE {text} END"
        )
    if node.mask & _NESTED:
        text = f"CASE WHEN json_type({sql}) NOT IN ('OBJECT', 'ARRAY') THEN {text} END"
    return text


def _hinted(sql: str, node: Node, wanted: str, path: Path) -> str:
    """A value read as JSON, in the type that the user asked for; one that would lose something is an error."""
    if wanted == "JSON":
        return f"CASE WHEN json_type({sql}) <> 'NULL' THEN {sql} END"
    if wanted == "VARCHAR":
        return _json_scalar(sql, Node(node.mask & ~_NESTED), wanted)
    text = f"json_extract_string({sql}, '$')"
    value = exact(text, wanted)
    fault = f"does not fit {wanted} without loss; {_advice(wanted)} in its `columns` hint, or remove it"
    if wanted in ("TIMESTAMPTZ", "TIMESTAMP"):
        advice = ""
        if node.mask & (INTEGERS | Kind.FLOAT):  # seconds since 1970, as dlt reads them
            number = f"json_type({sql}) IN ('BIGINT', 'UBIGINT', 'DOUBLE')"
            seconds = moment(f"TRY(to_timestamp(CAST({text} AS DOUBLE)))", wanted)
            value = f"CASE WHEN {number} THEN {seconds} ELSE {value} END"
            advice = "numbers are seconds since 1970: divide milliseconds in a `map` step, or "
        fault = f"is no time stamp of the years 1 to 9999; {advice}change or remove its `columns` hint"
    shown = f"left(CAST({sql} AS VARCHAR), {_SHOWN})"
    message = literal(f" in {'.'.join(path)} {fault}")
    return f"CASE WHEN {text} IS NOT NULL THEN coalesce({value}, error({shown} || {message})) END"


def _advice(wanted: str) -> str:
    """What holds more than a type."""
    if wanted.startswith("DECIMAL"):
        return "raise `precision` or `scale` or take data_type text"
    wider = {"DOUBLE": "bigint, decimal or text", "BOOLEAN": "text", "BLOB": "text"}
    wider |= dict.fromkeys(("DATE", "TIME"), "timestamp or text")
    return f"take data_type {wider.get(wanted, 'decimal, double or text')}"
