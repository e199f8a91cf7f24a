"""What the assets and checks of a source are made of: its plans, and what Dagster is told of each selected resource."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import dagster as dg

from dagster_restapi.assets.partitions import partitions_definition
from dagster_restapi.assets.translator import RestApiTranslator, RestApiTranslatorData
from dagster_restapi.config.plan import plan as make_plans
from dagster_restapi.config.source import RestApiConfig
from dagster_restapi.model import Plan

AnyConfig = RestApiConfig | Mapping[str, Any] | str | Path
"""A configuration: parsed, a dict as dlt takes it, or the path of a YAML file."""


@dataclass(frozen=True, slots=True)
class Selected:
    """A resource with an asset: its plan, its spec, and its partitions."""

    plan: Plan
    spec: dg.AssetSpec
    partitions: dg.PartitionsDefinition[Any] | None


@dataclass(frozen=True, slots=True)
class Source:
    """One API.

    Attributes:
        plans: Of all resources, by name.
        selected: Those of them that have an asset.
    """

    config: RestApiConfig
    plans: Mapping[str, Plan]
    selected: Mapping[str, Selected]

    @classmethod
    def of(
        cls,
        config: AnyConfig,
        *,
        key_prefix: str | Sequence[str] | None,
        group_name: str | None = None,
        partitions_def: dg.PartitionsDefinition[Any] | None,
        translator: RestApiTranslator | None,
    ) -> Self:
        """The arguments are those of `build_rest_api_assets`.

        Raises:
            ConfigError: The configuration cannot mean anything, or asks for what is not built.
        """
        parsed = RestApiConfig.parse(config)
        plans = make_plans(parsed, partitioned=partitions_def is not None)
        prefix = (key_prefix,) if isinstance(key_prefix, str) else tuple(key_prefix or ())
        translate = (translator or RestApiTranslator()).get_asset_spec
        selected = {
            name: Selected(
                plan,
                translate(RestApiTranslatorData(plan, prefix, group_name)),
                partitions_definition(plan.partitions) if plan.partitions else partitions_def,
            )
            for name, plan in plans.items()
            if plan.selected
        }
        return cls(parsed, plans, selected)
