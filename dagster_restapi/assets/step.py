"""One step of one asset: where it stands, what it fetches, what it loads, what it tells."""

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
from dagster_restapi.assets.run_config import Parents, RestApiRunConfig
from dagster_restapi.assets.state import Standing, stand
from dagster_restapi.errors import ConfigError
from dagster_restapi.extract.fetch import Fetch
from dagster_restapi.extract.parents import Frozen, ParentRow, read_parents
from dagster_restapi.extract.walker import Walker
from dagster_restapi.http.session import Session
from dagster_restapi.model import Cursor, Fetched, LoadResult, Parent, Plan, Slice
from dagster_restapi.spool import Spool, sweep
from dagster_restapi.tables.ledger import newest_load
from dagster_restapi.tables.load import load, told
from dagster_restapi.tables.parents import copy_parent_rows
from dagster_restapi.tables.read import cursor_summary, preview, root_exists
from dagster_restapi.tables.target import Target


@dataclass(frozen=True, slots=True)
class Step:
    """What a step of one asset works with.

    Attributes:
        context: Dagster's.
        plan: The resource.
        plans: All resources of the source, by name.
        parents: The tables of the stored parents, by resource name.
    """

    context: dg.AssetExecutionContext
    config: RestApiRunConfig
    plan: Plan
    plans: Mapping[str, Plan]
    io: RestApiDbIOManager
    parents: Mapping[str, ParentTable]

    def run(self) -> dg.MaterializeResult[Any]:
        """Fetches and loads one slice, or only tells of a load that an earlier try of this run has committed."""
        self._check_config()
        target = self._target()
        asset = self.context.asset_key.to_user_string()
        newest = newest_load(target, asset, None)
        standing = stand(
            self.context.instance,
            self.context.asset_key,
            None,
            newest,
            root_run_id=self._root_run_id,
            table_exists=root_exists(target, self.plan.table),
            full_refresh=self.config.full_refresh,
        )
        if standing.told and newest is not None:
            self.context.log.info(f"{self.plan.name}: load {newest.load_id} is in the tables already")
            fetched, result = told(target, self.plan.table, newest)
            return self._tell(target, standing, fetched, result)
        slice_ = self._slice(asset, standing)
        self._say_start(slice_, standing)
        fetched, result = self._fetch_and_load(target, slice_, standing)
        return self._tell(target, standing, fetched, result)

    # ---- before --------------------------------------------------------------------------------------------------
    def _check_config(self) -> None:
        by_hand = self.config.start_value is not None or self.config.end_value is not None
        if by_hand and self.plan.incremental is None:
            raise ConfigError(
                "start_value and end_value need a resource with `incremental`", where=f"resource {self.plan.name}"
            )
        if by_hand and self.config.full_refresh:
            raise ConfigError(
                "full_refresh forgets the cursor, start_value and end_value leave it alone: they exclude each other",
                where=f"resource {self.plan.name}",
            )

    @property
    def _root_run_id(self) -> str:
        return self.context.run.root_run_id or self.context.run_id

    def _target(self) -> Target:
        metadata = self.context.assets_def.metadata_by_key[self.context.asset_key]
        return self.io.target_of(self.context.asset_key, metadata)

    def _slice(self, asset: str, standing: Standing) -> Slice:
        return Slice(
            asset=asset,
            cursor=standing.cursor,
            start_value=self.config.start_value,
            end_value=self.config.end_value,
            full_refresh=self.config.full_refresh,
            max_pages=self.config.max_pages,
            run_id=self.context.run_id,
            root_run_id=self._root_run_id,
            wipe=standing.wipe,
        )

    def _say_start(self, slice_: Slice, standing: Standing) -> None:
        if self.plan.incremental is None or self.plan.parent is not None:
            return
        at = f"behind {standing.cursor.value}" if standing.cursor else "at the beginning"
        at = "with the window given by hand" if slice_.by_hand else at
        self.context.log.info(f"{self.plan.name}: starts {at} ({standing.source})")

    # ---- fetch and load ------------------------------------------------------------------------------------------
    def _fetch_and_load(self, target: Target, slice_: Slice, standing: Standing) -> tuple[Fetched, LoadResult]:
        log = self.context.log.info
        for name in sweep(self.io.spool_root, older_than=self.io.resume_within):
            log(f"removed the records of an interrupted run that nobody resumed: {name}")
        name = spool_name(self.plan, slice_, standing)
        spool = Spool.open(
            self.io.spool_root, name, root_run_id=slice_.root_run_id, resume_within=self.io.resume_within
        )
        stop = threading.Event()
        with spool, Session(self.plan.client, stop=stop, exact_decimals=_wants_decimals(self.plan)) as session:
            walker = Walker(self.plans, session, stored=lambda plan, parent: self._stored_rows(plan, parent, spool))
            fetched = Fetch(
                walker,
                self.plan,
                slice_,
                spool,
                stored_parents=lambda parent, path: self._copy_parents(parent, path, slice_, standing),
                tell=log,
                stop=stop,
            ).run()
            result = load(
                target,
                self.plan.table,
                slice_,
                spool,
                fetched,
                cursor=cursor_after(self.plan, slice_, standing, fetched),
                expected=standing.newest.load_id if standing.newest else None,
                replace=standing.rebuild,
                remove_load=self._repeated(standing),
                log=log,
            )
            spool.remove()
        return fetched, result

    def _repeated(self, standing: Standing) -> str | None:
        """A load of `append` whose rows this one brings again: it was incomplete, or nobody was ever told of it."""
        newest = standing.newest
        if newest is None or self.plan.table.disposition != "append" or standing.rebuild:
            return None
        if not newest.complete:
            return newest.load_id
        return standing.unreported if self.plan.incremental is None else None

    def _copy_parents(self, parent: Parent, path: Path, slice_: Slice, standing: Standing) -> Frozen:
        """The stored rows of the parent that are due, into a file of the spool."""
        newest = standing.newest
        since = newest.parent_load_id if newest and self._only_changed(standing) else None
        rows = copy_parent_rows(
            self.parents[parent.resource].target,
            self.plans[parent.resource].table,
            fields=parent.fields,
            include=parent.include,
            destination=path,
            newer_than=since,
            also=newest.failed_parents if newest and since else (),
            cursors_of=slice_.asset if self.plan.incremental and not standing.rebuild else None,
        )
        return Frozen(rows.keys, rows.skipped_null, rows.newest_load_id)

    def _only_changed(self, standing: Standing) -> bool:
        """Whether only those rows of the parent are due that changed since this resource's last load."""
        if standing.rebuild or self.plan.table.disposition == "replace" or self.plan.parent is None:
            return False
        if self.config.parents is Parents.DEFAULT:
            return self.plans[self.plan.parent.resource].incremental is not None
        return self.config.parents is Parents.CHANGED

    def _stored_rows(self, plan: Plan, parent: Parent, spool: Spool) -> Iterator[ParentRow]:
        """All rows of the stored parent of a resource that is walked in memory."""
        path = spool.directory / f"{plan.name}.ndjson"
        copy_parent_rows(
            self.parents[parent.resource].target,
            self.plans[parent.resource].table,
            fields=parent.fields,
            include=parent.include,
            destination=path,
        )
        return read_parents(path)

    # ---- behind --------------------------------------------------------------------------------------------------
    def _tell(
        self, target: Target, standing: Standing, fetched: Fetched, result: LoadResult
    ) -> dg.MaterializeResult[Any]:
        settings, plan = self.plan.preview, self.plan
        rows = preview(target, plan.table, rows=settings.rows, hidden=settings.hidden) if settings.enabled else []
        per_parent = plan.incremental is not None and plan.parent is not None
        summary = cursor_summary(target, self.context.asset_key.to_user_string()) if per_parent else None
        for warning in (*fetched.warnings, *result.warnings):
            self.context.log.warning(f"{plan.name}: {warning}")
        metadata = event_metadata(
            plan,
            fetched,
            result,
            standing,
            table_name=target.table_name(plan.table.table),
            preview=rows,
            cursors=dataclasses.asdict(summary) if summary else None,
        )
        return dg.MaterializeResult(metadata=metadata, data_version=dg.DataVersion(result.data_version))


