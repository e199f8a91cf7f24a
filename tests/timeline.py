"""Rows over time, an API that gives them by time, and resources that are cut into partitions, for several tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

DAILY = {"type": "daily", "start": "2024-01-01", "end": "2024-02-01"}
SINCE_UNTIL = {"cursor_path": "at", "start_param": "since", "end_param": "until"}
TENANTS = {"type": "static", "keys": ["eu", "us"]}
PAIRS = {"type": "multi", "dimensions": {"day": DAILY, "tenant": TENANTS}}


def every(step: timedelta, start: str, end: str) -> list[dict[str, Any]]:
    """A row at each step of time."""
    moment, rows = datetime.fromisoformat(start), []
    while moment < datetime.fromisoformat(end):
        rows.append({"id": len(rows) + 1, "at": moment.isoformat().replace("+00:00", "Z")})
        moment += step
    return rows


def between(rows: list[dict[str, Any]], since: str | None, until: str | None) -> list[dict[str, Any]]:
    """The rows from one moment to another, both included, as many APIs have it."""

    def moment(text: str) -> datetime:
        found = datetime.fromisoformat(text)
        return found if found.tzinfo else found.replace(tzinfo=UTC)

    return [
        row
        for row in rows
        if (since is None or moment(row["at"]) >= moment(since))
        and (until is None or moment(row["at"]) <= moment(until))
    ]


def serve(api: Any, rows: list[dict[str, Any]], path: str = "/events") -> None:
    """An API that takes `since` and `until`, both inclusive."""
    api.route(path, lambda request: between(rows, request.query.get("since"), request.query.get("until")))


def events(partitions: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    resource: dict[str, Any] = {"name": "events", "endpoint": {"incremental": SINCE_UNTIL}, **more}
    return resource if partitions is None else {"partitions": partitions, **resource}


def counts(house: Any, table: str = "events") -> dict[str, int]:
    rows = house.query(f"SELECT _restapi_partition, count(*) FROM tracker.{table} GROUP BY ALL ORDER BY ALL")
    return dict(rows)


def content(house: Any, table: str = "events") -> list[Any]:
    return house.query(f"SELECT * FROM tracker.{table} ORDER BY ALL")


def of_tenants(partitions: dict[str, Any], **more: Any) -> dict[str, Any]:
    endpoint = {"path": "{partition.keys.tenant}/events", "incremental": SINCE_UNTIL, "data_selector": "$"}
    return {"name": "events", "endpoint": endpoint, "partitions": partitions, **more}


def data_versions(house: Any, asset: str = "events") -> dict[str, str]:
    """As Dagster's own automation reads them."""
    tags = house.instance.event_log_storage.get_latest_tags_by_partition(
        dg.AssetKey(asset), dg.DagsterEventType.ASSET_MATERIALIZATION, ["dagster/data_version"]
    )
    return {key: found["dagster/data_version"] for key, found in tags.items()}
