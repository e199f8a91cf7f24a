"""The rows of a load, by disposition: what is removed, what is left alone, what goes in."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import duckdb

from dagster_restapi.errors import OverlapError, TableError
from dagster_restapi.model import TablePlan
from dagster_restapi.schema import is_instant
from dagster_restapi.slice_state import AT_CURSOR, Overlap
from dagster_restapi.tables.evolve import PARTITION, REQUEST_FIELDS, Evolved, Written
from dagster_restapi.tables.keys import Keys, staged_column
from dagster_restapi.tables.shape import Field, Shape
from dagster_restapi.tables.sql import Space, listing, literal, numbered, quote
from dagster_restapi.tables.types import convert, key_text

_ORDERED = frozenset({"TIMESTAMPTZ", "BIGINT", "HUGEINT", "DOUBLE"})
_ISO_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII).fullmatch


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What one load writes where.

    Attributes:
        partition: Value of `_restapi_partition`; None: the asset has no partitions.
        by_window: The partition is a time window: a merge goes by key over the whole table.
        scope: The partition is a pair of a window and a key: a merge goes by key over the partitions with that key,
            whose own keys begin or end with this text.
        replaces: The load replaces its slice, whatever the disposition.
        keep_if_empty: A replacement without rows leaves what is there.
        snapshot: The load holds all there is, so that absence means deletion (scd2).
        overlap: Of append: which of the stored rows may come again.
        boundaries: The cursor positions (value and kind) that the load went on from.
        of_parents: The positions are of parents, and a staged row tells whether it lies beyond that of its own.
        reshaped: What is said of the tables has changed: the same record may fill other columns than it did.
        records_changed: What shapes a record has changed: the same row of the API may have another content.
        remove_load: A load of which nobody was told: its rows go first.
    """

    plan: TablePlan
    shape: Shape
    keys: Keys
    tables: Evolved
    load_id: str
    partition: str | None
    by_window: bool
    replaces: bool
    keep_if_empty: bool
    snapshot: bool
    overlap: Overlap = AT_CURSOR
    boundaries: tuple[tuple[str | int | float, str], ...] = ()
    of_parents: bool = False
    reshaped: bool = False
    records_changed: bool = False
    remove_load: str | None = None
    scope: str | None = None


@dataclass(frozen=True, slots=True)
class _Zone:
    """Which staged rows `s` and which stored rows `t` may be the same, as SQL conditions."""

    staged: str
    stored: str

    def known(self, staged: str, table: str) -> str:
        """The staged rows whose content is there already, each as often as it is there."""
        return (
            f"SELECT n._ord FROM (SELECT s._ord, s._hash, row_number() OVER (PARTITION BY s._hash ORDER BY s._ord) "
            f"AS number FROM {staged} WHERE {self.staged}) n JOIN (SELECT t._restapi_row_hash AS hash, "
            f"count(*) AS times FROM {table} t WHERE {self.stored} GROUP BY ALL) h "
            "ON n._hash = h.hash AND n.number <= h.times"
        )


@dataclass(slots=True)
class Counts:
    """Rows of the root table, unless they say otherwise."""

    before: int = 0
    staged: int = 0
    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    unchanged: int = 0
    children: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def write(connection: duckdb.DuckDBPyConnection, space: Space, job: Job) -> Counts:
    """Writes the rows of a load. Part of its transaction, behind all changes to tables.

    Raises:
        TableError: A merge strategy needs a key that the plan does not name.
    """
    return _Writer(connection, space, job).run()


