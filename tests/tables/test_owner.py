"""Whose a table is: what this asset did not make is refused by name, and is afterwards as it was before."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import pyarrow
import pytest

from dagster_restapi.errors import TableError
from dagster_restapi.model import TablePlan, Window
from dagster_restapi.tables.frames import write_frame
from dagster_restapi.tables.ledger import forget

PLAN = TablePlan(resource="t", table="t")
LIST = [{"id": 1, "v": "mine", "l": [{"n": 1}]}]
FLAT = [{"id": 1, "v": "mine"}]
COLUMNS_OF_ROOT = "'x' AS _restapi_load_id, 'y' AS _restapi_id, uuid() AS _restapi_row_hash, 7 AS id"


def sql(loads: Any, *statements: str) -> None:
    with loads.target.write() as connection:
        space = loads.target.space(connection)
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {space.text}")
        for statement in statements:
            connection.execute(statement.format(s=space.text))


def everything(loads: Any) -> Mapping[str, Any]:
    """Columns and content of all there is in the file, the ledger and the registry too."""
    found: dict[str, Any] = {}
    with loads.target.read() as connection:
        for schema, name in connection.execute(
            "SELECT DISTINCT schema_name, table_name FROM duckdb_columns() WHERE NOT internal"
        ).fetchall():
            rows = connection.execute(f'SELECT * FROM "{schema}"."{name}" ORDER BY ALL')
            columns = [(column[0], str(column[1])) for column in rows.description]
            found[f"{schema}.{name}"] = (columns, rows.fetchall())
    return found


# ---- what may stand there --------------------------------------------------------------------------------------------
def users_table(loads: Any, name: str) -> None:
    sql(loads, f"CREATE TABLE {{s}}.\"{name}\" AS SELECT 7 AS id, 'his' AS v")


def users_table_in_capitals(loads: Any, name: str) -> None:
    users_table(loads, name.upper())


def users_view(loads: Any, name: str) -> None:
    sql(loads, "CREATE TABLE {s}.base AS SELECT 7 AS id", f'CREATE VIEW {{s}}."{name}" AS SELECT * FROM {{s}}.base')


def view_with_our_columns(loads: Any, name: str) -> None:
    columns = (
        "'x' AS _restapi_load_id, 'y' AS _restapi_id, CAST(NULL AS UUID) AS _restapi_row_hash, "
        "'z' AS _restapi_parent_id, 'z' AS _restapi_root_id, 0 AS _restapi_index"
    )
    sql(loads, f'CREATE VIEW {{s}}."{name}" AS SELECT {columns}')


def our_root_in_capitals(loads: Any, name: str) -> None:
    sql(loads, f'CREATE TABLE {{s}}."{name.upper()}" AS SELECT {COLUMNS_OF_ROOT}')


def frame_of_another(loads: Any, name: str) -> None:
    write_frame(loads.target, name, pyarrow.table({"id": [7]}), asset=f"frames/{name}")


def frame_of_the_same_key(loads: Any, name: str) -> None:
    write_frame(loads.target, name, pyarrow.table({"id": [7]}), asset=name)


def table_of_another_resource(loads: Any, name: str) -> None:
    loads(TablePlan(resource=name, table=name), [{"id": 7}], asset=f"other/{name}")


def another_resource_in_capitals(loads: Any, name: str) -> None:
    table_of_another_resource(loads, name.upper())


def list_of_another_resource(loads: Any, name: str) -> None:
    with_list = TablePlan(resource="t_", table=name[:-3] if name.endswith("__l") else "o")
    loads(with_list, LIST, asset="other")
    if not name.endswith("__l"):
        sql(
            loads,
            f'ALTER TABLE {{s}}.o__l RENAME TO "{name}"',
            f"UPDATE {{s}}._restapi_tables SET table_name = '{name}' WHERE table_name = 'o__l'",
        )


FOREIGN: list[Callable[[Any, str], None]] = [
    users_table,
    users_table_in_capitals,
    users_view,
    view_with_our_columns,
    our_root_in_capitals,
]
OTHERS: list[Callable[[Any, str], None]] = [
    frame_of_another,
    frame_of_the_same_key,
    table_of_another_resource,
    another_resource_in_capitals,
]

# ---- how it may be written to ----------------------------------------------------------------------------------------
DAY = Window(start="2024-01-01T00:00:00Z", end="2024-01-02T00:00:00Z")


def plan(**options: Any) -> TablePlan:
    return TablePlan(resource="t", table="t", **options)


MERGES = {
    f"merge by {strategy}": (plan(disposition="merge", strategy=strategy, primary_key=("id",)), {})
    for strategy in ("delete-insert", "upsert", "insert-only", "scd2")
}
WAYS: dict[str, tuple[TablePlan, dict[str, Any]]] = {
    "append": (plan(), {}),
    **MERGES,
    "merge by a merge key": (plan(disposition="merge", merge_key=("id",)), {}),
    "replace": (plan(disposition="replace"), {}),
    "replace by nothing": (plan(disposition="replace", allow_empty=True), {}),
    "rebuild": (plan(), {"replace": True}),
    "full refresh": (plan(), {"replace": True, "slice_": {"full_refresh": True}}),
    "a window": (plan(), {"replace": True, "partition": "2024-01-01", "window": DAY}),
    "a window after a wipe": (plan(), {"replace": True, "partition": "a", "window": DAY, "slice_": {"wipe": "w"}}),
    "a static partition": (plan(), {"partition": "a"}),
    "a part of a static partition": (plan(), {"replace": True, "partition": "a", "fetched": {"complete": False}}),
    "a merge into a partition": (MERGES["merge by upsert"][0], {"partition": "a"}),
    "with every contract frozen": (MERGES["merge by upsert"][0], {"replace": True}),
}
FRAMES: dict[str, dict[str, Any]] = {"whole": {}, "by partition": {"where": "id = 7"}}


def refused(loads: Any, act: Callable[[], object], name: str = "t") -> str:
    """The error of what must change nothing."""
    before = everything(loads)
    with pytest.raises(TableError) as caught:
        act()
    assert everything(loads) == before
    assert name.casefold() in str(caught.value).casefold()
    assert caught.value.hint is not None
    return str(caught.value)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("stands", [*FOREIGN, *OTHERS, list_of_another_resource], ids=lambda made: made.__name__)
def test_a_root_table_that_somebody_else_made_is_refused_and_stays(
    loads: Any, stands: Callable[[Any, str], None], way: str
) -> None:
    stands(loads, "t")
    how, options = WAYS[way]
    told = refused(loads, lambda: loads(how, [] if way.endswith("nothing") else FLAT, expected=None, **options))
    assert ("was not made by this library" in told) is (stands in FOREIGN)


@pytest.mark.parametrize("way", FRAMES)
@pytest.mark.parametrize("stands", [*FOREIGN, *OTHERS, list_of_another_resource], ids=lambda made: made.__name__)
def test_a_frame_takes_no_table_that_somebody_else_made(
    loads: Any, stands: Callable[[Any, str], None], way: str
) -> None:
    stands(loads, "t")
    data = pyarrow.table({"id": [7], "v": ["mine"]})
    refused(loads, lambda: write_frame(loads.target, "t", data, asset="mine/t", **FRAMES[way]))


@pytest.mark.parametrize("way", WAYS)
def test_a_registered_root_that_was_made_anew_by_hand_is_refused(loads: Any, way: str) -> None:
    how, options = WAYS[way]
    first = {name: value for name, value in options.items() if name not in ("replace", "fetched")}
    first["slice_"] = {name: value for name, value in first.get("slice_", {}).items() if name != "wipe"}
    loads(how, LIST, **first)
    sql(loads, "DROP TABLE {s}.t", "CREATE TABLE {s}.t AS SELECT 7 AS id, 'his' AS v")
    told = refused(loads, lambda: loads(how, [] if way.endswith("nothing") else FLAT, **options))
    assert "it stands in the place of one that was dropped" in told


# ---- tables of lists -------------------------------------------------------------------------------------------------
MOMENTS = ("the first load", "a new list of a later load", "full refresh", "a root that was dropped by hand")


def at(moment: str, loads: Any, asset: str = "t") -> Callable[[], object]:
    """Everything before the load that brings the list, and that load."""
    if moment != "the first load":
        loads(PLAN, FLAT, asset=asset)
    if moment.startswith("a root"):
        sql(loads, "DROP TABLE {s}.t")
    options: dict[str, Any] = {"replace": True, "slice_": {"full_refresh": True}} if moment == "full refresh" else {}
    return lambda: loads(PLAN, LIST, asset=asset, **options)


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("stands", FOREIGN, ids=lambda made: made.__name__)
def test_a_new_list_takes_no_table_that_somebody_else_made(
    loads: Any, stands: Callable[[Any, str], None], moment: str
) -> None:
    load = at(moment, loads)
    stands(loads, "t__l")
    refused(loads, load, "t__l")


@pytest.mark.parametrize(
    ("stands", "moment"), list(itertools.product(OTHERS, MOMENTS)), ids=lambda item: getattr(item, "__name__", item)
)
def test_a_list_whose_name_another_asset_has_goes_elsewhere(
    loads: Any, stands: Callable[[Any, str], None], moment: str
) -> None:
    load = at(moment, loads)
    stands(loads, "t__l")
    before = everything(loads)
    result: Any = load()
    assert any("its name was taken" in warning for warning in result.warnings)
    [name] = result.tables
    assert name.startswith("t__l_")
    of_others = [table for table in before if table.rpartition(".")[2].lower() == "t__l"]
    assert of_others
    assert all(everything(loads)[table] == before[table] for table in of_others)


@pytest.mark.parametrize("rest", ["DROP TABLE {s}.t", "SELECT 1"], ids=["without its root", "beside its root"])
@pytest.mark.parametrize("way", [way for way in WAYS if "partition" not in way and "window" not in way])
@pytest.mark.parametrize("records", [FLAT, LIST], ids=["without the list", "with the list"])
def test_a_registered_list_that_was_made_anew_by_hand_is_refused(
    loads: Any, way: str, rest: str, records: list[Any]
) -> None:
    how, options = WAYS[way]
    loads(how, LIST)
    sql(loads, "DROP TABLE {s}.t__l", "CREATE TABLE {s}.t__l AS SELECT 7 AS id", rest)
    refused(loads, lambda: loads(how, records, **options), "t__l")


def test_lists_of_an_asset_whose_root_is_gone_are_not_dropped_for_another_asset(loads: Any) -> None:
    loads(PLAN, LIST, asset="other/t")
    sql(loads, "DROP TABLE {s}.t")
    refused(loads, lambda: loads(PLAN, FLAT, asset="mine/t"), "t__l")


# ---- what may be taken over ------------------------------------------------------------------------------------------
def test_the_error_names_the_command_that_hands_the_table_over(loads: Any) -> None:
    loads(PLAN, FLAT, asset="old/t")
    told = refused(loads, lambda: loads(PLAN, FLAT, asset="new/home/t"))
    command = f"dagster-restapi state CONFIG rename old/t t --database {loads.target.database} --schema github"
    assert told.endswith(f"{command} --key-prefix new/home")


def test_where_the_registry_is_lost_tables_with_our_columns_are_taken_over_by_name(loads: Any) -> None:
    loads(PLAN, [{"id": 1, "userId": 5, "l": [{"n": 1}]}])
    sql(loads, "DROP TABLE {s}._restapi_tables")
    loads(PLAN, [{"id": 2, "userId": 6, "user_id": 7, "l": [{"n": 2}]}])
    assert loads.rows("t", "id, user_id") == [(1, 5), (2, 6)]
    assert loads.rows("t__l", "n") == [(1,), (2,)]


def test_where_the_registry_is_lost_a_full_refresh_empties_the_lists_as_well(loads: Any) -> None:
    loads(PLAN, LIST)
    sql(loads, "DROP TABLE {s}._restapi_tables")
    loads(PLAN, [{"id": 2, "l": [{"n": "two"}]}], replace=True)
    assert loads.rows("t__l", "n") == [("two",)]


def test_a_list_without_entry_and_without_root_is_nobodys(loads: Any) -> None:
    loads(PLAN, LIST)
    sql(loads, "DROP TABLE {s}._restapi_tables", "DROP TABLE {s}.t")
    refused(loads, lambda: loads(PLAN, LIST), "t__l")


def test_a_forgotten_asset_leaves_its_tables_to_another_with_their_lists(loads: Any) -> None:
    loads(PLAN, LIST, asset="old/t")
    forget(loads.target, "old/t")
    loads(PLAN, LIST, asset="new/t")
    assert len(loads.rows("t__l")) == 2
    assert set(loads.rows("_restapi_tables", "asset")) == {("new/t",)}


def test_a_forgotten_table_without_our_columns_is_refused(loads: Any) -> None:
    loads(PLAN, FLAT, asset="old/t")
    forget(loads.target, "old/t")
    sql(loads, "DROP TABLE {s}.t", "CREATE TABLE {s}.t AS SELECT 7 AS id")
    refused(loads, lambda: loads(PLAN, FLAT, asset="new/t"))


@pytest.mark.parametrize("stands", [frame_of_another, table_of_another_resource], ids=lambda made: made.__name__)
def test_the_name_of_a_table_that_is_gone_is_free(loads: Any, stands: Callable[[Any, str], None]) -> None:
    stands(loads, "t")
    sql(loads, "DROP TABLE {s}.t")
    loads(PLAN, LIST)
    assert loads.rows("t", "v") == [("mine",)]
    sql(loads, "DROP TABLE {s}.t")
    assert write_frame(loads.target, "t", pyarrow.table({"a": [1]}), asset="mine/t") == 1
    assert (None, "mine/t") in loads.rows("_restapi_tables", "root, asset")


# ---- frames ----------------------------------------------------------------------------------------------------------
def test_an_assets_own_frame_is_replaced_whole_and_by_partition(loads: Any) -> None:
    write_frame(loads.target, "f", pyarrow.table({"id": [1, 2]}), asset="a/f")
    write_frame(loads.target, "f", pyarrow.table({"id": [2, 2]}), asset="a/f", where="id = 2")
    assert loads.rows("f") == [(1,), (2,), (2,)]
    write_frame(loads.target, "f", pyarrow.table({"id": [9]}), asset="a/f")
    assert loads.rows("f") == [(9,)]
    assert loads.rows("_restapi_tables") == [("f", None, "a/f", None)]


@pytest.mark.parametrize("told", [True, False])
def test_a_frame_without_entry_is_taken_where_the_assets_events_tell_of_it(loads: Any, told: bool) -> None:
    users_table(loads, "f")

    def write() -> int:
        return write_frame(loads.target, "f", pyarrow.table({"id": [8]}), where="id = 8", is_told=lambda: told)

    if told:
        assert write() == 1
        assert loads.rows("f", "id") == [(7,), (8,)]
    else:
        refused(loads, write, "f")


@pytest.mark.parametrize("name", ["_restapi_loads", "_restapi_tables"])
def test_tables_of_our_own_are_nobodys_frame_and_nobodys_resource(loads: Any, name: str) -> None:
    loads(PLAN, FLAT)
    refused(loads, lambda: write_frame(loads.target, name, pyarrow.table({"a": [1]}), is_told=lambda: True), name)
    refused(loads, lambda: loads(TablePlan(resource=name, table=name), FLAT), name)
