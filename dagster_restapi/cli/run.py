"""`run`: materializes a configuration's assets in this process, and shows how far each has come."""

from __future__ import annotations

import logging
import os
import time
import warnings
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster import DagsterEvent, DagsterEventType

from dagster_restapi import errors
from dagster_restapi.assets.factory import build_rest_api_assets
from dagster_restapi.assets.io_manager import DuckDBRestApiIOManager
from dagster_restapi.assets.translator import PREFIX
from dagster_restapi.cli.output import Output
from dagster_restapi.cli.partitions import Turn, due_partitions, turns
from dagster_restapi.cli.screen import INTERRUPTED, Loaded, Screen
from dagster_restapi.cli.target import schema_of
from dagster_restapi.config.plan import plan as make_plans
from dagster_restapi.config.source import RestApiConfig
from dagster_restapi.errors import ConfigError
from dagster_restapi.extract.preview import named
from dagster_restapi.extract.progress import watcher
from dagster_restapi.model import Plan
from dagster_restapi.tables.ledger import loads
from dagster_restapi.tables.marks import is_reset
from dagster_restapi.tables.target import Target

if TYPE_CHECKING:
    from dagster_shared.error import SerializableErrorInfo

_LOGGER = "screen"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What a run is asked for.

    Attributes:
        select: Names of resources, `+` before one adds its parents; none: all.
        partition: A key, or `FROM...TO`, for the resources that have partitions.
        verbose: The run's log and tracebacks too.
    """

    database: str
    schema: str | None = None
    key_prefix: Sequence[str] = ()
    select: Sequence[str] = ()
    full_refresh: bool = False
    start_value: str | None = None
    end_value: str | None = None
    max_pages: int | None = None
    parents: str | None = None
    partition: str | None = None
    verbose: bool = False


def run(config: RestApiConfig, wishes: Wishes, output: Output) -> int:
    """Materializes; prints a row for each asset as it is done, and the errors; gives the exit code.

    Events go to the instance of DAGSTER_HOME, else to one that ends with this process: the ledger in the database then
    says where the next run goes on.
    """
    plans = make_plans(config)
    names = _selected(plans, wishes.select)
    definitions = _definitions(config, wishes)
    keys = {name: dg.AssetKey([*wishes.key_prefix, plans[name].table.table]) for name in names}
    steps = {"__".join(key.path): name for name, key in keys.items()}
    _check_wishes([plans[name] for name in names], wishes)
    screen = Screen(output, names)
    handler = _Handler(steps, screen, wishes.verbose, output)
    with ExitStack() as stack:
        instance = stack.enter_context(_instance())
        planned = _planned(definitions, keys, wishes, instance)
        handler.expect(planned)
        stack.enter_context(screen.shown())
        logger = stack.enter_context(_watched(handler))
        job = dg.Definitions.merge(definitions, dg.Definitions(loggers={_LOGGER: logger}))
        for turn in planned:
            left = {name: keys[name] for name in turn.names if not _lost(name, plans, screen.failures)}
            if left:
                job.resolve_implicit_global_asset_job_def().execute_in_process(
                    run_config=_run_config(plans, left, wishes),
                    instance=instance,
                    asset_selection=list(left.values()),
                    raise_on_error=False,
                    **turn.options,
                )
        for name in names:
            if not any(name in turn.names for turn in planned):
                screen.not_due(name)
                output.note(f"{name}: no partition is due; --partition loads one by its key")
    return screen.finish()


def _planned(
    definitions: dg.Definitions, keys: Mapping[str, dg.AssetKey], wishes: Wishes, instance: dg.DagsterInstance
) -> list[Turn]:
    """The runs, with the partitions that are due in each."""
    graph = definitions.resolve_asset_graph()
    target = Target(wishes.database, schema_of(wishes.schema, "/".join(wishes.key_prefix)))

    def due(name: str, key: dg.AssetKey) -> list[list[str]] | None:
        definition = graph.get(key).partitions_def
        if definition is None:
            return None
        newest = {row.partition: row for row in loads(target, key.to_user_string())}
        known = {part for part, row in newest.items() if not is_reset(row) and not wishes.full_refresh}
        return due_partitions(definition, wishes.partition, instance, known, f"resource {name}")

    found = {name: due(name, key) for name, key in keys.items()}
    if wishes.partition and not any(found.values()):
        raise ConfigError("--partition needs a resource with `partitions`")
    return list(turns(list(keys), found))


def _lost(name: str, plans: Mapping[str, Plan], failures: Collection[str]) -> bool:
    """Whether a resource, or one that it needs, has failed already."""
    parent = plans[name].parent
    return name in failures or (parent is not None and _lost(parent.resource, plans, failures))


def _selected(plans: Mapping[str, Plan], select: Sequence[str]) -> list[str]:
    """The resources to load, parents first."""
    wanted: set[str] = set()
    for text in select:
        plan = named(plans, text.removeprefix("+"))
        if not plan.selected:
            raise ConfigError(
                f"the resource {plan.name!r} has no table: it is `selected: false`", hint="Its children fetch it."
            )
        wanted.add(plan.name)
        while text.startswith("+") and plan.parent is not None:
            plan = plans[plan.parent.resource]
            wanted.add(plan.name)
    return [name for name, plan in plans.items() if plan.selected and (not select or name in wanted)]


def _definitions(config: RestApiConfig, wishes: Wishes) -> dg.Definitions:
    assets = build_rest_api_assets(config, key_prefix=list(wishes.key_prefix), retry_policy=None)
    manager = DuckDBRestApiIOManager(database=wishes.database, schema=wishes.schema)
    return dg.Definitions(assets=assets, resources={"io_manager": manager}, executor=dg.in_process_executor)


def _check_wishes(plans: Sequence[Plan], wishes: Wishes) -> None:
    """Refuses a wish that concerns none of the selected resources."""
    if (wishes.start_value or wishes.end_value) and not any(plan.incremental for plan in plans):
        raise ConfigError("--start-value and --end-value need a resource with `incremental`")


def _run_config(plans: Mapping[str, Plan], keys: Mapping[str, dg.AssetKey], wishes: Wishes) -> dict[str, Any]:
    """The wishes as the run config of each asset that they concern."""
    everyone = {"full_refresh": wishes.full_refresh or None, "max_pages": wishes.max_pages}
    window = {"start_value": wishes.start_value, "end_value": wishes.end_value}
    of_children = {"parents": wishes.parents}
    ops = {}
    for name, key in keys.items():
        plan = plans[name]
        asked = {**everyone, **(window if plan.incremental else {}), **(of_children if plan.parent else {})}
        config = {option: value for option, value in asked.items() if value is not None}
        if config:
            ops["__".join(key.path)] = {"config": config}
    return {"ops": ops, "loggers": {_LOGGER: {"config": {}}}}


@contextmanager
def _instance() -> Iterator[dg.DagsterInstance]:
    if os.environ.get("DAGSTER_HOME"):
        with dg.DagsterInstance.get() as instance:
            yield instance
    else:
        with dg.DagsterInstance.ephemeral() as instance:
            yield instance


@contextmanager
def _watched(handler: _Handler) -> Iterator[dg.LoggerDefinition]:
    """A Dagster logger that shows the run's events on the screen, and the fetches' progress while it lasts."""

    @dg.logger
    def on_screen(_: dg.InitLoggerContext) -> logging.Logger:
        logger = logging.Logger("dagster_restapi.run", logging.DEBUG)
        logger.addHandler(handler)
        return logger

    token = watcher.set(handler.screen.progress)
    try:
        with warnings.catch_warnings():
            for category in (dg.BetaWarning, dg.PreviewWarning):
                warnings.simplefilter("ignore", category)
            yield on_screen
    finally:
        watcher.reset(token)


class _Handler(logging.Handler):
    """From Dagster's log of a run to the screen.

    Args:
        steps: Key of each step -> name of its resource.
        verbose: Show every line of the log, and tracebacks.
    """

    def __init__(self, steps: Mapping[str, str], screen: Screen, verbose: bool, output: Output) -> None:
        super().__init__()
        self.screen = screen
        self._steps, self._verbose, self._output = steps, verbose, output
        self._metadata: dict[str, dict[str | None, Mapping[str, Any]]] = {}  # of the newest event of each partition
        self._started: dict[str, float] = {}
        self._left: Counter[str] = Counter()

    def expect(self, planned: Sequence[Turn]) -> None:
        """From now on a resource is done when it was in each of these runs that names it."""
        self._left.update(name for turn in planned for name in turn.names)

    def emit(self, record: logging.LogRecord) -> None:
        meta = getattr(record, "dagster_meta", {})
        event: DagsterEvent | None = meta.get("dagster_event")
        if event is not None:
            self._event(event)
        elif self._verbose or record.levelno == logging.WARNING:  # errors come as events, and are told once
            self._output.note(str(meta.get("orig_message", record.getMessage())))

    def _event(self, event: DagsterEvent) -> None:
        name = self._steps.get(event.step_key or "")
        if name is None:
            return
        seconds = time.monotonic() - self._started.setdefault(name, time.monotonic())
        match event.event_type:
            case DagsterEventType.STEP_START:
                self.screen.start(name)
            case DagsterEventType.ASSET_MATERIALIZATION:
                told = event.step_materialization_data.materialization
                data = {key: value.value for key, value in told.metadata.items()}
                self._metadata.setdefault(name, {})[told.partition] = data
            case DagsterEventType.STEP_SUCCESS:
                self._left[name] -= 1
                if not self._left[name]:
                    self.screen.done(name, _loaded([*self._metadata.get(name, {}).values()]), seconds)
            case DagsterEventType.STEP_FAILURE:
                self.screen.failed(name, self._told(event.step_failure_data.error), seconds)

    def _told(self, error: SerializableErrorInfo | None) -> str:
        """An error in its own words; its class too, where it is none of ours."""
        if error is None:
            return "the step failed"
        own = error.cause or error  # Dagster puts an error of its own around what a step raises
        name, message = str(own.cls_name), own.message.strip()
        if name in ("Cancelled", "KeyboardInterrupt", "DagsterExecutionInterruptedError"):
            return INTERRUPTED
        ours = isinstance(getattr(errors, name, None), type)
        text = message.partition(f"{name}: ")[2] if ours and f"{name}: " in message else message
        return f"{text}\n{error.to_string()}" if self._verbose else text


def _loaded(events: Sequence[Mapping[str, Any]]) -> Loaded:
    """What the metadata of a resource's materializations says in short: of one, or of one for each partition."""
    newest = events[-1] if events else {}

    def count(name: str) -> int:
        return sum(int(event.get(f"{PREFIX}/{name}", 0)) for event in events)

    cursors = newest.get(f"{PREFIX}/cursors")
    cursor = newest.get(f"{PREFIX}/cursor", "")
    if cursors:
        cursor = f"{cursors['count']} cursors, up to {cursors['maximum']}"
    together = (event.get(f"{PREFIX}/requests", 0) / event.get(f"{PREFIX}/fetched_together", 1) for event in events)
    return Loaded(
        rows=newest.get("dagster/row_count", sum(event.get("dagster/partition_row_count", 0) for event in events)),
        inserted=count("rows_inserted"),
        updated=count("rows_updated"),
        deleted=count("rows_deleted"),
        requests=round(sum(together)),
        cursor=str(cursor),
    )
