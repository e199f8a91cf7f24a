"""How a resource is cut into partitions: by time, by fixed keys, by keys that come and go, or by two of these."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal, Self

import pendulum
from pendulum.tz.exceptions import InvalidTimezone
from pydantic import BeforeValidator, Discriminator, Field, Tag, WithJsonSchema, field_validator, model_validator

from dagster_restapi.config.endpoint import iso
from dagster_restapi.config.settings import Settings


def _moment(value: Any) -> Any:
    return iso(value) if isinstance(value, date) else value


def _keys(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [str(key) if isinstance(key, int) and not isinstance(key, bool) else key for key in value]
    return value


def check_timezone(name: str) -> str:
    """The name of a time zone.

    Raises:
        ValueError: The time zone database does not know it.
    """
    try:
        pendulum.timezone(name)
    except (InvalidTimezone, ValueError):
        pass
    else:
        return name
    raise ValueError("give the name of a time zone, such as UTC or Europe/Berlin")


Moment = Annotated[
    str, BeforeValidator(_moment), WithJsonSchema({"type": "string", "examples": ["2024-01-01", "2024-01-01-00:00"]})
]


class TimePartitions(Settings):
    """One partition per hour, day, week or month."""

    type: Literal["hourly", "daily", "weekly", "monthly"]
    """Length of one partition."""
    start: Moment
    """Start of the first partition: a date, or for hourly partitions a date and an hour."""
    end: Moment | None = None
    """Where the last partition ends. Default: the present."""
    timezone: str = "UTC"
    """Time zone in which partitions start and end: `Europe/Berlin`."""
    end_offset: int = 0
    """How many partitions beyond the present (1: the one under way), or before it (-1)."""
    minute_offset: int = Field(default=0, ge=0, le=59)
    """Minute at which partitions start."""
    hour_offset: int = Field(default=0, ge=0, le=23)
    """Hour at which daily, weekly and monthly partitions start."""
    day_offset: int = Field(default=0, ge=0, le=31)
    """Day on which partitions start: of the week, 0 is Sunday; of the month, 1 is the first (0 too)."""

    @field_validator("timezone")
    @classmethod
    def _zone(cls, value: str) -> str:
        return check_timezone(value)

    @field_validator("start", "end")
    @classmethod
    def _is_moment(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                pendulum.parse(value if len(value) <= 10 else value[:10] + "T" + value[11:])
            except ValueError:
                raise ValueError('give a date such as "2024-01-01", or with an hour "2024-01-01-13:00"') from None
        return value

    @model_validator(mode="after")
    def _offsets(self) -> Self:
        if self.hour_offset and self.type == "hourly":
            raise ValueError("hourly partitions have no `hour_offset`")
        if self.day_offset and self.type in ("hourly", "daily"):
            raise ValueError(f"{self.type} partitions have no `day_offset`")
        if self.type == "weekly" and self.day_offset > 6:
            raise ValueError("the `day_offset` of weekly partitions is 0 (Sunday) to 6")
        return self


class StaticPartitions(Settings):
    """One partition per key of a fixed list: tenants, regions, repositories."""

    type: Literal["static"]
    """`static`"""
    keys: Annotated[list[str], BeforeValidator(_keys)] = Field(min_length=1)
    """The keys."""

    @field_validator("keys")
    @classmethod
    def _distinct(cls, value: list[str]) -> list[str]:
        if len(set(value)) < len(value):
            raise ValueError("a key stands there twice")
        if not all(value):
            raise ValueError("a key is empty")
        return value


class DynamicPartitions(Settings):
    """Keys that are added and removed while Dagster runs, in the UI or by a sensor."""

    type: Literal["dynamic"]
    """`dynamic`"""
    name: str = Field(min_length=1)
    """Name of the set of keys; resources with the same name share it."""


_OneDimension = (
    Annotated[TimePartitions, Tag("time")]
    | Annotated[StaticPartitions, Tag("static")]
    | Annotated[DynamicPartitions, Tag("dynamic")]
)
_TYPES = ("hourly", "daily", "weekly", "monthly", "static", "dynamic", "multi")


def _tag(value: Any) -> str | None:
    name = value.get("type") if isinstance(value, dict) else getattr(value, "type", None)
    if name in ("hourly", "daily", "weekly", "monthly"):
        return "time"
    return name if name in _TYPES else None


class TwoDimensions(Settings):
    """One partition per pair of keys."""

    type: Literal["multi"]
    """`multi`"""
    dimensions: dict[
        str,
        Annotated[
            _OneDimension,
            Discriminator(
                _tag,
                custom_error_type="partitions_type",
                custom_error_message="`type` is one of hourly, daily, weekly, monthly, static, dynamic",
            ),
        ],
    ] = Field(min_length=2, max_length=2)
    """Two kinds of partitions by name; placeholders name them as `{partition.keys.<name>}`."""

    @field_validator("dimensions")
    @classmethod
    def _at_most_one_window(cls, value: dict[str, Any]) -> dict[str, Any]:
        if all(isinstance(part, TimePartitions) for part in value.values()):
            raise ValueError("one of the two dimensions may be a time window, not both")
        return value


PartitionsConfig = Annotated[
    _OneDimension | Annotated[TwoDimensions, Tag("multi")],
    Discriminator(
        _tag,
        custom_error_type="partitions_type",
        custom_error_message=f"`type` is one of {', '.join(_TYPES)}",
    ),
]
"""Partitions of a resource, in any of these kinds."""
