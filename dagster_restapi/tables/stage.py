"""From a spool to scratch tables in memory: everything that can be done before the target is locked."""

from __future__ import annotations

import json
import sys
import threading
import time
from bisect import bisect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import accumulate
from typing import Any, Self

import duckdb

from dagster_restapi.config.columns import Path as KeyPath
from dagster_restapi.errors import OutOfMemory, RowsError, TableError
from dagster_restapi.model import Slice, TablePlan
from dagster_restapi.schema import Node, paths
from dagster_restapi.spool import SMALL_SEGMENTS, Segment, Spool
from dagster_restapi.tables.keys import Keys, find_keys, staged_column
from dagster_restapi.tables.shape import RECORD, Branch, Field, Layout, Shape, layout
from dagster_restapi.tables.sql import listing, literal, quote
from dagster_restapi.tables.target import Log, Target, catalog_ahead, may_pass, session
from dagster_restapi.tables.types import beyond_calendar, key_text

# While records still come:
_WORTH = 2**18  # bytes of them that are worth a statement,
_WORTH_EACH = 2**14  # and bytes of a file: to open one takes 0.4 ms
_AT_ONCE, _FILES_AT_ONCE = 2**26, 256  # bytes and files for one go: for half a second, nobody looks after the fetch
_WIDEST = 200  # paths; what adds to a table needs a second block of 256 kB for each of its columns
_PAUSE = 20  # times as long as a look at what there is takes (40 ms for 20,000 units), until the next one

_ROOM = (
    "Free some space where the database lies, or set `temp_directory` in `connection_config` of the IO manager "
    "to a folder on another disk."
)
_MOST = 10**9  # bytes of memory to begin with, however many columns there are
_OBJECT_BYTES = 2**20  # the least: buffers have twice this size, and for each of them there is one thread at most

Columns = frozenset[tuple[tuple[KeyPath, ...], KeyPath]]
"""Columns of any table: the table's path and their own."""


