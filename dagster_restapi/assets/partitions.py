"""Partitions: from the configuration to Dagster's definitions, and from a partition key to the slice it stands for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

import dagster as dg
import pendulum
from dagster import TimeWindowPartitionsDefinition

from dagster_restapi.config.endpoint import EndpointConfig, iso
from dagster_restapi.config.partitions import (
    DynamicPartitions,
    PartitionsConfig,
    StaticPartitions,
    TimePartitions,
    TwoDimensions,
)
from dagster_restapi.config.placeholders import Placeholder, names
from dagster_restapi.errors import ConfigError
from dagster_restapi.model import Plan, Window

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
        key: Dagster's key, as plain text; None for an asset without partitions.
        window: The time window that the key stands for.
        keys: Dimension to key, of two-dimensional partitions.
        clock: Which of the dimensions is the window.
    """

    key: str | None = None
    window: Window | None = None
    keys: Mapping[str, str] = field(default_factory=dict)
    clock: str | None = None

    @property
    def scope(self) -> str | None:
        """What the keys of all windows beside the same other key begin or end with; Dagster joins the two by name."""
        if self.clock is None or self.key is None:
            return None
        other = next(key for name, key in self.keys.items() if name != self.clock)
        return f"{other}|" if self.key.startswith(f"{other}|") and self.clock != min(self.keys) else f"|{other}"


def part_of(definition: dg.PartitionsDefinition[Any] | None, key: str | None) -> Part:
    """What a partition key stands for."""
    if definition is None or key is None:
        return Part()
    if isinstance(definition, dg.MultiPartitionsDefinition):
        by_dimension = definition.get_partition_key_from_str(key).keys_by_dimension
        for dimension in definition.partitions_defs:
            if isinstance(dimension.partitions_def, TimeWindowPartitionsDefinition):
                window = _window(dimension.partitions_def, by_dimension[dimension.name])
                return Part(str.__str__(key), window, dict(by_dimension), dimension.name)
        return Part(str.__str__(key), None, dict(by_dimension))
    if isinstance(definition, TimeWindowPartitionsDefinition):
        return Part(key, _window(definition, key))
    return Part(key)


def _window(definition: TimeWindowPartitionsDefinition, key: str) -> Window:
    window = definition.time_window_for_partition_key(key)
    return Window(start=_instant(window.start), end=_instant(window.end))


def _instant(moment: datetime) -> str:
    return iso(moment.replace(tzinfo=timezone(moment.utcoffset() or timedelta())))


def stretches(parts: Sequence[Part]) -> list[list[Part]]:
    """The partitions in groups of windows that follow each other without a gap, beside the same other key."""
    found: list[list[Part]] = []
    open_ones: dict[str | None, list[Part]] = {}
    for part in sorted(parts, key=lambda part: _moment(part.window.start) if part.window else datetime.min):
        group = open_ones.get(part.scope)
        if group and group[-1].window and part.window and _moment(group[-1].window.end) == _moment(part.window.start):
            group.append(part)
        else:
            open_ones[part.scope] = [part]
            found.append(open_ones[part.scope])
    return found


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def takes_range(plan: Plan, plans: Mapping[str, Plan], clock: str | None, *, by_partition: bool) -> bool:
    """Whether one range of requests can bring several time windows: the cursor then tells which row is whose.

    Not where a request differs from window to window by a placeholder; nor where each window has parents of its own, or
    takes rows that have no cursor.

    Args:
        plans: All resources of the source, by name.
        clock: Of pairs, the dimension that is the window.
        by_partition: Whether a parent with a table is cut into the same windows.
    """
    settings = plan.incremental
    if settings is None or settings.on_cursor_value_missing == "include" or by_partition:
        return False
    walked = [plan]
    while (parent := walked[-1].parent) is not None and not parent.stored:
        walked.append(plans[parent.resource])
    if any(ancestor.incremental for ancestor in walked[1:]):
        return False
    uses = [use for item in walked if item.endpoint for use in _placeholders(item.endpoint)]
    return not any(use.kind == "partition" and (use.parts[0] != "keys" or use.parts[1] == clock) for use in uses)


def _placeholders(endpoint: EndpointConfig) -> frozenset[Placeholder]:
    return names([endpoint.path, endpoint.params, endpoint.headers, endpoint.json_body, endpoint.data])


def layout_of(definition: dg.PartitionsDefinition[Any] | None) -> str | None:
    """How the asset is cut into partitions, for the ledger: rows of one layout do not fit into those of another.

    Where time begins and ends, and which keys there are, is no part of it: more windows or keys harm nothing.
    """
    if definition is None:
        return None
    if isinstance(definition, dg.MultiPartitionsDefinition):
        dimensions = sorted(definition.partitions_defs, key=lambda dimension: dimension.name)
        return " × ".join(f"{dimension.name}: {layout_of(dimension.partitions_def)}" for dimension in dimensions)
    if isinstance(definition, TimeWindowPartitionsDefinition):
        return f"windows by {definition.cron_schedule} {definition.timezone}, named {definition.fmt}"
    return "keys"


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
