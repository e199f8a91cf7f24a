"""This library without Dagster: the same fetch and load, called from a plain script, with the time of each phase."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from benchmarks.contenders.run import Done, Task, contend, count_rows
from benchmarks.workloads import CHILD_WORKERS
from dagster_restapi.config.plan import plan as make_plans
from dagster_restapi.config.source import RestApiConfig
from dagster_restapi.extract.fetch import Fetch
from dagster_restapi.extract.parents import Frozen
from dagster_restapi.extract.walker import Walker
from dagster_restapi.http import exchange, walk
from dagster_restapi.http.session import Session
from dagster_restapi.model import LoadResult, Parent, Plan, Slice
from dagster_restapi.spool import Spool, Writer
from dagster_restapi.tables.ledger import newest_load
from dagster_restapi.tables.load import load
from dagster_restapi.tables.stage import Staging
from dagster_restapi.tables.target import Target


class Phases:
    """Counts the seconds of functions while they run; of all threads together."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._lock = threading.Lock()

    def add(self, name: str, seconds: float) -> None:
        with self._lock:
            self.seconds[name] = self.seconds.get(name, 0.0) + seconds

    def watch(self, owner: Any, function: str, name: str) -> None:
        """Counts every call of a function from now on."""
        original: Callable[..., Any] = getattr(owner, function)

        def counted(*args: Any, **options: Any) -> Any:
            began = time.perf_counter()
            try:
                return original(*args, **options)
            finally:
                self.add(name, time.perf_counter() - began)

        setattr(owner, function, counted)


def load_one(task: Task, plans: dict[str, Plan], name: str, target: Target) -> tuple[float, LoadResult]:
    """Fetches and loads one resource; gives the seconds of fetching."""
    plan, stop = plans[name], threading.Event()
    newest = newest_load(target, name, None)
    slice_ = Slice(asset=name, cursor=newest.cursor if newest else None)

    def copy_parents(parent: Parent, path: Any) -> Frozen:
        from dagster_restapi.tables.parents import copy_parent_rows

        rows = copy_parent_rows(
            target,
            plans[parent.resource].table,
            fields=parent.fields,
            include=parent.include,
            destination=path,
            newer_than=None,
            also=(),
            cursors_of=None,
        )
        return Frozen(rows.keys, rows.skipped_null, rows.newest_load_id)

    spool = Spool.open(task.folder / "spool", name)
    with (
        spool,
        Session(plan.client, stop=stop) as session,
        Staging(target, plan.table, slice_, spool, _say_nothing) as staging,
    ):
        began = time.perf_counter()
        fetched = Fetch(
            Walker(plans, session),
            plan,
            slice_,
            spool,
            stored_parents=copy_parents,
            tell=_say_nothing,
            stop=stop,
            meanwhile=staging.advance,
        ).run()
        seconds = time.perf_counter() - began
        with staging.staged() as staged:
            result = load(
                target,
                plan.table,
                slice_,
                spool,
                fetched,
                cursor=slice_.cursor,
                expected=newest.load_id if newest else None,
                staged=staged,
            )
        spool.remove()
    return seconds, result


def _say_nothing(line: str) -> None:
    pass


def work(task: Task) -> Done:
    """Loads the workload's resource."""
    config = task.workload.source(task.url)
    config["resource_defaults"] = {"concurrency": CHILD_WORKERS} if task.workload.name == "children" else {}
    plans = dict(make_plans(RestApiConfig.parse(config)))
    target = Target(str(task.database), schema="bench")
    if task.prepare:
        for name in task.workload.prepare:
            load_one(task, plans, name, target)
        return Done(0.0, 0)
    phases = Phases()
    phases.watch(Session, "send", "sending")
    phases.watch(exchange, "decode", "parsing")
    phases.watch(walk, "fingerprint", "recognising pages")
    phases.watch(Writer, "write", "spooling")
    phases.watch(Spool, "_observe", "recording the schema")
    began = time.perf_counter()
    fetching, result = load_one(task, plans, task.workload.resource, target)
    seconds = time.perf_counter() - began
    phases.add("spooling", -phases.seconds.get("recording the schema", 0.0))
    phases.add("fetching, as a whole", fetching)
    phases.add("staging and shaping", result.stage_seconds)
    phases.add("writing", result.locked_seconds)
    return Done(seconds, count_rows(task, "bench", task.workload.resource), phases=phases.seconds)


if __name__ == "__main__":
    contend(work)
