"""One resource: its endpoint or its rows, its tables, and how Dagster shows and runs it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, field_validator, model_validator

from dagster_restapi.config import jsonpath
from dagster_restapi.config.endpoint import EndpointConfig, endpoint_from
from dagster_restapi.config.functions import Function, import_function
from dagster_restapi.config.partitions import PartitionsConfig as PartitionsConfig
from dagster_restapi.config.partitions import check_timezone
from dagster_restapi.config.settings import Settings
from dagster_restapi.config.table import (
    ColumnHint,
    SchemaContract,
    WriteDisposition,
    columns_from,
    contract_from,
    disposition_from,
)
from dagster_restapi.config.values import Duration


class ProcessingStep(Settings):
    """One step that every record goes through before it is stored. Exactly one of the three is given."""

    filter: Function | None = None
    """Keeps a record where the function gives true."""
    map: Function | None = None
    """Takes what the function gives in place of the record."""
    yield_map: Function | None = None
    """Takes every record that the function yields in place of the one it gets."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if sum(step is not None for step in (self.filter, self.map, self.yield_map)) != 1:
            raise ValueError("a step is exactly one of `filter`, `map` and `yield_map`")
        return self


class PreviewConfig(Settings):
    """The first rows of a load as a table in the materialization's metadata. `false` or `off` switches it off."""

    rows: int = Field(default=5, ge=0, le=100)
    """How many rows are shown; 0 shows none."""
    hide: tuple[str, ...] = ()
    """Columns whose values are not shown."""


class AutomationConfig(Settings):
    """When Dagster materializes the asset by itself. A text alone is its `type`."""

    type: Literal["eager", "on_cron", "on_missing"]
    """`eager`: when a parent was. `on_cron`: on each tick, once the parents are there. `on_missing`: once."""
    cron: str | None = None
    """Cron schedule of `on_cron`: `0 6 * * *`."""
    timezone: str = "UTC"
    """Time zone of `cron`."""

    @field_validator("timezone")
    @classmethod
    def _zone(cls, value: str) -> str:
        return check_timezone(value)

    @model_validator(mode="after")
    def _cron_where_needed(self) -> Self:
        if (self.cron is not None) is not (self.type == "on_cron"):
            raise ValueError("`cron` belongs to the type on_cron, which needs it")
        return self


class FreshnessConfig(Settings):
    """How old the asset may become: by age, or by a deadline. A duration alone is its `fail_window`."""

    fail_window: Duration | None = None
    """Age from which the asset counts as stale: `24h`."""
    warn_window: Duration | None = None
    """Age from which it is shown with a warning; shorter than `fail_window`."""
    deadline_cron: str | None = None
    """Instead of an age: cron schedule of the moments by which it has to be new."""
    lower_bound_delta: Duration | None = None
    """How long before each deadline it may be materialized to count for it."""
    timezone: str = "UTC"
    """Time zone of `deadline_cron`."""

    @field_validator("timezone")
    @classmethod
    def _zone(cls, value: str) -> str:
        return check_timezone(value)

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.fail_window is None) is (self.deadline_cron is None):
            raise ValueError("give either `fail_window` or `deadline_cron`")
        if (self.deadline_cron is None) is not (self.lower_bound_delta is None):
            raise ValueError("`deadline_cron` and `lower_bound_delta` belong together")
        if self.warn_window is not None and (self.fail_window is None or self.warn_window >= self.fail_window):
            raise ValueError("`warn_window` is shorter than the `fail_window` that it belongs to")
        return self


def _one_or_many(value: Any) -> Any:
    if not isinstance(value, (str, list, tuple)):
        raise ValueError("must be a text or a list of texts")  # noqa: TRY004 - pydantic adds the path to a ValueError
    return [value] if isinstance(value, str) else value


def _preview(value: Any) -> Any:
    if value is False or value == "off":
        return {"rows": 0}
    if value is True or value == "on":
        return {}
    return {"rows": value} if isinstance(value, int) else value


def _automation(value: Any) -> Any:
    return {"type": value} if isinstance(value, str) else value


