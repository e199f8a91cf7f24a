"""A code location for tests of runs in processes of their own. `API_URL` and `DATABASE` say where."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import dagster as dg

from dagster_restapi import DuckDBRestApiIOManager, build_rest_api_assets
from dagster_restapi.tables.stage import _Stager

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


HOLD = Path(os.environ["DATABASE"]).with_name("hold")
"""While this file is there, staging is one statement of DuckDB's that takes minutes; `held` says that it has begun."""


def _hold(self: Any) -> Any:
    if HOLD.exists():
        HOLD.with_name("held").touch()
        self._connection.execute("SELECT sum(sqrt(a.range + b.range)) FROM range(10_000_000) a, range(1_000_000) b")
    return _run(self)


_run = _Stager.run
_Stager.run = _hold  # type: ignore[method-assign]

defs = dg.Definitions(
    assets=build_rest_api_assets(CONFIG, retry_policy=dg.RetryPolicy(max_retries=1)),
    jobs=[
        dg.define_asset_job("in_one_process", executor_def=dg.in_process_executor),
        dg.define_asset_job("in_processes", executor_def=dg.multiprocess_executor),
    ],
    resources={"io_manager": DuckDBRestApiIOManager(database=os.environ["DATABASE"], schema="s")},
)
