"""The records of a resource without Dagster or DuckDB, for quick looks and tests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dagster_restapi.config.placeholders import nearest
from dagster_restapi.config.plan import plan as make_plans
from dagster_restapi.config.source import RestApiConfig
from dagster_restapi.errors import ConfigError
from dagster_restapi.extract.walker import Walker
from dagster_restapi.http.session import Session
from dagster_restapi.model import Plan, Slice


def iter_records(
    config: RestApiConfig | Mapping[str, Any] | str | Path, resource_name: str, *, max_pages: int | None = None
) -> Iterator[dict[str, Any]]:
    """Walks one resource, and in memory the parents that it needs, and gives its records as they come.

    Args:
        config: As for `build_rest_api_assets`.
        resource_name: The resource.
        max_pages: Pages of each walk at the most.

    Raises:
        RestApiError: The configuration is wrong, there is no such resource, or a request failed.

    Example:
        for issue in iter_records(config, "issues", max_pages=1):
            print(issue["title"])
    """
    plans = make_plans(RestApiConfig.parse(config))
    plan = named(plans, resource_name)
    with Session(plan.client) as session:
        yield from Walker(plans, session).records(plan, Slice(asset=plan.name), max_pages=max_pages)


def named(plans: Mapping[str, Plan], resource_name: str) -> Plan:
    """The plan of a resource.

    Raises:
        ConfigError: There is none of that name; the hint has the nearest.
    """
    if resource_name in plans:
        return plans[resource_name]
    raise ConfigError(
        f"there is no resource {resource_name!r}",
        hint=nearest(resource_name, list(plans)) or f"Resources: {', '.join(plans)}.",
    )
