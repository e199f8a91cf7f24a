"""Where a run goes on: what the asset's events say, what the ledger proves, and which of them decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import dagster as dg
from dagster import AssetRecordsFilter, DagsterEventType, DagsterInstance, EventLogRecord
from dagster._core.storage.event_log.base import AssetEntry

from dagster_restapi.assets.translator import PREFIX
from dagster_restapi.model import Cursor, LedgerRow
from dagster_restapi.slice_state import answers_wipe
from dagster_restapi.tables.ledger import Record

CursorSource = Literal["metadata", "ledger", "initial", "full_refresh", "wiped", "partition"]

_BACK = 50  # events that are looked through at once for one that has a load
_AT_ONCE = 500  # events of different partitions that are read at once
_RESUMED = "dagster/is_resume_retry"  # Dagster's tag of a run that goes on from another one's failure


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a slice stands before a run.

    Attributes:
        cursor: Where to go on; None: at the beginning.
        source: Which of events and ledger said so; for a time window the partition itself.
        newest: The ledger's newest row of the slice: the load must find it unchanged.
        rebuild: The load replaces the slice.
        told: This very run has loaded already and was stopped before it could tell: only tell.
        unreported: A load of an earlier run of this instance that no event tells of.
        wipe: The newest wipe of the asset, so that the ledger knows which wipes it has answered.
        preview: What the event of the newest load shows, as Markdown.
    """

    cursor: Cursor | None
    source: CursorSource
    newest: LedgerRow | None
    rebuild: bool = False
    told: bool = False
    unreported: str | None = None
    wipe: str | None = None
    preview: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """What the newest event of a slice that names a load says of it.

    Attributes:
        preview: The rows that it shows, as Markdown.
    """

    load_id: str
    preview: str = ""


@dataclass(frozen=True, slots=True)
class Past:
    """What is known of an asset before a run.

    Attributes:
        record: What the ledger says of the run's slices.
        root_run_id: The run itself, or the one that it is a re-execution of.
        resumes: Whether the run goes on from the failure of that one.
        wipe: The newest wipe of the asset.
        told: The newest event of each slice that names a load, where that can matter.
        ours: The loads of the ledger that no such event names, of runs of this instance.
    """

    record: Record
    run_id: str
    root_run_id: str
    resumes: bool = False
    wipe: str | None = None
    told: Mapping[str | None, Event] = field(default_factory=dict)
    ours: frozenset[str] = frozenset()


def look_back(
    instance: DagsterInstance, run: dg.DagsterRun, key: dg.AssetKey, record: Record, *, by_window: bool
) -> Past:
    """Reads from Dagster's event log what matters for slices that the ledger knows; for others nothing can.

    Args:
        by_window: The slices are time windows. They are replaced whatever the events say, so that only a load of this
            very run can make a difference.
    """
    root = run.root_run_id or run.run_id
    known = {part: row for part, row in record.newest.items() if not by_window or row.root_run_id == root}
    records = instance.get_asset_records([key])
    entry = records[0].asset_entry if records else None
    told = newest_events(instance, key, list(known), entry) if entry else {}
    silent = []
    for part, row in known.items():
        if by_window or _tells_of(told.get(part), row):
            continue
        event = _event_of_run(instance, key, row)
        if event is None:
            silent.append(row)
        else:
            told[part] = event
    return Past(
        record,
        run.run_id,
        root,
        resumes=run.tags.get(_RESUMED) == "true",
        wipe=newest_wipe(entry) if entry else None,
        told=told,
        ours=frozenset(row.load_id for row in silent if instance.has_run(row.run_id)),
    )


def _event_of_run(instance: DagsterInstance, key: dg.AssetKey, row: LedgerRow) -> Event | None:
    """The event that tells of a load, among those of its own run.

    It need not be the slice's newest: a run that commits before another one may tell of it later.
    """
    if not row.run_id:
        return None
    for entry in instance.all_logs(row.run_id, of_type=DagsterEventType.ASSET_MATERIALIZATION):
        event = entry.dagster_event
        if event is None or event.asset_key != key or event.partition != row.partition:
            continue
        load = event.step_materialization_data.materialization.metadata.get(f"{PREFIX}/load_id")
        if load is not None and load.value == row.load_id:
            return Event(row.load_id)
    return None


