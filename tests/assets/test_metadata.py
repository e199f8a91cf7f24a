"""What a materialization and a definition tell: all keys, numbers as numbers, links, lineage, where it is written."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from timeline import DAILY, events, every, serve

from dagster_restapi import build_rest_api_assets
from dagster_restapi.config.source import RestApiConfig

NUMBERS = (
    "rows_loaded",
    "rows_updated",
    "rows_inserted",
    "rows_deleted",
    "requests",
    "retries",
    "waited_seconds",
    "bytes",
)
ALWAYS = (*NUMBERS, "load_id", "schema_changes", "failed_parents", "child_tables", "cursor_source", "preview")


def metadata_of(result: Any, key: str | None = None) -> dict[str, Any]:
    """As Dagster has it, without our prefix."""
    [event] = [one for one in result.get_asset_materialization_events() if key in (None, one.partition)]
    return {name.removeprefix("dagster_restapi/"): value for name, value in event.materialization.metadata.items()}


@pytest.mark.parametrize("range_", [False, True])
def test_every_key_is_on_every_materialization_and_numbers_are_numbers(
    api: Any, source: Callable[..., Any], range_: bool
) -> None:
    serve(api, every(timedelta(hours=6), "2024-01-01T00:00+00:00", "2024-01-04T00:00+00:00"))
    house = source(events(DAILY if range_ else None))
    result = house.run("events", between=("2024-01-01", "2024-01-03") if range_ else None)
    for event in result.get_asset_materialization_events():
        found = metadata_of(result, event.partition)
        assert set(ALWAYS) <= set(found)
        for name in NUMBERS:
            assert isinstance(found[name], (dg.IntMetadataValue, dg.FloatMetadataValue)), name
        count = found["dagster/partition_row_count" if range_ else "dagster/row_count"]
        assert count.value == (4 if range_ else 12)
        assert {column.name for column in found["dagster/column_schema"].value.columns} >= {"id", "at"}
        assert found["url"] == dg.MetadataValue.url(f"{api.url}/events")
        assert isinstance(found["preview"], dg.MarkdownMetadataValue)
    if not range_:
        assert found["cursor"].value == "2024-01-03T18:00:00Z"


@pytest.mark.parametrize(
    ("preview", "shown"),
    [
        ("off", None),
        (False, None),
        (2, ["id", "name", "email"]),
        ({"rows": 2, "hide": ["email"]}, ["id", "name"]),
    ],
)
def test_the_preview_can_be_switched_off_and_columns_hidden(
    api: Any, source: Callable[..., Any], preview: Any, shown: list[str] | None
) -> None:
    api.route("/users", [{"id": number, "name": "a|b", "email": "x@y.z"} for number in range(9)])
    found = metadata_of(source({"name": "users", "preview": preview}).run("users"))
    if shown is None:
        assert "preview" not in found
        return
    head, _, *rows = found["preview"].value.splitlines()
    assert [cell.strip() for cell in head.strip("|").split("|")] == shown
    assert len(rows) == 2
    assert "a\\|b" in rows[0], "Markdown in a value is text"


def test_columns_have_the_descriptions_of_their_hints(api: Any, source: Callable[..., Any]) -> None:
    api.route("/users", [{"id": 1, "fullName": "x"}])
    resource = {"name": "users", "columns": {"fullName": {"description": "As in the passport."}}, "primary_key": "id"}
    columns = metadata_of(source(resource).run("users"))["dagster/column_schema"].value.columns
    described = {column.name: column.description for column in columns}
    assert described["full_name"] == "As in the passport."
    assert next(column for column in columns if column.name == "id").type == "BIGINT"


def test_the_link_shows_the_partition_and_no_secret(
    api: Any, source: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_TENANT_TOKEN", "s3cr3t-of-ours")
    api.route("/s3cr3t-of-ours/eu/orders", [{"id": 1}])
    endpoint = {"path": "{env.A_TENANT_TOKEN}/{partition.key}/orders", "params": {"api_key": "{env.A_TENANT_TOKEN}"}}
    house = source({"name": "orders", "endpoint": endpoint, "partitions": {"type": "static", "keys": ["eu"]}})
    result = house.run("orders", partition="eu")
    assert metadata_of(result)["url"].value == f"{api.url}/***/eu/orders"
    assert "s3cr3t" not in repr(list(result.all_events))


def test_an_asset_links_to_the_python_line_that_builds_it() -> None:
    line = inspect.currentframe().f_lineno + 1  # type: ignore[union-attr]
    [asset] = build_rest_api_assets({"client": {"base_url": "https://x.test"}, "resources": ["a"]})
    [reference] = asset.metadata_by_key[asset.key]["dagster/code_references"].code_references
    assert (Path(reference.file_path), reference.line_number) == (Path(__file__), line)


def test_an_asset_of_a_yaml_file_links_to_its_resources_line_and_keeps_its_code_version(tmp_path: Path) -> None:
    file = tmp_path / "source.yaml"
    text = "client:\n  base_url: https://x.test\nresources:\n  - a\n  - name: b\n    endpoint: bs\n"
    file.write_text(text)
    assets = build_rest_api_assets(file)
    references = [asset.metadata_by_key[asset.key]["dagster/code_references"].code_references[0] for asset in assets]
    assert [(one.file_path, one.line_number, one.label) for one in references] == [
        (str(file), 4, "resource a"),
        (str(file), 5, "resource b"),
    ]
    file.write_text("# a comment moves every line\n" + text)
    again = build_rest_api_assets(RestApiConfig.from_yaml(file))
    assert [asset.code_versions_by_key for asset in assets] == [asset.code_versions_by_key for asset in again]


def test_a_definition_says_what_the_resource_will_do() -> None:
    incremental = {"cursor_path": "updated_at", "initial_value": "2024-01-01"}
    endpoint = {"path": "issues", "method": "POST", "incremental": incremental}
    resource = {"name": "issues", "endpoint": endpoint, "write_disposition": "merge", "primary_key": ["repo", "id"]}
    [asset] = build_rest_api_assets({"client": {"base_url": "https://u:p@x.test/v1/"}, "resources": [resource]})
    found = {key.removeprefix("dagster_restapi/"): value for key, value in asset.metadata_by_key[asset.key].items()}
    assert (found["endpoint"], found["method"], found["disposition"]) == ("issues", "POST", "merge")
    assert (found["primary_key"], found["cursor_path"]) == ("repo, id", "updated_at")
    assert found["url"] == dg.MetadataValue.url("https://x.test/v1/issues")


# ---- data versions -----------------------------------------------------------------------------------------------
def test_children_wait_for_a_parent_that_has_something_new(api: Any, source: Callable[..., Any]) -> None:
    rows = [{"id": 1, "at": "2024-01-01T00:00:00Z"}]
    serve(api, rows)
    house = source(events())
    condition = dg.AutomationCondition.any_deps_match(dg.AutomationCondition.data_version_changed())

    @dg.asset(deps=["events"], automation_condition=condition)
    def report() -> None: ...

    definitions = dg.Definitions(assets=[*house.assets(), report], resources={"io_manager": house.io_manager()})
    cursor = None

    def requested() -> int:
        nonlocal cursor
        result = dg.evaluate_automation_conditions(defs=definitions, instance=house.instance, cursor=cursor)
        cursor = result.cursor
        return int(result.total_requested)

    requested()
    house.load("events")
    assert requested() == 1
    house.load("events")
    assert requested() == 0, "the run brought nothing new"
    rows.append({"id": 2, "at": "2024-01-02T00:00:00Z"})
    house.load("events")
    assert requested() == 1


def test_children_of_partitions_wait_for_those_that_changed(api: Any, source: Callable[..., Any]) -> None:
    rows = every(timedelta(hours=6), "2024-01-01T00:00+00:00", "2024-01-04T00:00+00:00")
    serve(api, rows)
    house = source(events(DAILY))
    condition = dg.AutomationCondition.any_deps_match(dg.AutomationCondition.data_version_changed())
    [asset] = house.assets()

    @dg.asset(deps=["events"], partitions_def=asset.partitions_def, automation_condition=condition)
    def report() -> None: ...

    definitions = dg.Definitions(assets=[asset, report], resources={"io_manager": house.io_manager()})
    cursor = None

    def requested() -> set[str]:
        nonlocal cursor
        result = dg.evaluate_automation_conditions(defs=definitions, instance=house.instance, cursor=cursor)
        cursor = result.cursor
        return set(result.get_requested_partitions(dg.AssetKey("report")))

    requested()
    days = ("2024-01-01", "2024-01-03")
    house.run("events", between=days)
    assert requested() == {"2024-01-01", "2024-01-02", "2024-01-03"}
    house.run("events", between=days)
    assert requested() == set()
    rows.pop()
    house.run("events", between=days)
    assert requested() == {"2024-01-03"}
