"""Whether an endpoint answers as its configuration says: one request, and one page of each parent that it needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from dagster_restapi.config.client import RetryConfig
from dagster_restapi.config.plan import plan as make_plans
from dagster_restapi.config.source import RestApiConfig
from dagster_restapi.errors import RestApiError
from dagster_restapi.extract.preview import named
from dagster_restapi.extract.walker import Walker
from dagster_restapi.http.session import Session
from dagster_restapi.model import Plan, Slice

_ONCE = RetryConfig(attempts=1, total=10.0)  # a person waits for the answer


def check_connection(config: RestApiConfig | Mapping[str, Any] | str | Path, resource_name: str) -> tuple[bool, str]:
    """Asks the endpoint for its first page: `(True, "")`, or `(False, what went wrong and what to do)`.

    A token is fetched where the auth needs one, and one page of a parent where the path does. Source: dlt's
    `check_connection`, which takes a source.

    Raises:
        ConfigError: The configuration itself is wrong; network and HTTP faults never raise.
    """
    plans = _asked_once(make_plans(RestApiConfig.parse(config)))
    plan = named(plans, resource_name)
    try:
        with Session(plan.client.model_copy(update={"retry": _ONCE})) as session:
            Walker(plans, session).first_page(plan, Slice(asset=plan.name))
    except RestApiError as error:
        return False, str(error)
    return True, ""


def _asked_once(plans: Mapping[str, Plan]) -> dict[str, Plan]:
    """The plans without retry settings of their endpoints."""
    return {
        name: replace(plan, endpoint=plan.endpoint.model_copy(update={"retry": None})) if plan.endpoint else plan
        for name, plan in plans.items()
    }
