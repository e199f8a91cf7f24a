"""Where a run goes on: what the asset's events say, what the ledger proves, and which of them decides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import dagster as dg
from dagster import AssetRecordsFilter, DagsterInstance

from dagster_restapi.assets.translator import PREFIX
from dagster_restapi.model import Cursor, LedgerRow

CursorSource = Literal["metadata", "ledger", "initial", "full_refresh", "wiped"]

_BACK = 50  # events that are looked through at once for one that has a load


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a slice stands before a run.

    Attributes:
        cursor: Where to go on; None: at the beginning.
        source: Which of events and ledger said so.
        newest: The ledger's newest row of the slice: the load must find it unchanged.
        rebuild: The load replaces the slice.
        told: This very run has loaded already and was stopped before it could tell: only tell.
        unreported: A load of an earlier run of this instance that no event tells of.
        wipe: The newest wipe of the asset, so that the ledger knows which wipes it has answered.
    """

    cursor: Cursor | None
    source: CursorSource
    newest: LedgerRow | None
    rebuild: bool = False
    told: bool = False
    unreported: str | None = None
    wipe: str | None = None


def stand(
    instance: DagsterInstance,
    key: dg.AssetKey,
    partition: str | None,
    newest: LedgerRow | None,
    *,
    root_run_id: str,
    table_exists: bool,
    full_refresh: bool,
) -> Standing:
    """Compares the asset's newest event that names a load with the ledger's newest row, by load and never by clock.

    Source: DESIGN, "The life of a step", 2.
    """
    wipe = newest_wipe(instance, key)
    event_load = newest_event_load(instance, key, partition)
    if newest is not None and newest.load_id != event_load and newest.root_run_id == root_run_id:
        return Standing(newest.cursor, "ledger", newest, told=True, wipe=wipe)
    if full_refresh:
        return Standing(None, "full_refresh", newest, rebuild=True, wipe=wipe)
    if newest is None or not table_exists:  # a table without a ledger row: what it holds would come a second time
        return Standing(None, "initial", newest, rebuild=newest is not None or table_exists, wipe=wipe)
    if wipe is not None and wipe != newest.wipe:
        return Standing(None, "wiped", newest, rebuild=True, wipe=wipe)
    if newest.load_id == event_load:
        return Standing(newest.cursor, "metadata", newest, wipe=wipe)
    ours = instance.has_run(newest.run_id)  # else another instance, or an ephemeral one, has told of it
    return Standing(newest.cursor, "ledger", newest, unreported=newest.load_id if ours else None, wipe=wipe)


def newest_event_load(instance: DagsterInstance, key: dg.AssetKey, partition: str | None) -> str | None:
    """The load that the newest event with a load names; "report materialization" makes events without one."""
    filter_ = AssetRecordsFilter(asset_key=key, asset_partitions=None if partition is None else [partition])
    cursor: str | None = None
    while True:
        found = instance.fetch_materializations(filter_, limit=_BACK if cursor else 1, cursor=cursor)
        for record in found.records:
            materialization = record.asset_materialization
            load = materialization.metadata.get(f"{PREFIX}/load_id") if materialization else None
            if load is not None:
                return str(load.value)
        if not found.has_more:
            return None
        cursor = found.cursor


def newest_wipe(instance: DagsterInstance, key: dg.AssetKey) -> str | None:
    """The identity of the asset's newest wipe.

    It stands beside the asset's key. To look for the wipe's own event would read the log of every run that ever was
    where the instance keeps its events in SQLite. Wipes of single partitions are unknown to Dagster's own storages.
    """
    records = instance.get_asset_records([key])
    details = records[0].asset_entry.asset_details if records else None
    return repr(details.last_wipe_timestamp) if details and details.last_wipe_timestamp else None
