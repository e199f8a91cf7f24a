"""A process whose children run a range of partitions and are killed at a given point: `killed_ranges.py FOLDER URL`.

Each child is a fork, so that Dagster is imported once. Used by the tests of ranges.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run
from dagster._core.utils import make_new_run_id

from dagster_restapi import DuckDBRestApiIOManager, build_rest_api_assets
from dagster_restapi.assets import haul, step
from dagster_restapi.extract.fetch import Fetch

POINTS = ("in the fetch", "before load 4", "behind load 4", "before it tells")
TAGS = {
    "dagster/asset_partition_range_start": "2024-01-01",
    "dagster/asset_partition_range_end": "2024-01-10",
}


def die_at(owner: Any, name: str, call: int, *, behind: bool = False) -> None:
    """Kills this process at that call of a function, as `kill -9` does."""
    original: Callable[..., Any] = getattr(owner, name)
    calls = 0

    def deadly(*args: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call and not behind:
            os.kill(os.getpid(), signal.SIGKILL)
        result = original(*args, **options)
        if calls == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, deadly)


def arm(point: str) -> None:
    """Sets the trap."""
    if point == "in the fetch":
        die_at(Fetch, "_take", 3)
    elif point == "before load 4":
        die_at(haul, "load", 4)
    elif point == "behind load 4":
        die_at(haul, "load", 4, behind=True)
    else:
        die_at(step, "previews", 1)


def run(folder: Path, url: str, run_id: str, root: str | None) -> None:
    """One run of the range; with a root, it goes on from that run's failure."""
    endpoint = {
        "path": "events",
        "paginator": {"type": "page_number", "base_page": 1, "total_path": None},
        "data_selector": "$",
        "incremental": {"cursor_path": "at", "start_param": "since", "end_param": "until"},
    }
    daily = {"type": "daily", "start": "2024-01-01", "end": "2024-02-01"}
    resource = {"name": "events", "endpoint": endpoint, "partitions": daily}
    assets = build_rest_api_assets({"client": {"base_url": url}, "resources": [resource]}, retry_policy=None)
    manager = DuckDBRestApiIOManager(database=str(folder / "events.duckdb"), schema="tracker")
    job = dg.Definitions(
        assets, resources={"io_manager": manager}, executor=dg.in_process_executor
    ).resolve_implicit_global_asset_job_def()
    tags = TAGS | ({"dagster/is_resume_retry": "true"} if root else {})
    with dg.DagsterInstance.local_temp(str(folder)) as instance:
        made = instance.create_run_for_job(job, run_id=run_id, tags=tags, parent_run_id=root, root_run_id=root)
        execute_run(InMemoryJob(job), made, instance)


def child(work: Callable[[], None]) -> bool:
    """Whether a fork did the work; false where it was killed."""
    pid = os.fork()
    if not pid:
        try:
            work()
        except BaseException as error:  # noqa: BLE001  # the parent is told by the exit code
            print(error, file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return False
    assert os.waitstatus_to_exitcode(status) == 0, "the run failed"
    return True


def kill_and_go_on(folder: Path, url: str, point: str) -> None:
    """A run that is killed there, and one that goes on from it."""
    folder.mkdir()
    root = make_new_run_id()

    def first() -> None:
        arm(point)
        run(folder, url, root, None)

    assert not child(first), f"nothing was killed {point}"
    assert child(lambda: run(folder, url, make_new_run_id(), root))


if __name__ == "__main__":
    for number, point in enumerate(POINTS):
        kill_and_go_on(Path(sys.argv[1]) / str(number), f"{sys.argv[2]}/{number}", point)
