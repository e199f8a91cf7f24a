"""`dagster-restapi init`: what it makes of a description or a base URL; what it writes always loads."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dagster_restapi import RestApiConfig, RestApiError
from dagster_restapi.cli.init import init
from dagster_restapi.config.plan import plan
from dagster_restapi.demo import SampleApi
from dagster_restapi.demo.config import TOKEN_ENV

TRACKER = (Path(__file__).parent / "tracker.openapi.yaml").read_text(encoding="utf-8")


def listing(schema: Any, **operation: Any) -> dict[str, Any]:
    """A path's item with one GET operation."""
    answer = {"content": {"application/json": {"schema": schema}}, **operation.pop("answer", {})}
    return {"get": {"responses": {"200": answer}, **operation}}


def rows(**properties: Any) -> dict[str, Any]:
    return {"type": "array", "items": {"type": "object", "properties": properties}}


def query(name: str, **schema: Any) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": {"type": "string", **schema}}


NUMBER, TEXT, BOOL = {"type": "integer"}, {"type": "string"}, {"type": "boolean"}


def described(paths: dict[str, Any], **document: Any) -> dict[str, Any]:
    info = {"title": "An API", "version": "1"}
    return {
        "openapi": "3.0.3",
        "info": info,
        "servers": [{"url": "https://api.shop.example/v1"}],
        "paths": paths,
        **document,
    }


@pytest.fixture
def made(tmp_path: Path) -> Any:
    """The resources, by name, that a document gives; `made.config` is the whole file."""

    def make(document: Any, *only: str) -> dict[str, Any]:
        file = tmp_path / "api.json"
        file.write_text(json.dumps(document), encoding="utf-8")
        text = init(str(file), only).text
        (tmp_path / "source.yaml").write_text(text, encoding="utf-8")
        plan(RestApiConfig.from_yaml(tmp_path / "source.yaml"))
        make.text, make.config = text, yaml.safe_load(text)  # type: ignore[attr-defined]
        return {resource["name"]: resource for resource in make.config["resources"]}  # type: ignore[attr-defined]

    return make


