"""One step of one asset: tables, cursors, lineage, and what happens when something goes wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dagster as dg
import duckdb
import pytest

from dagster_restapi import DuckDBRestApiIOManager, build_rest_api_definitions


def resource(house: Any, name: str) -> dict[str, Any]:
    return next(item for item in house.config["resources"] if item["name"] == name)


def test_every_resource_becomes_an_asset_and_every_parent_a_dependency(house: Any) -> None:
    graph = dg.Definitions(assets=house.assets(), resources={"io_manager": house.io_manager()}).resolve_asset_graph()
    assert {key.to_user_string() for key in graph.get_all_asset_keys()} == {
        "repositories",
        "issues",
        "comments",
        "events",
        "users",
    }
    parents = {
        key.to_user_string(): {p.to_user_string() for p in graph.get(key).parent_keys}
        for key in graph.get_all_asset_keys()
    }
    assert parents == {
        "repositories": set(),
        "issues": {"repositories"},
        "comments": {"issues"},
        "events": set(),
        "users": set(),
    }


def test_a_run_leaves_every_row_of_the_api_in_its_table(house: Any) -> None:
    result = house.run()
    assert result.success
    for name in ("repositories", "issues", "comments", "events", "users"):
        rows = house.api.tracker.listing(name)
        assert house.query(f"SELECT id FROM tracker.{name} ORDER BY id") == [(row["id"],) for row in rows]
        assert house.told(result, name)["dagster/row_count"] == len(rows)


def test_the_parent_is_not_asked_again_when_the_child_runs_alone(house: Any) -> None:
    house.run("repositories")
    house.api.forget_log()
    told = house.load("issues")
    assert told["dagster/row_count"] == len(house.api.tracker.listing("issues"))
    assert not [path for path in house.api.paths() if path.partition("?")[0] == "/repositories"]


def test_a_child_before_its_parent_is_an_error_that_says_so(house: Any, failure_of: Callable[..., str]) -> None:
    result = house.run("issues")
    assert not result.success
    assert "repositories" in failure_of(result)
    assert "aterialize" in failure_of(result)


def test_an_incremental_append_goes_on_behind_its_cursor(house: Any) -> None:
    first = house.load("events")
    count = len(house.api.tracker.listing("events"))
    assert (first["cursor_source"], first["cursor"], first["dagster/row_count"]) == ("initial", count, count)
    house.api.tracker.touch("issues", 1, {"title": "edited"})
    added = len(house.api.tracker.listing("events")) - count
    second = house.load("events")
    assert added > 0
    assert (second["cursor_source"], second["cursor_before"], second["cursor"]) == ("metadata", count, count + added)
    assert (second["rows_loaded"], second["dagster/row_count"], second["requests"]) == (added, count + added, 1)


def test_a_run_with_nothing_new_changes_nothing_and_keeps_the_data_version(house: Any) -> None:
    house.load("events")
    before = house.query("SELECT * FROM tracker.events ORDER BY id")
    versions = [data_version(house, "events")]
    told = house.load("events")
    versions.append(data_version(house, "events"))
    assert (told["rows_loaded"], told["requests"]) == (0, 1)
    assert house.query("SELECT * FROM tracker.events ORDER BY id") == before
    assert versions[0] == versions[1]
    house.api.tracker.touch("issues", 1, {"title": "edited"})
    house.load("events")
    assert data_version(house, "events") != versions[0]


def test_a_run_with_nothing_new_makes_no_load_and_tells_what_stands(house: Any) -> None:
    first = house.load("events")
    before = house.database.read_bytes()
    second = house.load("events")
    assert house.database.read_bytes() == before, "the file was not even opened for writing"
    same = ("load_id", "cursor", "dagster/row_count", "dagster/column_schema", "dagster/table_name", "preview")
    assert {key: second[key] for key in same} == {key: first[key] for key in same}
    assert (second["cursor_source"], second["cursor_before"]) == ("metadata", first["cursor"])
    assert second["child_tables"] == {}
    spools = house.io_manager()._spool_root(dg.build_init_resource_context())
    assert not [path for path in spools.iterdir() if path.is_dir()]
    third = house.load("events")
    assert {key: third[key] for key in same} == {key: first[key] for key in same}, "and so on, without end"


def test_a_run_with_nothing_new_in_another_instance_shows_the_rows_all_the_same(house: Any) -> None:
    first = house.load("events")
    with dg.DagsterInstance.ephemeral() as other:
        told = house.load("events", instance=other)
    assert (told["cursor_source"], told["load_id"], told["preview"]) == ("ledger", first["load_id"], first["preview"])


def test_a_row_that_changed_at_the_very_cursor_is_loaded(house: Any, api: Any) -> None:
    rows = [{"id": 1, "at": "2024-01-01T00:00:00Z", "tags": ["a"]}, {"id": 2, "at": "2024-01-02T00:00:00Z", "tags": []}]
    serve_since(house, api, rows)
    first = house.load("items")
    assert house.load("items")["load_id"] == first["load_id"]
    rows[1]["tags"] = ["b"]
    changed = house.load("items")
    assert (changed["rows_updated"], changed["rows_inserted"]) == (1, 0)
    rows.append({"id": 3, "at": "2024-01-02T01:00:00+01:00", "tags": []})  # the same instant
    assert house.load("items")["rows_inserted"] == 1
    assert house.load("items")["rows_loaded"] == 0
    assert house.query("SELECT id FROM tracker.items ORDER BY id") == [(1,), (2,), (3,)]
    assert house.query("SELECT value FROM tracker.items__tags ORDER BY value") == [("a",), ("b",)]
    assert house.query("SELECT count(*) FROM tracker._restapi_loads") == [(3,)]


def test_after_a_change_of_settings_even_nothing_new_is_loaded(house: Any, api: Any) -> None:
    rows = [{"id": 1, "at": "2024-01-01T00:00:00Z", "secret": "x"}]
    resource = serve_since(house, api, rows)
    first = house.load("items")
    assert "secret" in first["preview"]
    resource["preview"] = {"hide": ["secret"]}
    assert "secret" not in house.load("items")["preview"]
    resource["columns"] = {"added": {"data_type": "bigint"}}
    assert "added" in [column.name for column in house.load("items")["dagster/column_schema"].columns]
    rows.clear()
    last = house.load("items")
    assert (last["load_id"], last["dagster/row_count"]) == (house.load("items")["load_id"], 1), (
        "an empty answer as well"
    )


def serve_since(house: Any, api: Any, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """One resource that is merged by `id` and asked for from its cursor on; gives its settings."""
    api.route("/items", lambda request: {"items": rows})
    resource: dict[str, Any] = {
        "name": "items",
        "primary_key": "id",
        "write_disposition": "merge",
        "endpoint": {
            "path": "items",
            "paginator": "single_page",
            "data_selector": "items",
            "incremental": {"cursor_path": "at", "initial_value": "2024-01-01T00:00:00Z"},
        },
    }
    house.config = {"client": {"base_url": api.url}, "resources": [resource]}
    return resource


def data_version(house: Any, asset: str) -> str:
    event = house.instance.get_latest_materialization_event(dg.AssetKey(asset))
    return event.asset_materialization.tags["dagster/data_version"]


def test_each_parent_key_has_a_cursor_and_metadata_sums_them_up(house: Any) -> None:
    told = house.load("repositories", "issues")
    assert told["cursors"]["count"] == len(house.api.tracker.listing("repositories"))
    assert told["cursors"]["maximum"] == max(row["updated_at"] for row in house.api.tracker.listing("issues"))


def test_a_row_of_a_new_parent_is_no_row_of_another_ones_cursor(api: Any, source: Callable[..., Any]) -> None:
    """What children look like that carry nothing of their parent: its rows may be those of another one."""
    row = {"name": "bug", "at": "2024-01-01T00:00:00Z"}
    shelves, boxes = [{"id": 1, "at": 1}], {1: [row], 2: [row, {**row, "name": "old", "at": "2023-01-01T00:00:00Z"}]}
    api.route("/shelves", lambda _: shelves)
    for number, rows in boxes.items():
        api.route(f"/shelves/{number}/boxes", lambda _, rows=rows: rows)
    house = source(
        {
            "name": "shelves",
            "primary_key": "id",
            "write_disposition": "merge",
            "endpoint": {"path": "shelves", "incremental": {"cursor_path": "at"}},
        },
        {
            "name": "boxes",
            "write_disposition": "append",
            "endpoint": {"path": "shelves/{resources.shelves.id}/boxes", "incremental": {"cursor_path": "at"}},
        },
    )
    house.load("shelves", "boxes")
    shelves.append({"id": 2, "at": 2})
    house.load("shelves", "boxes")
    assert house.query("SELECT name, count(*) FROM tracker.boxes GROUP BY ALL ORDER BY ALL") == [("bug", 2), ("old", 1)]
    boxes[1].append({**row, "at": "2024-01-01T01:00:00+01:00"})  # the same instant
    told = house.load("boxes", parents="all")
    assert (told["parents"], told["rows_inserted"]) == (2, 1)


def test_an_edited_row_is_the_only_one_that_changes(house: Any) -> None:
    house.run("repositories", "issues")
    before = dict(house.query("SELECT id, _restapi_load_id FROM tracker.issues"))
    house.api.tracker.touch("issues", 7, {"title": "edited"})
    told = house.load("issues")
    after = dict(house.query("SELECT id, _restapi_load_id FROM tracker.issues"))
    assert {key for key in after if after[key] != before[key]} == {7}
    assert (told["rows_updated"], told["rows_inserted"]) == (1, 0)
    assert house.query("SELECT title FROM tracker.issues WHERE id = 7") == [("edited",)]


def test_a_child_asks_only_for_parents_that_changed_since_its_own_last_load(house: Any) -> None:
    house.run("repositories", "issues", "comments")
    house.api.tracker.touch("issues", 7, {"title": "edited"})
    house.api.tracker.add("comments", {"repository": "anvil", "issue_number": 1})
    house.run("issues")  # two loads of the parent lie between the child's
    house.run("issues")
    house.api.forget_log()
    told = house.load("comments")
    assert told["parents"] == 2
    assert len(house.api.paths()) == told["requests"] == 2
    assert told["dagster/row_count"] == len(house.api.tracker.listing("comments"))


def test_parents_all_asks_for_every_parent(house: Any) -> None:
    house.run("repositories", "issues", "comments")
    told = house.load("comments", parents="all")
    assert told["parents"] == len(house.api.tracker.listing("issues"))


def test_full_refresh_forgets_the_cursor_and_replaces_the_table(house: Any) -> None:
    house.load("events")
    told = house.load("events", full_refresh=True)
    count = len(house.api.tracker.listing("events"))
    assert (told["cursor_source"], told["rows_loaded"], told["dagster/row_count"]) == ("full_refresh", count, count)
    assert "cursor_before" not in told


def test_replace_asks_for_everything_whatever_the_cursor(house: Any) -> None:
    events = next(resource for resource in house.config["resources"] if resource["name"] == "events")
    events["write_disposition"] = "replace"
    first, count = house.load("events"), len(house.api.tracker.listing("events"))
    told = house.load("events")
    assert (told["cursor_before"], told["cursor"]) == (first["cursor"], first["cursor"])
    assert told["requests"] == first["requests"]
    assert (told["rows_inserted"], told["dagster/row_count"]) == (0, count), "the very same rows are left alone"


def test_a_window_by_hand_leaves_the_cursor_alone(house: Any) -> None:
    cursor = house.load("events")["cursor"]
    told = house.load("events", start_value="5", end_value="8")
    assert (told["rows_loaded"], told["cursor"]) == (0, cursor), "they are there already"
    assert house.load("events")["cursor_before"] == cursor


def test_max_pages_moves_no_cursor_and_the_next_run_doubles_nothing(house: Any) -> None:
    told = house.load("events", max_pages=2)
    assert (told["rows_loaded"], told["complete"]) == (200, False)
    assert "cursor" not in told
    count = len(house.api.tracker.listing("events"))
    assert house.load("events")["dagster/row_count"] == count


def test_a_part_never_takes_the_place_of_a_whole_table_unless_that_is_asked_for(
    house: Any, failure_of: Callable[..., str]
) -> None:
    count = house.load("repositories")["dagster/row_count"]
    result = house.run("repositories", max_pages=1)
    assert f"only a part was fetched, and it would take the place of {count} rows" in failure_of(result)
    assert house.load("repositories")["dagster/row_count"] == count
    told = house.load("repositories", max_pages=1, full_refresh=True)
    assert (0 < told["dagster/row_count"] < count, told["complete"]) == (True, False)


def test_start_value_without_incremental_is_refused(house: Any, failure_of: Callable[..., str]) -> None:
    result = house.run("users", start_value="5")
    assert "need a resource with `incremental`" in failure_of(result)


@pytest.mark.parametrize(
    ("window", "told"),
    [
        (
            {"start_value": "garbage"},
            "start_value 'garbage' is of the kind text, and '2024-01-02T00:00:00Z' of the kind instant",
        ),
        ({"end_value": "5"}, "end_value '5' is of the kind number"),
        ({"start_value": "2024-03-01", "end_value": "2024-02-01"}, "from '2024-03-01' to '2024-02-01' has no room"),
        ({"start_value": "2024-03-01", "end_value": "2024-03-01"}, "has no room for a row"),
        ({"end_value": "2020-01-01"}, "from '2024-01-01T00:00:00Z' to '2020-01-01' has no room"),
    ],
)
def test_an_impossible_window_by_hand_is_refused_before_the_first_request(
    house: Any, api: Any, failure_of: Callable[..., str], window: dict[str, str], told: str
) -> None:
    serve_since(house, api, [{"id": 1, "at": "2024-01-02T00:00:00Z"}])
    house.load("items")
    api.requests.clear()
    failure = failure_of(house.run("items", **window))
    assert told in failure
    assert "run config of items" in failure
    assert api.requests == []


def test_a_window_by_hand_is_compared_with_what_is_known(house: Any, api: Any, failure_of: Callable[..., str]) -> None:
    resource = serve_since(house, api, [{"id": 1, "at": "2024-01-02T00:00:00Z"}])
    assert "'2024-01-01T00:00:00Z' of the kind instant" in failure_of(house.run("items", start_value="5")), "no cursor"
    del resource["endpoint"]["incremental"]["initial_value"]
    assert "end_value '5' is of the kind number, and '2024-01-01' of the kind date" in failure_of(
        house.run("items", start_value="2024-01-01", end_value="5")
    )
    assert house.load("items", start_value="2024-01-01", end_value="2024-01-03")["rows_inserted"] == 1


def test_a_window_by_hand_of_a_child_is_compared_with_its_cursors(house: Any, failure_of: Callable[..., str]) -> None:
    house.load("repositories", "issues")
    house.api.forget_log()
    assert "start_value '5' is of the kind number" in failure_of(house.run("issues", start_value="5"))
    assert house.api.paths() == []


def test_a_wipe_means_a_clean_rebuild(house: Any) -> None:
    house.load("events")
    house.instance.wipe_assets([dg.AssetKey("events")])
    told = house.load("events")
    count = len(house.api.tracker.listing("events"))
    assert (told["cursor_source"], told["rows_loaded"], told["dagster/row_count"]) == ("wiped", count, count)
    assert house.load("events")["cursor_source"] == "metadata"


def test_a_new_instance_goes_on_from_the_ledger(house: Any) -> None:
    cursor = house.load("events")["cursor"]
    with dg.DagsterInstance.ephemeral() as other:
        told = house.load("events", instance=other)
    assert (told["cursor_source"], told["cursor_before"], told["rows_loaded"]) == ("ledger", cursor, 0)


def test_a_deleted_database_starts_again(house: Any) -> None:
    house.load("events")
    house.database.unlink()
    told = house.load("events")
    assert (told["cursor_source"], told["dagster/row_count"]) == ("initial", len(house.api.tracker.listing("events")))


def test_a_reported_materialization_does_not_hide_the_cursor(house: Any) -> None:
    cursor = house.load("events")["cursor"]
    house.instance.report_runless_asset_event(dg.AssetMaterialization("events"))
    assert house.load("events")["cursor_before"] == cursor


def test_append_without_a_cursor_appends_on_every_run(house: Any) -> None:
    resource(house, "users")["write_disposition"] = "append"
    house.load("users")
    told = house.load("users")
    assert told["dagster/row_count"] == 2 * len(house.api.tracker.listing("users"))


def test_another_io_manager_is_refused_with_what_to_do(house: Any, failure_of: Callable[..., str]) -> None:
    result = dg.materialize(
        house.assets(),
        selection=dg.AssetSelection.assets("users"),
        instance=house.instance,
        resources={"io_manager": dg.InMemoryIOManager()},
        raise_on_error=False,
    )
    assert "DuckDBRestApiIOManager" in failure_of(result)


def test_a_failing_api_leaves_the_tables_as_they_were(house: Any, failure_of: Callable[..., str]) -> None:
    house.load("users")
    before = house.query("SELECT * FROM tracker.users ORDER BY id")
    resource(house, "users")["endpoint"]["path"] = "nowhere"
    result = house.run("users")
    assert not result.success
    assert "404" in failure_of(result)
    assert house.query("SELECT * FROM tracker.users ORDER BY id") == before


@pytest.mark.parametrize("part", ["preview", "dagster/column_schema", "load_id", "bytes", "fetch_seconds"])
def test_the_event_tells(house: Any, part: str) -> None:
    assert house.load("users")[part] is not None


def test_the_spool_is_gone_after_a_load(house: Any) -> None:
    house.load("users")
    left = sorted(path.name for path in house.database.parent.glob("*.spool/*"))
    assert left == ["key", "key.lock"], "which the names of spools are made with"


def test_columns_from_the_parent_have_their_lineage(house: Any) -> None:
    told = house.load("repositories", "issues", "comments")
    lineage = told["dagster/column_lineage"].deps_by_column
    assert {name: [(dep.asset_key.path, dep.column_name) for dep in deps] for name, deps in lineage.items()} == {
        "_issues_title": [(["issues"], "title")]
    }


def test_the_definition_says_what_the_resource_will_do(house: Any) -> None:
    issues = next(asset for asset in house.assets() if asset.key.path == ["issues"])
    metadata = {
        key.removeprefix("dagster_restapi/"): value for key, value in issues.metadata_by_key[issues.key].items()
    }
    url = f"{house.api.url}/repositories/{{resources.repositories.name}}/issues"
    assert metadata["url"] == dg.MetadataValue.text(url)
    assert (metadata["disposition"], metadata["primary_key"], metadata["method"]) == ("merge", "id", "GET")
    assert (metadata["cursor_path"], metadata["parent"]) == ("updated_at", "repositories")
    users = next(asset for asset in house.assets() if asset.key.path == ["users"])
    link = users.metadata_by_key[users.key]["dagster_restapi/url"]
    assert link == dg.MetadataValue.url(f"{house.api.url}/users")


@pytest.mark.parametrize(
    ("options", "schema", "name"),
    [
        ({}, "tracker", "tracker.users"),
        ({"key_prefix": ["raw", "api"]}, None, "api.users"),
        ({"key_prefix": ["raw", "api"]}, "tracker", "tracker.users"),
        ({}, None, "public.users"),
        ({}, dg.EnvVar("SCHEMA"), None),
    ],
)
def test_the_definition_says_where_the_rows_are(house: Any, options: dict[str, Any], schema: Any, name: Any) -> None:
    manager = DuckDBRestApiIOManager(database="x.duckdb", schema=schema)
    definitions = build_rest_api_definitions(house.config, io_manager=manager, **options)
    graph = definitions.resolve_asset_graph()
    (users,) = (graph.get(key) for key in graph.get_all_asset_keys() if key.path[-1] == "users")
    assert users.metadata.get("dagster/table_name") == name


@pytest.mark.parametrize(
    "kind",
    ["pd.DataFrame", "pl.DataFrame", "pl.LazyFrame", "pa.Table", "pa.RecordBatchReader", "duckdb.DuckDBPyRelation"],
)
def test_other_assets_take_tables_as_they_like_and_store_frames_beside_them(house: Any, kind: str) -> None:
    import duckdb
    import pandas as pd
    import polars as pl
    import pyarrow as pa

    wanted = eval(kind, {"pd": pd, "pl": pl, "pa": pa, "duckdb": duckdb})
    seen = []

    def take(users):
        assert isinstance(users, wanted)
        frame = users.collect() if kind == "pl.LazyFrame" else users
        frame = frame.read_all() if kind == "pa.RecordBatchReader" else frame
        seen.append(len(frame))
        return frame

    take.__annotations__ = {"users": wanted}
    copy = dg.asset(name="copied", ins={"users": dg.AssetIn(metadata={"columns": ["id", "login"]})})(take)
    result = dg.materialize(
        [*house.assets(), copy],
        selection=dg.AssetSelection.assets("users", "copied"),
        instance=house.instance,
        resources={"io_manager": house.io_manager()},
    )
    assert result.success
    users = house.api.tracker.listing("users")
    assert seen == [len(users)]
    assert house.query("SELECT id, login FROM tracker.copied ORDER BY id") == [
        (row["id"], row["login"]) for row in users
    ]


def test_a_child_with_no_changed_parent_asks_nothing_and_changes_nothing(house: Any) -> None:
    house.run("repositories", "issues", "comments")
    house.run("issues")
    house.api.forget_log()
    told = house.load("comments")
    assert (told["requests"], told["rows_loaded"], house.api.paths()) == (0, 0, [])
    assert "warnings" not in told


def test_history_of_parents_that_were_not_asked_stays_open(house: Any) -> None:
    comments = resource(house, "comments")
    comments["write_disposition"] = {"disposition": "merge", "strategy": "scd2"}
    house.run("repositories", "issues", "comments")
    house.api.tracker.touch("issues", 7, {"title": "edited"})
    house.run("issues", "comments")
    active = house.query("SELECT count(*) FROM tracker.comments WHERE _restapi_valid_to IS NULL")
    assert active == [(len(house.api.tracker.listing("comments")),)]


def test_a_table_without_its_ledger_row_is_rebuilt_not_doubled(house: Any) -> None:
    house.load("events")
    import duckdb

    with duckdb.connect(str(house.database)) as connection:
        connection.execute("DELETE FROM tracker._restapi_loads")
    told = house.load("events")
    assert told["dagster/row_count"] == len(house.api.tracker.listing("events"))


def test_a_database_of_an_older_version_is_gone_on_from_in_a_new_instance(house: Any) -> None:
    cursor = house.load("events")["cursor"]
    with duckdb.connect(str(house.database)) as connection:
        for column in ("root_run_id", "wipe", "data_version", "layout"):
            connection.execute(f"ALTER TABLE tracker._restapi_loads DROP COLUMN {column}")
        connection.execute("UPDATE tracker._restapi_loads SET format_version = 0, tell = NULL")
    house.api.tracker.touch("issues", 1, {"title": "edited"})
    with dg.DagsterInstance.ephemeral() as other:
        told = house.load("events", instance=other)
        assert (told["cursor_source"], told["cursor_before"]) == ("ledger", cursor)
        told = house.load("events", instance=other)
        assert (told["cursor_source"], told["rows_loaded"]) == ("metadata", 0)
    assert house.query("SELECT id FROM tracker.events ORDER BY id") == [
        (row["id"],) for row in house.api.tracker.listing("events")
    ]
    assert house.query("SELECT format_version FROM tracker._restapi_loads ORDER BY sequence") == [(0,), (1,)]


@pytest.mark.parametrize("nested", ["tables", "json", "native"])
def test_a_decimal_hint_changes_its_own_column_alone(source: Callable[..., Any], api: Any, nested: str) -> None:
    api.route(
        "/things",
        api.Reply(
            '[{"id": 1, "price": 0.10000000000000001, "ratio": 0.123456789012345678901, "half": 0.5,'
            ' "geo": {"lat": 1.5, "more": [0.1, 12345678901234567890.125]}}]'
        ),
    )
    plain = {"name": "plain", "nested": nested, "endpoint": "things"}
    hint = {"data_type": "decimal", "precision": 38, "scale": 20}
    house = source(plain, {**plain, "name": "hinted", "columns": {"price": hint}})
    assert house.run().success

    def values(table: str) -> tuple[list[Any], list[Any]]:
        children = house.query(f"SELECT value FROM tracker.{table}__geo__more ORDER BY 1") if nested == "tables" else []
        own = "price, _restapi_load_id, _restapi_row_hash, _restapi_id"
        return house.query(f"SELECT * EXCLUDE ({own}) FROM tracker.{table}"), children

    assert values("hinted") == values("plain")
    assert house.query("SELECT CAST(price AS VARCHAR) FROM tracker.hinted") == [("0.10000000000000001000",)]
    assert house.query("SELECT price FROM tracker.plain") == [(0.1,)]


def test_a_child_goes_on_for_each_row_of_a_parent_that_has_no_table(source: Callable[..., Any], api: Any) -> None:
    api.route("/parents", [{"id": 1}, {"id": 2}])
    api.replies("/parents/1", [{"u": 1}, {"u": 2}], [{"u": 1}, {"u": 2}], [{"u": 1}, {"u": 2}, {"u": 3}])
    api.route("/parents/2", [{"u": 5}])
    house = source(
        {"name": "parents", "selected": False},
        {
            "name": "children",
            "write_disposition": "append",
            "endpoint": {"path": "parents/{resources.parents.id}", "incremental": {"cursor_path": "u"}},
        },
    )
    for _ in range(3):
        house.load("children")
    assert house.query("SELECT u FROM tracker.children ORDER BY 1") == [(1,), (2,), (3,), (5,)]
    house.load("children", full_refresh=True)
    assert house.query("SELECT u FROM tracker.children ORDER BY 1") == [(1,), (2,), (3,), (5,)]
