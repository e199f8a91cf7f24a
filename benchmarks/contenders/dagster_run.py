"""This library through real Dagster: `materialize` in this process, or a run with a process for each step."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg

from benchmarks.contenders.run import Done, Task, contend, count_rows
from benchmarks.workloads import CHILD_WORKERS, WORKLOADS
from dagster_restapi import DuckDBRestApiIOManager, build_rest_api_definitions
from dagster_restapi.assets import haul, step

QUIET = {"loggers": {"console": {"config": {"log_level": "ERROR"}}}}
_TASK = "BENCHMARK_TASK"  # how the step processes of a multiprocess run know what they belong to


def definitions(task: Task) -> dg.Definitions:
    """The assets of a workload, and where their tables go."""
    config = task.workload.source(task.url)
    config["resource_defaults"] = {"concurrency": CHILD_WORKERS} if task.workload.name == "children" else {}
    io_manager = DuckDBRestApiIOManager(database=str(task.database), schema="bench")
    return build_rest_api_definitions(config, io_manager=io_manager)


def job() -> dg.JobDefinition:
    """The job of the task that the environment names."""
    name, url, folder = os.environ[_TASK].split("|")
    task = Task(WORKLOADS[name], url, Path(folder), False)
    built = definitions(task)
    selection = dg.AssetSelection.assets(task.workload.resource)
    return dg.Definitions(
        assets=built.assets,
        resources=built.resources,
        jobs=[dg.define_asset_job("bench", selection)],
    ).resolve_job_def("bench")


def materialize(task: Task, names: list[str]) -> float:
    """Loads resources in this process; gives the seconds."""
    built = definitions(task)
    assets: Any = built.assets
    selection = dg.AssetSelection.assets(*names)
    with dg.DagsterInstance.get() as instance:
        began = time.perf_counter()
        result = dg.materialize(
            assets, selection=selection, resources=dict(built.resources or {}), instance=instance, run_config=QUIET
        )
        seconds = time.perf_counter() - began
    assert result.success
    return seconds


def run_job() -> float:
    """The same with Dagster's multiprocess executor; gives the seconds."""
    with dg.DagsterInstance.get() as instance:
        began = time.perf_counter()
        with dg.execute_job(dg.reconstructable(job), instance, run_config=QUIET) as result:
            assert result.success
            return time.perf_counter() - began


def use_home(folder: Path) -> None:
    """A Dagster instance of its own."""
    home = folder / "home"
    home.mkdir(exist_ok=True)
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    os.environ["DAGSTER_HOME"] = str(home)


def watch(marks: dict[str, float]) -> None:
    """Notes when a step begins, when its load, or the fetch that needs none, is done, and when it has its result."""
    run, fetch, load = step.Step.run, haul.Fetch.run, haul.load

    def watched_run(self: step.Step) -> Any:
        marks["began"] = time.time()
        for result in run(self):
            marks.setdefault("ended", time.time())
            yield result

    def watched(work: Callable[..., Any]) -> Callable[..., Any]:
        def watched_work(*args: Any, **options: Any) -> Any:
            try:
                return work(*args, **options)
            finally:
                marks["loaded"] = time.time()

        return watched_work

    step.Step.run = watched_run  # type: ignore[method-assign]
    haul.Fetch.run, haul.load = watched(fetch), watched(load)  # type: ignore[method-assign]


def work(task: Task) -> Done:
    """Loads the workload's resource."""
    use_home(task.folder)
    if task.prepare:
        for name in task.workload.prepare:
            materialize(task, [name])
        return Done(0.0, 0)
    marks: dict[str, float] = {}
    if os.environ.get("BENCHMARK_MULTIPROCESS"):
        os.environ[_TASK] = "|".join((task.workload.name, task.url, str(task.folder)))
        seconds = run_job()
    else:
        watch(marks)
        seconds = materialize(task, [task.workload.resource])
    return Done(seconds, count_rows(task, "bench", task.workload.resource), marks=marks)


if __name__ == "__main__":
    contend(work)
