"""From a configuration to assets and definitions: one asset per selected resource, the parent a dependency."""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from inspect import Parameter, Signature
from typing import Any
from urllib.parse import urlsplit

import dagster as dg
from dagster import AssetExecutionContext

from dagster_restapi.assets.checks import checks_of
from dagster_restapi.assets.code_reference import code_references
from dagster_restapi.assets.io_manager import DuckDBRestApiIOManager, ParentTable, io_manager_of, schema_of
from dagster_restapi.assets.partitions import check_pair, default_backfill_policy
from dagster_restapi.assets.run_config import RestApiRunConfig
from dagster_restapi.assets.schedules import build_schedules
from dagster_restapi.assets.sensors import build_sensors_of
from dagster_restapi.assets.source import AnyConfig, Source
from dagster_restapi.assets.step import Step
from dagster_restapi.assets.termination import ended_by_termination, failed_by_own_errors
from dagster_restapi.assets.translator import RestApiTranslator, RestApiTranslatorData
from dagster_restapi.config.source import RestApiConfig
from dagster_restapi.errors import ConfigError
from dagster_restapi.model import Plan

DEFAULT_RETRY = dg.RetryPolicy(max_retries=3, delay=1, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)
"""Requests have retries of their own; this one covers what kills a step: it goes on at the page where it stopped."""


def build_rest_api_assets(
    config: AnyConfig,
    *,
    key_prefix: str | Sequence[str] | None = None,
    group_name: str | None = None,
    partitions_def: dg.PartitionsDefinition[Any] | None = None,
    backfill_policy: dg.BackfillPolicy | None = None,
    translator: RestApiTranslator | None = None,
    io_manager_key: str = "io_manager",
    retry_policy: dg.RetryPolicy | None = DEFAULT_RETRY,
    op_tags: Mapping[str, Any] | None = None,
    pool: str | None = None,
) -> list[dg.AssetsDefinition]:
    """One asset for each resource of a REST API that is not `selected: False`.

    Args:
        config: The API and its resources, in the form of dlt's `rest_api` source, parsed, or the path of a YAML file.
        key_prefix: Parts before the resource's name in the asset keys. The last one is also the tables' schema, unless
            the IO manager has one.
        group_name: The asset group, where a resource names none.
        partitions_def: Partitions of every resource that has none in its configuration.
        backfill_policy: By default one run for a range of time windows, and one for each key of anything else.
        translator: Changes keys, groups, tags, owners.
        io_manager_key: Resource key of a `DuckDBRestApiIOManager`.
        retry_policy: For failed steps, killed ones included. Faults that will not pass are not tried again.
        op_tags: Tags of every op, for run launchers and executors.
        pool: Dagster pool of every op: limits steps at once over all machines.

    Raises:
        ConfigError: The configuration cannot mean anything, or asks for what is not built.

    Example:
        assets = build_rest_api_assets(
            {
                "client": {"base_url": "https://api.github.com/repos/dagster-io/dagster/"},
                "resources": ["issues", {"name": "comments", "endpoint": "issues/{resources.issues.number}/comments"}],
            },
            key_prefix="github",
        )
    """
    source = Source.of(
        config, key_prefix=key_prefix, group_name=group_name, partitions_def=partitions_def, translator=translator
    )
    return _assets_of(
        source,
        backfill_policy=backfill_policy,
        io_manager_key=io_manager_key,
        retry_policy=retry_policy,
        op_tags=op_tags,
        pool=pool,
    )


def _assets_of(
    source: Source,
    *,
    backfill_policy: dg.BackfillPolicy | None,
    io_manager_key: str,
    retry_policy: dg.RetryPolicy | None,
    op_tags: Mapping[str, Any] | None,
    pool: str | None,
) -> list[dg.AssetsDefinition]:
    if not source.selected:
        raise ConfigError("no resource is selected, so there is nothing to build an asset of")
    options = {
        "io_manager_key": io_manager_key,
        "required_resource_keys": {io_manager_key},
        "retry_policy": retry_policy,
        "op_tags": op_tags,
        "pool": pool,
        "config_schema": RestApiRunConfig.to_config_schema(),  # once: for an annotation Dagster makes it for each asset
    }
    with warnings.catch_warnings():
        # of backfill policies and code references: this library's choice, not the user's
        warnings.simplefilter("ignore", dg.BetaWarning)
        written = code_references(source.config)
        return [_asset(name, source, backfill_policy, options, written(name)) for name in source.selected]


def _asset(
    name: str,
    source: Source,
    backfills: dg.BackfillPolicy | None,
    options: Mapping[str, Any],
    written: Mapping[str, Any],
) -> dg.AssetsDefinition:
    plans, selected = source.plans, source.selected
    plan, spec, partitions = selected[name].plan, selected[name].spec, selected[name].partitions
    io_manager_key = options["io_manager_key"]
    parent = stored_parent(plan, plans)
    of_parent = selected[parent].partitions if parent else None
    if parent:
        check_pair(name, parent, partitions, of_parent)

    def compute(context: AssetExecutionContext, **parents: ParentTable) -> Iterator[dg.MaterializeResult[Any]]:
        with ended_by_termination(context), failed_by_own_errors(context):
            config = RestApiRunConfig.of(context.op_execution_context.op_config, where=spec.key.to_user_string())
            io = io_manager_of(context.resources, io_manager_key, f"asset {spec.key.to_user_string()}")
            tables = {parent: parents["parent"]} if parent else {}
            by_partition = partitions is not None and of_parent is not None
            yield from Step(context, config, plan, plans, io, tables, by_partition).run()

    compute.__signature__ = _SIGNATURE  # type: ignore[attr-defined]
    parent_key = selected[parent].spec.key if parent else None
    build: Callable[[Callable[..., Any]], dg.AssetsDefinition] = dg.asset(
        key=spec.key,
        ins={"parent": dg.AssetIn(key=parent_key, dagster_type=_PARENT)} if parent_key else {},
        deps=[dep for dep in spec.deps if dep.asset_key != parent_key],
        description=spec.description,
        metadata={**written, **spec.metadata},
        group_name=spec.group_name,
        owners=list(spec.owners),
        tags=spec.tags,
        code_version=spec.code_version,
        automation_condition=spec.automation_condition,
        freshness_policy=spec.freshness_policy,
        partitions_def=partitions,
        backfill_policy=(backfills or default_backfill_policy(partitions)) if partitions else None,
        **options,
    )
    return build(compute)