@dataclass(frozen=True, slots=True)
class Staged:
    """The scratch database, ready to be copied from.

    Columns of its tables: the root's `_ord` (order in the spool), `_id`, `_hash`; a child's `_root` (the root row's
    `_ord`), `_id`, `_parent_id`, `_root_id`, `_index`; and `c0`, `c1`, … in the order of the shape's fields. Where the
    spool is for several partitions, `_part` is the number of the row's own. Of a child whose parents have cursors, the
    root's `_at_cursor` says whether the row stands at its own parent's. Of a resource with children, the root's
    `_request_fields` is what their requests need of the row.

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


class Staging:
    """Shapes a spool into tables of a scratch database, by its recorded schema.

    It may begin while records still come: `advance` fills the root table with those that are finished, by the schema so
    far. Where the schema has changed behind them, it starts from the beginning: what is done ahead only saves time.
    Whoever calls `advance` does it in the body of a `with`.

    The scratch database lies in memory. What the engine's `memory_limit` has no room for goes into its temporary
    folder, which takes half as long as a file of our own would.

    Args:
        target: Whose engine the scratch database is attached to.
        slice_: What is loaded; its `stretch` are the partitions that the spool is for, where there are several.
            `Staged.only` gives the rows of one.
        log: Takes a line about memory.
    """

    def __init__(self, target: Target, plan: TablePlan, slice_: Slice, spool: Spool, log: Log) -> None:
        self._target, self._plan, self._slice, self._spool, self._log = target, plan, slice_, spool, log
        self._room: int | None = None  # bytes of memory, once what was thought enough was not
        self._open = ExitStack()
        self._scratch: _Scratch | None = None
        self._ahead, self._not_before = True, 0.0
        self._started_at = 0  # bytes that there were when the root table was last started from the beginning

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        self._open.__exit__(*error)

    def advance(self) -> None:
        """Stages records that are finished, while other threads add more. To be called every now and then.

        Where the schema has changed behind what is staged, it starts from the beginning once there is twice as much as
        the last time. After a fault it does nothing any more: what is one for `staged` as well, that one tells.
        """
        started = time.monotonic()
        if not self._ahead or started < self._not_before:
            return
        done = len(self._scratch.begun.segments) if self._scratch else 0
        segments = self._spool.finished()
        if _size(segments[done:]) >= max(_WORTH, len(segments[done:]) * _WORTH_EACH):
            try:
                self._grow(segments, self._spool.schema_so_far(), started)
            except (duckdb.Error, TableError):
                self._ahead = False
                self._open.__exit__(*sys.exc_info())
        else:
            self._pause(started)

    def _grow(self, segments: list[Segment], schema: Node, started: float) -> None:
        """Stages some of these segments, if this is the time for it."""
        size = _size(segments)
        self._ahead = paths(schema) <= _WIDEST
        if not self._ahead:
            return
        shapes, keys = self._shapes(schema, sum(segment.rows for segment in segments))
        self._pause(started)
        scratch = self._begin(schema, size)
        stager = _Stager(scratch, self._spool, self._plan, self._slice, shapes, keys)
        done = len(scratch.begun.segments)
        if not stager.goes_on(segments):
            if size < 2 * self._started_at:
                return
            done, self._started_at = 0, size
        few = bisect(list(accumulate(segment.bytes for segment in segments[done:])), _AT_ONCE) + 1
        stager.fill(segments[: done + min(few, _FILES_AT_ONCE)])
        scratch.seconds += time.monotonic() - started

    def _pause(self, started: float) -> None:
        """Looks take a twentieth of the time at most: they keep the other threads from their work."""
        now = time.monotonic()
        self._not_before = now + _PAUSE * (now - started)

    @contextmanager
    def staged(self) -> Iterator[Staged]:
        """The scratch tables of all records, as long as the block runs. All units of the spool must be done.

        Raises:
            OutOfMemory: There is too little memory to stage them, or to load them.
            TableError: A key is missing or null, a value does not fit its hint, or the disk is full.
        """
        with self._open:
            with _told(self._spool):
                staged = self._finish_or_start_anew()
            yield staged

    def more_room(self, error: OutOfMemory) -> None:
        """Takes more memory for another try, which the log is told of; raises the error where there can be none."""
        room = self._room or room_for(self._spool.schema, self._spool.bytes)
        self._room = self._target.more_room(room)
        if self._room is None:
            raise error
        self._log(f"{room // 10**6} MB of memory were not enough for DuckDB: once more with {self._room // 10**6} MB")

    def _begin(self, schema: Node, size: int) -> _Scratch:
        """The scratch database, with room for so many bytes of records; made when it is first asked for."""
        room = self._room or room_for(schema, size)
        if self._scratch:
            self._target.limit(self._scratch.engine, room)
            return self._scratch
        self._open.callback(self._forget)
        engine = self._open.enter_context(self._target.engine(room))
        database = self._open.enter_context(_attached(engine, f"stage_{self._spool.directory.name}"))
        connection = self._open.enter_context(session(engine))
        connection.execute(f"USE {database}")
        self._scratch = _Scratch(engine, database, connection, self._open.enter_context(catalog_ahead(engine)))
        return self._scratch

    def _forget(self) -> None:
        self._scratch = None

    def _shapes(self, schema: Node, rows: int, as_text: Columns = frozenset()) -> tuple[Layout, Keys]:
        shapes = layout(self._plan, schema, as_text=as_text)
        return shapes, find_keys(self._plan, shapes.root, rows=rows)

    def _finish_or_start_anew(self) -> Staged:
        """To add to a table takes more memory than to make it: nothing may fail for what was done ahead."""
        begun = self._scratch is not None
        try:
            return self._finish()
        except duckdb.Error:
            if not begun:
                raise
            self._open.__exit__(*sys.exc_info())
        return self._finish()

    def _finish(self) -> Staged:
        started = time.monotonic()
        scratch = self._begin(self._spool.schema, self._spool.bytes)
        refused: Columns = frozenset()
        while True:
            shapes, keys = self._shapes(self._spool.schema, self._spool.rows, refused)
            stager = _Stager(scratch, self._spool, self._plan, self._slice, shapes, keys)
            segments = self._spool.segments()
            if not stager.goes_on(segments) or len(segments) - len(scratch.begun.segments) > SMALL_SEGMENTS:
                self._spool.seal()
            more = stager.run()
            if not more:
                scratch.looking.join()
                return stager.result(scratch.seconds + time.monotonic() - started)
            assert not more & refused  # what stays text is not refused again: the loop ends
            refused |= more


@dataclass(frozen=True, slots=True)
class _Begun:
    """What the scratch root table holds.

    Attributes:
        query: What makes rows of records; it depends on the schema.
        segments: Whose records they are.
    """

    query: str
    segments: list[Segment]


_NOTHING = _Begun("", [])


@dataclass(slots=True)
class _Scratch:
    """The scratch database.

    Attributes:
        connection: In which it is the default.
        looking: Looks through the engine's catalog meanwhile.
        seconds: That were spent on what has begun.
    """

    engine: duckdb.DuckDBPyConnection
    name: str
    connection: duckdb.DuckDBPyConnection
    looking: threading.Thread
    begun: _Begun = _NOTHING
    seconds: float = 0.0


def _size(segments: Sequence[Segment]) -> int:
    return sum(segment.bytes for segment in segments)


def _scope(plan: TablePlan, slice_: Slice) -> list[str]:
    """The partitions within which a key counts; where windows have it, it counts for the whole table."""
    if slice_.window is not None and plan.disposition == "merge":
        return [slice_.scope] if slice_.scope else []
    return [key for key, _ in slice_.stretch] or ([] if slice_.partition is None else [slice_.partition])


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
    kind: type[TableError] = RowsError
    hint: str | None = "Change or remove the `columns` hint of that column."
    try:
        yield
    except duckdb.Error as error:
        fault = str(error)
        if is_out_of_memory(fault):
            kind, hint = OutOfMemory, "Raise `memory_limit` of the IO manager."
        elif isinstance(error, duckdb.IOException):
            kind, hint = TableError, _ROOM
        elif "`columns`" in fault:  # our own words, which say it
            fault, hint = fault.removeprefix("Invalid Input Error: "), None
    if fault:
        raise kind(
            f"the records cannot be staged: {fault.splitlines()[0]}",
            where=str(spool.directory),
            hint=hint,
            transient=kind is not RowsError and may_pass(fault),
        )


def parents_have_cursors(spool: Spool) -> bool:
    """Whether the spool is of a child whose records tell where they stand at their parent's cursor."""
    return bool(spool.notes.get("parents", {}).get("cursors"))