class _Writer:
    def __init__(self, connection: duckdb.DuckDBPyConnection, space: Space, job: Job) -> None:
        self._connection, self._space, self._job, self._plan = connection, space, job, job.plan
        self._root = job.tables.root
        self._name = space.table(self._root.name)
        self._staged = f"{self._root.source} AS s"
        self._counts = Counts()
        self._selected = False  # whether `_take` holds the rows to insert; else all of them

    def run(self) -> Counts:
        counts = self._counts
        counts.staged = self._count(self._staged)
        counts.before = self._count(self._name)
        if self._job.remove_load:
            counts.deleted += self._remove("_restapi_load_id = " + literal(self._job.remove_load))
        if self._keeps_old_rows():
            return counts
        if self._job.replaces or self._plan.disposition == "replace":
            self._replace()
        elif self._plan.disposition == "merge":
            self._merge()
        else:
            self._append()
        return counts

    # ---- small pieces ------------------------------------------------------------------------------------------------
    def _count(self, source: str) -> int:
        row = self._connection.execute(f"SELECT count(*) FROM {source}").fetchone()
        assert row is not None
        return int(row[0])

    def _execute(self, sql: str) -> int:
        """Runs a statement that changes rows; gives their number."""
        row = self._connection.execute(sql).fetchone()
        return int(row[0]) if row else 0

    def _in_slice(self, alias: str = "") -> str:
        """The rows of the target that this slice is about."""
        if self._job.partition is None:
            return "true"
        return f"{alias}{PARTITION} = {literal(self._job.partition)}"

    def _in_reach(self) -> str:
        """The rows of the target that a key may match."""
        if not self._job.by_window:
            return self._in_slice("t.")
        scope = self._job.scope
        if scope is None:
            return "true"
        return f"{'starts' if scope.endswith('|') else 'ends'}_with(t.{PARTITION}, {literal(scope)})"

    def _remove(self, condition: str) -> int:
        """Removes rows that every table can tell by itself."""
        for name in self._job.tables.below:
            self._execute(f"DELETE FROM {self._space.table(name)} WHERE {condition}")
        return self._execute(f"DELETE FROM {self._name} WHERE {condition}")

    def _remove_roots(self, ids: str) -> int:
        """Removes root rows by `_restapi_id`, and their children with them."""
        for name in self._job.tables.below:
            self._execute(f"DELETE FROM {self._space.table(name)} WHERE _restapi_root_id IN ({ids})")
        return self._execute(f"DELETE FROM {self._name} WHERE _restapi_id IN ({ids})")

    def _insert(self, extra: dict[str, str] | None = None) -> int:
        """Puts the staged rows in, the root's first; all of them, or those in `_take`."""
        inserted = 0
        for table in self._job.tables.written:
            system = self._system(table) | (extra or {} if table.is_root else {})
            columns = table.columns | system
            chosen = ""
            if self._selected:
                chosen = f" WHERE s.{'_ord' if table.is_root else '_root'} IN (SELECT _ord FROM temp._take)"
            count = self._execute(
                f"INSERT INTO {self._space.table(table.name)} ({listing(map(quote, columns))}) "
                f"SELECT {listing(columns.values())} FROM {table.source} AS s{chosen}"
            )
            if table.is_root:
                inserted = count
            elif count or table.name in self._job.tables.below:
                self._counts.children[table.name] = count
        return inserted

    def _system(self, table: Written) -> dict[str, str]:
        columns = {"_restapi_load_id": literal(self._job.load_id), "_restapi_id": "s._id"}
        if table.is_root:
            columns["_restapi_row_hash"] = "s._hash"
            columns |= {REQUEST_FIELDS: "s._request_fields"} if self._plan.request_fields else {}
        else:
            columns |= {
                "_restapi_parent_id": "s._parent_id",
                "_restapi_root_id": "s._root_id",
                "_restapi_index": "s._index",
            }
        if self._job.partition is not None:
            columns[PARTITION] = literal(self._job.partition)
        return columns

    def _take(self, query: str) -> None:
        """Chooses the staged rows to insert, by `_ord`."""
        self._connection.execute(f"CREATE OR REPLACE TEMP TABLE _take AS {query}")
        self._selected = True

    def _spell_for_children(self) -> None:
        """Brings what requests are made of to rows that were loaded without it, where the same content comes again.

        It is a part of that content, whatever row has it. Such a row has not changed: its load and its place in the
        history stay, and children that go by what changed do not ask for it again.
        """
        if not (self._plan.request_fields and self._counts.before):
            return
        spelled = f"SELECT s._hash AS hash, min(s._request_fields) AS fields FROM {self._staged} GROUP BY s._hash"
        self._execute(
            f"UPDATE {self._name} AS t SET {REQUEST_FIELDS} = n.fields FROM ({spelled}) AS n "
            f"WHERE t._restapi_row_hash = n.hash AND n.fields <> coalesce(t.{REQUEST_FIELDS}, '')"
        )

    # ---- replace and append ------------------------------------------------------------------------------------------
    def _keeps_old_rows(self) -> bool:
        """An empty answer does not wipe a table without partitions, unless the plan says so."""
        counts = self._counts
        replaces = self._job.replaces or self._plan.disposition == "replace"
        retires = self._plan.disposition == "merge" and self._plan.strategy == "scd2" and self._job.snapshot
        if counts.staged or not self._job.keep_if_empty or not (replaces or retires):
            return False
        if counts.before:
            counts.warnings.append(
                f"the answer was empty: {counts.before} rows were kept (`allow_empty: true` would have removed them)"
            )
        return True

    def _is_the_same(self) -> bool:
        """Whether the slice holds the very rows that would replace it, so that nothing has to be written."""
        job, history = self._job, self._plan.disposition == "merge" and self._plan.strategy == "scd2"
        if job.tables.changes or job.reshaped or history:
            return False
        ours, theirs = "s._hash, s._id", "_restapi_row_hash, _restapi_id"
        if not self._job.keys.identity:  # then a row's id is of its load
            ours, theirs = "s._hash", "_restapi_row_hash"
        staged = self._digest(ours, f"{self._staged} WHERE NOT {self._gone()}")
        return staged == self._digest(theirs, f"{self._name} WHERE {self._in_slice()}")

    def _digest(self, columns: str, source: str) -> tuple[int, ...] | None:
        """Tells one set of rows from another, in whatever order they are."""
        return self._connection.execute(
            f"SELECT count(*), sum(hash({columns})), bit_xor(hash({columns}, 1)) FROM {source}"
        ).fetchone()

    def _replace(self) -> None:
        counts, strategy = self._counts, self._plan.strategy if self._plan.disposition == "merge" else None
        leaves_rows = strategy in ("scd2", "insert-only")  # also those of other windows, full refresh or not
        if counts.before:
            others = not leaves_rows and self._find_others()
            if not others and self._is_the_same():
                self._spell_for_children()
                counts.unchanged = counts.staged
                return
            counts.deleted += self._remove(self._in_slice())
            if others:
                counts.deleted += self._remove_roots("SELECT id FROM temp._victims")
        if leaves_rows:
            self._merge()
            return
        if strategy and self._job.keys.hard_delete:
            self._take(f"SELECT s._ord FROM {self._staged} WHERE NOT {self._gone()}")
        counts.inserted = self._insert()

    def _find_others(self) -> bool:
        """Collects rows of other windows that a staged row replaces: it moved here, or says that they are deleted."""
        keys = self._job.keys
        if not (self._job.by_window and self._counts.staged and (keys.primary or keys.merge)):
            return False
        self._find_victims(elsewhere=True)
        return self._count("temp._victims") > 0

    def _append(self) -> None:
        self._spell_for_children()
        zone = self._overlap() if self._counts.before else None
        if zone and self._count(f"{self._staged} WHERE {zone.staged}"):
            known = zone.known(self._staged, self._name)
            if self._job.records_changed:
                self._check_known(zone, known)
            self._take(f"SELECT s._ord FROM {self._staged} WHERE s._ord NOT IN ({known})")
        inserted = self._insert()
        self._counts.inserted, self._counts.unchanged = inserted, self._counts.staged - inserted

    def _overlap(self) -> _Zone | None:
        """Where staged and stored rows may be the same ones; None: nowhere."""
        overlap, here = self._job.overlap, self._in_slice("t.")
        if overlap.reach == "slice":
            return _Zone("true", here)
        if overlap.reach == "loads" and overlap.loads:
            return _Zone("true", f"{here} AND t._restapi_load_id IN ({listing(map(literal, overlap.loads))})")
        if overlap.reach == "cursor" and self._job.boundaries:
            staged, stored = self._at_cursor()
            return _Zone(staged, f"{here} AND {stored}")
        return None

    def _at_cursor(self) -> tuple[str, str]:
        """Conditions of the staged and the stored rows at the cursor's very position.

        Rows of the same content are at the same position: where DuckDB cannot tell who is at it, the content decides.
        """
        positions, cursor = self._job.boundaries, self._job.keys.cursor
        column, kind = self._root.by_path.get(cursor.path, ("", "")) if cursor else ("", "")
        staged = _at(f"s.{staged_column(self._job.shape, cursor)}", cursor.type, positions) if cursor else None
        return (
            "s._at_cursor" if self._job.of_parents else staged or "true",
            _at(f"t.{quote(column)}", kind, positions) or "true",
        )

    def _check_known(self, zone: _Zone, known: str) -> None:
        """Refuses to append records that may be stored ones in another form (5).

        Where records of the zone are not known, and stored rows of it did not come again, they may be the same.

        Raises:
            OverlapError: There are such.
        """
        if self._job.of_parents:  # which stored rows are of which parent is not known: a record must be known itself
            staged, stored = f"{zone.staged} AND s._at_cursor", "true"
        else:
            staged, stored = self._narrowed(zone)
        unknown = self._count(f"{self._staged} WHERE {staged} AND s._ord NOT IN ({known})")
        matched = f"SELECT s._hash FROM {self._staged} WHERE s._ord IN ({known})"
        absent = unknown and self._count(
            f"{self._name} t WHERE {zone.stored} AND {stored} AND t._restapi_row_hash NOT IN ({matched})"
        )
        if absent:
            raise OverlapError(
                f"{unknown} of the records that came may be rows that are there in another form, for what shapes a "
                "record has changed since they were loaded: appended, they would be there twice",
                where=self._plan.resource,
                hint="Run it with `full_refresh: true`, or put back the endpoint, processing steps and included "
                "fields that the rows were loaded with.",
            )

    def _narrowed(self, zone: _Zone) -> tuple[str, str]:
        """The zone's conditions for those positions alone that both the records that came and the stored rows span."""
        cursor = self._job.keys.cursor
        column, kind = self._root.by_path.get(cursor.path, ("", "")) if cursor else ("", "")
        if cursor is None or kind != cursor.type or kind not in _ORDERED:
            return zone.staged, "true"
        new, old = f"s.{staged_column(self._job.shape, cursor)}", f"t.{quote(column)}"
        ends = "(SELECT min({other}) FROM {source}) AND (SELECT max({other}) FROM {source})"
        span = f"coalesce({{one}} BETWEEN {ends}, true)"
        there = f"{self._name} t WHERE {zone.stored}"
        return (
            f"{zone.staged} AND {span.format(one=new, other=old, source=there)}",
            span.format(one=old, other=new, source=self._staged),
        )

    # ---- merge -------------------------------------------------------------------------------------------------------
    def _merge(self) -> None:
        keys = self._job.keys
        if keys.primary or keys.merge or self._plan.strategy == "scd2":  # else it appends
            self._spell_for_children()
        if self._plan.strategy == "scd2":
            self._history()
        elif not (keys.primary or keys.merge) and self._counts.staged:
            if self._plan.strategy != "delete-insert":
                raise TableError(
                    f"the merge strategy {self._plan.strategy!r} needs a primary key",
                    where=self._plan.resource,
                    hint="Set `primary_key` of the resource.",
                )
            self._counts.warnings.append("merge without a key appends: set `primary_key` or `merge_key`")
            self._append()
        elif self._plan.strategy == "insert-only":
            self._insert_only()
        else:
            self._delete_insert()

    def _matches(self, fields: tuple[Field, ...], *, nulls: bool) -> str:
        """The condition that a row `t` of the table and a staged row `s` have the same key."""
        pairs = []
        for field_ in fields:
            staged = f"s.{staged_column(self._job.shape, field_)}"
            column, kind = self._root.by_path[field_.path]
            stored = f"t.{quote(column)}"
            new = convert(staged, field_.type, kind)
            if kind in ("VARCHAR", "DOUBLE", "JSON"):
                stored, new = key_text(stored, kind), key_text(new, kind)
            pairs.append(f"{stored} IS NOT DISTINCT FROM {new}" if nulls else f"{stored} = {new}")
        return " AND ".join(pairs)

    def _find_victims(self, *, elsewhere: bool = False) -> None:
        """Collects the rows of the table that a staged row replaces: all of them, or those that are of other slices."""
        keys = self._job.keys
        here = f"coalesce({self._in_slice('t.')}, false)"
        reach = f"{self._in_reach()} AND NOT {here}" if elsewhere else self._in_reach()
        columns = f"t._restapi_rowid AS rid, t._restapi_id AS id, t._restapi_row_hash AS hash, {here} AS here"
        select = f"SELECT {columns} FROM {numbered(self._connection, self._name)} t"
        found = [
            f"{select} SEMI JOIN {self._staged} ON {self._matches(fields, nulls=nulls)} WHERE {reach}"
            for fields, nulls in ((keys.primary, False), (keys.merge, True))
            if fields
        ]
        self._connection.execute(f"CREATE OR REPLACE TEMP TABLE _victims AS {' UNION '.join(found)}")

    def _gone(self) -> str:
        """True for a staged row that says that it is deleted."""
        field_ = self._job.keys.hard_delete
        if field_ is None:
            return "false"
        column = f"s.{staged_column(self._job.shape, field_)}"
        if field_.type == "BOOLEAN":
            return f"coalesce({column}, false)"
        if field_.type in ("VARCHAR", "JSON"):  # a boolean is a text where other kinds stand beside it
            text = f"json_extract_string({column}, '$')" if field_.type == "JSON" else column
            return f"coalesce({text} <> 'false', false)"
        return f"({column} IS NOT NULL)"

    def _delete_insert(self) -> None:
        counts, keys = self._counts, self._job.keys
        if not counts.staged:
            return
        if not counts.before:
            if keys.hard_delete:
                self._take(f"SELECT s._ord FROM {self._staged} WHERE NOT {self._gone()}")
            counts.inserted = self._insert()
            return
        self._find_victims()
        self._pair_unchanged()
        counts.unchanged, victims = self._count("temp._same"), self._count("temp._victims")
        if counts.unchanged == counts.staged == victims:
            here = {table.name for table in self._job.tables.written}
            counts.children = {name: 0 for name in self._job.tables.below if name in here}
            return
        self._take(f"SELECT s._ord FROM {self._staged} ANTI JOIN temp._same USING (_ord) WHERE NOT {self._gone()}")
        replaced = 0
        if keys.primary and victims:
            replaced = self._count(
                f"(SELECT s._ord FROM {self._staged} WHERE s._ord IN (SELECT _ord FROM temp._take)) n "
                f"JOIN {self._staged} USING (_ord) SEMI JOIN (SELECT * FROM {numbered(self._connection, self._name)} "
                "WHERE _restapi_rowid IN (SELECT rid FROM temp._victims)) t "
                f"ON {self._matches(keys.primary, nulls=False)}"
            )
        removed = self._remove_roots("SELECT id FROM temp._victims ANTI JOIN temp._same USING (rid)")
        inserted = self._insert()
        counts.updated, counts.inserted, counts.deleted = replaced, inserted - replaced, removed - replaced

    def _pair_unchanged(self) -> None:
        """Pairs rows of the table with staged rows of the same content: both stay as they are."""
        living = f"SELECT s._ord, s._hash FROM {self._staged} WHERE NOT {self._gone()}"
        living += " AND false" if self._job.reshaped else ""
        if self._job.keys.primary:
            query = (
                f"SELECT min(v.rid) AS rid, s._ord FROM ({living}) s JOIN temp._victims v ON v.hash = s._hash "
                "WHERE v.here GROUP BY s._ord"
            )
        else:  # with a merge key alone, equal rows may stand there several times
            query = (
                "SELECT v.rid, s._ord FROM (SELECT *, row_number() OVER (PARTITION BY _hash ORDER BY _ord) AS number "
                f"FROM ({living})) s JOIN (SELECT *, row_number() OVER (PARTITION BY hash ORDER BY rid) AS number "
                "FROM temp._victims WHERE here) v ON v.hash = s._hash AND v.number = s.number"
            )
        self._connection.execute(f"CREATE OR REPLACE TEMP TABLE _same AS {query}")

    def _insert_only(self) -> None:
        counts = self._counts
        if counts.before and counts.staged:
            within = f"(SELECT * FROM {self._name} t WHERE {self._in_reach()}) t"
            self._take(
                f"SELECT s._ord FROM {self._staged} ANTI JOIN {within} "
                f"ON {self._matches(self._job.keys.primary, nulls=False)}"
            )
        counts.inserted = self._insert()
        counts.unchanged = counts.staged - counts.inserted

    # ---- scd2 --------------------------------------------------------------------------------------------------------
    def _validity(self) -> dict[str, str]:
        """From when the new rows hold; never before a row that they follow, whatever the clock says."""
        start, end = quote(self._plan.valid_from), quote(self._plan.valid_to)
        latest = f"(SELECT greatest(max({start}), max({end})) FROM {self._name})"
        row = self._connection.execute(f"SELECT CAST(greatest(now(), {latest}) AS VARCHAR)").fetchone()
        assert row is not None
        return {
            self._plan.valid_from: f"TIMESTAMPTZ {literal(row[0])}",
            self._plan.valid_to: "CAST(NULL AS TIMESTAMPTZ)",
        }

    def _history(self) -> None:
        """Closes the rows that changed or went away, and adds what is new; nothing is ever removed."""
        counts, keys = self._counts, self._job.keys
        extra = self._validity()
        active = f"t.{quote(self._plan.valid_to)} IS NULL"
        here = f"{active} AND {self._in_slice('t.')}"
        standing = f"SELECT t._restapi_row_hash FROM {self._name} t WHERE {here}"
        self._take(f"SELECT s._ord FROM {self._staged} WHERE s._hash NOT IN ({standing})")
        gone = f"{here} AND t._restapi_row_hash NOT IN (SELECT s._hash FROM {self._staged})"
        by_key = keys.merge or keys.primary
        if keys.merge or not self._job.snapshot:  # absence says nothing of keys that this load does not mention
            gone += f" AND {self._is_staged(by_key)}" if by_key else " AND false"
        closed = f"({gone})"
        if keys.primary and self._job.by_window:  # a record that moved to another window has left its old one
            elsewhere = f"NOT coalesce({self._in_slice('t.')}, false)"
            closed += f" OR ({active} AND {self._in_reach()} AND {elsewhere} AND {self._is_staged(keys.primary)})"
        until = extra[self._plan.valid_from]
        counts.updated = self._execute(
            f"UPDATE {self._name} AS t SET {quote(self._plan.valid_to)} = {until} WHERE {closed}"
        )
        counts.inserted = self._insert(extra)
        counts.unchanged = counts.staged - counts.inserted

    def _is_staged(self, key: tuple[Field, ...]) -> str:
        """The condition that a record of the load has the key of the stored row `t`."""
        if not self._counts.staged:
            return "false"
        return f"EXISTS (SELECT 1 FROM {self._staged} WHERE {self._matches(key, nulls=True)})"


