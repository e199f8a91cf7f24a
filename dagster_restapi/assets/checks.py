"""Asset checks of every resource: keys, cursor, schema, row count, orphans. Computed in DuckDB, no row is loaded."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from inspect import Parameter, Signature
from typing import Any

import dagster as dg
from dagster import AssetRecordsFilter, TimeWindowPartitionsDefinition

from dagster_restapi.assets.io_manager import RestApiDbIOManager, io_manager_of
from dagster_restapi.assets.source import AnyConfig, Source
from dagster_restapi.assets.translator import RestApiTranslator
from dagster_restapi.config.jsonpath import is_plain
from dagster_restapi.model import Column, Plan, TablePlan
from dagster_restapi.tables.findings import Findings, OrphanFinding, findings

_ROWS, _PARTITION_ROWS, _SCHEMA = "dagster/row_count", "dagster/partition_row_count", "dagster/column_schema"
_BACK = 50  # events that the checks look back


@dataclass(frozen=True, kw_only=True)
class RowCountBounds:
    """Within which bounds the number of rows may move.

    Attributes:
        drop: How much less than the smallest of the last loads there may be, as a part of it.
        growth: How much more than the largest of them there may be, as a part of it.
        loads: How many loads back the history goes.
        at_least: Loads that there must have been before anything is judged.
        minimum: Never fewer rows than this.
        maximum: Never more rows than this.
    """

    drop: float = 0.5
    growth: float = 10.0
    loads: int = 20
    at_least: int = 3
    minimum: int | None = None
    maximum: int | None = None

    def allowed(self, history: Sequence[int]) -> tuple[int | None, int | None]:
        """The least and the most rows, None where there is no bound."""
        least, most = self.minimum, self.maximum
        if len(history) >= self.at_least:
            past = history[: self.loads]
            by_past = int(min(past) * (1 - self.drop)), int(max(past) * (1 + self.growth))
            least = by_past[0] if least is None else max(least, by_past[0])
            most = by_past[1] if most is None else min(most, by_past[1])
        return least, most


@dataclass(frozen=True)
class Result:
    """What a check has found; `told` says why it failed, or what there is to know."""

    passed: bool
    told: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR


@dataclass(frozen=True)
class Looked:
    """What the checks of one run share."""

    findings: Findings
    io: RestApiDbIOManager
    instance: dg.DagsterInstance
    key: dg.AssetKey
    partitions: tuple[str, ...] | None

    @property
    def rows(self) -> int:
        """Rows of the partitions, or of the table."""
        return self.findings.rows()

    @property
    def columns(self) -> tuple[Column, ...]:
        """The root table's columns."""
        return self.findings.columns()

    def schemas(self) -> list[dict[str, str]]:
        """Columns after the last load, and after the one before it, as their events tell."""
        found = []
        for metadata in self._events():
            schema = metadata.get(_SCHEMA)
            if isinstance(schema, dg.TableSchemaMetadataValue):
                columns = {column.name: column.type for column in schema.schema.columns}
                found.append({name: kind for name, kind in columns.items() if not name.startswith("_restapi_")})
        return found[:2]

    def counts(self, loads: int) -> list[int]:
        """Row counts of the loads before the last one; in a run of partitions, those of any single partition."""
        name = _ROWS if self.partitions is None else _PARTITION_ROWS
        values = [metadata[name].value for metadata in self._events() if name in metadata]
        last = len(self.partitions or (None,))
        return [value for value in values if isinstance(value, int)][last : last + loads]

    def _events(self) -> Iterator[Mapping[str, dg.MetadataValue[Any]]]:
        found = self.instance.fetch_materializations(AssetRecordsFilter(asset_key=self.key), limit=_BACK)
        for record in found.records:
            if record.asset_materialization is not None:
                yield record.asset_materialization.metadata


