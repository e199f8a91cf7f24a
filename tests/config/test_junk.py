"""Whatever is put anywhere into a configuration, the outcome is a source or one ConfigError."""

import copy
from datetime import date

from hypothesis import given, settings
from hypothesis import strategies as st

from dagster_restapi.config.plan import plan
from dagster_restapi.config.source import RestApiConfig
from dagster_restapi.errors import ConfigError

WHOLE = {
    "client": {
        "base_url": "https://x",
        "auth": {"type": "http_basic", "username": "u", "password": "{env.P}"},
        "paginator": {"type": "offset", "limit": 5},
        "headers": {"A": "b"},
        "retry": {"attempts": 2},
        "rate_limit": {"requests": 1, "per": "1s"},
    },
    "resource_defaults": {"endpoint": {"params": {"a": 1}}, "primary_key": "id"},
    "resources": [
        "p",
        {
            "name": "a",
            "write_disposition": {"disposition": "merge", "strategy": "upsert"},
            "columns": {"c": {"data_type": "text"}},
            "schema_contract": {"tables": "evolve"},
            "processing_steps": [{"map": len}],
            "include_from_parent": ["id"],
            "preview": {"rows": 1},
            "partitions": {"type": "static", "keys": ["eu"]},
            "endpoint": {
                "path": "p/{resources.p.id}/a",
                "params": {"since": "{incremental.start_value}"},
                "json": {"q": ["{partition.key}"]},
                "headers": {"H": "x"},
                "paginator": {"type": "cursor", "cursor_path": "next"},
                "incremental": {"cursor_path": "u", "initial_value": 1, "end_value": 2},
                "response_actions": [{"status_code": 404, "action": "ignore"}],
                "error_rules": [{"jsonpath": "error", "action": "fail"}],
            },
        },
    ],
}


def places(node, path=()):
    yield path
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


junk = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=6),
    st.sampled_from(
        ["{", "{x}", "{resources.p.id}", "{resources.zz.id}", "{partition.start}", "a[", "cursor", "merge"]
    ),
    st.sampled_from([b"x", date(2024, 1, 1), len, int, object(), iter([]), {1}, float("nan")]),
    st.lists(st.none() | st.integers() | st.text(max_size=3), max_size=2),
    st.dictionaries(st.text(max_size=5) | st.integers(), st.none() | st.integers() | st.text(max_size=3), max_size=2),
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([place for place in places(WHOLE) if place]), junk, st.booleans())
def test_junk_anywhere_is_taken_or_refused_in_one_way(place, value, as_key):
    config = copy.deepcopy(WHOLE)
    if "partitions" not in place:
        del config["resources"][1]["partitions"]
    node = config
    for key in place[:-1]:
        node = node[key]
    if as_key and isinstance(node, dict) and isinstance(value, (str, int)):
        node[value] = node.pop(place[-1])
    else:
        node[place[-1]] = value
    try:
        plan(RestApiConfig.parse(config), partitioned=True)
    except ConfigError as error:
        assert str(error)  # noqa: PT017 - both outcomes are right
