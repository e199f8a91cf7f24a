"""Partitions: from the configuration to Dagster's definitions, and from a partition key to the slice it stands for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
import pendulum
from dagster import TimeWindowPartitionsDefinition

from dagster_restapi.config.partitions import (
    DynamicPartitions,
    PartitionsConfig,
    StaticPartitions,
    TimePartitions,
    TwoDimensions,
)
from dagster_restapi.errors import ConfigError
from dagster_restapi.model import Window

_TIME = {
    "hourly": dg.HourlyPartitionsDefinition,
    "daily": dg.DailyPartitionsDefinition,
    "weekly": dg.WeeklyPartitionsDefinition,
    "monthly": dg.MonthlyPartitionsDefinition,
}


def partitions_definition(config: PartitionsConfig) -> dg.PartitionsDefinition[Any]:
    """Dagster's definition of what the configuration says."""
    match config:
        case TimePartitions():
            return _time(config)
        case StaticPartitions():
            return dg.StaticPartitionsDefinition(config.keys)
        case DynamicPartitions():
            return dg.DynamicPartitionsDefinition(name=config.name)
        case TwoDimensions():
            return dg.MultiPartitionsDefinition(
                {name: partitions_definition(part) for name, part in config.dimensions.items()}
            )


def _time(config: TimePartitions) -> dg.PartitionsDefinition[Any]:
    offsets = {
        name: getattr(config, name)
        for name in ("minute_offset", "hour_offset", "day_offset")
        if name in config.model_fields_set
    }
    first = pendulum.parse(_spaced(config.start), tz=config.timezone)
    last = pendulum.parse(_spaced(config.end), tz=config.timezone) if config.end else None
    definition: dg.PartitionsDefinition[Any] = _TIME[config.type](
        start_date=first, end_date=last, timezone=config.timezone, end_offset=config.end_offset, **offsets
    )
    return definition


def _spaced(moment: str) -> str:
    """Dagster writes the hour of a partition as `2024-01-01-13:00`."""
    return moment if len(moment) <= 10 else f"{moment[:10]}T{moment[11:]}"


def default_backfill_policy(definition: dg.PartitionsDefinition[Any] | None) -> dg.BackfillPolicy | None:
    """One run for a whole range of time windows; a run for each key of anything else, for their order means nothing."""
    return dg.BackfillPolicy.single_run() if isinstance(definition, TimeWindowPartitionsDefinition) else None


@dataclass(frozen=True, slots=True)
class Part:
    """One partition of an asset.

    Attributes:
        key: Dagster's key; None for an asset without partitions.
        window: The time window that the key stands for.
        keys: Dimension to key, of two-dimensional partitions.
    """

    key: str | None = None
    window: Window | None = None
    keys: Mapping[str, str] = field(default_factory=dict)


def part_of(definition: dg.PartitionsDefinition[Any] | None, key: str | None) -> Part:
    """What a partition key stands for."""
    if definition is None or key is None:
        return Part()
    if isinstance(definition, dg.MultiPartitionsDefinition):
        by_dimension = definition.get_partition_key_from_str(key).keys_by_dimension
        windows = [
            _window(dimension.partitions_def, by_dimension[dimension.name])
            for dimension in definition.partitions_defs
            if isinstance(dimension.partitions_def, TimeWindowPartitionsDefinition)
        ]
        return Part(key, windows[0] if windows else None, dict(by_dimension))
    if isinstance(definition, TimeWindowPartitionsDefinition):
        return Part(key, _window(definition, key))
    return Part(key)


def _window(definition: TimeWindowPartitionsDefinition, key: str) -> Window:
    window = definition.time_window_for_partition_key(key)
    return Window(start=_instant(window.start), end=_instant(window.end))


def _instant(moment: Any) -> str:
    return str(pendulum.instance(moment).isoformat()).replace("+00:00", "Z")


def check_pair(
    child: str,
    parent: str,
    of_child: dg.PartitionsDefinition[Any] | None,
    of_parent: dg.PartitionsDefinition[Any] | None,
) -> None:
    """A child reads all of an unpartitioned parent, or the equal partition of a parent that is cut in the same way.

    Raises:
        ConfigError: The two are cut in different ways, so no partition of the parent belongs to one of the child.
    """
    if of_child is None or of_parent is None or of_child == of_parent:
        return
    raise ConfigError(
        f"{child!r} and its parent {parent!r} are partitioned in different ways",
        where=f"resource {child}",
        hint="Give both the same `partitions`, or only one of them. "
        f"{child}: {_described(of_child)}; {parent}: {_described(of_parent)}.",
    )


def _described(definition: dg.PartitionsDefinition[Any]) -> str:
    return str(definition)
