"""The sample API as a source: what `make demo`, `make ui` and the tests load. Each resource shows another feature."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from dagster_restapi.demo.server import DEMO_TOKEN

URL_ENV, TOKEN_ENV, DATABASE_ENV = "DEMO_API_URL", "DEMO_API_TOKEN", "DEMO_DATABASE"
SCHEMA = "tracker"


def demo_config(base_url: str | None = None, *, by_day: bool = False) -> dict[str, Any]:
    """The configuration of the sample API.

    Args:
        base_url: Where it runs; by default what `DEMO_API_URL` says, else the port of `python -m dagster_restapi.demo`.
        by_day: With one more resource, which is cut into days.

    The token stays a name, `{env.DEMO_API_TOKEN}`, until a request is sent. Where nobody has set the variable, this
    function sets it to the sample API's own token.
    """
    os.environ.setdefault(TOKEN_ENV, DEMO_TOKEN)
    return {
        "client": {
            "base_url": base_url or os.environ.get(URL_ENV, "http://127.0.0.1:8000"),
            "auth": {"type": "bearer", "token": f"{{env.{TOKEN_ENV}}}"},
        },
        "resource_defaults": {"primary_key": "id", "write_disposition": "merge"},
        "resources": [
            {
                "name": "repositories",
                "description": "All repositories, replaced by every run. Pages by number; the API tells how many.",
                "write_disposition": "replace",
                "endpoint": {
                    "path": "repositories",
                    "params": {"per_page": 5},
                    "data_selector": "items",
                    "paginator": {"type": "page_number", "base_page": 1, "total_path": "total_pages"},
                },
            },
            {
                "name": "issues",
                "description": "Issues of every repository, merged by id; one cursor for each repository. Link header.",
                "columns": {
                    "id": {"description": "The issue's number over all repositories"},
                    "number": {"description": "Its number within the repository"},
                    "reactions.total": {"description": "How many people clicked"},
                },
                "endpoint": {
                    "path": "repositories/{resources.repositories.name}/issues",
                    "params": {
                        "sort": "updated",
                        "direction": "asc",
                        "since": "{incremental.start_value}",
                        "per_page": 100,
                    },
                    "paginator": "header_link",
                    "incremental": {"cursor_path": "updated_at", "initial_value": "2024-01-01T00:00:00Z"},
                },
            },
            {
                "name": "comments",
                "description": "Comments of the issues that changed, merged by id.",
                "include_from_parent": ["title"],
                "endpoint": {
                    "path": "repositories/{resources.issues.repository}/issues/{resources.issues.number}/comments",
                    "params": {"per_page": 100},
                    "paginator": "header_link",
                },
            },
            {
                "name": "events",
                "description": "The log of everything that happened, appended from the last id on. Pages by cursor.",
                "write_disposition": "append",
                "endpoint": {
                    "path": "events",
                    "params": {"since_id": "{incremental.start_value}", "limit": 100},
                    "data_selector": "events",
                    "paginator": {"type": "cursor", "cursor_path": "next_cursor", "cursor_param": "cursor"},
                    "incremental": {"cursor_path": "id", "initial_value": 0},
                },
            },
            {
                "name": "users",
                "description": "All users, replaced by every run. Pages by offset.",
                "write_disposition": "replace",
                "endpoint": {
                    "path": "users",
                    "data_selector": "users",
                    "paginator": {"type": "offset", "limit": 25, "total_path": "total"},
                },
            },
            *([_activity()] if by_day else ()),
        ],
    }


def _activity() -> dict[str, Any]:
    return {
        "name": "activity",
        "description": "The log by day. A run replaces the days that it is about, many in one run.",
        "partitions": {"type": "daily", "start": "2024-01-01", "end": "2024-02-01"},
        "endpoint": {
            "path": "events",
            "params": {"since": "{partition.start}", "until": "{partition.end}", "limit": 100},
            "data_selector": "events",
            "paginator": {"type": "cursor", "cursor_path": "next_cursor", "cursor_param": "cursor"},
        },
    }


def demo_database(folder: Path) -> str:
    """The DuckDB file: what `DEMO_DATABASE` says, else `demo.duckdb` in the folder."""
    return os.environ.get(DATABASE_ENV, str(folder / "demo.duckdb"))
