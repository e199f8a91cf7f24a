"""The demo's job: every asset of the sample API, in a form that step processes can build again."""

from __future__ import annotations

from pathlib import Path

import dagster as dg

from dagster_restapi import DuckDBRestApiIOManager, build_rest_api_definitions
from dagster_restapi.demo.config import SCHEMA, demo_config, demo_database


def demo_job() -> dg.JobDefinition:
    """All assets and their checks, in one job with the multiprocess executor. Settings come from the environment."""
    definitions = build_rest_api_definitions(
        demo_config(),
        group_name="tracker",
        io_manager=DuckDBRestApiIOManager(database=demo_database(Path.cwd()), schema=SCHEMA),
    )
    return dg.Definitions.merge(
        definitions,
        dg.Definitions(jobs=[dg.define_asset_job("everything")], executor=dg.multiprocess_executor),
    ).resolve_job_def("everything")