def cursor_after(plan: Plan, slice_: Slice, standing: Standing, fetched: Fetched) -> Cursor | None:
    """The cursor that the load writes: it moves only when a complete walk from the old one saw a value."""
    settings = plan.incremental
    if settings is None or plan.parent is not None:
        return None
    moves = fetched.complete and not slice_.by_hand and slice_.window is None and settings.end_value is None
    if not moves or fetched.cursor_value is None or fetched.cursor_kind is None:
        return standing.cursor
    return Cursor(value=fetched.cursor_value, kind=fetched.cursor_kind, load_id=fetched.load_id)


def spool_name(plan: Plan, slice_: Slice, standing: Standing) -> str:
    """The name of a slice's spool: what it is fetched for, without secrets."""
    identity = [
        slice_.asset,
        slice_.partition,
        plan.fingerprint,
        standing.newest.load_id if standing.newest else None,
        standing.source == "wiped" and standing.wipe,
        slice_.start_value,
        slice_.end_value,
        slice_.full_refresh,
        slice_.max_pages,
        slice_.parents,
    ]
    return sha256(msgspec.json.encode(identity)).hexdigest()[:32]


def _wants_decimals(plan: Plan) -> bool:
    return any(hint.data_type == "decimal" for hint in plan.table.hints.values())