# ---- the whole way ---------------------------------------------------------------------------------------------------
def test_the_starter_of_the_sample_api_loads_it_without_a_change(
    run: Any, sample_api: SampleApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    description = tmp_path / "tracker.yaml"
    description.write_text(TRACKER.replace("https://api.tracker.example", sample_api.url), encoding="utf-8")
    ran = run("init", description, "-o", tmp_path / "source.yaml")
    assert ran.code == 0, ran.err
    monkeypatch.setenv("API_TOKEN", str(sample_api.token))
    monkeypatch.delenv(TOKEN_ENV, raising=False)
    checked = run("check", tmp_path / "source.yaml")
    assert checked.code == 0, checked.err
    assert {name: (row["result"], row["key"]) for name, row in checked.table.items()} == {
        "repositories": ("ok", "id"),
        "issues": ("ok", "_repositories_name, number"),
        "comments": ("ok", "id"),
        "events": ("ok", "id"),
        "users": ("ok", "id"),
    }
    asked = [path for path in sample_api.paths() if "/comments" in path]
    assert asked[0].startswith("/repositories/anvil/issues/")


def test_a_description_behind_a_url_is_fetched_and_its_server_is_relative_to_it(
    run: Any, api: Any, tmp_path: Path
) -> None:
    api.pages["/v3/openapi.json"] = described({"/pets": listing(rows(id=NUMBER))}, servers=[{"url": "/v3"}])
    ran = run("init", f"{api.url}/v3/openapi.json")
    assert ran.code == 0
    assert yaml.safe_load(ran.out)["client"]["base_url"] == f"{api.url}/v3"


def test_the_file_is_not_written_over_unless_forced(run: Any, tmp_path: Path) -> None:
    (tmp_path / "d.yaml").write_text(TRACKER, encoding="utf-8")
    target = tmp_path / "source.yaml"
    target.write_text("mine")
    assert run("init", tmp_path / "d.yaml", "-o", target).code == 2
    assert target.read_text() == "mine"
    assert run("init", tmp_path / "d.yaml", "-o", target, "--force").code == 0
    RestApiConfig.from_yaml(target)


# ---- resources -------------------------------------------------------------------------------------------------------
def test_lists_become_resources_and_single_things_are_left_out(made: Any) -> None:
    found = made(
        described(
            {
                "/orders": listing(rows(id=NUMBER)),
                "/orders/{id}": listing({"type": "object", "properties": {"id": NUMBER, "items": rows(sku=TEXT)}}),
                "/health": listing({"type": "object", "properties": {"ok": BOOL}}),
                "/teams": listing(
                    {"type": "object", "properties": {"total_count": NUMBER, "team_list": rows(id=NUMBER)}}
                ),
                "/upload": {"post": {"responses": {}}},
            }
        )
    )
    assert list(found) == ["orders", "teams"]
    assert found["teams"]["endpoint"]["data_selector"] == "team_list"
    assert "#   GET /orders/{id}" in made.text
    assert "#   GET /health" in made.text


def test_a_path_below_a_list_becomes_its_child(made: Any) -> None:
    found = made(
        described(
            {
                "/users": listing(rows(id=NUMBER, login=TEXT)),
                "/users/{user_id}/orders": listing(rows(id=NUMBER)),
                "/users/{userId}/carts": listing(rows(id=NUMBER)),
                "/users/{login}/posts": listing(rows(id=NUMBER)),
            }
        )
    )
    assert found["orders"]["endpoint"]["path"] == "users/{resources.users.id}/orders"
    assert found["carts"]["endpoint"]["path"] == "users/{resources.users.id}/carts"
    assert found["posts"]["endpoint"]["path"] == "users/{resources.users.login}/posts"


def test_a_grandchild_gets_the_first_key_through_its_parent(made: Any) -> None:
    found = made(
        described(
            {
                "/shops": listing(rows(id=NUMBER)),
                "/shops/{shop_id}/shelves": listing(rows(id=NUMBER)),
                "/shops/{shop_id}/shelves/{shelf_id}/books": listing(rows(id=NUMBER)),
            }
        )
    )
    assert found["shelves"]["include_from_parent"] == ["id"]
    path = "shops/{resources.shelves._shops_id}/shelves/{resources.shelves.id}/books"
    assert found["books"]["endpoint"]["path"] == path


def test_a_key_that_is_unique_beneath_its_parent_only_takes_the_parents_key_along(made: Any) -> None:
    found = made(
        described(
            {"/repos": listing(rows(name=TEXT)), "/repos/{repo}/issues": listing(rows(number=NUMBER, title=TEXT))}
        )
    )
    assert found["issues"]["primary_key"] == ["_repos_name", "number"]
    assert found["issues"]["include_from_parent"] == ["name"]
    assert found["repos"]["primary_key"] == "name"


def test_what_only_a_person_knows_is_marked(made: Any) -> None:
    path = {"name": "org", "in": "path", "required": True, "schema": TEXT}
    found = made(
        described(
            {
                "/orgs/{org}/members": {
                    **listing(
                        rows(id=NUMBER), parameters=[{**query("team"), "required": True}, query("page", type="integer")]
                    ),
                    "parameters": [path],
                }
            }
        )
    )
    endpoint = found["members"]["endpoint"]
    assert endpoint["path"] == "orgs/{org}/members"
    assert endpoint["params"] == {"org": "CHANGE-ME", "team": "CHANGE-ME"}


def test_parameters_come_with_their_defaults_and_choices_as_comments(made: Any) -> None:
    state = query("state", enum=["open", "closed"], default="open")
    state["description"] = "Which ones.\nAnd more: # text"
    made(described({"/items": listing(rows(id=NUMBER), parameters=[state])}))
    assert "      # params:\n      #   state: open # open | closed; Which ones.\n" in made.text


def test_without_a_key_the_table_is_replaced(made: Any) -> None:
    found = made(described({"/words": listing({"type": "array", "items": TEXT})}))
    assert found["words"]["write_disposition"] == "replace"


def test_paths_that_end_alike_get_names_of_their_own(made: Any) -> None:
    paths = ["/items", "/shops/{a}/items", "/users/{b}/items", "/v1/users/{b}/items"]
    found = made(described({path: listing(rows(id=NUMBER)) for path in paths}))
    assert list(found) == ["items", "shop_items", "user_items", "users_items"]


def test_only_takes_the_chosen_paths_and_their_parents(made: Any) -> None:
    document = described(
        {
            "/users": listing(rows(id=NUMBER)),
            "/users/{user_id}/orders": listing(rows(id=NUMBER)),
            "/other": listing(rows(id=NUMBER)),
        }
    )
    assert list(made(document, "/users/*")) == ["users", "orders"]


def test_a_cursor_that_the_api_seems_to_know_is_proposed(made: Any) -> None:
    since = query("updated_after", format="date-time")
    made(described({"/items": listing(rows(id=NUMBER, updated_at=TEXT), parameters=[since])}))
    assert "      #   cursor_path: updated_at\n" in made.text
    assert "      #   start_param: updated_after\n" in made.text


# ---- references ------------------------------------------------------------------------------------------------------
def test_references_are_followed_and_circles_end(made: Any) -> None:
    schemas = {
        "Node": {"type": "object", "properties": {"id": NUMBER, "children": {"$ref": "#/components/schemas/Nodes"}}},
        "Nodes": {"type": "array", "items": {"$ref": "#/components/schemas/Node"}},
        "Page": {
            "allOf": [
                {"$ref": "#/components/schemas/Meta"},
                {"properties": {"data": {"$ref": "#/components/schemas/Nodes"}}},
            ]
        },
        "Meta": {"type": "object", "properties": {"total_pages": NUMBER}},
        "A": {"$ref": "#/components/schemas/B"},
        "B": {"$ref": "#/components/schemas/A"},
        "Both": {"allOf": [{"$ref": "#/components/schemas/Both"}]},
    }
    parameters = {"Page": query("page", type="integer")}
    found = made(
        described(
            {
                "/nodes": listing(
                    {"$ref": "#/components/schemas/Page"}, parameters=[{"$ref": "#/components/parameters/Page"}]
                ),
                "/loops": listing({"$ref": "#/components/schemas/A"}),
                "/twice": listing({"$ref": "#/components/schemas/Both"}),
                "/same": {"$ref": "#/paths/~1nodes"},
            },
            components={"schemas": schemas, "parameters": parameters},
        )
    )
    assert found["nodes"]["endpoint"]["data_selector"] == "data"
    assert found["same"]["endpoint"]["data_selector"] == "data"
    assert made.config["client"]["paginator"] == {"type": "page_number", "base_page": 1, "total_path": "total_pages"}


def test_references_to_other_files_are_told(run: Any, tmp_path: Path) -> None:
    document = described({"/pets": listing({"type": "array", "items": {"$ref": "pets.yaml#/Pet"}})})
    (tmp_path / "api.json").write_text(json.dumps(document))
    assert "references that lead to other files are not read (1)" in run("init", tmp_path / "api.json").err


# ---- paging ----------------------------------------------------------------------------------------------------------
PAGE, OFFSET, LIMIT = (
    query("page", type="integer"),
    query("offset", type="integer"),
    query("limit", type="integer", maximum=50),
)


@pytest.mark.parametrize(
    ("parameters", "beside", "expected"),
    [
        ([PAGE], {"total_pages": NUMBER}, {"type": "page_number", "base_page": 1, "total_path": "total_pages"}),
        (
            [query("pageNumber", type="integer", default=0)],
            {"hasNext": BOOL},
            {
                "type": "page_number",
                "base_page": 0,
                "page_param": "pageNumber",
                "total_path": None,
                "has_more_path": "hasNext",
            },
        ),
        (
            [OFFSET, LIMIT],
            {"meta": {"type": "object", "properties": {"total": NUMBER}}},
            {"type": "offset", "limit": 50, "total_path": "meta.total"},
        ),
        (
            [query("skip", type="integer"), query("take", type="integer", default=20)],
            {},
            {"type": "offset", "limit": 20, "offset_param": "skip", "limit_param": "take", "total_path": None},
        ),
        (
            [query("cursor")],
            {"next_cursor": TEXT},
            {"type": "cursor", "cursor_path": "next_cursor", "cursor_param": "cursor"},
        ),
        (
            [query("pageToken")],
            {"nextPageToken": TEXT},
            {"type": "cursor", "cursor_path": "nextPageToken", "cursor_param": "pageToken"},
        ),
        (
            [query("starting_after"), LIMIT],
            {"has_more": BOOL},
            {
                "type": "cursor",
                "cursor_path": "data[-1].id",
                "cursor_param": "starting_after",
                "has_more_path": "has_more",
            },
        ),
        ([PAGE], {"next": {"type": "string", "format": "uri"}}, {"type": "json_link", "next_url_path": "next"}),
        ([], {"@odata.nextLink": TEXT}, {"type": "json_link", "next_url_path": "$['@odata.nextLink']"}),
        (
            [],
            {"_links": {"type": "object", "properties": {"next": {"type": "object", "properties": {"href": TEXT}}}}},
            {"type": "json_link", "next_url_path": "_links.next.href"},
        ),
        ([query("cursor")], {}, None),
        ([], {}, None),
    ],
)
def test_the_paginator_is_read_from_parameters_and_answer(
    made: Any, parameters: list[Any], beside: dict[str, Any], expected: dict[str, Any] | None
) -> None:
    answer = {"type": "object", "properties": {"data": rows(id=TEXT), **beside}}
    found = made(described({"/items": listing(answer, parameters=parameters)}))
    assert found["items"]["endpoint"].get("paginator") == expected


def test_a_link_header_goes_before_a_page_number(made: Any) -> None:
    answer = {"headers": {"Link": {"schema": TEXT}}}
    size = query("per_page", type="integer", default=30)
    size["description"] = "The number of results per page (max 100)."
    found = made(described({"/items": listing(rows(id=NUMBER), parameters=[PAGE, size], answer=answer)}))
    assert found["items"]["endpoint"]["paginator"] == {"type": "header_link"}
    assert found["items"]["endpoint"]["params"] == {"per_page": 100}


# ---- credentials -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("scheme", "expected"),
    [
        ({"type": "http", "scheme": "bearer"}, {"type": "bearer", "token": "{env.SHOP_TOKEN}"}),
        (
            {"type": "http", "scheme": "Basic"},
            {"type": "http_basic", "username": "{env.SHOP_USER}", "password": "{env.SHOP_PASSWORD}"},
        ),
        (
            {"type": "apiKey", "in": "query", "name": "key"},
            {"type": "api_key", "name": "key", "api_key": "{env.SHOP_API_KEY}", "location": "query"},
        ),
        ({"type": "oauth2", "flows": {"implicit": {}}}, {"type": "bearer", "token": "{env.SHOP_TOKEN}"}),
        (
            {
                "type": "oauth2",
                "flows": {"clientCredentials": {"tokenUrl": "/token", "scopes": {"read": "", "write": ""}}},
            },
            {
                "type": "oauth2_client_credentials",
                "access_token_url": "https://api.shop.example/token",
                "client_id": "{env.SHOP_CLIENT_ID}",
                "client_secret": "{env.SHOP_CLIENT_SECRET}",
                "access_token_request_data": {"scope": "read write"},
            },
        ),
        ({"type": "mutualTLS"}, None),
    ],
)
def test_credentials_are_names_of_environment_variables(made: Any, scheme: Any, expected: Any) -> None:
    components = {"securitySchemes": {"one": scheme}}
    made(described({"/items": listing(rows(id=NUMBER))}, components=components, security=[{"one": []}]))
    assert made.config["client"].get("auth") == expected