def _tells_of(event: Event | None, row: LedgerRow) -> bool:
    return event is not None and event.load_id == row.load_id


def stand(past: Past, partition: str | None, *, by_window: bool, full_refresh: bool) -> Standing:
    """Compares the slice's newest event that names a load with the ledger's newest row, by load and never by clock.

    Source: DESIGN, "The life of a step", 2.
    """
    newest, wipe = past.record.newest.get(partition), past.wipe
    event = past.told.get(partition)
    reported = newest is not None and _tells_of(event, newest)
    # A re-execution of all that was done loads again; a retry, or one from the failure on, resumes after it.
    goes_on = not reported or past.resumes or (newest is not None and newest.run_id == past.run_id)
    if newest is not None and newest.root_run_id == past.root_run_id and goes_on:
        return Standing(newest.cursor, "ledger", newest, told=True, wipe=wipe)
    if full_refresh:
        return Standing(None, "full_refresh", newest, rebuild=True, wipe=wipe)
    if by_window:
        return Standing(None, "partition", newest, wipe=wipe)
    if newest is None or not past.record.has_table:  # a table without a ledger row: its rows would come a second time
        rebuild = newest is not None or past.record.has_table
        return Standing(None, "initial", newest, rebuild=rebuild, wipe=wipe)
    if not answers_wipe(newest, wipe):
        return Standing(None, "wiped", newest, rebuild=True, wipe=wipe)
    if reported:
        return Standing(newest.cursor, "metadata", newest, wipe=wipe, preview=event.preview if event else "")
    unreported = newest.load_id if newest.load_id in past.ours else None  # else another instance has told of it
    return Standing(newest.cursor, "ledger", newest, unreported=unreported, wipe=wipe)


def newest_events(
    instance: DagsterInstance, key: dg.AssetKey, partitions: Sequence[str | None], entry: AssetEntry
) -> dict[str | None, Event]:
    """The newest event of each slice that names a load; "report materialization" makes events without.

    A call of Dagster takes about as long for many partitions as for one.
    """
    newest_record = entry.last_materialization_record
    if list(partitions) == [None] and newest_record is not None and (event := _event_of(newest_record)) is not None:
        return {None: event}
    if len(partitions) <= 1:
        return {part: event for part in partitions if (event := _search_back(instance, key, part)) is not None}
    keys = [part for part in partitions if part is not None]
    newest = instance.get_latest_storage_id_by_partition(key, DagsterEventType.ASSET_MATERIALIZATION, set(keys))
    found: dict[str | None, Event] = {}
    ids = list(newest.values())
    for start in range(0, len(ids), _AT_ONCE):
        filter_ = AssetRecordsFilter(asset_key=key, storage_ids=ids[start : start + _AT_ONCE])
        for record in instance.fetch_materializations(filter_, limit=_AT_ONCE).records:
            if (event := _event_of(record)) is not None:
                found[record.partition_key] = event
    for part in newest.keys() - found.keys():
        if (event := _search_back(instance, key, part)) is not None:
            found[part] = event
    return found


def _search_back(instance: DagsterInstance, key: dg.AssetKey, partition: str | None) -> Event | None:
    filter_ = AssetRecordsFilter(asset_key=key, asset_partitions=None if partition is None else [partition])
    cursor: str | None = None
    while True:
        found = instance.fetch_materializations(filter_, limit=_BACK if cursor else 1, cursor=cursor)
        for record in found.records:
            if (event := _event_of(record)) is not None:
                return event
        if not found.has_more:
            return None
        cursor = found.cursor


def _event_of(record: EventLogRecord) -> Event | None:
    metadata = record.asset_materialization.metadata if record.asset_materialization else {}
    load, preview = metadata.get(f"{PREFIX}/load_id"), metadata.get("preview")
    if load is None:
        return None
    return Event(str(load.value), preview.value if isinstance(preview, dg.MarkdownMetadataValue) else "")


def newest_wipe(entry: AssetEntry) -> str | None:
    """The identity of the asset's newest wipe.

    It stands beside the asset's key. To look for the wipe's own event would read the log of every run that ever was
    where the instance keeps its events in SQLite. Wipes of single partitions are unknown to Dagster's own storages.
    """
    details = entry.asset_details
    return repr(details.last_wipe_timestamp) if details and details.last_wipe_timestamp else None
