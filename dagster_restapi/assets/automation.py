"""A resource's `automation` and `freshness` as Dagster's own objects."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster_shared.check import CheckError

from dagster_restapi.errors import ConfigError

if TYPE_CHECKING:
    from dagster_restapi.config.resource import AutomationConfig, FreshnessConfig


def automation_condition(settings: AutomationConfig | None, resource: str) -> dg.AutomationCondition[Any] | None:
    """The condition on which Dagster's automation sensor materializes the asset by itself.

    Args:
        settings: What the resource says; None: a person, a schedule or a sensor starts its runs.
        resource: The resource's name, for the error.

    Raises:
        ConfigError: `cron` is no cron schedule.
    """
    if settings is None:
        return None
    if settings.type == "eager":
        return dg.AutomationCondition.eager()
    if settings.type == "on_missing":
        return dg.AutomationCondition.on_missing()
    fault = ""
    try:
        return dg.AutomationCondition.on_cron(settings.cron or "", settings.timezone)
    except CheckError as error:
        fault = _reason(error)
    raise ConfigError(fault, where=f"resource {resource}, automation", hint='Write it like "0 6 * * *".')


def freshness_policy(settings: FreshnessConfig | None, resource: str) -> dg.FreshnessPolicy | None:
    """The policy by which Dagster calls the asset fresh or stale.

    Args:
        settings: What the resource says; None: the asset's age is nobody's concern.
        resource: The resource's name, for the error.

    Raises:
        ConfigError: Dagster refuses it: a window under a minute, a wrong cron schedule, a `lower_bound_delta` that is
            longer than the time between two deadlines.
    """
    if settings is None:
        return None
    fault = ""
    try:
        if settings.deadline_cron is not None:
            return dg.FreshnessPolicy.cron(
                deadline_cron=settings.deadline_cron,
                lower_bound_delta=timedelta(seconds=settings.lower_bound_delta or 0),
                timezone=settings.timezone,
            )
        return dg.FreshnessPolicy.time_window(
            fail_window=timedelta(seconds=settings.fail_window or 0),
            warn_window=None if settings.warn_window is None else timedelta(seconds=settings.warn_window),
        )
    except CheckError as error:
        fault = _reason(error)
    raise ConfigError(fault, where=f"resource {resource}, freshness")


def _reason(error: CheckError) -> str:
    """Dagster's own words, without its frame around them."""
    text = str(error).partition("Description: ")[2] or str(error)
    return text[:1].lower() + text[1:].rstrip(".")
