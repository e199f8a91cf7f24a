"""Plans: parents first, names that do not meet, and only what can be run."""

import copy
import warnings

import pytest

from dagster_restapi.config.plan import plan
from dagster_restapi.config.resource import PreviewConfig
from dagster_restapi.config.source import RestApiConfig
from dagster_restapi.errors import ConfigError


def test_parents_come_first_and_otherwise_the_order_stays(plans):
    found = plans(
        {"name": "c", "endpoint": "b/{resources.b.id}/c"},
        "z",
        {"name": "b", "endpoint": "a/{resources.a.id}/b"},
        "a",
    )
    assert list(found) == ["a", "b", "c", "z"]


def test_parent_fields_come_in_the_order_of_first_use_from_every_part_of_the_request(plans):
    parent = plans(
        "p",
        {
            "name": "a",
            "endpoint": {
                "path": "x/{resources.p.z}/{resources.p.a}",
                "method": "POST",
                "params": {"{resources.p.k}": "{resources.p.z}"},
                "headers": {"H": "{resources.p.h}"},
                "json": {"deep": [{"b": "{resources.p.user.id}"}]},
            },
            "include_from_parent": ["user.login", "z", "z"],
        },
    )["a"].parent
    assert parent.fields == ("z", "a", "k", "h", "user.id")
    assert parent.include == ("user.login", "z")


def test_a_parent_that_is_not_selected_is_not_stored(plans):
    found = plans(
        {"name": "a", "selected": False},
        {"name": "b", "selected": False, "endpoint": "a/{resources.a.id}/b"},
        {"name": "c", "endpoint": "b/{resources.b.id}/c"},
    )
    assert [(p.name, p.selected, p.parent and p.parent.stored) for p in found.values()] == [
        ("a", False, None),
        ("b", False, False),
        ("c", True, False),
    ]


def test_table_settings_arrive(plans):
    table = plans(
        {
            "name": "Big Table",
            "max_table_nesting": 1,
            "nested": "json",
            "allow_empty": True,
            "merge_key": "day",
            "write_disposition": "merge",
            "endpoint": {"path": "x", "incremental": {"cursor_path": "meta.updated"}},
        },
        {"name": "b", "table_name": "Other", "naming": "as_is"},
    )
    big, other = table["Big Table"].table, table["b"].table
    assert (big.resource, big.table, big.max_nesting, big.nested) == ("Big Table", "big_table", 1, "json")
    assert (big.allow_empty, big.merge_key, big.cursor_path) == (True, ("day",), "meta.updated")
    assert (other.table, other.naming) == ("Other", "as_is")


def test_what_dagster_shows_arrives(plans):
    found = plans(
        {
            "name": "a",
            "description": "what it is",
            "owners": "team:data",
            "tags": {"tier": 1},
            "on_error": "skip",
            "preview": {"rows": 2, "hide": ["email"]},
        },
        {"name": "b", "preview": "off"},
        {"name": "c", "preview": False, "group_name": "own"},
        {"name": "d", "preview": 7},
        group_name="github",
    )
    assert (found["a"].description, found["a"].owners, found["a"].tags) == ("what it is", ("team:data",), {"tier": "1"})
    assert (found["a"].group_name, found["c"].group_name) == ("github", "own")
    assert found["a"].on_error == "skip"
    assert found["a"].preview == PreviewConfig(rows=2, hide=("email",))
    assert [found[name].preview.rows for name in "bcd"] == [0, 0, 7]


def test_missing_data_is_said_at_the_resource_or_the_endpoint(plans):
    found = plans(
        {"name": "a", "missing_data": "empty", "on_short_total": "fail"},
        {"name": "b", "missing_data": "empty", "endpoint": {"missing_data": "fail"}},
        "c",
    )
    assert [(p.endpoint.missing_data, p.endpoint.on_short_total) for p in found.values()] == [
        ("empty", "fail"),
        ("fail", "warn"),
        ("fail", "warn"),
    ]