def _at(sql: str, kind: str, positions: tuple[tuple[str | int | float, str], ...]) -> str | None:
    """True where a column's value is one of these cursor positions.

    None where DuckDB may see it otherwise than the fetch did: a column with a hint, date-times that stayed text, or
    dates of a format, in which one day may have several spellings.
    """
    kinds = {how for _, how in positions}
    numbers = all(not isinstance(value, str) for value, _ in positions)
    if not all(_is_plain(value, how) for value, how in positions):
        return None
    if kind == "TIMESTAMPTZ" and kinds == {"instant"}:
        values = listing(f"TRY_CAST({literal(str(value))} AS TIMESTAMPTZ)" for value, _ in positions)
    elif kind in ("BIGINT", "HUGEINT", "DOUBLE") and kinds == {"number"} and numbers:
        values = listing(_position(value) for value, _ in positions if not isinstance(value, str))
    elif kind == "VARCHAR" and kinds <= {"text", "date"}:
        values = listing(literal(str(value)) for value, _ in positions)
    else:
        return None
    return f"coalesce({sql} IN ({values}), false)"


def _is_plain(value: str | float, kind: str) -> bool:
    """Whether a date-time is one that DuckDB casts, and a date is in the one spelling that ISO 8601 has for it."""
    if kind == "instant":
        return is_instant(str(value))
    return kind != "date" or bool(_ISO_DATE(str(value)))


def _position(value: str | float) -> str:
    return f"CAST({literal(repr(value))} AS {'DOUBLE' if isinstance(value, float) else 'HUGEINT'})"
