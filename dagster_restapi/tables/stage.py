"""From a spool to scratch tables in memory: everything that can be done before the target is locked."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace

import duckdb

from dagster_restapi.errors import OutOfMemory, TableError
from dagster_restapi.model import TablePlan
from dagster_restapi.schema import paths
from dagster_restapi.spool import HASH_FIELD, PLACE_FIELD, Spool
from dagster_restapi.tables.keys import Keys, find_keys, staged_column
from dagster_restapi.tables.shape import RECORD, Branch, Field, Layout, Shape, layout
from dagster_restapi.tables.shape import Path as KeyPath
from dagster_restapi.tables.sql import listing, literal, quote
from dagster_restapi.tables.target import session
from dagster_restapi.tables.types import key_text

_MOST = 10**9  # bytes of memory to begin with, however many columns there are
_OBJECT_BYTES = 2**20  # the least: buffers have twice this size, and for each of them there is one thread at most
_FIRST_INSTANT, _END_OF_CALENDAR = "'0001-01-01 00:00:00+00'", "'10000-01-01 00:00:00+00'"


@dataclass(frozen=True, slots=True)
class Staged:
    """The scratch database, ready to be copied from.

    Columns of its tables: the root's `_ord` (order in the spool), `_id`, `_hash`; a child's `_root` (the root row's
    `_ord`), `_id`, `_parent_id`, `_root_id`, `_index`; and `c0`, `c1`, … in the order of the shape's fields. Where the
    spool is for several partitions, `_part` is the number of the row's own.

    Attributes:
        engine: The DuckDB that the scratch database is attached to.
        sources: Each table's rows as SQL, by table path.
        rows: Rows per table path, after twins were removed.
        twins: Rows left out because a later one of the same load has the same key.
        parts: Of a spool for several partitions: the rows and twins of each by its number.
    """

    engine: duckdb.DuckDBPyConnection
    shape: Shape
    keys: Keys
    sources: dict[tuple[KeyPath, ...], str]
    rows: dict[tuple[KeyPath, ...], int]
    twins: int
    seconds: float
    parts: Mapping[int, tuple[dict[tuple[KeyPath, ...], int], int]] = field(default_factory=dict)

    def only(self, number: int) -> Staged:
        """The part of one partition."""
        rows, twins = self.parts.get(number, ({}, 0))
        sources = {table: f"(SELECT * FROM {source} WHERE _part = {number})" for table, source in self.sources.items()}
        return replace(self, sources=sources, rows=dict.fromkeys(sources, 0) | rows, twins=twins, parts={})


@contextmanager
def stage(
    engine: duckdb.DuckDBPyConnection,
    spool: Spool,
    plan: TablePlan,
    *,
    partition: str | None,
    by_window: bool,
    within: str | None = None,
    stretch: Sequence[str] = (),
) -> Iterator[Staged]:
    """Shapes a spool into tables of a scratch database, by its recorded schema; for the body of a `with`.

    It lies in memory. What the engine's `memory_limit` has no room for goes into its temporary folder, which takes half
    as long as a file of our own would.

    Args:
        engine: The DuckDB to attach it to.
        by_window: Partitions are time windows: the key of a merge counts for the whole table.
        within: Partitions are pairs of a time window and a key: the key of a merge counts within this one.
        stretch: The partitions that the spool is for, where there are several. `Staged.only` gives the rows of one.

    Raises:
        TableError: A key is missing or null, a value does not fit its hint, or the disk is full.
    """
    started = time.monotonic()
    name = f"stage_{spool.directory.name}"
    scope = list(stretch) or ([] if partition is None else [partition])
    if by_window and plan.disposition == "merge":
        scope = [within] if within else []
    refused: frozenset[tuple[tuple[KeyPath, ...], KeyPath]] = frozenset()
    with _attached(engine, name) as database:
        with _told(spool), session(engine) as connection:
            connection.execute(f"USE {database}")
            while True:
                shapes = layout(plan, spool.schema, as_text=refused)
                keys = find_keys(plan, shapes.root, rows=spool.rows)
                stager = _Stager(connection, spool, plan, shapes, keys, scope, split=bool(stretch))
                more = stager.run()
                if not more:
                    break
                refused |= more
            rows = {table: stager.count(name) for table, name in stager.names.items()}
            parts = stager.parts() if stretch else {}
        sources = {table: f"{database}.{name}" for table, name in stager.names.items()}
        sources[()] = stager.rooted(f"{database}.")
        seconds = time.monotonic() - started
        yield Staged(engine, shapes.root, keys, sources, rows, stager.twins, seconds, parts)


@contextmanager
def _attached(engine: duckdb.DuckDBPyConnection, name: str) -> Iterator[str]:
    """A new scratch database, by the name that it is attached under; gone afterwards."""
    engine.execute(f"ATTACH ':memory:' AS {quote(name)}")
    try:
        yield quote(name)
    finally:
        with suppress(duckdb.Error):  # an engine that failed is closed, and lets go of it as well
            engine.execute(f"DETACH {quote(name)}")


@contextmanager
def _told(spool: Spool) -> Iterator[None]:
    """DuckDB's errors as ours."""
    fault = ""
    try:
        yield
    except duckdb.Error as error:
        fault = str(error)
    if fault:
        what = f"the records cannot be staged: {fault.splitlines()[0]}"
        kind = OutOfMemory if is_out_of_memory(fault) else TableError
        raise kind(what, where=str(spool.directory), hint=_advice(fault))


