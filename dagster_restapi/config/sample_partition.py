"""One partition of a resource to look at, found without Dagster: the newest window that is over, or the first key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pendulum

from dagster_restapi.config.partitions import PartitionsConfig, StaticPartitions, TimePartitions, TwoDimensions
from dagster_restapi.errors import ConfigError
from dagster_restapi.model import Window

_UNITS = {"hourly": "hours", "daily": "days", "weekly": "weeks", "monthly": "months"}
_KEY = {"hourly": "%Y-%m-%d-%H:%M"}


@dataclass(frozen=True, slots=True)
class SamplePartition:
    """A partition as a slice names it.

    Attributes:
        key: Dagster's key.
        window: The time window that it stands for.
        keys: Dimension to key, of two-dimensional partitions.
    """

    key: str
    window: Window | None = None
    keys: Mapping[str, str] = field(default_factory=dict)


def sample_partition(config: PartitionsConfig, key: str | None = None) -> SamplePartition | None:
    """The partition of a key; without one an example. None where the keys are known to Dagster alone.

    Args:
        key: As Dagster writes it: `2024-01-31`, `2024-01-31-13:00`, a key, or `one|other` for two dimensions.

    Raises:
        ConfigError: There is no such partition.
    """
    match config:
        case TimePartitions():
            return _window(config, key)
        case TwoDimensions():
            return _pair(config, key)
        case StaticPartitions():
            if key is not None and key not in config.keys:
                raise ConfigError(f"there is no partition {key!r}", hint=f"There are {', '.join(config.keys[:10])}.")
            return SamplePartition(key if key is not None else config.keys[0])
    return None if key is None else SamplePartition(key)


def _pair(config: TwoDimensions, key: str | None) -> SamplePartition | None:
    names = sorted(config.dimensions)  # Dagster's order
    parts = key.split("|") if key is not None else [None] * len(names)
    if len(parts) != len(names):
        raise ConfigError(f"{key!r} is no partition", hint=f"Write it as {'|'.join(names)}.")
    found = {name: sample_partition(config.dimensions[name], part) for name, part in zip(names, parts, strict=True)}
    keys = {name: part.key for name, part in found.items() if part is not None}
    window = next((part.window for part in found.values() if part is not None and part.window), None)
    return SamplePartition("|".join(keys.values()), window, keys) if len(keys) == len(names) else None


def _window(config: TimePartitions, key: str | None) -> SamplePartition:
    start = _start_of(config, key) if key is not None else _newest(config)
    end = start.add(**{_UNITS[config.type]: 1})
    window = Window(start=_instant(start), end=_instant(end))
    return SamplePartition(start.strftime(_KEY.get(config.type, "%Y-%m-%d")), window)


def _newest(config: TimePartitions) -> pendulum.DateTime:
    """Where the newest window begins that is over, or the first one where none is."""
    unit, first = {_UNITS[config.type]: 1}, _moment(config.start, config)
    until = (
        min(pendulum.now(config.timezone), _moment(config.end, config)) if config.end else pendulum.now(config.timezone)
    )
    start = _floor(config, until)
    while start.add(**unit) > until:
        start = start.subtract(**unit)
    return start if start >= first else _floor(config, first)


def _floor(config: TimePartitions, moment: pendulum.DateTime) -> pendulum.DateTime:
    """A beginning of a window near the moment: its minute, hour and day are right."""
    if config.type == "hourly":
        return moment.set(minute=config.minute_offset, second=0, microsecond=0)
    start = moment.set(hour=config.hour_offset, minute=config.minute_offset, second=0, microsecond=0)
    if config.type == "weekly":
        return start.subtract(days=(start.isoweekday() % 7 - config.day_offset) % 7)
    return start.set(day=max(1, config.day_offset)) if config.type == "monthly" else start


def _start_of(config: TimePartitions, key: str) -> pendulum.DateTime:
    try:
        day = _moment(key, config)
    except ValueError:
        example = "2024-01-31-13:00" if config.type == "hourly" else "2024-01-31"
        raise ConfigError(f"{key!r} is no partition", hint=f"Write the start of its window: {example}") from None
    return day if config.type == "hourly" else day.set(hour=config.hour_offset, minute=config.minute_offset)


def _moment(text: str, config: TimePartitions) -> pendulum.DateTime:
    """A date, or a date with an hour as Dagster writes it, in the partitions' time zone."""
    found = pendulum.parse(text if len(text) <= 10 else f"{text[:10]}T{text[11:]}", tz=config.timezone)
    assert isinstance(found, pendulum.DateTime)
    return found


def _instant(moment: pendulum.DateTime) -> str:
    return str(moment.isoformat()).replace("+00:00", "Z")
