"""Materializing resources through real Dagster runs into a real DuckDB file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run

from dagster_restapi import DuckDBRestApiIOManager, build_rest_api_assets
from dagster_restapi.demo import SampleApi
from dagster_restapi.demo.config import demo_config

_RESUME = "dagster/is_resume_retry"
_RANGE = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")


@dataclass
class House:
    """An instance, a database, and one API's assets."""

    instance: dg.DagsterInstance
    database: Path
    config: dict[str, Any]
    api: Any
    options: dict[str, Any] = field(default_factory=dict)  # of the factory

    def run(
        self,
        *assets: str,
        partition: str | None = None,
        between: tuple[str, str] | None = None,
        instance: dg.DagsterInstance | None = None,
        again: dg.ExecuteInProcessResult | None = None,
        resume: bool = False,
        **run_config: Any,
    ) -> Any:
        """Materializes the named assets, with the given run config for each.

        Args:
            between: First and last key of a range of partitions, as one run of a backfill has them.
            again: The run that this one executes again, with `resume` from its failure on.
        """
        definitions = self.assets()
        keys = [asset.key for asset in definitions if not assets or asset.key.path[-1] in assets]
        ops = (
            {asset.op.name: {"config": run_config} for asset in definitions if asset.key in keys} if run_config else {}
        )
        tags = dict(zip(_RANGE, between, strict=True)) if between else {}
        if again is not None:
            return self._re_execute(again, definitions, {**tags, **({_RESUME: "true"} if resume else {})})
        return dg.materialize(
            definitions,
            selection=dg.AssetSelection.assets(*keys),
            instance=instance or self.instance,
            resources={"io_manager": self.io_manager()},
            run_config={"ops": ops},
            partition_key=partition,
            tags=tags or None,
            raise_on_error=False,
        )

    def _re_execute(self, failed: Any, definitions: list[dg.AssetsDefinition], tags: dict[str, str]) -> Any:
        """What the UI's button and run retries do."""
        job = dg.Definitions(
            definitions, resources={"io_manager": self.io_manager()}, executor=dg.in_process_executor
        ).resolve_implicit_global_asset_job_def()
        run = self.instance.create_run_for_job(
            job, tags=tags, parent_run_id=failed.run_id, root_run_id=failed.dagster_run.root_run_id or failed.run_id
        )
        return execute_run(InMemoryJob(job), run, self.instance, raise_on_error=False)

    def assets(self) -> list[dg.AssetsDefinition]:
        return build_rest_api_assets(self.config, **{"retry_policy": None, **self.options})

    def io_manager(self, **options: Any) -> DuckDBRestApiIOManager:
        return DuckDBRestApiIOManager(database=str(self.database), schema="tracker", **options)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.database), read_only=True) as connection:
            return connection.execute(sql).fetchall()

    def told(self, result: dg.ExecuteInProcessResult, asset: str) -> Mapping[str, Any]:
        """The metadata of an asset's event in a run."""
        assert result.success, failure(result)
        for event in result.get_asset_materialization_events():
            if event.asset_key and event.asset_key.path[-1] == asset:
                metadata = event.materialization.metadata
                return {key.removeprefix("dagster_restapi/"): value.value for key, value in metadata.items()}
        raise AssertionError(f"{asset} was not materialized")

    def each(self, result: dg.ExecuteInProcessResult, asset: str) -> dict[str, Mapping[str, Any]]:
        """The metadata of an asset's events in a run, by partition; the newest of each."""
        assert result.success, failure(result)
        found: dict[str, Mapping[str, Any]] = {}
        for event in result.all_events:
            if event.is_step_materialization and event.asset_key and event.asset_key.path[-1] == asset:
                metadata = event.materialization.metadata
                found[str(event.partition)] = {
                    key.removeprefix("dagster_restapi/"): value.value for key, value in metadata.items()
                }
        return found

    def load(self, *assets: str, **options: Any) -> Mapping[str, Any]:
        """Materializes, and gives the metadata of the last of the named assets."""
        return self.told(self.run(*assets, **options), assets[-1])


def failure(result: dg.ExecuteInProcessResult) -> str:
    """Every error of a failed run, causes included."""
    texts = []
    for event in result.all_events:
        if event.is_step_failure:
            error = event.step_failure_data.error
            while error:
                texts.append(error.to_string())
                error = error.cause
    return "\n".join(texts)


@pytest.fixture
def failure_of() -> Callable[[dg.ExecuteInProcessResult], str]:
    """The text of a failed run."""
    return failure


@pytest.fixture
def house(sample_api: SampleApi, tmp_path: Path) -> Iterator[House]:
    """The sample API's assets, nothing loaded yet."""
    (tmp_path / "data").mkdir()
    with dg.DagsterInstance.ephemeral(str(tmp_path)) as instance:
        yield House(instance, tmp_path / "data" / "sample.duckdb", demo_config(sample_api.url), sample_api)


@pytest.fixture
def source(api: Any, tmp_path: Path) -> Iterator[Callable[..., House]]:
    """Assets of the test's own API: `source(resource, …, partitions_def=…)`."""
    (tmp_path / "data").mkdir(exist_ok=True)
    with dg.DagsterInstance.ephemeral(str(tmp_path)) as instance:

        def make(*resources: Any, **options: Any) -> House:
            config = {"client": {"base_url": api.url, "retry": {"attempts": 1}}, "resources": list(resources)}
            return House(instance, tmp_path / "data" / "source.duckdb", config, api, options)

        yield make
