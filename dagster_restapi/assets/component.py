"""A configuration in a project's `defs.yaml`: `type: dagster_restapi.RestApiComponent`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Self

import dagster as dg
from dagster.components.core.defs_module import ComponentPath
from dagster.components.resolved.base import resolve_fields
from dagster.components.resolved.context import ResolutionContext
from dagster.components.scaffold.scaffold import scaffold_with
from dagster.components.utils.translation import TranslationFn, TranslationFnResolver
from dagster_shared.yaml_utils.source_position import SourcePositionTree
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, SkipValidation

from dagster_restapi.assets.component_schema import pointed
from dagster_restapi.assets.component_template import render
from dagster_restapi.assets.factory import build_rest_api_definitions
from dagster_restapi.assets.io_manager import DuckDBRestApiIOManager
from dagster_restapi.assets.scaffolder import RestApiScaffolder
from dagster_restapi.assets.translator import RestApiTranslator, RestApiTranslatorData
from dagster_restapi.config.mistakes import ConfigMistakes, ConfigPath, Mistake, Origin, refuse
from dagster_restapi.config.source import RestApiConfig

_CONFIG = ("client", "resource_defaults", "resources")


def _part(name: str) -> Any:
    """A part of the configuration: checked line by line in YAML, and as a whole once its templates are filled in."""
    field = RestApiConfig.model_fields[name]
    return dg.Resolver(
        render,
        model_field_type=SkipValidation[field.rebuild_annotation()],  # type: ignore[misc]
        description=field.description,
        inject_before_resolve=False,
    )


class IoManagerOptions(dg.Model, dg.Resolvable):
    """Where the tables are kept: the settings of `DuckDBRestApiIOManager`."""

    database: str
    """The DuckDB file, best below `{{ context.project_root }}`."""
    schema_: str | None = Field(default=None, alias="schema")
    """Schema of the tables. Default: the last part of the assets' key prefix."""
    lock_timeout: float | None = None
    """Seconds to wait while another process has the database file open."""
    memory_limit: str | None = None
    """DuckDB's memory limit for each connection. Default: what a load needs."""
    spool_dir: str | None = None
    """Where records lie until they are loaded."""
    resume_within: float | None = None
    """Seconds for which another run goes on from an interrupted one's records."""
    connection_config: dict[str, Any] | None = None
    """More DuckDB settings."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


@scaffold_with(RestApiScaffolder)
class RestApiComponent(dg.Component, dg.Model, dg.Resolvable):
    """A REST API as assets in DuckDB: one per resource, parents as dependencies.

    Takes the configuration of dlt's `rest_api` source as it is, and this library's own settings. Secrets are written
    `"{{ env.TOKEN }}"` or `"{env.TOKEN}"`: in what is sent to the API both stay names until a request is made.
    """

    model_config = ConfigDict(
        extra="forbid", arbitrary_types_allowed=True, use_attribute_docstrings=True, hide_input_in_errors=True
    )

    client: Annotated[Any, _part("client")] = None
    resource_defaults: Annotated[Any, _part("resource_defaults")] = None
    resources: Annotated[Any, _part("resources")] = ()
    key_prefix: str | list[str] | None = None
    """Parts before the resources' names in the asset keys."""
    group_name: str | None = None
    """The asset group, where a resource names none."""
    io_manager: IoManagerOptions | None = None
    """Where the tables are kept. Without it, the project's own resource `io_manager_key` is used."""
    io_manager_key: str | None = None
    """Resource key of the IO manager. Default: `io_manager`, or with `io_manager` one named after this component."""
    checks: bool = True
    """Whether every asset has checks: its key, cursor, schema, row count, and rows without their parent."""
    sensors: bool | list[str] = False
    """Resources with a sensor that polls their endpoint; `true`: all that one request can poll."""
    schedules: str | dict[str, str] | None = None
    """A cron schedule for all assets, or one for each of the named resources: `"0 6 * * *"`."""
    schedule_timezone: str = "UTC"
    """Time zone of `schedules`; time windows have their own."""
    pool: str | None = None
    """Dagster pool of every step, which limits how many run at once."""
    op_tags: dict[str, Any] | None = None
    """Tags of every step, for run launchers and executors."""
    translation: (
        Annotated[
            TranslationFn[RestApiTranslatorData],
            TranslationFnResolver[RestApiTranslatorData](
                lambda data: {"data": data, "resource": data.resource_name, "plan": data.plan}
            ),
        ]
        | None
    ) = None
    """Changes to every asset: `key`, `group_name`, `tags`, `owners`, `metadata`, … In it, `{{ resource }}` is the
    resource's name, `{{ spec }}` the asset as it would be, `{{ plan }}` all that the configuration says of it."""

    _config: RestApiConfig = PrivateAttr()

    def __init__(self, **data: Any) -> None:
        config = RestApiConfig(**{name: data[name] for name in _CONFIG if data.get(name) is not None})
        super().__init__(**{**data, **{name: getattr(config, name) for name in _CONFIG}})
        self._config = config

    @property
    def config(self) -> RestApiConfig:
        """The configuration, with the lines of the YAML file that it comes from."""
        return self._config

    # ---- from YAML ---------------------------------------------------------------------------------------------------
    @classmethod
    def model(cls) -> type[BaseModel]:
        """What may stand under `attributes`."""
        return _attributes(cls)

    @classmethod
    def resolve_from_model(cls, context: ResolutionContext, model: BaseModel) -> Self:
        """The component with every template filled in.

        Raises:
            ConfigError: The configuration is wrong; each mistake is named with its line.
        """
        fields = dict(resolve_fields(model, cls, context))
        given = {name: fields[name] for name in _CONFIG if fields.get(name) is not None}
        origin = _origin(context.source_position_tree, tuple(context.path))
        mistakes: tuple[Mistake, ...] = ()
        try:
            made = cls(**fields)
        except ConfigMistakes as error:
            mistakes = error.mistakes
        refuse(mistakes, given, origin)
        made._config._origin = origin
        return made

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        """What Dagster lists of this component type."""
        return dg.ComponentTypeSpec(
            tags=["rest", "api", "duckdb", "ingestion"], produces=["asset", "asset_check", "sensor", "resource"]
        )

    # ---- to definitions ----------------------------------------------------------------------------------------------
    def get_asset_spec(self, data: RestApiTranslatorData) -> dg.AssetSpec:
        """The spec of one resource's asset. Override it to change more than `translation` can."""
        spec = RestApiTranslator().get_asset_spec(data)
        return self.translation(spec, data) if self.translation else spec

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """The assets, and the IO manager where it is configured here."""
        options = self.io_manager
        key = self.io_manager_key or (f"{_name(context)}_io_manager" if options else "io_manager")
        return build_rest_api_definitions(
            self._config,
            io_manager=DuckDBRestApiIOManager(**options.model_dump(exclude_none=True, by_alias=True))
            if options
            else None,
            io_manager_key=key,
            checks=self.checks,
            sensors=self.sensors,
            schedules=self.schedules,
            schedule_timezone=self.schedule_timezone,
            key_prefix=self.key_prefix,
            group_name=self.group_name,
            translator=_ComponentTranslator(self.get_asset_spec),
            pool=self.pool,
            op_tags=self.op_tags,
        )