def is_out_of_memory(fault: str) -> bool:
    """Whether an error of DuckDB's says that its limit is too low."""
    return "out of memory" in fault.lower()


def room_for(spool: Spool) -> int:
    """Bytes of memory that DuckDB needs to load a spool; where that is not enough, it says so.

    Its JSON reader takes buffers of 32 MB, every column a block or two of 256 kB, and what was put aside on disk has to
    be kept track of. More would only be used to keep what is read once.
    """
    return min(48 * 10**6 + paths(spool.schema) * 500_000 + spool.bytes // 64, _MOST)


def _advice(fault: str) -> str:
    if is_out_of_memory(fault):
        return "Raise `memory_limit` of the IO manager."
    if "onver" in fault or "ast" in fault:
        return "Change or remove the `columns` hint of that column."
    return (
        "Free some space where the database lies, or set `temp_directory` in `connection_config` of the IO manager "
        "to a folder on another disk."
    )


class _Stager:
    """One try at staging: it fails softly where DuckDB refuses a date-time that Python takes."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        spool: Spool,
        plan: TablePlan,
        shapes: Layout,
        keys: Keys,
        scope: list[str],
        *,
        split: bool,
    ) -> None:
        self._connection, self._spool, self._plan, self._layout, self._keys = connection, spool, plan, shapes, keys
        self._scope, self._split = scope, split
        self._ordered = False  # whether `_ord` is stored: rows were removed, so that their numbers say nothing
        self.names = {shape.path: f"t{number}" for number, shape in enumerate(shapes.root.walk())}
        self.twins = 0
        self._twins_of: dict[int, int] = {}

    def run(self) -> frozenset[tuple[tuple[KeyPath, ...], KeyPath]]:
        """Makes the tables. Gives the columns whose date-times have to stay text, and then it has to run again."""
        root = self._layout.root
        refused = self._create(root, self._root_columns(), self._source())
        if refused:
            return refused
        self._check_keys()
        self._remove_twins()
        self._tell_twins_apart()
        return self._children(root)

    def rooted(self, database: str = "") -> str:
        """The staged root with `_ord` and `_id`. What a row number gives need not be stored, or cost a thread."""
        source = f"{database}t0"
        if not self._ordered:
            source = f"(SELECT rowid AS _ord, * FROM {source})"
        if not self._keys.identity:
            identity = f"md5('[\"{self._spool.load_id}\",\"' || _ord || '\"]') AS _id"
            source = f"(SELECT *, {identity} FROM {source})"
        return source

    def count(self, name: str) -> int:
        """Rows of a staged table."""
        row = self._connection.execute(f"SELECT count(*) FROM {name}").fetchone()
        assert row is not None
        return int(row[0])

    def parts(self) -> dict[int, tuple[dict[tuple[KeyPath, ...], int], int]]:
        """Rows and twins of each partition that has any."""
        found: dict[int, tuple[dict[tuple[KeyPath, ...], int], int]] = {
            number: ({}, twins) for number, twins in self._twins_of.items()
        }
        for table, name in self.names.items():
            for number, rows in self._per_part(name).items():
                found.setdefault(number, ({}, 0))[0][table] = rows
        return found

    def _per_part(self, name: str) -> dict[int, int]:
        rows = self._connection.execute(f"SELECT _part, count(*) FROM {name} GROUP BY _part").fetchall()
        return {int(number): int(count) for number, count in rows}

    # ---- the root table ----------------------------------------------------------------------------------------------
    def _source(self) -> str:
        columns = self._layout.columns
        segments = self._spool.segments()
        if not segments:
            empty = [f"CAST(NULL AS VARCHAR) AS {quote(HASH_FIELD)}", f"CAST(NULL AS BIGINT) AS {PLACE_FIELD}"]
            empty += (
                [f"CAST(NULL AS JSON) AS {RECORD}"]
                if columns is None
                else [f"CAST(NULL AS {kind}) AS {quote(key)}" for key, kind in columns.items()]
            )
            return f"(SELECT {listing(empty)} WHERE false)"
        files = "[" + listing(literal(str(segment.path)) for segment in segments) + "]"
        size = f"maximum_object_size = {max(_OBJECT_BYTES, self._spool.longest + 1)}"
        if columns is None:
            objects = f"read_ndjson_objects({files}, {size})"
            return (
                f"(SELECT json AS {RECORD}, json_extract_string(json, '/{HASH_FIELD}') AS {HASH_FIELD}, "
                f"json_extract_string(json, '/{PLACE_FIELD}') AS {PLACE_FIELD} FROM {objects})"
            )
        kinds = {HASH_FIELD: "VARCHAR", **({PLACE_FIELD: "BIGINT"} if self._split else {}), **columns}
        types = "{" + listing(f"{literal(key)}: {literal(kind)}" for key, kind in kinds.items()) + "}"
        return f"read_json({files}, format = 'newline_delimited', columns = {types}, {size})"

    def _root_columns(self) -> list[str]:
        columns = [f"CAST({HASH_FIELD} AS UUID) AS _hash"]
        if self._split:
            columns.append(f"CAST({PLACE_FIELD} AS BIGINT) AS _part")
        if self._keys.identity:
            first = literal(f"{json.dumps(self._plan.resource, ensure_ascii=False)},")
            if self._scope:
                keys = [literal(f"{json.dumps(key, ensure_ascii=False)},") for key in self._scope]
                first += " || " + (f"[{listing(keys)}][CAST({PLACE_FIELD} AS BIGINT) + 1]" if keys[1:] else keys[0])
            rest = " || ',' || ".join(_quoted(field) for field in self._keys.identity)
            columns.append(f"md5('[' || {first} || {rest} || ']') AS _id")
        return columns

    def _create(self, shape: Shape, system: list[str], source: str) -> frozenset[tuple[tuple[KeyPath, ...], KeyPath]]:
        name = self.names[shape.path]
        columns = [*system]
        columns += [f"{field.sql} AS c{number}" for number, field in enumerate(shape.fields)]
        columns += [f"{branch.sql} AS l{number}" for number, branch in enumerate(shape.branches)]
        fault = None
        try:
            self._connection.execute(f"CREATE OR REPLACE TABLE {name} AS SELECT {listing(columns)} FROM {source}")
        except duckdb.ConversionException as error:
            fault = error
        if fault is not None:
            refused = self._probe(shape, source)
            if not refused:
                raise fault
            return refused
        return self._beyond_calendar(shape, name)

    def _probe(self, shape: Shape, source: str) -> frozenset[tuple[tuple[KeyPath, ...], KeyPath]]:
        dated = [field for field in shape.fields if field.probe]
        if not dated:
            return frozenset()
        row = self._connection.execute(
            f"SELECT {listing(f'bool_or({field.probe})' for field in dated)} FROM {source}"
        ).fetchone()
        assert row is not None
        refused = [field for field, bad in zip(dated, row, strict=True) if bad]
        if not refused:  # inside a STRUCT or LIST, TRY_CAST gives NULL for the part alone
            refused = [field for field in dated if field.type != "TIMESTAMPTZ"]
        return frozenset((shape.path, field.path) for field in refused)

    def _beyond_calendar(self, shape: Shape, name: str) -> frozenset[tuple[tuple[KeyPath, ...], KeyPath]]:
        """Date-times that a zone carries out of the years 1 to 9999, where few programs can read them."""
        dated = [(f"c{number}", field) for number, field in enumerate(shape.fields) if field.type == "TIMESTAMPTZ"]
        if not dated:
            return frozenset()
        beyond = (
            f"min({column}) < TIMESTAMPTZ {_FIRST_INSTANT} OR max({column}) >= TIMESTAMPTZ {_END_OF_CALENDAR}"
            for column, _ in dated
        )
        row = self._connection.execute(f"SELECT {listing(beyond)} FROM {name}").fetchone()
        assert row is not None
        return frozenset((shape.path, field.path) for (_, field), bad in zip(dated, row, strict=True) if bad)

    # ---- keys --------------------------------------------------------------------------------------------------------
    def _column(self, field: Field) -> str:
        return staged_column(self._layout.root, field)

    def _check_keys(self) -> None:
        required = [one for one in self._layout.root.fields if one.hint and one.hint.nullable is False]
        for one in {one.path: one for one in (*self._keys.primary, *required)}.values():
            row = self._connection.execute(f"SELECT count(*) FROM t0 WHERE {self._column(one)} IS NULL").fetchone()
            assert row is not None
            if row[0]:
                raise TableError(
                    f"{row[0]} of {self._spool.rows} records have no value for {'.'.join(one.path)!r}",
                    where=self._plan.resource,
                    hint="A primary key and a column with `nullable: false` need a value in every record; "
                    "name another key, or drop such records in a `filter` step.",
                )

    def _remove_twins(self) -> None:
        groups = self._keys.twins
        if groups is None:
            return
        row = self._connection.execute(f"SELECT count(*) - count(DISTINCT {groups}) FROM t0").fetchone()
        assert row is not None
        self.twins = int(row[0])
        if not self.twins:
            return
        order = "rowid DESC"
        if self._keys.dedup_sort:
            field, direction = self._keys.dedup_sort
            order = f"{self._column(field)} {direction} NULLS LAST, {order}"
        if self._split:
            order = f"_part DESC, {order}"  # the partitions are loaded in their order: the last one has the row
            before = self._per_part("t0")
        kept = f"SELECT first(rowid ORDER BY {order}) FROM t0 GROUP BY {groups}"
        self._connection.execute(f"CREATE TABLE kept AS SELECT rowid AS _ord, * FROM t0 WHERE rowid IN ({kept})")
        self._connection.execute("DROP TABLE t0")
        self._connection.execute("ALTER TABLE kept RENAME TO t0")
        self._ordered = True
        if self._split:
            after = self._per_part("t0")
            self._twins_of = {number: rows - after.get(number, 0) for number, rows in before.items()}

    def _tell_twins_apart(self) -> None:
        """Rows that stay although they have the same key: their children must not be mixed."""
        if not self._keys.identity or self._keys.twins:
            return
        row = self._connection.execute("SELECT count(*) - count(DISTINCT _id) FROM t0").fetchone()
        assert row is not None
        if row[0]:
            self._connection.execute(
                "UPDATE t0 SET _id = md5(_id || ',' || rowid) "
                "WHERE rowid NOT IN (SELECT min(rowid) FROM t0 GROUP BY _id)"
            )

    # ---- child tables ------------------------------------------------------------------------------------------------
    def _children(self, shape: Shape) -> frozenset[tuple[tuple[KeyPath, ...], KeyPath]]:
        parent = self.names[shape.path] if shape.path else self.rooted()
        for number, branch in enumerate(shape.branches):
            system = _child_columns(branch) + (["_part"] if self._split else [])
            refused = self._create(branch.table, system, _unnested(shape, parent, number, "_part, " * self._split))
            refused = refused or self._children(branch.table)
            if refused:
                return refused
        return frozenset()


def _quoted(field: Field) -> str:
    """A key's text as a JSON string."""
    text = key_text(field.sql, field.type)
    text = f"CAST(to_json({text}) AS VARCHAR)" if field.type == "VARCHAR" else f"'\"' || {text} || '\"'"
    return f"coalesce({text}, 'null')"


def _unnested(shape: Shape, parent: str, number: int, more: str) -> str:
    root = "_ord AS _root, _id AS _root_id" if not shape.path else "_root, _root_id"
    return (
        f"(SELECT {more}{root}, _id AS _parent_id, unnest(l{number}) AS item, "
        f"generate_subscripts(l{number}, 1) - 1 AS _index FROM {parent})"
    )


def _child_columns(branch: Branch) -> list[str]:
    place = literal(json.dumps(".".join(branch.path) or "list", ensure_ascii=False))
    identity = f"""md5('["' || _parent_id || '",' || {place} || ',' || _index || ']')"""
    return ["_root", f"{identity} AS _id", "_parent_id", "_root_id", "_index"]
