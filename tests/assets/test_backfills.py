"""Backfills under Dagster's own daemon: how many runs and requests, gaps, failures, parents before their children."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.test_utils import create_test_daemon_workspace_context, instance_for_test
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget
from dagster._daemon import get_default_daemon_logger
from dagster._daemon.backfill import execute_backfill_iteration
from timeline import DAILY, every, serve

AT_ONCE = {  # a requested run is over before the daemon goes on
    "run_coordinator": {"module": "dagster._core.run_coordinator", "class": "DefaultRunCoordinator"},
    "run_launcher": {
        "module": "dagster._core.launcher.sync_in_memory_run_launcher",
        "class": "SyncInMemoryRunLauncher",
    },
}

PROJECT = """
import dagster as dg
from dagster_restapi import DuckDBRestApiIOManager, build_rest_api_definitions

defs = dg.Definitions.merge(
    build_rest_api_definitions(
        {config},
        io_manager=DuckDBRestApiIOManager(database="{database}", schema="tracker"),
        checks=False,
        retry_policy=None,
        backfill_policy={policy},
    ),
    dg.Definitions(executor=dg.in_process_executor),
)
"""

DAYS = [f"2024-01-{day:02}" for day in range(1, 11)]
ROWS = every(timedelta(hours=12), "2024-01-01T00:00+00:00", "2024-01-11T00:00+00:00")
RANGE = {"incremental": {"cursor_path": "at", "start_param": "since", "end_param": "until"}}


@dataclass
class Backfills:
    """The daemon of backfills."""

    instance: dg.DagsterInstance
    workspace: Any
    database: Path

    def run(self, days: list[str], *assets: str) -> PartitionBackfill:
        """What the UI's dialog starts, up to its end."""
        graph = self.workspace.create_request_context().asset_graph
        number = f"backfill{len(self.instance.get_backfills())}"
        self.instance.add_backfill(
            PartitionBackfill.from_asset_partitions(
                backfill_id=number,
                asset_graph=graph,
                partition_names=days,
                asset_selection=[dg.AssetKey(name) for name in assets],
                backfill_timestamp=time.time(),
                tags={},
                dynamic_partitions_store=self.instance,
                all_partitions=False,
                title=None,
                description=None,
                run_config=None,
            )
        )
        for _ in range(12):
            list(execute_backfill_iteration(self.workspace, get_default_daemon_logger("Backfills")))
            found = self.instance.get_backfill(number)
            assert found is not None
            if found.status not in (BulkActionStatus.REQUESTED, BulkActionStatus.FAILING):
                return found
        raise AssertionError(f"the backfill does not end: {found.status}")

    @property
    def ranges(self) -> list[tuple[str, str, str]]:
        """Of all runs, oldest first: first and last partition, and what became of it."""
        return [
            (
                run.tags.get("dagster/asset_partition_range_start", run.tags.get("dagster/partition", "")),
                run.tags.get("dagster/asset_partition_range_end", run.tags.get("dagster/partition", "")),
                run.status.value,
            )
            for run in reversed(self.instance.get_runs())
        ]

    def counts(self, table: str) -> dict[str, int]:
        with duckdb.connect(str(self.database), read_only=True) as connection:
            query = f"SELECT _restapi_partition, count(*) FROM tracker.{table} GROUP BY ALL ORDER BY ALL"
            return dict(connection.execute(query).fetchall())

    def row_counts(self, asset: str) -> Mapping[str, Any]:
        """As the events tell them."""
        records = self.instance.fetch_materializations(dg.AssetKey(asset), limit=1000).records
        return {
            str(one.partition_key): one.asset_materialization.metadata["dagster/partition_row_count"].value  # type: ignore[union-attr]
            for one in records
        }


@pytest.fixture
def backfills(api: Any, tmp_path: Path) -> Iterator[Callable[..., Backfills]]:
    """Starts the daemon for a project of these resources."""
    file, database = tmp_path / "project.py", tmp_path / "backfills.duckdb"
    origin = InProcessCodeLocationOrigin(
        LoadableTargetOrigin(executable_path=sys.executable, python_file=str(file)), location_name="project"
    )
    with ExitStack() as stack:

        def start(*resources: Any, policy: str = "None") -> Backfills:
            config = {"client": {"base_url": api.url, "retry": {"attempts": 1}}, "resources": list(resources)}
            file.write_text(PROJECT.format(config=config, database=database, policy=policy))
            instance = stack.enter_context(instance_for_test(overrides=AT_ONCE))
            target = InProcessWorkspaceLoadTarget([origin])
            workspace = stack.enter_context(create_test_daemon_workspace_context(target, instance))
            return Backfills(instance, workspace, database)

        yield start