_SIGNATURE = Signature(
    [Parameter("context", Parameter.POSITIONAL_OR_KEYWORD), Parameter("parents", Parameter.VAR_KEYWORD)]
)
"""Of every asset's function. Dagster asks seventeen times for each; to find it out takes a tenth of all its work."""

_PARENT = dg.DagsterType(
    name="ParentTable", type_check_fn=lambda _, value: isinstance(value, ParentTable), typing_type=ParentTable
)


def stored_parent(plan: Plan, plans: Mapping[str, Plan]) -> str | None:
    """The resource whose table a step reads: the parent, or the nearest one with a table above it."""
    while plan.parent is not None:
        if plan.parent.stored:
            return plan.parent.resource
        plan = plans[plan.parent.resource]
    return None


def build_rest_api_definitions(
    config: AnyConfig,
    *,
    io_manager: DuckDBRestApiIOManager | None = None,
    checks: bool = True,
    sensors: bool | Sequence[str] = False,
    schedules: str | Mapping[str, str] | None = None,
    schedule_timezone: str = "UTC",
    key_prefix: str | Sequence[str] | None = None,
    group_name: str | None = None,
    partitions_def: dg.PartitionsDefinition[Any] | None = None,
    backfill_policy: dg.BackfillPolicy | None = None,
    translator: RestApiTranslator | None = None,
    io_manager_key: str = "io_manager",
    retry_policy: dg.RetryPolicy | None = DEFAULT_RETRY,
    op_tags: Mapping[str, Any] | None = None,
    pool: str | None = None,
) -> dg.Definitions:
    """Everything that one API needs in a code location. Merge it with your own by `Definitions.merge`.

    Args:
        io_manager: Where tables are kept. None leaves the resource out, for a location that has one under
            `io_manager_key` already: `Definitions.merge` refuses two resources with one key.
        checks: Whether the checks of `build_rest_api_checks` are there.
        sensors: Resources with a sensor of `build_rest_api_sensor`, stopped until somebody starts it; True: all that
            one request can poll.
        schedules: A cron schedule for all assets, or one for each of the named resources: `"0 6 * * *"`,
            `{"users": "0 6 * * *"}`. Assets that tick together and have the same partitions get a job. Time windows are
            loaded once they have ended, so that it ticks once for each; of other partitions every key gets a run.
        schedule_timezone: Time zone of `schedules`; time windows have their own.

    The other arguments are those of `build_rest_api_assets`.
    """
    translator = _WithTableName(translator or RestApiTranslator(), io_manager) if io_manager else translator
    source = Source.of(
        config, key_prefix=key_prefix, group_name=group_name, partitions_def=partitions_def, translator=translator
    )
    assets = _assets_of(
        source,
        backfill_policy=backfill_policy,
        io_manager_key=io_manager_key,
        retry_policy=retry_policy,
        op_tags=op_tags,
        pool=pool,
    )
    found = checks_of(source, io_manager_key=io_manager_key, op_tags=op_tags, pool=pool) if checks else []
    by_name = dict(zip(source.selected, assets, strict=True)) if schedules is not None else {}
    return dg.Definitions(
        assets=assets,
        asset_checks=found,
        sensors=build_sensors_of(
            source.config, sensors, partitions_def=partitions_def, key_prefix=key_prefix, translator=translator
        ),
        schedules=build_schedules(
            by_name, schedules, name=_source_name(source.config, key_prefix), timezone=schedule_timezone
        ),
        resources={io_manager_key: io_manager} if io_manager else {},
    )


def _source_name(config: RestApiConfig, key_prefix: str | Sequence[str] | None) -> str:
    """What jobs of the source are called: by its prefix, else by the API's host."""
    parts = [key_prefix] if isinstance(key_prefix, str) else list(key_prefix or ())
    return "_".join(parts) or urlsplit(config.client.base_url).hostname or "restapi"


class _WithTableName(RestApiTranslator):
    """Says on the definition where the rows are, which is known as soon as the IO manager is."""

    def __init__(self, translator: RestApiTranslator, io_manager: DuckDBRestApiIOManager) -> None:
        self._translator, self._schema = translator, io_manager.schema_

    def get_asset_spec(self, data: RestApiTranslatorData) -> dg.AssetSpec:
        spec = self._translator.get_asset_spec(data)
        if isinstance(self._schema, dg.EnvVar):  # which a run may find at another value
            return spec
        schema = schema_of(spec.key, spec.metadata, self._schema)
        return spec.merge_attributes(metadata={"dagster/table_name": f"{schema}.{data.plan.table.table}"})