@dataclass(frozen=True)
class _Changes:
    """How columns differ."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    retyped: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.retyped)

    @property
    def text(self) -> str:
        parts = (("added", self.added), ("removed", self.removed), ("other types", self.retyped))
        return "; ".join(f"{what}: {', '.join(names)}" for what, names in parts if names)

    @property
    def metadata(self) -> dict[str, Any]:
        return {"added": list(self.added), "removed": list(self.removed), "retyped": list(self.retyped)}

    def beyond(self, plan: TablePlan) -> list[str]:
        """What the contract does not let happen; it never lets a column go."""
        found = [f"removed: {', '.join(self.removed)}"] if self.removed else []
        if self.added and plan.contract.columns != "evolve":
            found.append(f"added: {', '.join(self.added)}")
        if self.retyped and plan.contract.data_type != "evolve":
            found.append(f"other types: {', '.join(self.retyped)}")
        return found


def _changes(before: Mapping[str, str], now: Mapping[str, str]) -> _Changes:
    return _Changes(
        tuple(name for name in now if name not in before),
        tuple(name for name in before if name not in now),
        tuple(
            f"{name} ({before[name]} → {kind})" for name, kind in now.items() if name in before and before[name] != kind
        ),
    )


def _orphans(found: Sequence[OrphanFinding], severity: dg.AssetCheckSeverity) -> Result:
    lost = [item for item in found if item.rows]
    return Result(
        not lost,
        "; ".join(f"{item.rows} rows of {item.table} without their row in {item.parent}" for item in lost),
        metadata={
            "orphans": {item.table: item.rows for item in found},
            "samples": [{"table": item.table, **sample} for item in lost for sample in item.samples],
        },
        severity=severity,
    )


@dataclass(frozen=True, kw_only=True)
class Checked:
    """One resource whose tables are checked.

    Attributes:
        parent: The parent resource with its asset, where it has a table.
    """

    plan: Plan
    spec: dg.AssetSpec
    parent: tuple[Plan, dg.AssetSpec] | None
    partitions: dg.PartitionsDefinition[Any] | None
    bounds: RowCountBounds

    @property
    def checks(self) -> dict[str, tuple[str, Callable[[Looked], Result]]]:
        """By name, what each check says and does; only those that mean something for this resource."""
        plan, found = self.plan, dict[str, tuple[str, Callable[[Looked], Result]]]()
        if plan.table.primary_key:
            unique = "is unique and " if self.unique else ""
            found["primary_key"] = (f"The primary key {unique}has no nulls.", self.primary_key)
        if plan.incremental is not None and is_plain(plan.incremental.cursor_path):  # else it has no column
            found["cursor"] = (f"The cursor {plan.incremental.cursor_path} has no nulls.", self.cursor)
        found["schema"] = ("Columns change only as the schema contract lets them.", self.schema)
        found["row_count"] = ("The number of rows stays within the bounds of its history.", self.row_count)
        if plan.table.nested == "tables" and plan.table.max_nesting != 0:
            found["child_tables"] = ("Every row of a list has the row that it was a list of.", self.child_tables)
        if self.pairs:
            found["parent"] = ("The parent of every row is in the parent's table.", self.orphans)
        return found

    @property
    def unique(self) -> bool:
        """Whether the disposition promises one row per key."""
        return self.plan.table.disposition != "append"

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Of the fields copied from the parent those that name its row: the path here, and the path there."""
        parent = self.plan.parent
        if parent is None or self.parent is None:
            return []
        names = {*parent.fields, *self.parent[0].table.primary_key}
        return [(f"_{parent.resource}_{name}", name) for name in parent.include if name in names]

    # ---- the checks --------------------------------------------------------------------------------------------------
    def primary_key(self, looked: Looked) -> Result:
        """Nulls and repetitions."""
        found = looked.findings.key(unique=self.unique)
        if found.missing:
            if not looked.rows:  # a column comes with its first value
                return Result(True, "no rows yet")
            return Result(False, f"the table has no column for {', '.join(found.missing)}")
        told = [f"{found.null_rows} rows without a key"] if found.null_rows else []
        told += [f"{found.repeated} keys that more than one row has"] if found.repeated else []
        metadata: dict[str, Any] = {"key": list(found.columns), "rows_without_key": found.null_rows}
        if self.unique:
            metadata |= {"repeated_keys": found.repeated, "samples": list(found.samples)}
        return Result(not told, " and ".join(told), metadata=metadata)

    def cursor(self, looked: Looked) -> Result:
        """Nulls."""
        settings = self.plan.incremental
        assert settings is not None
        found = looked.findings.nulls_of(settings.cursor_path)
        if found is None:
            if not looked.rows:
                return Result(True, "no rows yet")
            return Result(False, f"the table has no column for {settings.cursor_path}")
        column, nulls = found
        wanted = settings.on_cursor_value_missing == "include"
        return Result(
            not nulls or wanted,
            f"{nulls} rows without a cursor" + (" (`on_cursor_value_missing: include`)" if wanted else "")
            if nulls
            else "",
            metadata={"column": column, "rows_without_cursor": nulls},
        )

    def schema(self, looked: Looked) -> Result:
        """Columns now, beside those that the last loads told of."""
        now = {column.name: column.type for column in looked.columns if not column.name.startswith("_restapi_")}
        history = looked.schemas()
        if not history:
            return Result(True, "nothing to compare with yet", metadata={"columns": len(now)})
        by_hand = _changes(history[0], now)
        before = _changes(history[-1], now)
        forbidden = before.beyond(self.plan.table)
        metadata = {"columns": len(now), **before.metadata}
        if by_hand:
            told = f"the table was changed since its last load: {by_hand.text}"
            return Result(False, told, metadata=metadata | by_hand.metadata)
        if forbidden:
            return Result(False, f"beyond the schema contract: {'; '.join(forbidden)}", metadata=metadata)
        return Result(True, before.text, metadata=metadata)

    def row_count(self, looked: Looked) -> Result:
        """The count now, beside those of the loads before."""
        rows, history, several = looked.rows, looked.counts(self.bounds.loads), len(looked.partitions or (None,))
        least, most = self.bounds.allowed([several * count for count in history])
        metadata: dict[str, Any] = {"rows": rows, "loads_compared": len(history)}
        metadata |= {name: bound for name, bound in (("at_least", least), ("at_most", most)) if bound is not None}
        told = ""
        if least is not None and rows < least:
            told = f"{rows} rows are fewer than {least}"
        elif most is not None and rows > most:
            told = f"{rows} rows are more than {most}"
        return Result(not told, told, metadata=metadata, severity=dg.AssetCheckSeverity.WARN)

    def child_tables(self, looked: Looked) -> Result:
        """Rows of lists."""
        return _orphans(list(looked.findings.orphans()), dg.AssetCheckSeverity.ERROR)

    def orphans(self, looked: Looked) -> Result:
        """Rows whose parent is gone; an API may well delete it, so this is a warning."""
        assert self.parent is not None
        plan, spec = self.parent
        schema = looked.io.target_of(spec.key, spec.metadata).schema
        found = looked.findings.strangers(plan.table, schema, self.pairs)
        if found is None:
            return Result(True, "nothing to compare with yet")
        return _orphans([found], dg.AssetCheckSeverity.WARN)


