"""One step of one asset: where each slice stands, what is fetched, what is loaded, what is told."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import dagster as dg
import msgspec

from dagster_restapi.assets.io_manager import ParentTable, RestApiDbIOManager
from dagster_restapi.assets.metadata import event_metadata
from dagster_restapi.assets.partitions import Part, part_of
from dagster_restapi.assets.run_config import Parents, RestApiRunConfig
from dagster_restapi.assets.state import Standing, stand
from dagster_restapi.config.resource import PreviewConfig
from dagster_restapi.errors import ConfigError, ExtractError
from dagster_restapi.extract.fetch import Fetch
from dagster_restapi.extract.parents import Frozen, ParentRow, read_parents
from dagster_restapi.extract.walker import Walker
from dagster_restapi.http.session import Session
from dagster_restapi.model import Fetched, LoadResult, Parent, Plan, Slice, TablePlan
from dagster_restapi.spool import Spool, sweep
from dagster_restapi.tables.ledger import cursor_summary, newest_load
from dagster_restapi.tables.load import load, read_back, root_exists
from dagster_restapi.tables.parents import copy_parent_rows
from dagster_restapi.tables.read import preview
from dagster_restapi.tables.target import Target


@dataclass(frozen=True, slots=True)
class Told:
    """What an event says of one slice."""

    metadata: Mapping[str, Any]
    data_version: str


@dataclass(frozen=True, slots=True)
class Step:
    """What a step of one asset works with.

    Attributes:
        plans: All resources of the source, by name.
        parents: The tables of the stored parents, by resource name.
        by_partition: Whether the parent is cut into the same partitions.
    """

    context: dg.AssetExecutionContext
    config: RestApiRunConfig
    plan: Plan
    plans: Mapping[str, Plan]
    io: RestApiDbIOManager
    parents: Mapping[str, ParentTable]
    by_partition: bool = False

    def run(self) -> dg.MaterializeResult[Any]:
        """Loads what the run asks for: the whole resource, one partition, or several one after another."""
        for name in sweep(self.io.spool_root, older_than=self.io.resume_within):
            self._log(f"removed the records of an interrupted run that nobody resumed: {name}")
        definition = self.context.assets_def.partitions_def
        partitioned = self.context.has_partition_key or self.context.has_partition_key_range
        keys = list(self.context.partition_keys) if partitioned else [None]
        if len(keys) == 1:
            told = SliceRun(self, part_of(definition, keys[0])).run()
            return dg.MaterializeResult(metadata=told.metadata, data_version=dg.DataVersion(told.data_version))
        return self._run_all([part_of(definition, key) for key in keys])

    def _run_all(self, parts: list[Part]) -> dg.MaterializeResult[Any]:
        """Several partitions in one run. When one fails, those before it stay done, with their events."""
        done: dict[str, Told] = {}
        try:
            for number, part in enumerate(parts, start=1):
                self._log(f"{self.plan.name}: partition {part.key}, {number} of {len(parts)}")
                done[str(part.key)] = SliceRun(self, part).run()
        except BaseException:
            for key, told in done.items():
                self.context.log_event(
                    dg.AssetMaterialization(self.context.asset_key, metadata=told.metadata, partition=key)
                )
            raise
        for key, told in done.items():
            self.context.add_asset_metadata(told.metadata, partition_key=key)
        return dg.MaterializeResult()

    def _log(self, line: str) -> None:
        self.context.log.info(line)


class SliceRun:
    """The life of one slice within a step: stand, fetch, load, tell."""

    def __init__(self, step: Step, part: Part) -> None:
        self._step, self._part = step, part
        self._context, self._config, self._plan, self._io = step.context, step.config, step.plan, step.io
        self._asset = step.context.asset_key.to_user_string()
        metadata = step.context.assets_def.metadata_by_key[step.context.asset_key]
        self._target: Target = step.io.target_of(step.context.asset_key, metadata)

    def run(self) -> Told:
        """Fetches and loads the slice, or only tells of a load that an earlier try of this run has committed."""
        self._check_config()
        newest = newest_load(self._target, self._asset, self._part.key)
        standing = stand(
            self._context.instance,
            self._context.asset_key,
            self._part.key,
            newest,
            root_run_id=self._root_run_id,
            table_exists=root_exists(self._target, self._plan.table),
            full_refresh=self._config.full_refresh,
        )
        if standing.told and newest is not None:
            self._context.log.info(f"{self._plan.name}: load {newest.load_id} of this run is in the tables already")
            return self._tell(standing, msgspec.convert(newest.tell["fetched"], Fetched), read_back(newest))
        slice_ = self._slice(standing)
        self._say_start(slice_, standing)
        fetched, result = self._fetch_and_load(slice_, standing)
        return self._tell(standing, fetched, result)

    # ---- before --------------------------------------------------------------------------------------------------
    def _check_config(self) -> None:
        by_hand = self._config.start_value is not None or self._config.end_value is not None
        fault = ""
        if by_hand and self._plan.incremental is None:
            fault = "start_value and end_value need a resource with `incremental`"
        elif by_hand and self._config.full_refresh:
            fault = "full_refresh forgets the cursor, start_value and end_value leave it alone: they exclude each other"
        elif by_hand and self._part.window:
            fault = "the partition is the window: start_value and end_value have no place beside it"
        if fault:
            raise ConfigError(fault, where=f"run config of {self._asset}")

    @property
    def _root_run_id(self) -> str:
        return self._context.run.root_run_id or self._context.run.run_id

    def _slice(self, standing: Standing) -> Slice:
        return Slice(
            asset=self._asset,
            partition=self._part.key,
            partition_keys=self._part.keys,
            window=self._part.window,
            cursor=None if self._part.window or self._replaces_all else standing.cursor,
            start_value=self._config.start_value,
            end_value=self._config.end_value,
            full_refresh=self._config.full_refresh,
            max_pages=self._config.max_pages,
            run_id=self._context.run.run_id,
            root_run_id=self._root_run_id,
            wipe=standing.wipe,
        )

    def _say_start(self, slice_: Slice, standing: Standing) -> None:
        if self._plan.incremental is None or self._plan.parent is not None or slice_.window:
            return
        at = f"behind {standing.cursor.value}" if standing.cursor else "at the beginning"
        at = "with the window given by hand" if slice_.by_hand else at
        self._context.log.info(f"{self._plan.name}: starts {at} ({standing.source})")

    # ---- fetch and load ------------------------------------------------------------------------------------------
    def _fetch_and_load(self, slice_: Slice, standing: Standing) -> tuple[Fetched, LoadResult]:
        log, plan = self._context.log.info, self._plan
        name = spool_name(plan, slice_, standing, self._config.parents)
        spool = Spool.open(
            self._io.spool_root, name, root_run_id=slice_.root_run_id, resume_within=self._io.resume_within
        )
        stop = threading.Event()
        with spool, Session(plan.client, stop=stop, exact_decimals=_wants_decimals(plan)) as session:
            walker = Walker(
                self._step.plans, session, stored=lambda child, parent: self._stored_rows(child, parent, spool)
            )
            fetched = Fetch(
                walker,
                plan,
                slice_,
                spool,
                stored_parents=lambda parent, path: self._copy_parents(parent, path, standing),
                tell=log,
                stop=stop,
            ).run()
            result = load(
                self._target,
                plan.table,
                slice_,
                spool,
                fetched,
                cursor=None if slice_.window else standing.cursor,
                expected=standing.newest.load_id if standing.newest else None,
                replace=standing.rebuild or self._replaces_partition,
                remove_load=self._repeated(standing),
                log=log,
            )
            spool.remove()
        return fetched, result

    @property
    def _replaces_all(self) -> bool:
        """Every load takes the place of all rows: what lies before the cursor has to come again."""
        return self._plan.table.disposition == "replace"

    @property
    def _replaces_partition(self) -> bool:
        """A partition without a cursor of its own is replaced as a whole."""
        return self._part.window is not None or (self._part.key is not None and self._plan.incremental is None)

    def _repeated(self, standing: Standing) -> str | None:
        """A load of `append` whose rows this one brings again: it was incomplete, or nobody was ever told of it."""
        newest = standing.newest
        if newest is None or self._plan.table.disposition != "append" or standing.rebuild or self._replaces_partition:
            return None
        if not newest.tell.get("fetched", {}).get("complete", True):
            return newest.load_id
        return standing.unreported if self._plan.incremental is None else None

    def _copy_parents(self, parent: Parent, path: Path, standing: Standing) -> Frozen:
        """The stored rows of the parent that are due, into a file of the spool."""
        newest = standing.newest
        since = newest.parent_load_id if newest and self._only_changed(standing) else None
        target, plan = self._parent_table(parent)
        rows = copy_parent_rows(
            target,
            plan,
            fields=parent.fields,
            include=parent.include,
            destination=path,
            partition=self._part.key if self._step.by_partition else None,
            newer_than=since,
            also=newest.failed_parents if newest and since else (),
            cursors_of=None if standing.rebuild or self._replaces_all or not self._plan.incremental else self._asset,
        )
        return Frozen(rows.keys, rows.skipped_null, rows.newest_load_id, whole=since is None)

    @property
    def _parent_key(self) -> dg.AssetKey | None:
        parent = self._plan.parent
        table = self._step.parents.get(parent.resource) if parent else None
        return table.key if table else None

    def _parent_table(self, parent: Parent) -> tuple[Target, TablePlan]:
        table, plan = self._step.parents[parent.resource], self._step.plans[parent.resource].table
        if not root_exists(table.target, plan):
            raise ExtractError(
                f"the parent {parent.resource!r} has no table yet",
                where=f"asset {self._asset}",
                hint=f"Materialize the asset {table.key.to_user_string()} first.",
            )
        return table.target, plan

    def _only_changed(self, standing: Standing) -> bool:
        """Whether only those rows of the parent are due that changed since this resource's last load."""
        parent = self._plan.parent
        if standing.rebuild or self._replaces_partition or self._replaces_all or parent is None:
            return False
        if self._config.parents is Parents.DEFAULT:
            return self._step.plans[parent.resource].incremental is not None
        return self._config.parents is Parents.CHANGED

    def _stored_rows(self, child: Plan, parent: Parent, spool: Spool) -> Iterator[ParentRow]:
        """All rows of the stored parent of a resource that is walked in memory."""
        path = spool.directory / f"parents-of-{child.table.table}.ndjson"
        target, plan = self._parent_table(parent)
        copy_parent_rows(
            target,
            plan,
            fields=parent.fields,
            include=parent.include,
            destination=path,
            partition=self._part.key if self._step.by_partition else None,
        )
        return read_parents(path)

    # ---- behind --------------------------------------------------------------------------------------------------
    def _tell(self, standing: Standing, fetched: Fetched, result: LoadResult) -> Told:
        plan, shown = self._plan, self._plan.preview or PreviewConfig()
        rows = preview(self._target, plan.table.table, rows=shown.rows, hidden=shown.hide) if shown.rows else []
        per_parent = plan.incremental is not None and plan.parent is not None and self._part.window is None
        summary = cursor_summary(self._target, self._asset, self._part.key) if per_parent else None
        for warning in (*fetched.warnings, *result.warnings):
            self._context.log.warning(f"{plan.name}: {warning}")
        metadata = event_metadata(
            plan,
            fetched,
            result,
            standing,
            table=f"{self._target.schema}.{plan.table.table}",
            preview=rows,
            cursors=dataclasses.asdict(summary) if summary else None,
            partition=self._part.key,
            parent_key=self._parent_key,
        )
        return Told(metadata, result.data_version)


def spool_name(plan: Plan, slice_: Slice, standing: Standing, parents: Parents) -> str:
    """The name of a slice's spool: what it is fetched for, without secrets."""
    identity = [
        slice_.asset,
        slice_.partition,
        plan.fingerprint,
        standing.newest.load_id if standing.newest else None,
        standing.wipe if standing.source == "wiped" else None,
        slice_.start_value,
        slice_.end_value,
        slice_.full_refresh,
        slice_.max_pages,
        parents.value,
    ]
    return sha256(msgspec.json.encode(identity)).hexdigest()[:32]


def _wants_decimals(plan: Plan) -> bool:
    return any(hint.data_type == "decimal" for hint in plan.table.hints.values())
