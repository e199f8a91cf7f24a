"""Sensors under Dagster's own daemon: ticks launch real runs, failed ones are tried again, partitions come and go."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.scheduler.instigation import InstigatorTick
from dagster._core.test_utils import create_test_daemon_workspace_context, freeze_time, instance_for_test
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget
from dagster._daemon import get_default_daemon_logger
from dagster._daemon.sensor import execute_sensor_iteration

from dagster_restapi.demo import DEMO_TOKEN, SampleApi, Tracker

AT_ONCE = {  # a requested run is over before the tick is
    "run_coordinator": {"module": "dagster._core.run_coordinator", "class": "DefaultRunCoordinator"},
    "run_launcher": {
        "module": "dagster._core.launcher.sync_in_memory_run_launcher",
        "class": "SyncInMemoryRunLauncher",
    },
}

PROJECT = """
import dagster as dg
from dagster_restapi import DuckDBRestApiIOManager, build_rest_api_definitions, build_rest_api_sensor

config = {{
    "client": {{"base_url": "{url}", "auth": {{"type": "bearer", "token": "{{env.SENSOR_TEST_TOKEN}}"}}}},
    "resource_defaults": {{"primary_key": "id", "write_disposition": "merge"}},
    "resources": [
        {{"name": "users", "endpoint": {{"path": "users", "data_selector": "users"}}}},
        {{
            "name": "repositories",
            "selected": False,
            "endpoint": {{"path": "repositories", "params": {{"per_page": 100}}, "data_selector": "items"}},
        }},
        {{
            "name": "issues",
            "endpoint": "repositories/{{partition.key}}/issues",
            "partitions": {{"type": "dynamic", "name": "repository"}},
        }},
    ],
}}
options = {{"default_status": dg.DefaultSensorStatus.RUNNING, "minimum_interval_seconds": 20}}
sensors = {{
    "users": build_rest_api_sensor(config, "users", **options),
    "partitions": build_rest_api_sensor(
        config, "repositories", partitions="repository", partition_key="name", **options
    ),
}}
defs = dg.Definitions.merge(
    build_rest_api_definitions(
        config,
        io_manager=DuckDBRestApiIOManager(database="{database}", schema="tracker"),
        checks=False,
        retry_policy=None,
    ),
    dg.Definitions(sensors=[sensors["{sensor}"]], executor=dg.in_process_executor),
)
"""


@dataclass
class Daemon:
    """The daemon of one sensor, a tick at a time, with a clock that the test moves."""

    instance: dg.DagsterInstance
    workspace: Any
    database: Path
    patch: pytest.MonkeyPatch
    now: float = field(default_factory=time.time)

    def tick(self) -> InstigatorTick:
        """What the sensor did, one interval after the last time."""
        self.now += 21
        with freeze_time(datetime.fromtimestamp(self.now, UTC)), self.patch.context() as patch:
            patch.setattr(time, "time", lambda: self.now)
            list(execute_sensor_iteration(self.workspace, get_default_daemon_logger("Sensors"), None, None))
        (state,) = self.instance.all_instigator_state()
        (tick,) = self.instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=1)
        return tick

    @property
    def statuses(self) -> list[str]:
        """Of all runs, oldest first."""
        return [run.status.value for run in reversed(self.instance.get_runs())]

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.database), read_only=True) as connection:
            return connection.execute(sql).fetchall()


@pytest.fixture
def sample_api() -> Iterator[SampleApi]:
    """A small one: every repository is a run here."""
    with SampleApi(seconds=600, tracker=Tracker(repositories=3, issues_per_repository=4, users=20)) as api:
        yield api


@pytest.fixture
def watch(sample_api: SampleApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Daemon]]:
    """Starts a sensor of the project."""
    monkeypatch.setenv("SENSOR_TEST_TOKEN", DEMO_TOKEN)
    file, database = tmp_path / "project.py", tmp_path / "sensors.duckdb"
    origin = InProcessCodeLocationOrigin(
        LoadableTargetOrigin(executable_path=sys.executable, python_file=str(file)), location_name="project"
    )
    with ExitStack() as stack:

        def start(sensor: str) -> Daemon:
            file.write_text(PROJECT.format(url=sample_api.url, database=database, sensor=sensor))
            instance = stack.enter_context(instance_for_test(overrides=AT_ONCE))
            target = InProcessWorkspaceLoadTarget([origin])
            workspace = stack.enter_context(create_test_daemon_workspace_context(target, instance))
            return Daemon(instance, workspace, database, monkeypatch)

        yield start


def test_a_tick_launches_a_run_that_loads_and_only_news_launches_another(
    watch: Callable[[str], Daemon], sample_api: SampleApi
) -> None:
    users = watch("users")
    assert len(users.tick().run_ids) == 1
    assert users.statuses == ["SUCCESS"]
    assert users.query("SELECT count(*) FROM tracker.users") == [(20,)]
    assert users.tick().skip_reason == "a run has loaded it"
    assert users.tick().skip_reason == "users has nothing new"
    sample_api.tracker.touch("users", 1, {"name": "Someone Else"})
    assert len(users.tick().run_ids) == 1
    assert users.statuses == ["SUCCESS", "SUCCESS"]
    assert users.query("SELECT name FROM tracker.users WHERE id = 1") == [("Someone Else",)]


def test_a_run_that_fails_is_launched_again_after_a_pause(watch: Callable[[str], Daemon]) -> None:
    users = watch("users")
    users.database.mkdir()  # so that no DuckDB file can be there
    assert len(users.tick().run_ids) == 1
    assert users.statuses == ["FAILURE"]
    users.database.rmdir()
    assert users.tick().skip_reason == "a run failed; the next try is in 9 s"
    assert len(users.tick().run_ids) == 1
    assert users.statuses == ["FAILURE", "SUCCESS"]


def test_a_request_that_fails_is_a_failed_tick_and_the_next_one_goes_on(
    watch: Callable[[str], Daemon], monkeypatch: pytest.MonkeyPatch
) -> None:
    users = watch("users")
    monkeypatch.setenv("SENSOR_TEST_TOKEN", "a-canary-that-is-wrong")
    failed = users.tick()
    assert failed.status.value == "FAILURE"
    assert failed.error is not None
    assert "401" in failed.error.to_string()
    assert "a-canary-that-is-wrong" not in failed.error.to_string()
    monkeypatch.setenv("SENSOR_TEST_TOKEN", DEMO_TOKEN)
    assert len(users.tick().run_ids) == 1


def test_partitions_come_and_go_with_the_listing_and_each_is_loaded_once(
    watch: Callable[[str], Daemon], sample_api: SampleApi
) -> None:
    listing = watch("partitions")
    names = [row["name"] for row in sample_api.tracker.listing("repositories")]
    assert len(listing.tick().run_ids) == len(names)
    assert listing.instance.get_dynamic_partitions("repository") == names
    assert {key for (key,) in listing.query("SELECT DISTINCT _restapi_partition FROM tracker.issues")} == set(names)
    assert listing.tick().skip_reason == "3 partitions, none of them new"
    sample_api.tracker.delete("repositories", 1)
    sample_api.tracker.add("repositories", {"name": "brand-new"})
    sample_api.tracker.add("issues", {"repository": "brand-new"})
    assert len(listing.tick().run_ids) == 1
    assert listing.instance.get_dynamic_partitions("repository") == [*names[1:], "brand-new"]
    assert listing.query("SELECT count(*) FROM tracker.issues WHERE _restapi_partition = 'brand-new'") == [(1,)]