@pytest.mark.parametrize(
    ("names", "meeting"),
    [
        (["b-c", "b_c"], "b_c"),
        (["camelCase", "camel_case"], "camel_case"),
        (["Issues", "issues"], "issues"),
        (["a", {"name": "b", "table_name": "A"}], "a"),
        ([{"name": "x-y", "naming": "as_is"}, {"name": "x_y", "naming": "as_is"}], "x_y"),
    ],
)
def test_names_that_meet_are_an_error(plans, names, meeting):
    with pytest.raises(ConfigError, match=f"meet in the name '{meeting}'"):
        plans(*names)


def test_names_that_meet_do_no_harm_where_one_makes_no_table(plans):
    assert len(plans("b_c", {"name": "b-c", "selected": False})) == 2


def test_a_table_that_looks_like_a_list_of_another_is_warned_of(plans):
    with pytest.warns(UserWarning, match="issues__labels"):
        plans("issues", "issues__labels")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plans({"name": "issues", "max_table_nesting": 0}, "issues__labels")


def test_a_base_url_is_needed_unless_paths_have_their_own(plans):
    with pytest.raises(ConfigError, match=r"client\.base_url: is missing"):
        plan(RestApiConfig(resources=["a", "b"]))
    assert plan(RestApiConfig(resources=[{"name": "a", "endpoint": "https://x/y"}, {"name": "b", "rows": []}]))


@pytest.mark.parametrize(
    ("partitions", "right", "wrong"),
    [
        ({"type": "daily", "start": "2024-01-01"}, "{partition.start}", "{partition.keys.x}"),
        ({"type": "static", "keys": ["eu", "us"]}, "{partition.key}", "{partition.start}"),
        ({"type": "dynamic", "name": "tenants"}, "{partition.key}", "{partition.end}"),
        (
            {
                "type": "multi",
                "dimensions": {"day": {"type": "daily", "start": "2024-01-01"}, "x": {"type": "static", "keys": [1]}},
            },
            "{partition.keys.x}",
            "{partition.keys.y}",
        ),
    ],
)
def test_partition_placeholders_are_those_of_the_kind_of_partitions(partitions, right, wrong):
    def config(placeholder):
        return {
            "client": {"base_url": "https://x"},
            "resources": [{"name": "a", "partitions": partitions, "endpoint": {"params": {"p": placeholder}}}],
        }

    RestApiConfig(**config(right))
    with pytest.raises(ConfigError, match=r"resources\[0\]\.endpoint\.params\.p: the resource's partitions have no"):
        RestApiConfig(**config(wrong))


def test_a_partition_placeholder_needs_partitions_from_somewhere():
    config = RestApiConfig(
        client={"base_url": "https://x"}, resources=[{"name": "a", "endpoint": {"params": {"p": "{partition.key}"}}}]
    )
    with pytest.raises(ConfigError, match=r"\{partition\.key\} needs `partitions`"):
        plan(config)
    assert plan(config, partitioned=True)["a"].endpoint.params == {"p": "{partition.key}"}


def test_an_absent_start_value_is_left_out_where_it_stands_alone_and_refused_within_a_text(plans):
    def resource(text, **incremental):
        return {
            "name": "a",
            "endpoint": {"params": {"q": text}, "incremental": {"cursor_path": "u", **incremental}},
        }

    plans(resource("{incremental.start_value}"))
    plans(resource("updated > {incremental.start_value}", initial_value="2024-01-01"))
    with pytest.raises(ConfigError, match="no value on the first run"):
        plans(resource("updated > {incremental.start_value}"))


def test_a_thousand_resources_are_planned_quickly_and_the_configuration_stays_as_it_was(plans):
    resources = [
        {"name": f"r{n}", "endpoint": f"x/{{resources.r{n - 1}.id}}/y" if n % 10 else "x"} for n in range(1000)
    ]
    before = copy.deepcopy(resources)
    assert len(plans(*resources, primary_key="id", write_disposition="merge")) == 1000
    assert resources == before
