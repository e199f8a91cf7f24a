"""`resource_defaults`: what is merged, what is replaced, and what an explicit null does."""

import pytest


def test_params_and_json_merge_one_level_deep_and_columns_by_hint(plans):
    found = plans(
        {
            "name": "a",
            "endpoint": {
                "params": {"state": "all", "filter": {"x": 1}},
                "object_params": "json",
                "json": {"query": "q", "page": {"size": 1}},
            },
            "columns": {"id": {"nullable": False}, "b": {"data_type": "text"}},
        },
        endpoint={
            "params": {"per_page": 100, "state": "open", "filter": {"y": 2}},
            "json": {"page": {"number": 1}, "lang": "en"},
        },
        columns={"id": {"data_type": "bigint"}, "c": {"data_type": "json"}},
    )["a"]
    assert found.endpoint.params == {"per_page": 100, "state": "all", "filter": {"x": 1}}
    assert found.endpoint.json_body == {"page": {"size": 1}, "lang": "en", "query": "q"}
    hints = found.table.hints
    assert list(hints) == ["id", "c", "b"]
    assert (hints["id"].data_type, hints["id"].nullable) == ("bigint", False)


def test_everything_else_is_replaced_whole(plans):
    endpoint = plans(
        {
            "name": "a",
            "endpoint": {
                "headers": {"B": "2"},
                "paginator": {"type": "cursor"},
                "incremental": {"cursor_path": "b"},
            },
        },
        endpoint={
            "headers": {"A": "1"},
            "paginator": {"type": "cursor", "cursor_path": "next"},
            "incremental": {"cursor_path": "a", "initial_value": 1},
        },
    )["a"].endpoint
    assert endpoint.headers == {"B": "2"}
    assert endpoint.paginator.cursor_path == "cursors.next"
    assert (endpoint.incremental.cursor_path, endpoint.incremental.initial_value) == ("b", None)


@pytest.mark.parametrize(
    "reset",
    [
        {"endpoint": None},
        {"endpoint": {"params": None, "paginator": None, "incremental": None, "headers": None}},
    ],
)
def test_an_explicit_null_takes_a_default_back(plans, reset):
    endpoint = plans(
        {"name": "a", **reset},
        endpoint={
            "params": {"per_page": 1},
            "paginator": "header_link",
            "incremental": {"cursor_path": "u", "start_param": "since"},
            "headers": {"A": "1"},
        },
    )["a"].endpoint
    assert endpoint.path == "a"
    assert not endpoint.params
    assert not endpoint.headers
    assert endpoint.incremental is None
    assert endpoint.paginator.type == "auto"


def test_a_null_key_resets_the_default_key(plans):
    table = plans({"name": "a", "primary_key": None, "write_disposition": "replace"}, primary_key="id")["a"].table
    assert table.primary_key == ()


@pytest.mark.parametrize(
    ("own", "defaults", "client", "chosen"),
    [
        ("offset", "cursor", "json_link", "offset"),
        (None, "cursor", "json_link", "cursor"),
        (None, None, "json_link", "json_link"),
        (None, None, None, "auto"),
    ],
)
def test_a_paginator_comes_from_the_endpoint_the_defaults_the_client_or_is_found(plans, own, defaults, client, chosen):
    def spelled(name):
        return {"type": name, "limit": 5} if name == "offset" else name

    endpoint = plans(
        {"name": "a", "endpoint": {"paginator": spelled(own)} if own else {}},
        client={"paginator": client} if client else None,
        **({"endpoint": {"paginator": defaults}} if defaults else {}),
    )["a"].endpoint
    assert endpoint.paginator.type == chosen


def test_a_null_paginator_takes_the_clients(plans):
    endpoint = plans(
        {"name": "a", "endpoint": {"paginator": None}},
        client={"paginator": "json_link"},
        endpoint={"paginator": "cursor"},
    )["a"].endpoint
    assert endpoint.paginator.type == "json_link"


@pytest.mark.parametrize(
    ("path", "single"),
    [
        ("issues/{resources.p.number}", True),
        ("issues/{resources.p.number}/", True),
        ("issues/n-{resources.p.number}.json", True),
        ("issues/{resources.p.number}/comments", False),
        ("issues?id={resources.p.number}", False),
        ("a/{resources.p.number}/{env.TENANT}", False),
    ],
)
def test_a_placeholder_in_the_last_segment_names_one_entity(plans, path, single):
    endpoint = plans("p", {"name": "a", "endpoint": path}, client={"paginator": "json_link"})["a"].endpoint
    assert (endpoint.data_selector, endpoint.paginator.type) == (
        ("$", "single_page") if single else (None, "json_link")
    )


@pytest.mark.parametrize("setting", [{"paginator": "cursor"}, {"data_selector": "data"}])
@pytest.mark.parametrize("at_defaults", [True, False])
def test_an_entity_is_not_guessed_where_the_user_says_how_to_read_it(plans, setting, at_defaults):
    own, general = ({}, setting) if at_defaults else (setting, {})
    endpoint = plans("p", {"name": "a", "endpoint": {"path": "x/{resources.p.id}", **own}}, endpoint=general)[
        "a"
    ].endpoint
    assert endpoint.data_selector == setting.get("data_selector")
    assert endpoint.paginator.type == setting.get("paginator", "auto")


def test_a_static_param_goes_into_the_path_from_the_defaults_too(plans):
    endpoint = plans(
        {"name": "a", "endpoint": {"path": "repos/{owner}/{repo}/issues", "params": {"repo": "x{{1}}", "page": 1}}},
        endpoint={"params": {"owner": "me"}},
    )["a"].endpoint
    assert endpoint.path == "repos/me/x{{1}}/issues"
    assert endpoint.params == {"page": 1}


def test_a_static_param_that_ends_the_path_names_one_entity(plans):
    endpoint = plans({"name": "a", "endpoint": {"path": "users/{id}", "params": {"id": 7}}})["a"].endpoint
    assert (endpoint.path, endpoint.data_selector, endpoint.params) == ("users/7", "$", {})
