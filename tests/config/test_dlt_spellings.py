"""Configurations as they are written for dlt mean here what they mean there."""

import copy
from datetime import UTC, date, datetime

import pendulum
import pytest
from requests.auth import HTTPBasicAuth

from dagster_restapi.config.client import ClientConfig
from dagster_restapi.config.endpoint import EndpointConfig, IncrementalConfig
from dagster_restapi.config.placeholders import Scope, render
from dagster_restapi.config.plan import plan
from dagster_restapi.config.resource import ResourceConfig
from dagster_restapi.config.source import RestApiConfig

GITHUB = {
    "client": {
        "base_url": "https://api.github.com/repos/dlt-hub/dlt/",
        "auth": {"type": "bearer", "token": "a-token-of-nobody"},
    },
    "resources": [
        {"name": "issues", "endpoint": {"path": "issues", "params": {"state": "open", "per_page": 100}}},
        {
            "name": "comments",
            "endpoint": {"path": "issues/{resources.issues.number}/comments"},
            "include_from_parent": ["number"],
        },
    ],
}
DOCUMENTED = [
    GITHUB,
    {
        "client": {"base_url": "https://api.github.com/repos/dlt-hub/dlt/", "auth": None},
        "resource_defaults": {
            "primary_key": "id",
            "write_disposition": "merge",
            "endpoint": {"params": {"per_page": 100}},
        },
        "resources": [
            {
                "name": "issues",
                "endpoint": {"path": "issues", "params": {"sort": "updated", "direction": "desc", "state": "open"}},
            }
        ],
    },
    {"client": {"base_url": "https://api.example.com/", "auth": {"type": "bearer", "token": "a-token-of-nobody"}}},
    {"client": {"base_url": "https://pokeapi.co/api/v2/"}, "resources": ["pokemon", "berry"]},
    {
        "client": {
            "base_url": "https://api.example.com/",
            "paginator": {"type": "json_link", "next_url_path": "paging.next"},
        }
    },
    {
        "resources": [
            {"name": "issues", "endpoint": "issues"},
            {
                "name": "issue_comments",
                "endpoint": {"path": "issues/{resources.issues.number}/comments"},
                "include_from_parent": ["id", "number"],
            },
        ]
    },
    {
        "client": {"base_url": "https://api.github.com/repos/dlt-hub/dlt/"},
        "resources": [
            {
                "name": "issues",
                "endpoint": {
                    "path": "issues",
                    "params": {"since": "{incremental.start_value}"},
                    "incremental": {
                        "cursor_path": "updated_at",
                        "initial_value": pendulum.today().subtract(days=30).to_iso8601_string(),
                    },
                },
            }
        ],
    },
    {
        "client": {"base_url": "https://pokeapi.co/api/v2/"},
        "resource_defaults": {"endpoint": {"params": {"limit": 1000}}},
        "resources": ["pokemon", "berry", "location"],
    },
]


@pytest.mark.parametrize("config", DOCUMENTED)
def test_documented_configurations_are_taken_as_written_and_left_as_they_are(config):
    before = copy.deepcopy(config)
    assert RestApiConfig(**config) == RestApiConfig.model_validate(config) == RestApiConfig.parse(config)
    assert config == before


def test_the_github_example_becomes_a_parent_and_its_child():
    plans = plan(RestApiConfig.parse(GITHUB))
    assert list(plans) == ["issues", "comments"]
    assert plans["issues"].endpoint.params == {"state": "open", "per_page": 100}
    assert plans["comments"].parent.resource == "issues"
    assert plans["comments"].parent.fields == ("number",)
    assert plans["comments"].parent.include == ("number",)
    assert plans["comments"].parent.stored


def test_what_the_caller_changes_afterwards_changes_nothing():
    params = {"filters": ["a"]}
    config = RestApiConfig(
        client={"base_url": "https://x"}, resources=[{"name": "a", "endpoint": {"params": params, "json": params}}]
    )
    params["filters"].append("b")
    endpoint = plan(config)["a"].endpoint
    assert endpoint.params == endpoint.json_body == {"filters": ["a"]}


def test_models_may_stand_in_place_of_mappings():
    written = RestApiConfig(
        client={"base_url": "https://x"},
        resources=[{"name": "a", "endpoint": {"path": "b", "incremental": {"cursor_path": "u"}}}],
    )
    built = RestApiConfig(
        client=ClientConfig(base_url="https://x"),
        resources=[
            ResourceConfig(name="a", endpoint=EndpointConfig(path="b", incremental=IncrementalConfig(cursor_path="u")))
        ],
    )
    assert written == built