def build_rest_api_checks(
    config: AnyConfig,
    *,
    key_prefix: str | Sequence[str] | None = None,
    translator: RestApiTranslator | None = None,
    partitions_def: dg.PartitionsDefinition[Any] | None = None,
    io_manager_key: str = "io_manager",
    row_count: RowCountBounds | None = None,
    blocking: bool = False,
    op_tags: Mapping[str, Any] | None = None,
    pool: str | None = None,
) -> list[dg.AssetChecksDefinition]:
    """Checks of every selected resource. In a run of partitions they look at those alone, otherwise at the whole table.

    - `primary_key`: no part of it is null; for `replace` and `merge` no two rows have the same (of static and dynamic
      partitions: in the same partition; of a history: that hold now).
    - `cursor`: the cursor's column has no nulls, unless `on_cursor_value_missing` is `include`.
    - `schema`: since the last load, columns have only changed as the schema contract lets them.
    - `row_count`: within the bounds of the last loads.
    - `child_tables`: every row of a list's table has the row that it was a list of.
    - `parent`: every parent key that `include_from_parent` copied is still in the parent's table.

    Args:
        config, key_prefix, translator, partitions_def: As for `build_rest_api_assets`.
        io_manager_key: Resource key of a `DuckDBRestApiIOManager`.
        row_count: Bounds of the row count.
        blocking: Whether assets downstream wait for these checks, and are skipped where one fails with an error.
        op_tags, pool: Of the checks' ops.

    Raises:
        ConfigError: The configuration is wrong.
    """
    source = Source.of(config, key_prefix=key_prefix, partitions_def=partitions_def, translator=translator)
    return checks_of(
        source, io_manager_key=io_manager_key, row_count=row_count, blocking=blocking, op_tags=op_tags, pool=pool
    )


