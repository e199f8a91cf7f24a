"""What `dagster dev` opens: the sample API's resources as assets, in DuckDB.

`make ui` starts the sample API as well. By hand, start it with `python -m dagster_restapi.demo`, then `dagster dev`.
"""

from pathlib import Path

from dagster_restapi import DuckDBRestApiIOManager, build_rest_api_definitions
from dagster_restapi.demo.config import SCHEMA, demo_config, demo_database

defs = build_rest_api_definitions(
    demo_config(by_day=True),
    group_name="tracker",
    sensors=True,
    io_manager=DuckDBRestApiIOManager(database=demo_database(Path(__file__).parent), schema=SCHEMA),
)