def test_a_text_is_name_and_path(plans):
    endpoint = plans("pokemon")["pokemon"].endpoint
    assert (endpoint.path, endpoint.method, endpoint.paginator.type) == ("pokemon", "GET", "auto")


def test_a_resolve_param_goes_into_the_path(plans):
    found = plans(
        "posts",
        {
            "name": "comments",
            "endpoint": {
                "path": "posts/{post_id}/comments",
                "params": {"post_id": {"type": "resolve", "resource": "posts", "field": "$.id"}, "x": 1},
            },
        },
    )["comments"]
    assert found.endpoint.path == "posts/{resources.posts.$.id}/comments"
    assert found.endpoint.params == {"x": 1}
    assert found.parent.fields == ("$.id",)


def test_an_incremental_param_is_the_endpoints_cursor(plans):
    endpoint = plans(
        {
            "name": "a",
            "endpoint": {
                "params": {"since": {"type": "incremental", "cursor_path": "updated_at", "initial_value": 5}, "x": 1}
            },
        }
    )["a"].endpoint
    assert endpoint.params == {"x": 1, "since": "{incremental.start_value}"}
    assert endpoint.incremental == IncrementalConfig(cursor_path="updated_at", initial_value=5)


def test_start_and_end_param_are_params(plans):
    endpoint = plans(
        {
            "name": "a",
            "endpoint": {"incremental": {"cursor_path": "u", "start_param": "since", "end_param": "until"}},
        }
    )["a"].endpoint
    assert endpoint.params == {"since": "{incremental.start_value}", "until": "{incremental.end_value}"}
    assert endpoint.incremental == IncrementalConfig(cursor_path="u")


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        (date(2024, 1, 2), "2024-01-02"),
        (datetime(2024, 1, 2, 3, tzinfo=UTC), "2024-01-02T03:00:00Z"),
        (pendulum.datetime(2024, 1, 2, tz="Europe/Berlin"), "2024-01-02T00:00:00+01:00"),
        (0, 0),
        (2**70, 2**70),
        (1.5, 1.5),
        ("00012", "00012"),
    ],
)
def test_a_cursor_value_is_plain(written, kept):
    assert IncrementalConfig(cursor_path="u", initial_value=written).initial_value == kept


def test_python_functions_stand_for_settings(plans):
    found = plans(
        {
            "name": "a",
            "endpoint": {"incremental": {"cursor_path": "u", "last_value_func": min, "convert": str, "lag": 5}},
            "processing_steps": [{"filter": bool}, {"map": dict}, {"yield_map": list}],
        }
    )["a"]
    assert found.incremental.last_value_func == "min"
    assert found.incremental.convert is str
    assert [(step.filter, step.map, step.yield_map) for step in found.steps] == [
        (bool, None, None),
        (None, dict, None),
        (None, None, list),
    ]


def test_auth_and_paginators_take_their_short_forms(plans):
    found = plans(
        {"name": "a", "endpoint": {"auth": HTTPBasicAuth("u", "p"), "paginator": "header_link"}},
        {"name": "b", "endpoint": {"paginator": {"type": "page_number", "base_page": 1}}},
        client={"auth": {"token": "{env.TOKEN}"}},
    )
    assert found["a"].client.auth.type == "bearer"
    assert str(found["a"].client.auth.token) == "{env.TOKEN}"
    assert found["a"].endpoint.auth.type == "given"
    assert found["a"].endpoint.paginator.type == "header_link"
    assert found["b"].endpoint.paginator.base_page == 1


@pytest.mark.parametrize(
    ("written", "disposition", "strategy"),
    [
        ("replace", "replace", "delete-insert"),
        ("merge", "merge", "delete-insert"),
        ({"disposition": "merge", "strategy": "upsert"}, "merge", "upsert"),
        ({"disposition": "merge", "strategy": "scd2"}, "merge", "scd2"),
        ({"disposition": "append"}, "append", "delete-insert"),
    ],
)
def test_write_dispositions(plans, written, disposition, strategy):
    table = plans({"name": "a", "write_disposition": written, "primary_key": ["id", "part"]})["a"].table
    assert (table.disposition, table.strategy, table.primary_key) == (disposition, strategy, ("id", "part"))


def test_the_columns_of_scd2_may_have_names(plans):
    table = plans(
        {
            "name": "a",
            "write_disposition": {
                "disposition": "merge",
                "strategy": "scd2",
                "validity_column_names": ["valid_from", "valid_to"],
            },
        }
    )["a"].table
    assert (table.valid_from, table.valid_to) == ("valid_from", "valid_to")


