"""Names as dlt's snake_case makes them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_restapi.config.naming import asset_name, normalize, normalize_path


@pytest.mark.parametrize(
    ("name", "normalized"),
    [
        ("camelCase", "camel_case"),
        ("PascalCase", "pascal_case"),
        ("1st", "_1st"),
        ("a b", "a_b"),
        ("a.b/c", "a_b_c"),
        ("HTTPServer", "http_server"),
        ("userID2Name", "user_id2_name"),
        ("created-at", "created_at"),
        ("+1", "x1"),
        ("-1", "_1"),
        ("@type", "atype"),
        ("_id", "_id"),
        ("id_", "idx"),
        ("a__b", "a_b"),
        ("__a", "_a"),
        ("日本", "x"),
        (" padded ", "padded"),
        ("", "x"),
        ("_", "x"),
        ("SELECT", "select"),
    ],
)
def test_an_identifier_becomes_snake_case(name, normalized):
    assert normalize(name) == normalized


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("issues__labels", "issues__labels"),
        ("Repo Events", "repo_events"),
        ("b-c", "b_c"),
        ("userInfo__homeTown", "user_info__home_town"),
        ("__typename", "typename"),
        ("a__", "a"),
        ("__", "x"),
        (" ", "_empty"),
        ("", "_empty"),
    ],
)
def test_the_name_of_a_table_or_column_keeps_the_mark_between_its_parts(name, path):
    assert normalize_path(name) == path


@given(st.text())
def test_a_name_is_an_identifier_and_stays_as_it_is(name):
    once = normalize(name)
    assert re.fullmatch(r"[a-z_][a-z0-9_]*", once)
    assert not once.endswith("_")
    assert "__" not in once
    assert normalize(once) == once
    assert normalize_path(normalize_path(name)) == normalize_path(name)


@given(st.text(min_size=1))
def test_an_assets_name_is_one_that_dagster_takes(name):
    assert re.fullmatch(r"[A-Za-z0-9_]+", asset_name(name))
