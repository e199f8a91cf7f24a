"""`resource_defaults` and one resource, merged as dlt does it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from dagster_restapi.config.endpoint import EndpointConfig
from dagster_restapi.config.resource import ResourceConfig, ResourceDefaults
from dagster_restapi.config.settings import Settings
from dagster_restapi.config.table import ColumnHint

Model = TypeVar("Model", bound=Settings)

# These speak of what an API answers: rows of Python's own take none of them.
_OF_ANSWERS = frozenset(
    {
        "endpoint",
        "write_disposition",
        "primary_key",
        "merge_key",
        "columns",
        "schema_contract",
        "selected",
        "processing_steps",
        "include_from_parent",
        "partitions",
    }
)


def merge(resource: ResourceConfig, defaults: ResourceDefaults | None) -> ResourceConfig:
    """The resource with every setting filled in that it leaves open.

    What the resource sets itself is kept, an explicit null too. `endpoint` is merged by its settings, and in it
    `params` and `json` by their keys; `columns` by column and hint. Everything else is taken whole. Rows of Python's
    own take only what does not speak of the API's answers.
    """
    if defaults is None:
        return resource
    if resource.rows is not None:
        return _filled(resource, defaults, skip=_OF_ANSWERS)
    update: dict[str, Any] = {}
    if resource.endpoint and defaults.endpoint:
        update["endpoint"] = _endpoint(resource.endpoint, defaults.endpoint)
    if resource.columns and defaults.columns:
        update["columns"] = _columns(resource.columns, defaults.columns)
    return _filled(resource, defaults).model_copy(update=update)


def _filled(own: Model, defaults: Settings, skip: frozenset[str] = frozenset()) -> Model:
    open_fields = defaults.model_fields_set - own.model_fields_set - skip
    return own.model_copy(update={name: getattr(defaults, name) for name in open_fields})


def _endpoint(own: EndpointConfig, defaults: EndpointConfig) -> EndpointConfig:
    update: dict[str, Any] = {}
    for name in ("params", "json_body"):
        mine, general = getattr(own, name), getattr(defaults, name)
        if isinstance(mine, Mapping) and isinstance(general, Mapping):
            update[name] = {**general, **mine}
    return _filled(own, defaults).model_copy(update=update)


def _columns(own: Mapping[str, ColumnHint], defaults: Mapping[str, ColumnHint]) -> dict[str, ColumnHint]:
    merged = dict(defaults)
    for name, hint in own.items():
        merged[name] = _filled(hint, defaults[name]) if name in defaults else hint
    return merged
