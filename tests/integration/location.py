"""A code location for tests of runs in processes of their own. `API_URL` and `DATABASE` say where."""

from __future__ import annotations

import os

import dagster as dg

from dagster_restapi import DuckDBRestApiIOManager, build_rest_api_assets

CONFIG = {
    "client": {"base_url": os.environ["API_URL"], "retry": {"attempts": 1}},
    "resource_defaults": {"endpoint": {"data_selector": "rows"}, "concurrency": 4},
    "resources": [
        {"name": "by_cursor", "endpoint": {"path": "items", "paginator": {"type": "cursor", "cursor_path": "next"}}},
        {
            "name": "by_number",
            "endpoint": {
                "path": "items",
                "paginator": {"type": "page_number", "page_param": "cursor", "base_page": 1, "total_path": "pages"},
            },
        },
        {"name": "numbers", "selected": False, "rows": [{"number": number} for number in range(1, 51)]},
        {
            "name": "by_parent",
            "endpoint": {
                "path": "items",
                "params": {"cursor": "{resources.numbers.number}"},
                "paginator": "single_page",
            },
        },
    ],
}


defs = dg.Definitions(
    assets=build_rest_api_assets(CONFIG, retry_policy=dg.RetryPolicy(max_retries=1)),
    jobs=[
        dg.define_asset_job("in_one_process", executor_def=dg.in_process_executor),
        dg.define_asset_job("in_processes", executor_def=dg.multiprocess_executor),
    ],
    resources={"io_manager": DuckDBRestApiIOManager(database=os.environ["DATABASE"], schema="s")},
)
