"""Both sides of the comparison: dlt in a process and an environment of its own, and this library through Dagster."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from differential.scenario import Scenario

from dagster_restapi import DuckDBRestApiIOManager, RestApiError, build_rest_api_definitions

Load = Callable[[Scenario, int, str, Path], str | None]
"""Makes one load of a scenario from an address into `<folder>/<side>.duckdb`; gives the name of the error, if any."""

HERE = Path(__file__).resolve().parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder wants `-m differential`."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker("differential")


@pytest.fixture(scope="session")
def load_with_dlt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Load]:
    """dlt, in one process for all tests; its environment is that of `make bench`."""
    from benchmarks.measure import REPOSITORY, peers  # not where these tests are left out

    environment = {
        **os.environ,
        "PYTHONPATH": str(REPOSITORY / "tests"),
        "DLT_DATA_DIR": str(tmp_path_factory.mktemp("dlt")),
        "TZ": "UTC",
    }
    command = [peers(REPOSITORY / ".bench"), "-m", "differential.dlt_side"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=REPOSITORY
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        asking, answering = process.stdin, process.stdout

        def load(scenario: Scenario, number: int, url: str, folder: Path) -> str | None:
            asked = {"scenario": scenario.name, "load": number, "url": url, "folder": str(folder)}
            asking.write(json.dumps(asked) + "\n")
            asking.flush()
            line = answering.readline()
            assert line, "dlt's process has ended"
            told: dict[str, Any] = json.loads(line)
            print(told["text"])
            return told["error"]

        yield load
        asking.close()


@pytest.fixture
def load_with_dagster(tmp_path: Path) -> Iterator[Load]:
    """This library: all assets of the configuration in one run of Dagster."""
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:

        def load(scenario: Scenario, number: int, url: str, folder: Path) -> str | None:
            io_manager = DuckDBRestApiIOManager(database=str(folder / "here.duckdb"), schema="data")
            try:
                definitions = build_rest_api_definitions(
                    scenario.written(url, number), io_manager=io_manager, checks=False, retry_policy=None
                )
            except RestApiError as error:
                print(error)
                return type(error).__name__
            job = definitions.resolve_implicit_global_asset_job_def()
            result = job.execute_in_process(instance=instance, raise_on_error=False)
            return None if result.success else failure(result)

        yield load


def failure(result: dg.ExecuteInProcessResult) -> str:
    """The class of the first failed step's error."""
    event = next(event for event in result.all_events if event.is_step_failure)
    error = event.step_failure_data.error
    assert error is not None
    print(error.to_string())
    while error.cause:
        error = error.cause
    return (error.cls_name or "").rpartition(".")[2]