def test_column_hints_may_be_a_mapping_or_a_list(plans):
    hints = {"id": {"data_type": "bigint", "primary_key": True}, "meta": {"name": "meta", "data_type": "complex"}}
    listed = [{"name": name, **hint} for name, hint in hints.items()]
    found = plans({"name": "a", "columns": hints}, {"name": "b", "columns": listed})
    assert found["a"].table.hints == found["b"].table.hints
    assert found["a"].table.primary_key == ("id",)
    assert found["a"].table.hints["meta"].data_type == "json"


def test_key_columns_named_twice_count_once(plans):
    table = plans({"name": "a", "primary_key": "userId", "columns": {"user_id": {"primary_key": True}}})["a"].table
    assert table.primary_key == ("userId",)


def test_a_contract_may_be_one_word_or_three(plans):
    found = plans(
        {"name": "a", "schema_contract": "freeze"},
        {"name": "b", "schema_contract": {"columns": "discard_row"}},
    )
    assert found["a"].table.contract.tables == found["a"].table.contract.data_type == "freeze"
    assert (found["b"].table.contract.tables, found["b"].table.contract.columns) == ("evolve", "discard_row")


@pytest.mark.parametrize(
    ("settings", "concurrency"),
    [
        ({}, 8),
        ({"parallelized": True}, 8),
        ({"parallelized": False}, 1),
        ({"parallelized": False, "concurrency": 3}, 3),
    ],
)
def test_parallelized_is_a_switch_for_concurrency(plans, settings, concurrency):
    assert plans({"name": "a", **settings})["a"].concurrency == concurrency


def test_rows_come_from_a_list_a_function_or_a_function_alone(plans):
    def repos():
        yield {"name": "dlt"}

    found = plans(
        repos,
        {"name": "listed", "rows": [{"name": "x"}]},
        {"name": "called", "rows": repos},
        {"name": "events", "endpoint": "repos/{resources.repos.name}/events"},
        write_disposition="merge",
        primary_key="id",
    )
    assert found["repos"].rows is repos
    assert found["repos"].endpoint is None
    assert found["repos"].table.disposition == "append"  # defaults speak of what the API answers
    assert found["listed"].rows == [{"name": "x"}]
    assert found["called"].rows is repos
    assert found["events"].parent.resource == "repos"


def test_every_method_is_taken(plans):
    assert plans({"name": "a", "endpoint": {"method": "search"}})["a"].endpoint.method == "SEARCH"


def test_response_actions_come_before_our_error_rules(plans):
    endpoint = plans(
        {
            "name": "a",
            "endpoint": {
                "error_rules": [{"jsonpath": "error", "action": "fail"}],
                "response_actions": [{"status_code": 404, "action": "ignore"}],
            },
        }
    )["a"].endpoint
    assert [rule.origin for rule in endpoint.rules] == ["response_actions", "error_rules"]


def test_a_function_alone_acts_on_every_answer(plans):
    def fix(response, *args, **kwargs):
        return response

    written = [fix, {"status_code": 404, "action": "ignore"}]
    rules = plans({"name": "a", "endpoint": {"response_actions": written}})["a"].endpoint.rules
    assert [(rule.calls, rule.statuses, rule.action) for rule in rules] == [
        ((fix,), frozenset(), None),
        ((), frozenset({404}), "ignore"),
    ]


def test_references_to_the_environment_stay_references_wherever_a_request_has_them(plans, monkeypatch):
    import dagster as dg

    endpoint = plans(
        {
            "name": "a",
            "endpoint": {
                "path": "v1/{tenant}/x",
                "params": {"tenant": dg.EnvVar("TENANT"), "key": {"env": "KEY"}},
                "headers": {"X-Key": dg.EnvVar("KEY"), "X-Other": "id {env.KEY}"},
                "json": {"token": dg.EnvVar("KEY"), "selector": {"env": "prod"}},
            },
        }
    )["a"].endpoint
    assert endpoint.path == "v1/{env.TENANT}/x"
    monkeypatch.setenv("KEY", "the-key-itself")
    assert "the-key-itself" not in repr(endpoint)
    assert render(endpoint.params, Scope()) == {"key": "the-key-itself"}
    assert render(endpoint.headers, Scope()) == {"X-Key": "the-key-itself", "X-Other": "id the-key-itself"}
    assert render(endpoint.json_body, Scope()) == {"token": "the-key-itself", "selector": {"env": "prod"}}
