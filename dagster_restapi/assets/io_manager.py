"""The IO manager: dagster-duckdb's, with the resources' tables, frames of other assets, and brief connections."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import dagster as dg
from dagster._core.storage.db_io_manager import DbIOManager, DbTypeHandler, TableSlice
from dagster_duckdb.io_manager import DuckDbClient, DuckDBIOManager
from pydantic import Field

from dagster_restapi.assets.frame_events import DATABASE, is_told
from dagster_restapi.assets.translator import PREFIX
from dagster_restapi.errors import ConfigError, TableError
from dagster_restapi.tables.frames import write_frame
from dagster_restapi.tables.read import read_table
from dagster_restapi.tables.target import Target

_KINDS = {
    "pandas": "pandas",
    "polars": "polars",
    "pyarrow": "arrow",
    "duckdb": "relation",
    "_duckdb": "relation",
}


@dataclass(frozen=True, slots=True)
class ParentTable:
    """What a child gets for its parent: where the rows are. Nothing is read before it is asked for."""

    target: Target
    key: dg.AssetKey


class DuckDBRestApiIOManager(DuckDBIOManager):
    """Keeps the resources' tables in a DuckDB file, and the frames of other assets beside them.

    Assets of this library are written by the step itself, in one transaction; what other assets return or take may be
    a pandas or polars frame, a pyarrow Table or RecordBatchReader, or a DuckDB relation. The schema is, in this order:
    `schema` in the asset's metadata, `schema` here, the last part of the key prefix, `public` (as dagster-duckdb).

    Example:
        DuckDBRestApiIOManager(database="github.duckdb", schema="github")
    """

    lock_timeout: float = Field(
        default=120.0, gt=0, description="Seconds to wait while another process has the database file open."
    )
    memory_limit: str | None = Field(
        default=None,
        description="DuckDB's memory limit for each connection; it has a thread for every 128 MiB of it. By default a "
        "load gets by with little, and more only where that is not enough.",
    )
    spool_dir: str | None = Field(
        default=None,
        description="Where records lie until they are loaded, on a local disk. By default beside the database file, "
        "else in the instance's storage directory.",
    )
    resume_within: float = Field(
        default=86_400.0, ge=0, description="Seconds for which another run goes on from an interrupted one's records."
    )

    @staticmethod
    def type_handlers() -> Sequence[DbTypeHandler[Any]]:
        """None: frames are recognised by their module, so that pandas and polars are imported only where used."""
        return []

    def create_io_manager(self, context: dg.InitResourceContext) -> RestApiDbIOManager:
        """The IO manager of a run."""
        self.target("main").warm()
        return RestApiDbIOManager(self, self._spool_root(context))

    def target(self, schema: str) -> Target:
        """The database with one of its schemas."""
        return Target(
            database=self.database,
            schema=schema,
            memory_limit=self.memory_limit,
            lock_timeout=self.lock_timeout,
            config=self.connection_config,
        )

    def _spool_root(self, context: dg.InitResourceContext) -> Path:
        if self.spool_dir:
            return Path(self.spool_dir)
        if self.database == ":memory:" or ":" in self.database.split("/")[0][2:]:
            base = context.instance.storage_directory() if context.instance else tempfile.gettempdir()
            return Path(base) / "dagster_restapi_spool"
        return Path(f"{self.database}.spool")


class RestApiDbIOManager(DbIOManager):
    """What `DuckDBRestApiIOManager` makes for a run; steps of this library use it directly."""

    def __init__(self, settings: DuckDBRestApiIOManager, spool_root: Path) -> None:
        super().__init__(
            type_handlers=[],
            db_client=DuckDbClient(),
            database=settings.database,
            schema=settings.schema_,
            io_manager_name="DuckDBRestApiIOManager",
        )
        self.spool_root, self.resume_within, self._settings = spool_root, settings.resume_within, settings

    def target_of(self, key: dg.AssetKey, metadata: Mapping[str, Any]) -> Target:
        """Where the tables of an asset are."""
        return self._settings.target(schema_of(key, metadata, self._schema))

    def handle_output(self, context: dg.OutputContext, obj: object) -> None:
        """Writes a frame of another asset: the whole table, or the slice of its partitions, in one transaction."""
        kind = _kind(type(obj))
        if kind is None:
            raise TableError(
                f"a {type(obj).__name__} cannot be stored in DuckDB",
                where=f"output {context.name} of {context.step_key}",
                hint="Return a pandas or polars frame, a pyarrow Table or a DuckDB relation.",
            )
        slice_ = self._get_table_slice(context, context)
        target = self._settings.target(slice_.schema)
        rows = write_frame(
            target,
            slice_.table,
            obj,
            asset=_owner(context),
            where=_where(slice_),
            is_told=lambda: is_told(context, target, slice_.table),
            log=context.log.info,
        )
        context.add_output_metadata(
            {
                "dagster/partition_row_count" if slice_.partition_dimensions else "dagster/row_count": rows,
                "dagster/table_name": f"{slice_.schema}.{slice_.table}",
                DATABASE: target.database,
            }
        )

    def load_input(self, context: dg.InputContext) -> object:
        """Reads a table, the input's partitions of it, or the columns in the input's metadata."""
        upstream = context.upstream_output
        metadata = upstream.definition_metadata if upstream else {}
        wanted = context.dagster_type.typing_type
        if wanted is ParentTable:
            return ParentTable(self.target_of(context.asset_key, metadata or {}), context.asset_key)
        kind = _kind(wanted)
        if kind is None:
            raise TableError(
                f"the input {context.name!r} has no type that a table can be loaded as",
                hint="Annotate it: pd.DataFrame, pl.DataFrame, pl.LazyFrame, pa.Table, pa.RecordBatchReader, "
                "or duckdb.DuckDBPyRelation.",
            )
        options: dict[str, Any] = {
            "columns": (context.definition_metadata or {}).get("columns"),
            "kind": "reader" if wanted.__name__ == "RecordBatchReader" else kind,
            "asset": context.asset_key.to_user_string(),
        }
        table = (context.definition_metadata or {}).get("table")
        if f"{PREFIX}/resource" in (metadata or {}):  # of this library: its rows know their partition
            keys = list(context.asset_partition_keys) if context.has_asset_partitions else None
            target = self.target_of(context.asset_key, metadata or {})
            found = read_table(target, table or context.asset_key.path[-1], partition=keys, **options)
        else:
            slice_ = self._get_table_slice(context, cast("dg.OutputContext", upstream))
            target = self._settings.target(slice_.schema)
            found = read_table(target, table or slice_.table, where=_where(slice_), **options)
        return found.lazy() if wanted.__name__ == "LazyFrame" else found


def io_manager_of(resources: Any, key: str, where: str) -> RestApiDbIOManager:
    """The IO manager among a run's resources.

    Raises:
        ConfigError: The resource of that name is something else.
    """
    io = getattr(resources, key)
    if not isinstance(io, RestApiDbIOManager):
        raise ConfigError(
            f"the resource {key!r} is a {type(io).__name__}",
            where=where,
            hint=f"Give Definitions resources={{{key!r}: DuckDBRestApiIOManager(database=…)}}.",
        )
    return io


def schema_of(key: dg.AssetKey, metadata: Mapping[str, Any], configured: str | None) -> str:
    """The schema of an asset's tables, by dagster-duckdb's rule: the asset's own, the IO manager's, its key's."""
    prefix = key.path[-2] if len(key.path) > 1 else "public"
    return str(metadata.get("schema") or configured or prefix)


def _owner(context: dg.OutputContext) -> str:
    """To whom a table belongs: the asset, or the output of an op that makes none."""
    if context.has_asset_key:
        return str(context.asset_key.to_user_string())
    return f"{context.op_def.name}.{context.name} (output)"


def _kind(type_: object) -> str | None:
    return _KINDS.get(getattr(type_, "__module__", "").partition(".")[0])


def _where(slice_: TableSlice) -> str | None:
    """The condition that dagster-duckdb gives a slice of partitions."""
    from dagster_duckdb.io_manager import _partition_where_clause

    return _partition_where_clause(slice_.partition_dimensions) if slice_.partition_dimensions else None