def test_a_second_key_in_a_header_goes_beside_the_first(made: Any) -> None:
    schemes = {
        "token": {"type": "http", "scheme": "bearer"},
        "appId": {"type": "apiKey", "in": "header", "name": "X-App"},
        "other": {"type": "http", "scheme": "basic"},
    }
    document = described({"/items": listing(rows(id=NUMBER))}, components={"securitySchemes": schemes})
    made({**document, "security": [{"appId": [], "token": []}]})
    assert made.config["client"]["auth"]["type"] == "bearer"
    assert made.config["client"]["headers"] == {"X-App": "{env.SHOP_APP_ID}"}
    assert "# or: other: http basic" in made.text


# ---- base URLs -------------------------------------------------------------------------------------------------------
def test_a_directory_of_links_becomes_a_resource_for_each(run: Any, api: Any, tmp_path: Path) -> None:
    api.pages["/api/"] = {
        "berry": f"{api.url}/api/berry/",
        "moves_url": f"{api.url}/api/moves?limit=5",
        "item_url": f"{api.url}/api/items/{{id}}",
        "elsewhere": "https://other.example/api/x",
    }
    ran = run("init", f"{api.url}/api/")
    assert [(entry["name"], entry["endpoint"]["path"]) for entry in yaml.safe_load(ran.out)["resources"]] == [
        ("berry", "berry/"),
        ("moves", "moves"),
    ]


