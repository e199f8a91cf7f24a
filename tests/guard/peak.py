"""Loads pages of the benchmark's API through Dagster, and prints the process's peak memory in MB.

`python -m tests.guard.peak URL PATH PAGES FOLDER`, or without arguments: 10,000 and 1,000,000 rows, each in a process
of its own, against a server of its own.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import dagster as dg

from dagster_restapi import DuckDBRestApiIOManager, build_rest_api_assets

QUIET = {"loggers": {"console": {"config": {"log_level": "ERROR"}}}}
REPOSITORY = Path(__file__).resolve().parents[2]


def load(url: str, path: str, pages: int, folder: str) -> int:
    """Loads so many pages; gives the rows."""
    endpoint = {"paginator": {"type": "json_link", "next_url_path": "next"}, "data_selector": "results"}
    config = {"client": {"base_url": url}, "resources": [{"name": path, "endpoint": endpoint}]}
    result = dg.materialize(
        build_rest_api_assets(config),
        resources={"io_manager": DuckDBRestApiIOManager(database=f"{folder}/peak.duckdb", schema="rows")},
        run_config={
            "ops": {path: {"config": {"max_pages": pages}}},
            "loggers": {"console": {"config": {"log_level": "ERROR"}}},
        },
    )
    (event,) = result.get_asset_materialization_events()
    return int(str(event.materialization.metadata["dagster/row_count"].value))


def measured(url: str, path: str, pages: int) -> tuple[int, float]:
    """Rows and peak memory in MB of a process that loads so many pages."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "tests.guard.peak", url, path, str(pages), folder]
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    rows, peak = done.stdout.split()
    return int(rows), float(peak)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        rows = load(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
        print(rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000)
    else:
        from benchmarks.server import Server

        with Server(seconds=600) as server:
            server.warm("million")
            for pages in (10, 1000):
                rows, peak = measured(server.url, "million", pages)
                print(f"{rows:,} rows: {peak:.0f} MB")