def is_out_of_memory(fault: str) -> bool:
    """Whether an error of DuckDB's says that its limit is too low."""
    return "out of memory" in fault.lower()


def room_for(schema: Node, size: int) -> int:
    """Bytes of memory that DuckDB needs to load so many bytes of records; where that is not enough, it says so.

    Its JSON reader takes buffers of 32 MB, every column a block or two of 256 kB, and what was put aside on disk has to
    be kept track of. More would only be used to keep what is read once.
    """
    return min(48 * 10**6 + paths(schema) * 500_000 + size // 64, _MOST)


class _Stager:
    """One try at staging: it fails softly where DuckDB refuses a date-time that Python takes."""

    def __init__(
        self, scratch: _Scratch, spool: Spool, plan: TablePlan, slice_: Slice, shapes: Layout, keys: Keys
    ) -> None:
        self._scratch, self._connection, self._spool, self._plan = scratch, scratch.connection, spool, plan
        self._layout, self._keys = shapes, keys
        self._scope, self._split = _scope(plan, slice_), bool(slice_.stretch)
        self._of_parents = parents_have_cursors(spool)
        self._for_children = bool(plan.request_fields)
        self._ordered = False  # whether `_ord` is stored: rows were removed, so that their numbers say nothing
        self._names = {shape.path: f"t{number}" for number, shape in enumerate(self._layout.root.walk())}
        self._twins = 0
        self._twins_of: dict[int, int] = {}

    def goes_on(self, segments: list[Segment]) -> bool:
        """Whether the root table holds the first of these segments, in the very form that it is to have."""
        begun = self._scratch.begun
        return begun.query == self._query_of_none and begun.segments == segments[: len(begun.segments)]

    def fill(self, segments: list[Segment]) -> None:
        """Brings the root table up to these segments, behind what it holds or from the beginning."""
        if not self.goes_on(segments):
            self._connection.execute(f"CREATE OR REPLACE TABLE t0 AS {self._query(segments)}")
        elif due := segments[len(self._scratch.begun.segments) :]:
            self._connection.execute(f"INSERT INTO t0 {self._query(due)}")
        self._scratch.begun = _Begun(self._query_of_none, segments)

    def run(self) -> Columns:
        """Makes the tables. Gives the columns whose date-times have to stay text, and then it has to run again."""
        root, segments = self._layout.root, self._spool.segments()
        refused = self._filled(root, partial(self.fill, segments), self._source(segments))
        self._scratch.begun = _NOTHING  # from here on the table is changed
        if refused:
            return refused
        self._check_keys()
        self._remove_twins()
        self._tell_twins_apart()
        return self._children(root)

    def _rooted(self, database: str = "") -> str:
        """The staged root with `_ord` and `_id`. What a row number gives need not be stored, or cost a thread."""
        source = f"{database}t0"
        if not self._ordered:
            source = f"(SELECT rowid AS _ord, * FROM {source})"
        if not self._keys.identity:
            identity = f"md5('[\"{self._spool.load_id}\",\"' || _ord || '\"]') AS _id"
            source = f"(SELECT *, {identity} FROM {source})"
        return source

    def result(self, seconds: float) -> Staged:
        """What has been made, in so many seconds."""
        database, root = self._scratch.name, self._layout.root
        rows = {table: self._count(name) for table, name in self._names.items()}
        sources = {table: f"{database}.{name}" for table, name in self._names.items()}
        sources[()] = self._rooted(f"{database}.")
        parts = self._parts() if self._split else {}
        return Staged(self._scratch.engine, root, self._keys, sources, rows, self._twins, seconds, parts)

    def _count(self, name: str) -> int:
        row = self._connection.execute(f"SELECT count(*) FROM {name}").fetchone()
        assert row is not None
        return int(row[0])

    def _parts(self) -> dict[int, tuple[dict[tuple[KeyPath, ...], int], int]]:
        """Rows and twins of each partition that has any."""
        found: dict[int, tuple[dict[tuple[KeyPath, ...], int], int]] = {
            number: ({}, twins) for number, twins in self._twins_of.items()
        }
        for table, name in self._names.items():
            for number, rows in self._per_part(name).items():
                found.setdefault(number, ({}, 0))[0][table] = rows
        return found

    def _per_part(self, name: str) -> dict[int, int]:
        rows = self._connection.execute(f"SELECT _part, count(*) FROM {name} GROUP BY _part").fetchall()
        return {int(number): int(count) for number, count in rows}

    # ---- the root table ----------------------------------------------------------------------------------------------
    @cached_property
    def _query_of_none(self) -> str:
        return self._query([])

    def _query(self, segments: Sequence[Segment]) -> str:
        """What gives the root table's rows of some segments; of none, its columns alone."""
        return f"SELECT {listing(self._columns(self._layout.root, self._root_columns()))} FROM {self._source(segments)}"

    def _source(self, segments: Sequence[Segment]) -> str:
        columns, own = self._layout.columns, self._spool.own
        if not segments:
            empty = [f"CAST(NULL AS VARCHAR) AS {own.hash}", f"CAST(NULL AS BIGINT) AS {own.place}"]
            empty.append(f"CAST(NULL AS VARCHAR) AS {own.request_fields}")
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
                f"(SELECT json AS {RECORD}, json_extract_string(json, '/{own.hash}') AS {own.hash}, "
                f"json_extract_string(json, '/{own.place}') AS {own.place}, "
                f"json_extract_string(json, '/{own.request_fields}') AS {own.request_fields} FROM {objects})"
            )
        placed = {own.place: "BIGINT"} if self._split or self._of_parents else {}
        asked = {own.request_fields: "VARCHAR"} if self._for_children else {}
        kinds = {own.hash: "VARCHAR", **placed, **asked, **columns}
        types = "{" + listing(f"{literal(key)}: {literal(kind)}" for key, kind in kinds.items()) + "}"
        return f"read_json({files}, format = 'newline_delimited', columns = {types}, {size})"

    def _root_columns(self) -> list[str]:
        own = self._spool.own
        columns = [f"CAST({own.hash} AS UUID) AS _hash"]
        if self._split:
            columns.append(f"CAST({own.place} AS BIGINT) AS _part")
        if self._of_parents:
            columns.append(f"coalesce(CAST({own.place} AS BIGINT) = 1, false) AS _at_cursor")
        if self._for_children:
            columns.append(f"{own.request_fields} AS _request_fields")
        if self._keys.identity:
            first = literal(f"{json.dumps(self._plan.resource, ensure_ascii=False)},")
            if self._scope:
                keys = [literal(f"{json.dumps(key, ensure_ascii=False)},") for key in self._scope]
                first += " || " + (f"[{listing(keys)}][CAST({own.place} AS BIGINT) + 1]" if keys[1:] else keys[0])
            rest = " || ',' || ".join(_quoted(field) for field in self._keys.identity)
            columns.append(f"md5('[' || {first} || {rest} || ']') AS _id")
        return columns

    @staticmethod
    def _columns(shape: Shape, system: list[str]) -> list[str]:
        fields = (f"{field.sql} AS c{number}" for number, field in enumerate(shape.fields))
        lists = (f"{branch.sql} AS l{number}" for number, branch in enumerate(shape.branches))
        return [*system, *fields, *lists]

    def _filled(self, shape: Shape, fill: Callable[[], object], source: str) -> Columns:
        """Fills a table from its source. Gives the columns whose date-times DuckDB does not take."""
        fault = None
        try:
            fill()
        except duckdb.ConversionException as error:
            fault = error
        if fault is not None:
            refused = self._probe(shape, source)
            if not refused:
                raise fault
            return refused
        return self._beyond_calendar(shape)

    def _probe(self, shape: Shape, source: str) -> Columns:
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

    def _beyond_calendar(self, shape: Shape) -> Columns:
        """Date-times that a zone carries out of the calendar. A column with a hint cannot stay text: it has none."""
        dated = [
            (f"c{number}", field)
            for number, field in enumerate(shape.fields)
            if field.probe and field.type == "TIMESTAMPTZ"
        ]
        if not dated:
            return frozenset()
        beyond = (f"{beyond_calendar(f'min({column})')} OR {beyond_calendar(f'max({column})')}" for column, _ in dated)
        row = self._connection.execute(f"SELECT {listing(beyond)} FROM {self._names[shape.path]}").fetchone()
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
                raise RowsError(
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
        self._twins = int(row[0])
        if not self._twins:
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
    def _children(self, shape: Shape) -> Columns:
        parent = self._names[shape.path] if shape.path else self._rooted()
        for number, branch in enumerate(shape.branches):
            system = _child_columns(branch) + (["_part"] if self._split else [])
            source = _unnested(shape, parent, number, "_part, " * self._split)
            query = f"SELECT {listing(self._columns(branch.table, system))} FROM {source}"
            create = f"CREATE OR REPLACE TABLE {self._names[branch.table.path]} AS {query}"
            refused = self._filled(branch.table, partial(self._connection.execute, create), source)
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