def checks_of(
    source: Source,
    *,
    io_manager_key: str,
    row_count: RowCountBounds | None = None,
    blocking: bool = False,
    op_tags: Mapping[str, Any] | None,
    pool: str | None,
) -> list[dg.AssetChecksDefinition]:
    """The arguments are those of `build_rest_api_checks`."""
    return [
        _definition(
            Checked(
                plan=one.plan,
                spec=one.spec,
                parent=_stored_parent(one.plan, source),
                partitions=one.partitions,
                bounds=row_count or RowCountBounds(),
            ),
            io_manager_key,
            blocking,
            {"op_tags": op_tags, "pool": pool},
        )
        for one in source.selected.values()
    ]


def _stored_parent(plan: Plan, source: Source) -> tuple[Plan, dg.AssetSpec] | None:
    parent = plan.parent
    return (source.plans[parent.resource], source.selected[parent.resource].spec) if parent and parent.stored else None


def _definition(
    checked: Checked, io_manager_key: str, blocking: bool, options: Mapping[str, Any]
) -> dg.AssetChecksDefinition:
    checks, key = checked.checks, checked.spec.key
    windows = isinstance(checked.partitions, TimeWindowPartitionsDefinition)

    def compute(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        io = io_manager_of(context.resources, io_manager_key, f"checks of {key.to_user_string()}")
        chosen = {item.name for item in context.selected_asset_check_keys}
        partitions = _partitions_of(context.op_execution_context)
        target = io.target_of(key, checked.spec.metadata)
        by_partition = checked.partitions is not None and not windows
        with findings(target, checked.plan.table, partitions=partitions, by_partition=by_partition) as found:
            looked = Looked(found, io, context.instance, key, partitions) if found else None
            results = {name: _look(check, looked) for name, (_, check) in checks.items() if name in chosen}
        for name, result in results.items():
            yield dg.AssetCheckResult(
                check_name=name,
                asset_key=key,
                passed=result.passed,
                severity=result.severity,
                description=result.told or None,
                metadata=result.metadata,
            )

    compute.__signature__ = _SIGNATURE  # type: ignore[attr-defined]
    build: Callable[[Callable[..., Any]], dg.AssetChecksDefinition] = dg.multi_asset_check(
        name="__".join(part.replace("-", "_") for part in key.path) + "__checks",
        specs=[
            dg.AssetCheckSpec(name, asset=key, description=description, blocking=blocking)
            for name, (description, _) in checks.items()
        ],
        can_subset=True,
        required_resource_keys={io_manager_key},
        **options,
    )
    return build(compute)


_CONTEXT = Parameter("context", Parameter.POSITIONAL_OR_KEYWORD, annotation=dg.AssetCheckExecutionContext)
_SIGNATURE = Signature([_CONTEXT])
"""Of the function of all checks, as that of all assets: to find it out is a good part of Dagster's work."""


def _look(check: Callable[[Looked], Result], looked: Looked | None) -> Result:
    if looked is None:
        return Result(False, "the table does not exist yet", severity=dg.AssetCheckSeverity.WARN)
    return check(looked)


def _partitions_of(context: dg.OpExecutionContext) -> tuple[str, ...] | None:
    if context.has_partition_key_range:
        return tuple(context.partition_keys)
    return (context.partition_key,) if context.has_partition_key else None