class _ComponentTranslator(RestApiTranslator):
    """Asks the component."""

    def __init__(self, get_asset_spec: Callable[[RestApiTranslatorData], dg.AssetSpec]) -> None:
        self._get_asset_spec = get_asset_spec

    def get_asset_spec(self, data: RestApiTranslatorData) -> dg.AssetSpec:
        return self._get_asset_spec(data)


@cache
def _attributes(component: type[RestApiComponent]) -> type[BaseModel]:
    """The model that Dagster derives of a component, with a schema that names the wrong line."""
    derived = super(RestApiComponent, component).model()

    class Attributes(derived):  # type: ignore[misc, valid-type]
        @classmethod
        def model_json_schema(cls, *args: Any, **options: Any) -> dict[str, Any]:
            schema = super().model_json_schema(*args, **options)
            return pointed(schema, injected=(*_CONFIG, "io_manager"))

        def model_dump(self, **options: Any) -> dict[str, Any]:
            """Without pydantic's warnings that the configuration is not validated yet: they quote it."""
            return dict(super().model_dump(**{"warnings": "none", **options}))

    Attributes.__name__ = Attributes.__qualname__ = derived.__name__
    return Attributes


def _origin(tree: SourcePositionTree | None, prefix: Sequence[Any]) -> Origin | None:
    """The file that a component comes from, and the lines of its configuration."""
    if tree is None or tree.position.filename == "<string>":
        return None

    def walk(node: SourcePositionTree, path: ConfigPath) -> Iterator[tuple[ConfigPath, int]]:
        yield path, node.position.start.line
        for key, child in node.children.items():
            yield from walk(child, (*path, key))

    for key in prefix:
        tree = tree.children[key]
    return Origin(Path(tree.position.filename), dict(walk(tree, ())))


def _name(context: dg.ComponentLoadContext) -> str:
    """Where the component stands below the project's definitions, as a resource key can spell it."""
    place = context.component_loc
    if not isinstance(place, ComponentPath):
        return "restapi"
    path = place.file_path.relative_to(context.defs_module_path)
    parts = [part for part in path.with_suffix("").parts if part not in ("defs", "component")]
    if place.instance_key not in (None, 0, "load"):
        parts.append(str(place.instance_key))
    return re.sub(r"\W+", "_", "_".join(parts)) or "restapi"
