"""Many real runs and steps write one file while another process reads: all succeed, and every row is there once."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest
from kill import victim
from kill.harness import context
from kill.victim import Errand

from dagster_restapi.demo import SampleApi
from dagster_restapi.demo.tracker import Tracker
from dagster_restapi.tables.read import read_table
from dagster_restapi.tables.target import Target


def _issues(name: str, path: str, **settings: Any) -> dict[str, Any]:
    endpoint = {"path": f"repositories/{path}/issues", "params": {"per_page": 5}, "paginator": "header_link"}
    return {"name": name, "primary_key": "id", "write_disposition": "merge", "endpoint": endpoint, **settings}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    with dg.DagsterInstance.from_config(str(tmp_path / "home")) as instance:
        instance.get_runs_count()
    return tmp_path


def _run_all(errands: list[Errand], look: Callable[[], None]) -> int:
    """Sends all errands at once and looks again and again until they are done; gives how often."""
    processes = [context().Process(target=victim.run, args=(errand,)) for errand in errands]
    for process in processes:
        process.start()
    looks = 0
    while any(process.is_alive() for process in processes):
        look()
        looks += 1
        time.sleep(0.05)
    assert [process.exitcode for process in processes] == [0] * len(processes), Path(
        errands[0].folder, "log"
    ).read_text()
    return looks


def test_twenty_processes_load_twenty_partitions_of_one_asset(folder: Path) -> None:
    tracker = Tracker(repositories=20, issues_per_repository=8, users=16)
    truth = Counter(row["repository"] for row in tracker.listing("issues"))
    target = Target(str(folder / "t.duckdb"), schema="s", lock_timeout=60)

    def look() -> None:
        if (folder / "t.duckdb").exists():
            with target.read() as connection:
                if connection.execute("SELECT 1 FROM duckdb_tables() WHERE table_name = 'issues'").fetchall():
                    found = connection.execute(
                        "SELECT _restapi_partition, count(*) FROM s.issues GROUP BY ALL"
                    ).fetchall()
                    assert all(count == truth[partition] for partition, count in found)

    with SampleApi(token=None, tracker=tracker) as api:
        resource = _issues("issues", "{partition.key}", partitions={"type": "static", "keys": list(truth)})
        config = {"client": {"base_url": api.url}, "resources": [resource]}
        errands = [Errand(str(folder), config, ("issues",), {"dagster/partition": key}) for key in truth]
        assert _run_all(errands, look)
    with duckdb.connect(target.database, read_only=True) as connection:
        rows = connection.execute("SELECT id, repository, _restapi_partition FROM s.issues ORDER BY id").fetchall()
        loads = connection.execute("SELECT count(*), count(DISTINCT partition) FROM s._restapi_loads").fetchall()
    assert rows == [(row["id"], row["repository"], row["repository"]) for row in tracker.listing("issues")]
    assert loads == [(20, 20)]
    with dg.DagsterInstance.from_config(str(folder / "home")) as instance:
        assert instance.get_materialized_partitions(dg.AssetKey("issues")) == set(truth)
    assert not list((folder / "t.duckdb.spool").iterdir())


def test_eight_assets_load_under_the_multiprocess_executor(folder: Path) -> None:
    tracker = Tracker(repositories=8, issues_per_repository=8, users=16)
    names = [row["name"] for row in tracker.listing("repositories")]
    target = Target(str(folder / "t.duckdb"), schema="s", lock_timeout=60)

    def look() -> None:
        if (folder / "t.duckdb").exists():
            with target.read():
                pass

    with SampleApi(token=None, tracker=tracker) as api:
        config = {"client": {"base_url": api.url}, "resources": [_issues(name, name) for name in names]}
        _run_all([Errand(str(folder), config, tuple(names), in_steps=True, max_concurrent=8)], look)
    for name in names:
        found = read_table(target, name, columns=["id"]).column("id").to_pylist()
        assert sorted(found) == [row["id"] for row in tracker.listing("issues") if row["repository"] == name]
    shutil.rmtree(folder / "home")


def test_of_two_runs_of_one_asset_at_once_both_leave_each_row_once(folder: Path) -> None:
    tracker = Tracker(repositories=4, issues_per_repository=8, users=16)
    resource = {
        "name": "events",
        "write_disposition": "append",
        "endpoint": {
            "path": "events",
            "params": {"since_id": "{incremental.start_value}", "limit": 20},
            "data_selector": "events",
            "paginator": {"type": "cursor", "cursor_path": "next_cursor", "cursor_param": "cursor"},
            "incremental": {"cursor_path": "id", "initial_value": 0},
        },
    }
    with SampleApi(token=None, latency=0.02, tracker=tracker) as api:
        config = {"client": {"base_url": api.url}, "resources": [resource]}
        for _ in range(2):
            _run_all([Errand(str(folder), config, ("events",))] * 2, lambda: None)  # the later one tries again
            tracker.touch("issues", 1, {"title": "edited"})
        _run_all([Errand(str(folder), config, ("events",))], lambda: None)
    with duckdb.connect(str(folder / "t.duckdb"), read_only=True) as connection:
        found = connection.execute("SELECT id FROM s.events ORDER BY ALL").fetchall()
    assert found == [(row["id"],) for row in tracker.listing("events")]
