"""A short way to write a source in a test."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from dagster_restapi.config.plan import plan
from dagster_restapi.config.source import RestApiConfig
from dagster_restapi.model import Plan


@pytest.fixture
def plans() -> Callable[..., Mapping[str, Plan]]:
    """Plans of a source with these resources; keywords are `resource_defaults`, and `client` its settings."""

    def build(*resources: Any, client: Mapping[str, Any] | None = None, **defaults: Any) -> Mapping[str, Plan]:
        return plan(
            RestApiConfig(
                client={"base_url": "https://api.example.com", **(client or {})},
                resource_defaults=defaults or None,
                resources=list(resources),
            )
        )

    return build
