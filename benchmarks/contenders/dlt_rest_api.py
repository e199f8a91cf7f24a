"""dlt's `rest_api` source to DuckDB, with the same configuration."""

from __future__ import annotations

import os
import time

os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
os.environ["RUNTIME__LOG_LEVEL"] = "ERROR"
os.environ["DLT_DATA_DIR"] = os.environ.get("BENCHMARK_FOLDER", "")

import dlt
from dlt.sources.rest_api import rest_api_source

from benchmarks.contenders.run import Done, Task, contend, count_rows


def work(task: Task) -> Done:
    """Loads the workload's resources: a child's parent is walked in the same run, there is no other way."""
    source = rest_api_source(task.workload.source(task.url))
    pipeline = dlt.pipeline(
        "bench",
        destination=dlt.destinations.duckdb(str(task.database)),
        dataset_name="bench",
        pipelines_dir=str(task.folder / "pipelines"),
    )
    began = time.perf_counter()
    info = pipeline.run(source)
    info.raise_on_failed_jobs()
    seconds = time.perf_counter() - began
    pipeline.drop()
    return Done(seconds, count_rows(task, "bench", task.workload.resource))


if __name__ == "__main__":
    contend(work)
