"""One load: a spool becomes rows of its tables in one transaction, and the ledger says so."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb
import msgspec

from dagster_restapi.config.columns import Path as KeyPath
from dagster_restapi.config.columns import column_name, key_path
from dagster_restapi.errors import CommitInDoubt, LedgerConflict, OutOfMemory, PartError, TableError
from dagster_restapi.model import (
    NO_CONDITIONS,
    Column,
    Conditions,
    Cursor,
    Fetched,
    LedgerRow,
    LoadResult,
    Slice,
    TablePlan,
)
from dagster_restapi.slice_state import (
    AT_CURSOR,
    Overlap,
    ParentKey,
    answers_wipe,
    cursor_after,
    is_partial,
    is_snapshot,
    newly_failed,
    wipes_answered,
)
from dagster_restapi.spool import Spool
from dagster_restapi.tables import ledger
from dagster_restapi.tables.evolve import PARTITION, Evolved, evolve
from dagster_restapi.tables.keys import primary_key
from dagster_restapi.tables.owner import Claim, look
from dagster_restapi.tables.spelling import Respelled
from dagster_restapi.tables.sql import Space, literal
from dagster_restapi.tables.stage import Staged, Staging, is_out_of_memory, parents_have_cursors
from dagster_restapi.tables.standing import hashes_at
from dagster_restapi.tables.target import Log, Target, Turns, may_pass
from dagster_restapi.tables.types import plain
from dagster_restapi.tables.write import Counts, Job, write

CURSORS_FILE = "cursors.ndjson"
_logger = logging.getLogger(__name__)


def load(
    target: Target,
    plan: TablePlan,
    slice_: Slice,
    spool: Spool,
    fetched: Fetched,
    *,
    cursor: Cursor | None,
    expected: str | None,
    replace: bool = False,
    remove_load: str | None = None,
    conditions: Conditions = NO_CONDITIONS,
    owed: Sequence[ParentKey] | None = None,
    overlap: Overlap = AT_CURSOR,
    forget_cursors: bool = False,
    staged: Staged | None = None,
    turns: Turns | None = None,
    log: Log = _logger.info,
) -> LoadResult:
    """Brings a spool into its tables, wholly or not at all.

    The first load of a new layout of partitions, and of a partitioned asset after a wipe, drops the tables and the
    ledger rows of the asset first.

    Args:
        cursor: Where the slice went on from; rows at that very position are compared by content.
        expected: Newest load of the slice when `cursor` was read; it must still be the newest.
        replace: The load replaces the whole slice, whatever the disposition: full refresh, rebuild, time window.
        remove_load: A load of which no event tells: its rows are removed first.
        conditions: Under which the load is made. Where `tables` is another one than the newest load's, rows are
            written anew although their content is the same.
        owed: Parents that are owed when the load is in; None: those that failed.
        overlap: Which of the stored rows an append may bring again.
        forget_cursors: The cursors per parent key that stand there are of another parent's keys.
        staged: The part of one partition, of a spool that is for several; `fetched.load_id` is the part's own.
        turns: Of the target, for several loads one after another.
        log: Takes a line about waiting for the file.

    Raises:
        LedgerConflict: Another load of this slice was committed since `expected` was read.
        ContractError: The rows break the plan's contract.
        PartError: Only a part was fetched, and rows stand in the place that it would take.
        LockTimeout: The file stayed locked.
        TableError: Anything else; the tables are as they were, or the message says that this is not known.
    """
    owed = fetched.failed_parents if owed is None else tuple(owed)
    request = _Request(
        target,
        plan,
        slice_,
        spool,
        fetched,
        cursor,
        expected,
        replace,
        remove_load,
        conditions,
        owed,
        overlap,
        forget_cursors,
        log,
    )
    if staged is not None:
        return _load(request, staged, turns.turn() if turns else target.write(engine=staged.engine, log=log))
    staging = Staging(target, plan, slice_, spool, log)
    while True:
        try:
            with staging.staged() as whole:
                return _load(request, whole, target.write(engine=whole.engine, log=log))
        except OutOfMemory as error:
            staging.more_room(error)


@dataclass(frozen=True, slots=True)
class _Request:
    target: Target
    plan: TablePlan
    slice_: Slice
    spool: Spool
    fetched: Fetched
    cursor: Cursor | None
    expected: str | None
    replace: bool
    remove_load: str | None
    conditions: Conditions
    owed: tuple[ParentKey, ...]
    overlap: Overlap
    forget_cursors: bool
    log: Log

    @property
    def load_id(self) -> str:
        """Whose rows these are."""
        return self.fetched.load_id

    @property
    def snapshot(self) -> bool:
        """Whether the spool holds everything that the slice has, so that absence means deletion."""
        asks_for_all = self.plan.cursor_path is None or self.slice_.window is not None
        return asks_for_all and is_snapshot(self.slice_, self.fetched)

    @property
    def cursor_after(self) -> Cursor | None:
        """The position that the tables are at when this load is in."""
        return cursor_after(self.slice_, self.fetched, self.cursor)


@dataclass(slots=True)
class _Progress:
    """How far a load has come.

    Attributes:
        committing: The database was told to commit: from here on only the ledger knows whether it did.
    """

    committing: bool = False


def _load(request: _Request, staged: Staged, opened: AbstractContextManager[duckdb.DuckDBPyConnection]) -> LoadResult:
    asked, progress = time.monotonic(), _Progress()
    fault = ""
    try:
        with opened as connection:
            locked = time.monotonic()
            result = _transact(connection, request, staged, progress, waited=locked - asked)
            result = _with_seconds(result, locked)
    except duckdb.Error as error:
        fault = str(error)
    if fault:
        raise _in_doubt(fault, request) if progress.committing else _failed(fault, request)
    return result


def _with_seconds(result: LoadResult, locked: float) -> LoadResult:
    return result if result.already_loaded else replace(result, locked_seconds=time.monotonic() - locked)


def _transact(
    connection: duckdb.DuckDBPyConnection, request: _Request, staged: Staged, progress: _Progress, *, waited: float
) -> LoadResult:
    """The transaction. An error leaves it open: closing the connection rolls it back."""
    space = request.target.space(connection)
    load_id, slice_ = request.load_id, request.slice_
    try:
        connection.execute("BEGIN")
        ledger.prepare(connection, space)
        known = ledger.find(connection, space, load_id)
        if known:
            connection.execute("ROLLBACK")
            return ledger.read_back(known)
        last = newest = ledger.newest_of_asset(connection, space, slice_.asset)
        if last and last.partition != slice_.partition:
            newest = ledger.newest(connection, space, slice_.asset, slice_.partition)
        _check_expected(request, newest)
        anew = _begins_anew(request, last)
        if anew:
            ledger.drop_asset(connection, space, slice_.asset)
            newest = None
        wipes = wipes_answered(last, slice_.wipe)
        result = _write(connection, space, request, staged, newest, waited, anew=anew, wipes=wipes)
        progress.committing = True
        connection.execute("COMMIT")
    except BaseException:
        abandon(connection)
        raise
    if not ledger.has(connection, space, load_id):
        raise TableError("the commit returned, but the ledger does not have the load", where=slice_.asset)
    return result


def abandon(connection: duckdb.DuckDBPyConnection) -> None:
    """Ends the transaction of a failed load, so that what was staged can be let go."""
    try:
        connection.execute("ROLLBACK")
    except duckdb.Error:
        return  # the connection is about to close, which rolls back as well


def _begins_anew(request: _Request, last: LedgerRow | None) -> bool:
    """Whether all that the asset has is of another layout of partitions, or was wiped.

    Raises:
        TableError: It is of another layout, and nobody asked for a full refresh.
    """
    slice_ = request.slice_
    if last is None:
        return False
    check_layout(slice_, last)
    if other_layout(slice_, last):
        return True
    return slice_.partition is not None and not answers_wipe(last, slice_.wipe)


def check_layout(slice_: Slice, last: LedgerRow) -> None:
    """Refuses a slice of another layout of partitions, unless a full refresh is asked for.

    Raises:
        TableError: The rows in the table are of another layout.
    """
    if not other_layout(slice_, last) or slice_.full_refresh:
        return
    now, before = (text or "no partitions" for text in (slice_.layout, last.layout))
    raise TableError(
        f"the partitions have changed: {now}, and the rows in the table are of {before}",
        where=_place(slice_),
        hint="Run it with `full_refresh: true`, which empties the table first; then load the other partitions.",
    )


def other_layout(slice_: Slice, last: LedgerRow) -> bool:
    """Whether a load was of another layout of partitions than the slice; what is not known (\"\") is no other one."""
    if (slice_.partition is None) is not (last.partition is None):
        return True
    return bool(slice_.layout and last.layout) and slice_.layout != last.layout


def _check_expected(request: _Request, newest: LedgerRow | None) -> None:
    have = newest.load_id if newest else None
    if have == request.expected:
        return
    if have is None and (request.replace or request.cursor is None):  # begun anew meanwhile, as this load does
        return
    raise LedgerConflict(
        f"another load was committed meanwhile: {have} instead of {request.expected}",
        where=_place(request.slice_),
        hint="Run the asset again: it goes on from that load's result.",
    )


def _place(slice_: Slice) -> str:
    return slice_.asset if slice_.partition is None else f"{slice_.asset}, partition {slice_.partition}"


def _check_whole(
    connection: duckdb.DuckDBPyConnection, space: Space, request: _Request, newest: LedgerRow | None
) -> None:
    """A part of what there is never takes the place of all the rows, unless somebody asks for just that."""
    plan, slice_ = request.plan, request.slice_
    replaces = request.replace or plan.disposition == "replace"
    part = is_partial(slice_, request.fetched)
    failed = len(newly_failed(request.fetched, newest))
    if not (replaces and (part or failed)) or slice_.full_refresh:
        return
    if not ledger.stands(connection, space, plan.table):
        return
    table = space.table(plan.table)
    rows = _count(
        connection, table if slice_.partition is None else f"{table} WHERE {PARTITION} = {literal(slice_.partition)}"
    )
    if not rows:
        return
    if part:
        asked = slice_.max_pages is not None or slice_.by_hand
        why = "" if asked else "".join(f" ({warning})" for warning in request.fetched.warnings[:1])
        remedy = "Run it without max_pages, start_value and end_value" if asked else "Mend what cut it short"
        raise PartError(
            f"only a part was fetched{why}, and it would take the place of {rows} rows",
            where=_place(slice_),
            hint=f"{remedy}; or with `full_refresh: true`, if the part is to replace the rows all the same.",
            transient=not asked,
        )
    raise PartError(
        f"the requests of {failed} parents failed, and what the others brought would take the place of {rows} rows",
        where=_place(slice_),
        hint="Run it again when they are answered (`on_error: fail` stops at the first that is not); "
        "or with `full_refresh: true`, if the rows of these parents are to go.",
    )


def _write(
    connection: duckdb.DuckDBPyConnection,
    space: Space,
    request: _Request,
    staged: Staged,
    newest: LedgerRow | None,
    waited: float,
    *,
    anew: bool,
    wipes: str | None,
) -> LoadResult:
    plan, slice_ = request.plan, request.slice_
    sequence = ledger.next_sequence(connection, space)
    partitioned = slice_.partition is not None
    held = look(connection, space)
    held.check(Claim(plan.table, slice_.asset, plan.resource, request.target.database))
    if not anew:
        _check_whole(connection, space, request, newest)
    open_contract = {plan.contract.tables, plan.contract.columns, plan.contract.data_type} == {"evolve"}
    empty_kept = not staged.rows[()] and not plan.allow_empty
    tables = evolve(
        connection,
        space,
        plan,
        staged,
        held=held,
        asset=slice_.asset,
        partitioned=partitioned,
        fresh=anew or (request.replace and not partitioned and open_contract and not empty_kept),
    )
    counts = write(connection, space, _job(connection, space, request, staged, tables, newest))
    counts.before = tables.before
    if tables.dropped:
        counts.deleted = tables.before
    moved = any((counts.inserted, counts.updated, counts.deleted))
    version = newest.data_version if newest and not moved else ""
    # one for all partitions that a run changes: Dagster lets a run of several tell only one
    version = version or (slice_.run_id if partitioned else "") or request.load_id
    result = _result(connection, space, request, staged, tables, counts, waited, version)
    _store_cursors(connection, space, request)
    if request.remove_load:
        connection.execute(
            f"DELETE FROM {space.table(ledger.LOADS)} WHERE load_id = ? AND asset = ?",
            [request.remove_load, slice_.asset],
        )
    standing = None
    if slice_.window is None:
        standing = hashes_at(connection, space, plan, tables.root, request.cursor_after, slice_.partition)
    ledger.append(connection, space, _ledger_row(request, result, sequence, standing, wipes))
    return result


def _count(connection: duckdb.DuckDBPyConnection, source: str) -> int:
    row = connection.execute(f"SELECT count(*) FROM {source}").fetchone()
    assert row is not None
    return int(row[0])


def _job(
    connection: duckdb.DuckDBPyConnection,
    space: Space,
    request: _Request,
    staged: Staged,
    tables: Evolved,
    newest: LedgerRow | None,
) -> Job:
    slice_ = request.slice_
    before = newest.conditions if newest else NO_CONDITIONS
    boundaries: list[tuple[str | int | float, str]] = []
    if request.overlap.reach == "cursor":
        boundaries = _boundaries(connection, space, request)
    return Job(
        plan=request.plan,
        shape=staged.shape,
        keys=staged.keys,
        tables=tables,
        load_id=request.load_id,
        partition=slice_.partition,
        by_window=slice_.window is not None,
        scope=slice_.scope,
        replaces=request.replace,
        keep_if_empty=slice_.partition is None and not request.plan.allow_empty,
        snapshot=request.snapshot,
        overlap=request.overlap,
        boundaries=tuple(boundaries),
        of_parents=parents_have_cursors(request.spool),
        reshaped=before.tables not in (None, request.conditions.tables),
        records_changed=before.records not in (None, request.conditions.records),
        remove_load=request.remove_load,
    )


def _boundaries(
    connection: duckdb.DuckDBPyConnection, space: Space, request: _Request
) -> list[tuple[str | int | float, str]]:
    """Value and kind of the cursors that the load goes on from: its own, and those of a child's parents."""
    slice_ = request.slice_
    found: list[tuple[str | int | float, str]] = []
    if request.cursor:
        found.append((request.cursor.value, request.cursor.kind))
    if (request.spool.directory / CURSORS_FILE).exists() and not request.forget_cursors:
        kept = ledger.parent_cursors(connection, space, slice_.asset, slice_.partition)
        found += sorted({(value, kind) for value, kind in kept.values() if value is not None}, key=repr)
    return found


def _result(
    connection: duckdb.DuckDBPyConnection,
    space: Space,
    request: _Request,
    staged: Staged,
    tables: Evolved,
    counts: Counts,
    waited: float,
    version: str,
) -> LoadResult:
    root = space.table(tables.root.name)
    slice_ = request.slice_
    warnings = [*tables.warnings, *counts.warnings]
    if staged.twins:
        warnings.append(f"{staged.twins} records were left out: a later one of this load has the same key")
    here = None
    if slice_.partition is not None:
        row = connection.execute(f"SELECT count(*) FROM {root} WHERE {PARTITION} = ?", [slice_.partition]).fetchone()
        here = int(row[0]) if row else 0
    return LoadResult(
        load_id=request.load_id,
        rows_loaded=counts.staged - counts.unchanged,
        rows_inserted=counts.inserted,
        rows_updated=counts.updated,
        rows_deleted=counts.deleted,
        rows_unchanged=counts.unchanged,
        row_count=_count(connection, root),
        partition_row_count=here,
        row_count_before=counts.before,
        tables=counts.children,
        columns=columns_of(connection, space, tables.root.name, request.plan),
        schema_changes=tables.changes,
        warnings=tuple(warnings),
        cursor=request.cursor_after,
        cursor_before=request.cursor,
        data_version=version,
        stage_seconds=staged.seconds,
        wait_seconds=waited,
    )


def columns_of(
    connection: duckdb.DuckDBPyConnection, space: Space, table: str, plan: TablePlan | None = None
) -> tuple[Column, ...]:
    """The columns of a table as they stand, with the descriptions that the plan has for them."""
    described: dict[str, str | None] = {}
    needed: set[str] = set()
    if plan:
        names = _names_by_path(connection, space, table)
        hints = {_column(plan, names, name): hint for name, hint in plan.hints.items()}
        described = {name: hint.description for name, hint in hints.items()}
        keys = primary_key(plan) if plan.disposition == "merge" else ()
        needed = {_column(plan, names, key) for key in keys}
        needed |= {name for name, hint in hints.items() if hint.nullable is False}
    rows = connection.execute(
        "SELECT column_name, data_type, is_nullable FROM duckdb_columns() "
        "WHERE database_name = ? AND schema_name = ? AND table_name = ? ORDER BY column_index",
        [space.catalog, space.schema, table],
    ).fetchall()
    return tuple(
        Column(
            name=name, type=plain(kind), nullable=bool(nullable) and name not in needed, description=described.get(name)
        )
        for name, kind, nullable in rows
    )


def _names_by_path(connection: duckdb.DuckDBPyConnection, space: Space, table: str) -> dict[KeyPath, str]:
    """The column of each path of a table's records."""
    if not ledger.stands(connection, space, ledger.COLUMNS):
        return {}
    rows = connection.execute(
        f"SELECT path, column_name FROM {space.table(ledger.COLUMNS)} WHERE table_name = ?", [table]
    ).fetchall()
    return {tuple(json.loads(path)): column for path, column in rows}


def _column(plan: TablePlan, names: Mapping[KeyPath, str], spelled: str) -> str:
    """The column that a plan means by a path or a name."""
    path = key_path(spelled)
    return names.get(path) or column_name(plan, path)


def _store_cursors(connection: duckdb.DuckDBPyConnection, space: Space, request: _Request) -> None:
    path: Path = request.spool.directory / CURSORS_FILE
    lines = _lines(path) if path.exists() else ()
    ledger.store_cursors(
        connection,
        space,
        lines,
        asset=request.slice_.asset,
        partition=request.slice_.partition,
        load_id=request.load_id,
        clear=request.replace or request.forget_cursors,
        respelled=Respelled.read(request.spool.directory),
    )


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as lines:
        for line in lines:
            if line.strip():
                yield msgspec.json.decode(line)


def _ledger_row(
    request: _Request, result: LoadResult, sequence: int, standing: list[str] | None, wipes: str | None
) -> LedgerRow:
    slice_ = request.slice_
    return LedgerRow(
        load_id=request.load_id,
        asset=slice_.asset,
        partition=slice_.partition,
        run_id=slice_.run_id,
        sequence=sequence,
        rows=result.rows_loaded,
        cursor_before=request.cursor,
        cursor=result.cursor,
        parent_load_id=request.fetched.parent_load_id,
        failed_parents=request.owed,
        tables=(request.plan.table, *result.tables),
        tell={"load": result, "fetched": request.fetched, "notes": request.conditions, "standing": standing},
        format_version=ledger.FORMAT,
        committed_at="",
        root_run_id=slice_.root_run_id,
        wipe=wipes,
        data_version=result.data_version,
        layout=slice_.layout,
        conditions=request.conditions,
    )


def _failed(fault: str, request: _Request) -> TableError:
    kind = OutOfMemory if is_out_of_memory(fault) else TableError
    kept = "The tables are as they were, and the spool is kept, so that nothing is fetched again."
    return kind(
        f"the load failed: {fault.splitlines()[0]}",
        where=_place(request.slice_),
        hint=way_out(fault, kept),
        transient=may_pass(fault),
    )


def _in_doubt(fault: str, request: _Request) -> CommitInDoubt:
    kept = "Run it again: the ledger tells whether the load is in the tables, and only what is missing is loaded."
    error = CommitInDoubt(
        f"the load failed while it was committed, and may be in the tables or not: {fault.splitlines()[0]}",
        where=_place(request.slice_),
        hint=way_out(fault, kept),
    )
    error.load_id, error.fault = request.load_id, fault
    return error


def way_out(fault: str, kept: str) -> str:
    """What to do about a fault of the database.

    Args:
        kept: A sentence about the tables.
    """
    if "No space" in fault or "Could not write" in fault or "disk" in fault.lower():
        return f"Free some space where the database lies. {kept}"
    if "ermission" in fault or "read-only" in fault.lower():
        return f"Make the database and its folder writable. {kept}"
    if is_out_of_memory(fault):
        return f"Raise `memory_limit` of the IO manager. {kept}"
    return kept


def root_exists(target: Target, plan: TablePlan) -> bool:
    """Whether a resource's own table stands."""
    if not target.exists:
        return False
    with target.read() as connection:
        return ledger.stands(connection, target.space(connection), plan.table)