def _freshness(value: Any) -> Any:
    return value if value is None or isinstance(value, (Mapping, Settings)) else {"fail_window": value}


def _table_name(value: Any) -> Any:
    if callable(value):
        raise ValueError("a table name per row is not built: give one name, or make one resource per table")  # noqa: TRY004
    return value


def _tags(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: str(item) if isinstance(item, (int, float)) else item for key, item in value.items()}
    return value


Columns = Annotated[tuple[str, ...], BeforeValidator(_one_or_many, json_schema_input_type=str | list[str])]


class ResourceSettings(Settings):
    """What may be said of one resource, or in `resource_defaults` of all. A null takes a default back."""

    endpoint: (
        Annotated[EndpointConfig, BeforeValidator(endpoint_from, json_schema_input_type=str | EndpointConfig)] | None
    ) = None
    """The request and its answers. A text alone is the path."""
    write_disposition: (
        Annotated[
            WriteDisposition,
            BeforeValidator(
                disposition_from, json_schema_input_type=Literal["append", "replace", "merge"] | WriteDisposition
            ),
        ]
        | None
    ) = None
    """How the rows of a load replace older ones: `append` (default), `replace`, `merge`."""
    primary_key: Columns | None = None
    """The column, or columns, that make a row the same row in a later load."""
    merge_key: Columns | None = None
    """The column, or columns, by which a merge finds the rows that it takes away (dlt)."""
    columns: (
        Annotated[
            dict[str, ColumnHint],
            BeforeValidator(columns_from, json_schema_input_type=dict[str, ColumnHint] | list[dict[str, Any]]),
        ]
        | None
    ) = None
    """Hints by column: a mapping, or a list of mappings with a `name` each."""
    schema_contract: (
        Annotated[
            SchemaContract,
            BeforeValidator(
                contract_from,
                json_schema_input_type=Literal["evolve", "freeze", "discard_row", "discard_value"] | SchemaContract,
            ),
        ]
        | None
    ) = None
    """What a load may change in tables that exist. Default: `evolve`."""
    table_name: Annotated[str, BeforeValidator(_table_name), Field(min_length=1)] | None = None
    """Name of the root table and of the asset. Default: the resource's name."""
    max_table_nesting: int | None = Field(default=None, ge=0)
    """How many levels of lists become child tables; what lies deeper is JSON. Default: all."""
    nested: Literal["tables", "native", "json"] | None = None
    """What becomes of nested data: child tables (default), DuckDB's STRUCT and LIST, or JSON."""
    naming: Literal["snake_case", "as_is"] | None = None
    """Names of tables and columns: snake_case (default), or as the API spells them."""
    selected: bool | None = None
    """`false`: fetched for its children only; no table and no asset of its own."""
    processing_steps: list[ProcessingStep] | None = None
    """`filter`, `map` and `yield_map`, in the order listed, before the cursor's window is applied."""
    include_from_parent: Annotated[list[str], BeforeValidator(_one_or_many)] | None = None
    """Fields of the parent's row that are copied into each record as `_<parent>_<field>`."""
    parallelized: bool | None = None
    """dlt's switch: `false` is `concurrency: 1`."""
    concurrency: int | None = Field(default=None, ge=1, le=256)
    """How many parents, or pages whose place is known, are fetched at once. Default: 8."""
    on_error: Literal["fail", "skip"] | None = None
    """What a parent row whose request fails does: ends the load (default), or is listed and tried again next time."""
    allow_empty: bool | None = None
    """Whether a `replace` with an empty answer empties the table. Default: the table stays."""
    missing_data: Literal["fail", "empty"] | None = None
    """The endpoint's `missing_data`, where the endpoint itself does not say."""
    on_short_total: Literal["warn", "fail", "ignore"] | None = None
    """The endpoint's `on_short_total`, where the endpoint itself does not say."""
    partitions: PartitionsConfig | None = None
    """How the resource is cut into partitions: `{type: daily, start: "2024-01-01"}`, `{type: static, keys: [eu, us]}`,
    `{type: dynamic, name: tenants}`, or `{type: multi, dimensions: {…}}`."""
    description: str | None = None
    """What the asset holds, shown in Dagster."""
    group_name: str | None = None
    """The asset's group in Dagster; goes over the factory's."""
    owners: Annotated[list[str], BeforeValidator(_one_or_many)] | None = None
    """Owners in Dagster: e-mail addresses, or `team:<name>`."""
    tags: Annotated[dict[str, str], BeforeValidator(_tags)] | None = None
    """Tags of the asset in Dagster."""
    automation: (
        Annotated[
            AutomationConfig,
            BeforeValidator(_automation, json_schema_input_type=Literal["eager", "on_missing"] | AutomationConfig),
        ]
        | None
    ) = None
    """When Dagster materializes the asset by itself: `eager`, `on_missing`, `{type: on_cron, cron: "0 6 * * *"}`."""
    freshness: (
        Annotated[FreshnessConfig, BeforeValidator(_freshness, json_schema_input_type=str | FreshnessConfig)] | None
    ) = None
    """How old the asset may become: `24h`, or `{fail_window: 24h, warn_window: 12h}`."""
    preview: (
        Annotated[PreviewConfig, BeforeValidator(_preview, json_schema_input_type=bool | int | PreviewConfig)] | None
    ) = None
    """The rows shown in a materialization's metadata: `off`, a number, or `{rows: 5, hide: [email]}`."""

    @field_validator("include_from_parent")
    @classmethod
    def _are_paths(cls, value: list[str] | None) -> list[str] | None:
        for path in value or ():
            jsonpath.select(path)
        return value

    @field_validator("group_name")
    @classmethod
    def _group(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"[A-Za-z0-9_]+", value):
            raise ValueError("a group's name is made of letters, digits and underscores")
        return value