EVENTS = {"name": "events", "endpoint": RANGE, "partitions": DAILY}


def test_a_backfill_is_one_run_and_one_range_of_requests(api: Any, backfills: Callable[..., Backfills]) -> None:
    serve(api, ROWS)
    daemon = backfills(EVENTS)
    assert daemon.run(DAYS, "events").status is BulkActionStatus.COMPLETED_SUCCESS
    assert daemon.ranges == [(DAYS[0], DAYS[-1], "SUCCESS")]
    assert len(api.requests) == 1
    assert daemon.counts("events") == daemon.row_counts("events") == dict.fromkeys(DAYS, 2)


def test_a_selection_with_gaps_is_a_run_for_each_stretch(api: Any, backfills: Callable[..., Backfills]) -> None:
    serve(api, ROWS)
    daemon = backfills(EVENTS)
    chosen = [*DAYS[:3], *DAYS[5:7], DAYS[9]]
    assert daemon.run(chosen, "events").status is BulkActionStatus.COMPLETED_SUCCESS
    assert sorted(daemon.ranges) == [
        (DAYS[0], DAYS[2], "SUCCESS"),
        (DAYS[5], DAYS[6], "SUCCESS"),
        (DAYS[9], DAYS[9], "SUCCESS"),
    ]
    assert len(api.requests) == 3
    assert daemon.counts("events") == daemon.row_counts("events") == dict.fromkeys(chosen, 2)


def test_multi_run_cuts_a_backfill_into_runs_of_that_size(api: Any, backfills: Callable[..., Backfills]) -> None:
    serve(api, ROWS)
    daemon = backfills(EVENTS, policy="dg.BackfillPolicy.multi_run(4)")
    assert daemon.run(DAYS, "events").status is BulkActionStatus.COMPLETED_SUCCESS
    assert sorted(daemon.ranges) == [
        (DAYS[0], DAYS[3], "SUCCESS"),
        (DAYS[4], DAYS[7], "SUCCESS"),
        (DAYS[8], DAYS[9], "SUCCESS"),
    ]
    assert len(api.requests) == 3
    assert daemon.counts("events") == daemon.row_counts("events") == dict.fromkeys(DAYS, 2)


def test_a_failed_partition_leaves_the_finished_ones_done(api: Any, backfills: Callable[..., Backfills]) -> None:
    for number, day in enumerate(DAYS):
        api.route(f"/days/{day}", [{"id": number}])
    api.route(f"/days/{DAYS[4]}", (500, {}))
    endpoint = {"path": "days/{partition.key}", "data_selector": "$"}
    daemon = backfills({"name": "events", "endpoint": endpoint, "partitions": DAILY})
    assert daemon.run(DAYS, "events").status is BulkActionStatus.COMPLETED_FAILED
    done = dict.fromkeys(DAYS[:4], 1)
    assert daemon.counts("events") == daemon.row_counts("events") == done
    api.route(f"/days/{DAYS[4]}", [{"id": 4}])
    assert daemon.run(DAYS[4:], "events").status is BulkActionStatus.COMPLETED_SUCCESS
    assert daemon.counts("events") == daemon.row_counts("events") == dict.fromkeys(DAYS, 1)


def test_parent_and_child_are_filled_together_partition_by_partition(
    api: Any, backfills: Callable[..., Backfills]
) -> None:
    serve(api, ROWS, "/shops")
    for row in ROWS:
        api.route(f"/shops/{row['id']}/sales", [{"shop": row["id"]}])
    shops = {"name": "shops", "endpoint": {"path": "shops", **RANGE}, "partitions": DAILY}
    endpoint = {"path": "shops/{resources.shops.id}/sales", "data_selector": "$"}
    daemon = backfills(shops, {"name": "sales", "endpoint": endpoint, "partitions": DAILY})
    assert daemon.run(DAYS[2:5], "shops", "sales").status is BulkActionStatus.COMPLETED_SUCCESS
    assert daemon.ranges == [(DAYS[2], DAYS[4], "SUCCESS")], "one run for both"
    assert daemon.counts("sales") == daemon.row_counts("sales") == dict.fromkeys(DAYS[2:5], 2)
