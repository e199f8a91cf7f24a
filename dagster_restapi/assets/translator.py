"""The one place where a resource gets its asset key, group, tags, owners and definition metadata."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from dagster_restapi.assets.automation import automation_condition, freshness_policy
from dagster_restapi.http.origin import safe_url
from dagster_restapi.model import Plan
from dagster_restapi.secrets import redact

PREFIX = "dagster_restapi"


@dataclass(frozen=True)
class RestApiTranslatorData:
    """What a translator may look at.

    Attributes:
        plan: The resource: name, endpoint, keys, disposition, parent, and the rest of its configuration.
        key_prefix: As given to the factory.
        group_name: As given to the factory; the resource's own wins.
    """

    plan: Plan
    key_prefix: Sequence[str] = ()
    group_name: str | None = None

    @property
    def resource_name(self) -> str:
        """The resource's name in the configuration."""
        return self.plan.name


class RestApiTranslator:
    """Override `get_asset_spec` to change what an asset is called and how it is shown.

    Example:
        class Ours(RestApiTranslator):
            def get_asset_spec(self, data):
                return super().get_asset_spec(data).replace_attributes(owners=["team:ingestion"])
    """

    def get_asset_spec(self, data: RestApiTranslatorData) -> dg.AssetSpec:
        """The spec of one resource's asset. Dependencies are the factory's: it adds the parent's key."""
        plan = data.plan
        return dg.AssetSpec(
            key=dg.AssetKey([*data.key_prefix, plan.table.table]),
            description=plan.description or _description(plan),
            group_name=plan.group_name or data.group_name,
            owners=list(plan.owners),
            tags=dict(plan.tags),
            kinds={"restapi", "duckdb"},
            code_version=plan.fingerprint[:16],
            metadata=definition_metadata(plan),
            automation_condition=automation_condition(plan.automation, plan.name),
            freshness_policy=freshness_policy(plan.freshness, plan.name),
        )


def _description(plan: Plan) -> str:
    if plan.endpoint is None:
        return f"The rows of {plan.name}, given in Python."
    return redact(f"`{plan.endpoint.method} {plan.endpoint.path}` of {plan.client.base_url or 'the API'}")


def definition_metadata(plan: Plan) -> Mapping[str, Any]:
    """What the resource will do, as far as it is known before any run. Templates are shown as they are written."""
    table = plan.table
    metadata: dict[str, Any] = {f"{PREFIX}/resource": plan.name, f"{PREFIX}/disposition": table.disposition}
    if table.disposition == "merge":
        metadata[f"{PREFIX}/strategy"] = table.strategy
    if table.primary_key:
        metadata[f"{PREFIX}/primary_key"] = ", ".join(table.primary_key)
    if plan.endpoint is not None:
        metadata[f"{PREFIX}/endpoint"] = redact(plan.endpoint.path or "")
        metadata[f"{PREFIX}/method"] = plan.endpoint.method
        metadata[f"{PREFIX}/url"] = _link(_url(plan.client.base_url, plan.endpoint.path or ""))
    if plan.incremental is not None:
        metadata[f"{PREFIX}/cursor_path"] = plan.incremental.cursor_path
    if plan.parent is not None:
        metadata[f"{PREFIX}/parent"] = plan.parent.resource
    return metadata


def _link(url: str) -> dg.MetadataValue[Any]:
    """A link to the API; a text where placeholders leave open where it would lead.

    Not `dagster/uri`: Dagster shows that as the place where the table is stored.
    """
    return dg.MetadataValue.text(url) if "{" in url else dg.MetadataValue.url(url)


def _url(base_url: str, path: str) -> str:
    """The endpoint's address as it is written, placeholders included; without user and password."""
    whole = (
        path if path.startswith(("http:", "https:")) or not base_url else f"{base_url.rstrip('/')}/{path.lstrip('/')}"
    )
    return redact(safe_url(whole))
