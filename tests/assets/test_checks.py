"""Checks find what is wrong with stored rows, and say how many and which."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dagster as dg
import duckdb
import pytest

from dagster_restapi import RowCountBounds, build_rest_api_assets, build_rest_api_checks


@pytest.fixture
def check(house: Any) -> Callable[..., dict[str, Any]]:
    """Runs the checks of one asset, and gives what they found by name."""

    def run(asset: str, **options: Any) -> dict[str, Any]:
        checks = build_rest_api_checks(house.config, **options)
        chosen = [item for item in checks if {key.asset_key.path[-1] for key in item.check_keys} == {asset}]
        result = dg.materialize(
            [*house.assets(), *checks],
            selection=dg.AssetSelection.checks(*chosen),
            instance=house.instance,
            resources={"io_manager": house.io_manager()},
            raise_on_error=True,
        )
        return {item.check_name: item for item in result.get_asset_check_evaluations()}

    return run


def change(house: Any, *statements: str) -> None:
    with duckdb.connect(str(house.database)) as connection:
        for statement in statements:
            connection.execute(statement)


def values(evaluation: Any) -> dict[str, Any]:
    return {name: value.value for name, value in evaluation.metadata.items()}


def test_a_fresh_load_passes_every_check_that_its_resource_needs(house: Any, check: Callable[..., Any]) -> None:
    house.config["resources"][2]["include_from_parent"] = ["title", "number"]
    house.load("repositories", "issues", "comments", "events")
    assert {name: item.passed for name, item in check("issues").items()} == {
        "primary_key": True,
        "cursor": True,
        "schema": True,
        "row_count": True,
        "child_tables": True,
    }
    assert set(check("comments")) == {"primary_key", "schema", "row_count", "child_tables", "parent"}
    assert check("comments")["parent"].passed
    assert all(item.passed for item in check("events").values())
    issues = house.query("SELECT count(*) FROM tracker.issues")[0][0]
    assert values(check("issues")["row_count"])["rows"] == issues


def test_nothing_is_loaded_yet_is_a_warning(check: Callable[..., Any]) -> None:
    for item in check("issues").values():
        assert (item.passed, item.severity) == (False, dg.AssetCheckSeverity.WARN)
        assert item.description == "the table does not exist yet"


def test_a_table_without_rows_passes(house: Any, check: Callable[..., Any], api: Any) -> None:
    parent = {"name": "orders", "primary_key": "id", "endpoint": {"incremental": {"cursor_path": "id"}}}
    child = {
        "name": "lines",
        "primary_key": ["order_id", "line"],
        "write_disposition": "merge",
        "include_from_parent": ["id"],
        "endpoint": "orders/{resources.orders.id}/lines",
    }
    house.config = {"client": {"base_url": api.url, "paginator": "single_page"}, "resources": [parent, child]}
    api.route("/orders", [{"id": 1}])
    api.route("/orders/1/lines", [])
    house.load("orders", "lines")
    found = check("lines")
    assert all(item.passed for item in found.values())
    assert found["primary_key"].description == "no rows yet"
    api.route("/orders", [{"id": 1}, {"id": 2}])
    api.route("/orders/2/lines", [{"order": 2}])
    house.config["resources"][1] = {**child, "write_disposition": "append"}
    house.load("orders", "lines")
    assert check("lines")["primary_key"].description == "the table has no column for order_id, line"


def test_keys_that_repeat_or_are_missing_are_counted_and_shown(house: Any, check: Callable[..., Any]) -> None:
    house.load("repositories")
    change(
        house,
        "INSERT INTO tracker.repositories SELECT * FROM tracker.repositories WHERE id <= 2",
        "INSERT INTO tracker.repositories SELECT * REPLACE (NULL AS id) FROM tracker.repositories WHERE id = 3",
    )
    found = check("repositories")["primary_key"]
    assert not found.passed
    assert found.severity == dg.AssetCheckSeverity.ERROR
    assert found.description == "1 rows without a key and 2 keys that more than one row has"
    told = values(found)
    assert (told["rows_without_key"], told["repeated_keys"]) == (1, 2)
    assert sorted(sample["id"] for sample in told["samples"]) == [1, 2]


def test_appended_rows_may_repeat_a_key(house: Any, check: Callable[..., Any]) -> None:
    house.load("events")
    change(house, "INSERT INTO tracker.events SELECT * FROM tracker.events LIMIT 3")
    assert check("events")["primary_key"].passed


def test_nulls_in_the_cursor_are_counted_unless_they_are_wanted(house: Any, check: Callable[..., Any]) -> None:
    house.load("repositories", "issues")
    change(house, "UPDATE tracker.issues SET updated_at = NULL WHERE id <= 4")
    found = check("issues")["cursor"]
    assert (found.passed, values(found)["rows_without_cursor"]) == (False, 4)
    house.config["resources"][1]["endpoint"]["incremental"]["on_cursor_value_missing"] = "include"
    assert check("issues")["cursor"].passed


def test_columns_may_change_as_far_as_the_contract_goes(house: Any, check: Callable[..., Any]) -> None:
    users = house.config["resources"][4]
    house.load("users")
    house.api.tracker.touch("users", 1, {"shoe_size": 43})
    house.load("users")
    found = check("users")["schema"]
    assert found.passed
    assert found.description == "added: shoe_size"
    assert values(found)["added"] == ["shoe_size"]
    users["schema_contract"] = {"columns": "freeze"}
    found = check("users")["schema"]
    assert (found.passed, found.description) == (False, "beyond the schema contract: added: shoe_size")
    change(house, "ALTER TABLE tracker.users DROP COLUMN shoe_size")
    found = check("users")["schema"]
    assert (found.passed, found.description) == (
        False,
        "the table was changed since its last load: removed: shoe_size",
    )


def test_a_table_that_shrinks_or_grows_too_much_is_told_of(house: Any, check: Callable[..., Any]) -> None:
    for _ in range(4):
        rows = house.load("users")["dagster/row_count"]
    assert values(check("users")["row_count"]) == {
        "rows": rows,
        "loads_compared": 3,
        "at_least": rows // 2,
        "at_most": rows * 11,
    }
    change(house, f"DELETE FROM tracker.users WHERE id > {rows // 2 - 1}")
    found = check("users")["row_count"]
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert found.description == f"{rows // 2 - 1} rows are fewer than {rows // 2}"
    assert check("users", row_count=RowCountBounds(drop=0.9))["row_count"].passed
    assert not check("users", row_count=RowCountBounds(drop=0.9, maximum=5))["row_count"].passed


def test_rows_of_lists_without_the_row_above_are_counted(house: Any, check: Callable[..., Any]) -> None:
    house.load("repositories", "issues")
    (labels,) = house.query("SELECT count(*) FROM tracker.issues__labels")[0]
    assert labels
    change(house, "DELETE FROM tracker.issues WHERE id IN (SELECT id FROM tracker.issues LIMIT 50)")
    found = check("issues")["child_tables"]
    lost = house.query(
        "SELECT count(*) FROM tracker.issues__labels WHERE _restapi_parent_id NOT IN "
        "(SELECT _restapi_id FROM tracker.issues)"
    )[0][0]
    assert not found.passed
    assert values(found)["orphans"]["issues__labels"] == lost
    assert "issues__labels" in {sample["table"] for sample in values(found)["samples"]}


def test_rows_whose_parent_is_gone_are_a_warning(house: Any, check: Callable[..., Any]) -> None:
    house.config["resources"][2]["include_from_parent"] = ["number", "title"]
    house.load("repositories", "issues", "comments")
    gone = house.query("SELECT DISTINCT _issues_number FROM tracker.comments LIMIT 1")[0][0]
    lost = house.query(f"SELECT count(*) FROM tracker.comments WHERE _issues_number = {gone}")[0][0]
    change(house, f"DELETE FROM tracker.issues WHERE number = {gone}")
    found = check("comments")["parent"]
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert values(found)["orphans"] == {"comments": lost}
    assert values(found)["samples"] == [{"table": "comments", "_issues_number": gone, "rows": lost}]


def of_range(key: str) -> dict[str, Any]:
    """What the UI asks for where a backfill policy puts a range into one run; here the range is one key."""
    return {"tags": {"dagster/asset_partition_range_start": key, "dagster/asset_partition_range_end": key}}


def of_key(key: str) -> dict[str, Any]:
    """What the UI asks for when one partition is materialized."""
    return {"partition_key": key}


@pytest.mark.parametrize(
    "asked",
    [
        of_range,
        of_key,
    ],
)
def test_a_run_of_one_partition_checks_that_partition_alone(house: Any, asked: Callable[[str], dict[str, Any]]) -> None:
    parts = dg.StaticPartitionsDefinition(["a", "b"])
    house.config["resources"] = [house.config["resources"][4]]
    assets = build_rest_api_assets(house.config, partitions_def=parts, backfill_policy=dg.BackfillPolicy.single_run())
    checks = build_rest_api_checks(house.config, partitions_def=parts)

    def run(**options: Any) -> dict[str, Any]:
        resources = {"io_manager": house.io_manager()}
        result = dg.materialize([*assets, *checks], instance=house.instance, resources=resources, **options)
        return {item.check_name: item for item in result.get_asset_check_evaluations()}

    for key in ("a", "b"):
        assert all(item.passed for item in run(**asked(key)).values())
    change(house, "INSERT INTO tracker.users SELECT * FROM tracker.users WHERE _restapi_partition = 'b' AND id = 1")
    of_a = run(**asked("a"))
    rows = house.query("SELECT count(*) FROM tracker.users WHERE _restapi_partition = 'a'")[0][0]
    assert of_a["primary_key"].passed
    assert values(of_a["row_count"])["rows"] == rows
    of_all = run(selection=dg.AssetSelection.checks(*checks))
    assert not of_all["primary_key"].passed
    assert values(of_all["primary_key"])["samples"] == [{"id": 1, "_restapi_partition": "b", "rows": 2}]
    assert values(of_all["row_count"])["rows"] == 2 * rows + 1


def test_blocking_checks_hold_up_what_is_downstream(house: Any) -> None:
    (checks,) = (
        item
        for item in build_rest_api_checks(house.config, blocking=True)
        if {key.asset_key.path[-1] for key in item.check_keys} == {"users"}
    )
    assert all(spec.blocking for spec in checks.check_specs)


def test_checks_follow_the_assets_keys(house: Any) -> None:
    keys = {
        key.asset_key.to_user_string()
        for item in build_rest_api_checks(house.config, key_prefix=["raw", "tracker"])
        for key in item.check_keys
    }
    assert keys == {f"raw/tracker/{name}" for name in ("repositories", "issues", "comments", "events", "users")}
