"""A Dagster step that does nothing: its time is taken off what runs through Dagster."""

from __future__ import annotations

import os
import time

import dagster as dg

from benchmarks.contenders.dagster_run import QUIET, use_home
from benchmarks.contenders.run import Done, Task, contend


@dg.asset
def nothing() -> dg.MaterializeResult[None]:
    """Does nothing."""
    return dg.MaterializeResult(metadata={"rows": 0})


def job() -> dg.JobDefinition:
    """The asset's job."""
    return dg.Definitions(assets=[nothing], jobs=[dg.define_asset_job("empty")]).resolve_job_def("empty")


def work(task: Task) -> Done:
    """Runs the step."""
    use_home(task.folder)
    with dg.DagsterInstance.get() as instance:
        began = time.perf_counter()
        if os.environ.get("BENCHMARK_MULTIPROCESS"):
            with dg.execute_job(dg.reconstructable(job), instance, run_config=QUIET) as result:
                success = result.success
        else:
            success = dg.materialize([nothing], instance=instance, run_config=QUIET).success
        seconds = time.perf_counter() - began
    assert success
    return Done(seconds, 0)


if __name__ == "__main__":
    contend(work)
