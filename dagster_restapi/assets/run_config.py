"""What a person may ask of one run in the launchpad."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, Self

import dagster as dg
from pydantic import Field, ValidationError

from dagster_restapi.errors import ConfigError


class Parents(Enum):
    """Which rows of the parent a child asks for. Dagster's launchpad takes the members' names."""

    default = "default"
    all = "all"
    changed = "changed"


class RestApiRunConfig(dg.Config):
    """The run config of every asset that this library builds. The defaults are an ordinary run."""

    full_refresh: bool = Field(
        default=False,
        description="Forget the cursor, fetch everything again, and replace what the table holds.",
    )
    start_value: str | None = Field(
        default=None,
        description="Load from this cursor value on, whatever was loaded before: a date-time, a number or a text, "
        "written as text. The stored cursor stays where it is.",
    )
    end_value: str | None = Field(
        default=None,
        description="Load up to this cursor value, exclusive unless `range_end` says otherwise. The stored cursor "
        "stays where it is.",
    )
    max_pages: int | None = Field(
        default=None,
        ge=1,
        description="Fetch at most so many pages of each walk, to try things out. The cursor does not move.",
    )
    parents: Parents = Field(
        default=Parents.default,
        description="For a resource with a parent: `all` rows of the parent, or only those `changed` since this "
        "resource's last load. The default is `changed` where the parent is incremental, else `all`.",
    )

    @classmethod
    def of(cls, given: Mapping[str, Any], *, where: str) -> Self:
        """The run config of a step, checked beyond what Dagster's launchpad checks.

        Args:
            where: The asset, for the error.

        Raises:
            ConfigError: A value is not what it must be.
        """
        try:
            return cls(**given)
        except ValidationError as error:
            faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
        raise ConfigError("; ".join(faults), where=f"run config of {where}")
