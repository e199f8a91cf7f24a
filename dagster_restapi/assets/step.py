"""One step of one asset: where each slice stands, what is fetched, what is loaded, what is told."""

from __future__ import annotations

import dataclasses
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import dagster as dg

from dagster_restapi.assets.haul import Haul, Loaded
from dagster_restapi.assets.io_manager import ParentTable, RestApiDbIOManager
from dagster_restapi.assets.metadata import data_version_tags, event_metadata, markdown_table
from dagster_restapi.assets.partitions import Part, layout_of, part_of, stretches, takes_range
from dagster_restapi.assets.run_config import RestApiRunConfig
from dagster_restapi.assets.state import Past, look_back
from dagster_restapi.config.resource import PreviewConfig
from dagster_restapi.errors import ConfigError
from dagster_restapi.http.session import Session
from dagster_restapi.model import Plan
from dagster_restapi.spool import sweep
from dagster_restapi.tables.ledger import CursorSummary, cursor_summary, record_of
from dagster_restapi.tables.read import previews
from dagster_restapi.tables.target import Target


@dataclass(frozen=True, slots=True)
class Told:
    """What an event says of one slice."""

    metadata: Mapping[str, Any]
    data_version: str


@dataclass(frozen=True)
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

    def run(self) -> Iterator[dg.MaterializeResult[Any]]:
        """Loads what the run asks for: the whole resource, one partition, or several one after another.

        When one partition fails, those before it stay done, with their events.
        """
        run = self.context.run
        root = run.root_run_id or run.run_id
        for name in sweep(self.io.spool_root, older_than=self.io.resume_within, except_of=root):
            self.say(f"removed the records of an interrupted run that nobody resumed: {name}")
        parts = self._parts()
        self._check_config(parts)
        done: dict[str | None, Loaded] = {}
        try:
            for loaded in self._load(parts):
                done[loaded.part.key] = loaded
        except BaseException:
            if len(parts) > 1 and done:
                self._log_events(self._tell(list(done.values())))
            raise
        yield from self._results(self._tell([done[part.key] for part in parts]))

    # ---- before --------------------------------------------------------------------------------------------------
    @cached_property
    def asset(self) -> str:
        """The asset key, its parts joined by a slash."""
        return str(self.context.asset_key.to_user_string())

    @cached_property
    def target(self) -> Target:
        """Where the asset's tables are."""
        key = self.context.asset_key
        return self.io.target_of(key, self.context.assets_def.metadata_by_key[key])

    @cached_property
    def layout(self) -> str | None:
        """How the asset is cut into partitions."""
        return layout_of(self.context.assets_def.partitions_def)

    def say(self, line: str) -> None:
        """Writes a line into the run's log."""
        self.context.log.info(line)

    def _parts(self) -> list[Part]:
        definition = self.context.assets_def.partitions_def
        if definition is None:
            return [Part()]  # also in a run of partitions, which other assets have
        if not (self.context.has_partition_key or self.context.has_partition_key_range):
            raise ConfigError(
                "the asset has partitions, and the run names none",
                where=self.asset,
                hint='Choose partitions in the UI, or `partition_key="…"` of `materialize`.',
            )
        return [part_of(definition, key) for key in self.context.partition_keys]

    def _check_config(self, parts: Sequence[Part]) -> None:
        by_hand = self.config.start_value is not None or self.config.end_value is not None
        fault = ""
        if by_hand and self.plan.incremental is None:
            fault = "start_value and end_value need a resource with `incremental`"
        elif by_hand and self.config.full_refresh:
            fault = "full_refresh forgets the cursor, start_value and end_value leave it alone: they exclude each other"
        elif by_hand and any(part.window for part in parts):
            fault = "the partition is the window: start_value and end_value have no place beside it"
        if fault:
            raise ConfigError(fault, where=f"run config of {self.asset}")

    # ---- loading -------------------------------------------------------------------------------------------------
    def _load(self, parts: list[Part]) -> Iterator[Loaded]:
        past = self._past(parts)
        stop = threading.Event()
        with Session(self.plan.client, stop=stop, exact_decimals=self.plan.table.exact) as session:
            for hauled in self._hauls(parts):
                if len(parts) > 1:
                    self.say(f"{self.plan.name}: {_span(hauled)} of {len(parts)} partitions")
                yield from Haul(self, hauled, past, session, stop).run()

    def _past(self, parts: Sequence[Part]) -> Past:
        run = self.context.run
        keys = [part.key for part in parts]
        record = record_of(
            self.target,
            self.asset,
            keys,
            table=self.plan.table.table,
            resource=self.plan.name,
            root_run_id=run.root_run_id or run.run_id,
        )
        by_window = parts[0].window is not None
        return look_back(self.context.instance, run, self.context.asset_key, record, by_window=by_window)

    def _hauls(self, parts: list[Part]) -> list[list[Part]]:
        """What is fetched together: windows that follow each other, where the API takes a range; else each alone."""
        single = len(parts) == 1 or parts[0].window is None or self.config.max_pages is not None
        if single or not takes_range(self.plan, self.plans, parts[0].clock, by_partition=self.by_partition):
            return [[part] for part in parts]
        return stretches(parts)

    # ---- telling -------------------------------------------------------------------------------------------------
    def _tell(self, done: list[Loaded]) -> dict[str | None, Told]:
        """The metadata of every load; the tables are read once for all of them."""
        plan, shown = self.plan, self.plan.preview or PreviewConfig()
        seen = {loaded.part.key: loaded.standing.preview for loaded in done if loaded.stands}
        keys = [loaded.part.key for loaded in done if not seen.get(loaded.part.key)]
        rows = previews(self.target, plan.table.table, rows=shown.rows, hidden=shown.hide, partitions=keys)
        told: dict[str | None, Told] = {}
        for loaded in done:
            part, fetched, result = loaded.part, loaded.fetched, loaded.result
            per_parent = plan.incremental is not None and plan.parent is not None and part.window is None
            summary = self._cursors(part.key) if per_parent else None
            for warning in dict.fromkeys((*fetched.warnings, *result.warnings)):
                self.context.log.warning(f"{plan.name}: {warning}")
            metadata = event_metadata(
                plan,
                loaded,
                table=f"{self.target.schema}.{plan.table.table}",
                preview=markdown_table(rows[part.key]) if part.key in rows else seen.get(part.key, ""),
                cursors=dataclasses.asdict(summary) if summary else None,
                parent_key=self._parent_key,
            )
            told[part.key] = Told(metadata, result.data_version)
        return told

    def _cursors(self, partition: str | None) -> CursorSummary:
        settings = self.plan.incremental
        return cursor_summary(
            self.target, self.asset, partition, cursor_format=settings.cursor_format if settings else None
        )

    @property
    def _parent_key(self) -> dg.AssetKey | None:
        table = self.parents.get(self.plan.parent.resource) if self.plan.parent else None
        return table.key if table else None

    def _results(self, told: dict[str | None, Told]) -> Iterator[dg.MaterializeResult[Any]]:
        """The result, from which Dagster makes an event for each partition, all with one data version.

        Where partitions have several, most get theirs from it, and the others from an event of their own behind it.
        """
        if len(told) == 1:
            [one] = told.values()
            yield dg.MaterializeResult(metadata=one.metadata, data_version=dg.DataVersion(one.data_version))
            return
        for key, one in told.items():
            self.context.add_asset_metadata(one.metadata, partition_key=key)
        [(most, _)] = Counter(one.data_version for one in told.values()).most_common(1)
        yield dg.MaterializeResult(data_version=dg.DataVersion(most))
        self._log_events({key: one for key, one in told.items() if one.data_version != most})

    def _log_events(self, told: Mapping[str | None, Told]) -> None:
        definition = self.context.assets_def.partitions_def
        for key, one in told.items():
            if isinstance(definition, dg.MultiPartitionsDefinition):
                key = definition.get_partition_key_from_str(str(key))
            self.context.log_event(
                dg.AssetMaterialization(
                    self.context.asset_key,
                    metadata=one.metadata,
                    partition=key,
                    tags=data_version_tags(one.data_version),
                )
            )


def _span(parts: Sequence[Part]) -> str:
    return f"partition {parts[0].key}" if len(parts) == 1 else f"partitions {parts[0].key} to {parts[-1].key}"