class ResourceDefaults(ResourceSettings):
    """What holds for every resource that does not say otherwise: `endpoint.params`, `endpoint.json` and `columns` are
    merged one level deep, everything else is taken whole."""


def _rows(value: Any) -> Any:
    if isinstance(value, str) or (callable(value) and not isinstance(value, type)):
        return import_function(value)
    if isinstance(value, Iterator):
        raise ValueError("a generator can be read only once: give the function that makes it")  # noqa: TRY004
    if isinstance(value, (list, tuple)):
        return list(value)
    raise ValueError("give a list of rows, a function that yields rows, or its import path")


class ResourceConfig(ResourceSettings):
    """One resource: an endpoint, or rows that Python gives. A text alone is its name and its path."""

    name: str = Field(min_length=1)
    """Name of the resource, of its asset, and without `table_name` of its table."""
    rows: Annotated[
        Any,
        BeforeValidator(_rows),
        WithJsonSchema({"anyOf": [{"type": "array", "items": {}}, {"type": "string"}]}),
    ] = None
    """Instead of an endpoint: a list of rows, or a function (in YAML its import path) that yields rows."""

    @field_validator("name")
    @classmethod
    def _nameable(cls, value: str) -> str:
        if value != value.strip() or not re.search(r"\w", value):
            raise ValueError("a name has at least one letter or digit, and no spaces around it")
        return value

    @model_validator(mode="after")
    def _endpoint_or_rows(self) -> Self:
        if self.rows is not None and self.endpoint is not None:
            raise ValueError("a resource has `rows` or an `endpoint`, not both")
        return self


def resource_from(value: Any) -> Any:
    """A resource in any spelling: a text is its name and path, a function gives its rows.

    Raises:
        ValueError: It is an object of dlt's, or a function without a name.
    """
    if isinstance(value, str):
        return {"name": value}
    if isinstance(value, (Mapping, Settings)):
        return value
    if type(value).__module__.split(".")[0] == "dlt":
        raise ValueError(
            'a dlt resource object keeps its own state: give its function as {"name": …, "rows": function}, '
            "or write its endpoint here"
        )
    if callable(value) and not isinstance(value, type):
        name = getattr(value, "__name__", "")
        if not name.isidentifier():
            raise ValueError('a function without a name is written {"name": …, "rows": function}')
        return {"name": name, "rows": value}
    raise ValueError("a resource is a name, a mapping, or a function that yields rows")