def test_a_url_that_gives_rows_becomes_one_resource_with_what_was_found(run: Any, api: Any) -> None:
    api.pages["/v1/posts"] = {"data": {"list": [{"uuid": "a"}, {"uuid": "b"}]}, "next": f"{api.url}/v1/posts?after=b"}
    ran = run("init", f"{api.url}/v1/posts?state=open&api_key=canary-secret-value")
    config = yaml.safe_load(ran.out)
    assert config["client"]["base_url"] == f"{api.url}/v1/"
    assert config["resources"] == [
        {
            "name": "posts",
            "primary_key": "uuid",
            "write_disposition": "merge",
            "endpoint": {
                "path": "posts",
                "params": {"state": "open", "api_key": "{env.API_API_KEY}"},
                "data_selector": "data.list",
                "paginator": {"type": "json_link", "next_url_path": "next"},
            },
        }
    ]
    assert "canary-secret-value" not in ran.out + ran.err


@pytest.mark.parametrize(
    "answer", ["<html>hello</html>", {"name": "an API"}, (500, {}), (401, {}), [], "", "openapi: 1"]
)
def test_any_other_answer_gives_a_file_to_fill_in(run: Any, api: Any, answer: Any, tmp_path: Path) -> None:
    api.pages["/"] = answer
    ran = run("init", f"{api.url}/", "-o", tmp_path / "source.yaml")
    assert ran.code == 0
    assert RestApiConfig.from_yaml(tmp_path / "source.yaml").client.base_url == f"{api.url}/"


