"""JSONPath in dlt's spellings."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_restapi.config.jsonpath import MISSING, first, select
from dagster_restapi.errors import ConfigError

DOCUMENT = {
    "data": {"items": [{"x": 1}, {"x": 2}], "odd key": 5, "1st": 7, "@odata": {"n.x": 3}, "none": None},
    "a-b": 4,
}


@pytest.mark.parametrize(
    ("path", "matches"),
    [
        ("data.items", [[{"x": 1}, {"x": 2}]]),
        ("$.data.items", [[{"x": 1}, {"x": 2}]]),
        ("$", [DOCUMENT]),
        ("data.items[*].x", [1, 2]),
        ("data.items.*.x", [1, 2]),
        ("$..x", [1, 2]),
        ("data.items[0].x", [1]),
        ("data.items[-1].x", [2]),
        ("data.items[5].x", []),
        ("data.items[?(@.x > 1)].x", [2]),
        ("data.items[0:1]", [{"x": 1}]),
        ("['data']['odd key']", [5]),
        ("data['odd key']", [5]),
        ('data["odd key"]', [5]),
        ("data.'odd key'", [5]),
        ("data.1st", [7]),
        ("data.@odata['n.x']", [3]),
        ("a-b", [4]),
        ("data.none", [None]),
        ("data.none.below", []),
        ("data.items.x", []),
        ("nowhere", []),
    ],
)
def test_a_path_gives_all_its_matches_and_the_first(path, matches):
    assert select(path)(DOCUMENT) == matches
    assert first(path)(DOCUMENT) == (matches[0] if matches else MISSING)


@pytest.mark.parametrize("path", ["", " ", "a[", "a.", "$.", "0", "a b", "a.0"])
def test_a_text_that_is_no_path_is_a_config_error(path):
    with pytest.raises(ConfigError, match="is no JSONPath"):
        select(path)
    with pytest.raises(ConfigError):
        first(path)


def test_null_is_a_match_and_missing_is_none():
    assert first("a")({"a": None}) is None
    assert first("b")({"a": None}) is MISSING
    assert not MISSING


@pytest.mark.parametrize("document", [None, 5, "text", '{"a": 1}', [], True])
def test_a_document_without_keys_has_no_matches(document):
    assert select("a")(document) == []
    assert select("a[*]")(document) == []


keys = st.text(st.characters(exclude_characters="'\"\\", exclude_categories=("Cs", "Cc")), max_size=8)


@given(st.lists(keys, min_size=1, max_size=4), st.integers())
def test_quoted_keys_find_what_they_name(names, value):
    document = value
    for name in reversed(names):
        document = {name: document}
    assert first("".join(f"['{name}']" for name in names))(document) == value
