"""Frames of other assets through the IO manager: a table is its asset's own, also where an earlier version made it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pyarrow as pa
import pytest

from dagster_restapi import DuckDBRestApiIOManager

ROW = pa.table({"day": ["2024-01-02"], "v": ["mine"]})
BY_DAY = {
    "partitions_def": dg.StaticPartitionsDefinition(["2024-01-01", "2024-01-02"]),
    "metadata": {"partition_expr": "day"},
}


class Home:
    """An instance and a database, and assets that give one frame."""

    def __init__(self, folder: Path, instance: dg.DagsterInstance) -> None:
        self.database, self.instance = folder / "frames.duckdb", instance

    def run(self, key: str, *, by_day: bool = False, database: Path | None = None) -> dg.ExecuteInProcessResult:
        @dg.asset(key=key.split("/"), **(BY_DAY if by_day else {}))
        def made() -> pa.Table:
            return ROW

        manager = DuckDBRestApiIOManager(database=str(database or self.database), schema="public")
        return dg.materialize(
            [made],
            resources={"io_manager": manager},
            instance=self.instance,
            partition_key="2024-01-02" if by_day else None,
            raise_on_error=False,
        )

    def users_table(self, name: str = "f", database: Path | None = None) -> None:
        with duckdb.connect(str(database or self.database)) as connection:
            connection.execute("CREATE SCHEMA IF NOT EXISTS public")
            connection.execute(f"CREATE TABLE public.{name} AS SELECT '2024-01-01' AS day, 'his' AS v")

    def rows(self, name: str = "f", database: Path | None = None) -> list[Any]:
        with duckdb.connect(str(database or self.database), read_only=True) as connection:
            return connection.execute(f"SELECT v FROM public.{name} ORDER BY day").fetchall()

    def tell(self, key: str, **metadata: str) -> None:
        named = {name.replace("__", "/"): value for name, value in metadata.items()}
        self.instance.report_runless_asset_event(dg.AssetMaterialization(key.split("/"), metadata=named))


@pytest.fixture
def home(tmp_path: Path) -> Any:
    """Nothing is there yet."""
    with dg.DagsterInstance.ephemeral(str(tmp_path)) as instance:
        yield Home(tmp_path, instance)


@pytest.mark.parametrize("by_day", [False, True])
def test_a_frame_is_written_again_by_its_own_asset(home: Home, by_day: bool) -> None:
    assert home.run("f", by_day=by_day).success
    assert home.run("f", by_day=by_day).success
    assert home.rows() == [("mine",)]


@pytest.mark.parametrize("by_day", [False, True])
def test_two_assets_do_not_share_one_table(home: Home, failure_of: Any, by_day: bool) -> None:
    assert home.run("a/f").success
    assert "the table 'f' belongs to the asset a/f" in failure_of(home.run("b/f", by_day=by_day))
    assert home.rows() == [("mine",)]


@pytest.mark.parametrize("by_day", [False, True])
def test_a_users_table_stays_as_it_is(home: Home, failure_of: Any, by_day: bool) -> None:
    home.users_table()
    assert "the table 'f' was not made by this library" in failure_of(home.run("f", by_day=by_day))
    assert home.rows() == [("his",)]


@pytest.mark.parametrize("by_day", [False, True])
@pytest.mark.parametrize("before", ["", "{database}."], ids=["an earlier version", "dagster-duckdb"])
@pytest.mark.parametrize("name", ["dagster__table_name", "dagster__relation_identifier"])
def test_a_table_of_which_the_assets_newest_event_tells_is_its_own(
    home: Home, by_day: bool, before: str, name: str
) -> None:
    home.users_table()
    home.tell("f", **{name: f"{before.format(database=home.database)}public.f"})
    home.tell("f", note="reported by hand")
    assert home.run("f", by_day=by_day).success
    assert home.rows() == ([("his",), ("mine",)] if by_day else [("mine",)])
    assert home.run("f", by_day=by_day).success


@pytest.mark.parametrize(
    "told",
    [
        {"dagster__table_name": "public.other"},
        {"dagster__table_name": "other.f"},
        {"dagster__table_name": "/elsewhere.duckdb.public.f"},
        {"dagster__table_name": "public.f", "dagster_restapi__database": "/elsewhere.duckdb"},
        {"dagster__table_name": "public.f", "dagster_restapi__load_id": "of a resource"},
    ],
)
def test_an_event_about_another_table_proves_nothing(home: Home, failure_of: Any, told: dict[str, str]) -> None:
    home.users_table()
    home.tell("f", dagster__table_name="public.f")
    home.tell("f", **told)
    assert "was not made by this library" in failure_of(home.run("f"))
    assert home.rows() == [("his",)]


def test_in_another_file_an_asset_takes_no_table_that_only_has_the_name(home: Home, failure_of: Any) -> None:
    assert home.run("f").success
    other = home.database.with_name("other.duckdb")
    home.users_table(database=other)
    assert "was not made by this library" in failure_of(home.run("f", database=other))
    assert home.rows(database=other) == [("his",)]


def test_the_output_of_an_op_is_its_own_as_well(home: Home) -> None:
    @dg.op(out={"result": dg.Out(metadata={"table": "f"})})
    def made() -> pa.Table:
        return ROW

    @dg.job(resource_defs={"io_manager": DuckDBRestApiIOManager(database=str(home.database), schema="public")})
    def ops() -> None:
        made()

    assert ops.execute_in_process(raise_on_error=False).success
    assert ops.execute_in_process(raise_on_error=False).success
    assert not home.run("f").success