def test_without_any_server_there_is_a_file_too(run: Any, tmp_path: Path) -> None:
    ran = run("init", "http://127.0.0.1:9/", "-o", tmp_path / "source.yaml")
    assert ran.code == 0
    RestApiConfig.from_yaml(tmp_path / "source.yaml")


# ---- mistakes --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"swagger": "2.0", "paths": {}}', "Swagger 2.0"),
        ("just: yaml", "no OpenAPI 3 description"),
        ("{", "neither JSON nor YAML"),
        ("a: [", "neither JSON nor YAML"),
    ],
)
def test_a_file_that_is_no_description_is_one_clear_error(run: Any, tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "file").write_text(text)
    ran = run("init", tmp_path / "file")
    assert (ran.code, ran.out) == (1, "")
    assert told in ran.err


def test_yaml_is_read_as_json_would_be(made: Any, tmp_path: Path) -> None:
    (tmp_path / "api.yaml").write_text(
        "openapi: 3.1.0\npaths:\n  /countries:\n    get:\n      parameters:\n"
        "        - {name: code, in: query, schema: {enum: [NO, SE, on]}}\n"
        "        - {name: day, in: query, schema: {default: 2024-01-01}}\n"
        "      responses: {200: {content: {application/json: {schema: {type: array}}}}}\n"
    )
    text = init(str(tmp_path / "api.yaml")).text
    assert "NO | SE | on" in text
    assert '"2024-01-01"' in text or "'2024-01-01'" in text


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["#/paths", "{", "*"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_stands_in_a_description_the_file_loads(data: st.DataObject, tmp_path: Path) -> None:
    """One to four places of a good description are replaced by something else."""
    document = copy.deepcopy(yaml.safe_load(TRACKER))
    for _ in range(data.draw(st.integers(1, 4))):
        node = document
        while True:
            key = data.draw(st.sampled_from(sorted(node) if isinstance(node, dict) else range(len(node))))
            inner = node[key]
            if not isinstance(inner, dict | list) or not inner or data.draw(st.integers(0, 5)) == 0:
                node[key] = data.draw(anything)
                break
            node = inner
    (tmp_path / "api.json").write_text(json.dumps(document), encoding="utf-8")
    try:
        written = init(str(tmp_path / "api.json"))
    except RestApiError:
        return  # no description any more
    (tmp_path / "source.yaml").write_text(written.text, encoding="utf-8")
    plan(RestApiConfig.from_yaml(tmp_path / "source.yaml"))
