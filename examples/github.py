"""Issues of a GitHub repository, kept up to date, and their comments: `dagster dev -f examples/github.py`.

Environment:
    GITHUB_REPO      owner/name (default: dlt-hub/dlt)
    GITHUB_TOKEN     a token; without it GitHub allows 60 requests an hour
    GITHUB_STATE     open, closed or all (default: all)
    GITHUB_SINCE     load issues that changed since (default: 2020-01-01T00:00:00Z)
    GITHUB_PER_PAGE  page size, at most 100 (default: 100)
    GITHUB_API_URL   another server with the same paths (default: the real API)
    GITHUB_DATABASE  the DuckDB file (default: github.duckdb in the current folder)
"""

import os
from typing import Any

from dagster_restapi import DuckDBRestApiIOManager, build_rest_api_definitions

repository = os.environ.get("GITHUB_REPO", "dlt-hub/dlt")

config: dict[str, Any] = {
    "client": {
        "base_url": f"{os.environ.get('GITHUB_API_URL', 'https://api.github.com')}/repos/{repository}/",
        # The token stays a name until a request is sent: it never reaches a log, an event or the database.
        "auth": {"type": "bearer", "token": "{env.GITHUB_TOKEN}"} if os.environ.get("GITHUB_TOKEN") else None,
    },
    "resource_defaults": {
        "primary_key": "id",
        "write_disposition": "merge",
        "endpoint": {
            "params": {
                "per_page": int(os.environ.get("GITHUB_PER_PAGE", "100")),
            },
        },
    },
    "resources": [
        {
            "name": "issues",
            "endpoint": {
                "path": "issues",
                "params": {
                    "state": os.environ.get("GITHUB_STATE", "all"),
                    "sort": "updated",
                    "direction": "asc",
                    "since": "{incremental.start_value}",
                },
                "incremental": {
                    "cursor_path": "updated_at",
                    "initial_value": os.environ.get("GITHUB_SINCE", "2020-01-01T00:00:00Z"),
                },
            },
        },
        {
            "name": "comments",  # of the issues that changed since the last run
            "endpoint": {
                "path": "issues/{resources.issues.number}/comments",
            },
            "include_from_parent": ["number"],
        },
    ],
}

defs = build_rest_api_definitions(
    config,
    group_name="github",
    io_manager=DuckDBRestApiIOManager(
        database=os.environ.get("GITHUB_DATABASE", "github.duckdb"),
        schema="github_data",
    ),
)
