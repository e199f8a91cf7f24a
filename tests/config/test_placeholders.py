"""Placeholders: what they may be, and what stands in their place."""

import re
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_restapi.config.placeholders import (
    Placeholder,
    Scope,
    bind,
    escape,
    found,
    names,
    parse,
    render,
    render_path,
)
from dagster_restapi.errors import ConfigError, RequestError
from dagster_restapi.secrets import Secret

SCOPE = Scope(
    resources={"issues": {"number": 7, "$.user.login": "ann", "['odd key']": "a/b?c#d", "open": True}},
    incremental={"start_value": "2024-01-01", "end_value": None},
    partition={"key": "eu|x", "start": "2024-01-01T00:00:00+01:00", "keys": {"region": "eu"}},
)


@pytest.mark.parametrize(
    ("template", "rendered"),
    [
        ("plain", "plain"),
        ("issues/{resources.issues.number}/comments", "issues/7/comments"),
        ("{resources.issues.$.user.login}", "ann"),
        ("{resources.issues['odd key']}", "a/b?c#d"),
        ("since:{incremental.start_value}", "since:2024-01-01"),
        ("{partition.key}-{partition.keys.region}", "eu|x-eu"),
        ("{{literal}} {resources.issues.number}", "{literal} 7"),
        ("{{{resources.issues.number}}}", "{7}"),
        ("open={resources.issues.open}", "open=true"),
        (["{resources.issues.number}", 1, None], [7, 1, None]),
        ({"{partition.keys.region}_id": {"n": "{resources.issues.number}"}}, {"eu_id": {"n": 7}}),
    ],
)
def test_a_template_is_rendered(template, rendered):
    assert render(template, SCOPE) == rendered


def test_a_lone_placeholder_keeps_its_type():
    assert render("{resources.issues.number}", SCOPE) == 7
    assert render("{resources.issues.open}", SCOPE) is True
    assert render("{incremental.end_value}", SCOPE) is None


def test_values_in_a_path_stay_one_segment():
    slashed = parse("resources.issues['odd key']")
    assert render_path("x/{resources.issues['odd key']}/y", SCOPE) == ("x/a%2Fb%3Fc%23d/y", (slashed,))
    assert render_path("{resources.issues.number}", SCOPE) == ("7", ())


def test_a_null_within_a_text_is_an_error():
    with pytest.raises(ConfigError, match="has no value here"):
        render("until {incremental.end_value}", SCOPE)


def test_an_environment_variable_is_read_when_the_request_is_made(monkeypatch):
    monkeypatch.setenv("TENANT", "acme-corp")
    assert render("v1/{env.TENANT}", Scope()) == "v1/acme-corp"
    assert render({"X-Tenant": Secret(env="TENANT")}, Scope()) == {"X-Tenant": "acme-corp"}
    monkeypatch.delenv("TENANT")
    with pytest.raises(ConfigError, match="TENANT is not set") as error:
        render("{env.TENANT}", Scope())
    assert error.value.__cause__ is None
    assert error.value.__context__ is None


@pytest.mark.parametrize(
    ("template", "hint"),
    [
        ("{resource.issues.id}", "{resources.issues.id}"),
        ("{incremental.strt_value}", "{incremental.start_value}"),
        ("{partition.kye}", "{partition.key}"),
        ("{partition.keys.}", "{partition.key}"),
        ("{partition.x}", "{partition.keys.<dimension>}"),
        ("{resources.issues}", "{resources.<name>.<field>}"),
        ("{resources.issues.a[}", "data.items"),
        ("{resources.issues.dc:title}", "a key that holds a colon stands in ['…']"),
        ("{number}", "Placeholders start with"),
        ('{"a": 1}', "doubled"),
        ("{", "Double it"),
        ("a}", "Double it"),
        ("{}", "doubled"),
        ("{env.a-b}", "{env.NAME}"),
    ],
)
def test_what_is_no_placeholder_is_an_error_that_tells_the_right_spelling(template, hint):
    with pytest.raises(ConfigError) as error:
        names(template)
    assert hint in str(error.value)


FORMATS = st.from_regex(
    r"![rsa](:.{0,4})?|:(.?[<>=^])?[-+ ]?#?0?[0-9]{0,2}[,_]?(\.[0-9])?[bcdeEfFgGnosxX%]?|:%[YmdHMS]-?", fullmatch=True
)


@given(
    st.sampled_from(["resources.p.id", "resources.p['a:b!r']", "resources.p.$.a[0]", "incremental.end_value", "env.X"]),
    FORMATS.filter(lambda text: not set(text) & set("{}\n")),
)
def test_a_format_of_pythons_is_refused_and_never_becomes_a_part_of_the_name(placeholder, written):
    with pytest.raises(ConfigError, match="not formatted") as error:
        names(f"x{{{placeholder}{written.strip()}}}")
    assert f"Write {{{placeholder}}}." in str(error.value)
    assert names(f"{{{placeholder}}}")


def test_signs_of_a_format_within_a_name_are_a_part_of_it():
    assert [str(item) for item in found("{partition.keys.a:b}{resources.a:b.id}")] == [
        "{partition.keys.a:b}",
        "{resources.a:b.id}",
    ]
    assert render("{resources.p['dc:title']}", Scope(resources={"p": {"['dc:title']": 1}})) == 1


def test_placeholders_are_found_in_the_order_of_use_keys_included():
    template = {"{env.A}": ["{partition.keys.x}", {"b": "{resources.p.id}{incremental.end_value}"}]}
    assert list(found(template)) == [
        Placeholder("env", ("A",)),
        Placeholder("partition", ("keys", "x")),
        Placeholder("resources", ("p", "id")),
        Placeholder("incremental", ("end_value",)),
    ]
    assert names(["{env.A}", "{env.A}"]) == {Placeholder("env", ("A",))}


def test_static_names_are_bound_and_others_stay():
    assert bind("repos/{owner}/{{x}}/{resources.p.id}", {"owner": "me"}) == (
        "repos/me/{{x}}/{resources.p.id}",
        frozenset({"owner"}),
    )


def test_a_plus_before_a_static_name_holds_for_what_it_stands_for():
    assert bind("repos/{+repo}/issues", {"repo": "{resources.p.id}"})[0] == "repos/{+resources.p.id}/issues"
    assert bind("repos/{+repo}/issues", {"repo": "me/{{x}}"})[0] == "repos/me/{{x}}/issues"


@pytest.mark.parametrize(
    "text",
    [
        "{resources.p.a.b}",
        "{+resources.p.a.b}",
        "{+resources.p['a b']}",
        "{resources.p['a b']}",
        "{partition.keys.x}",
        "{env.X}",
    ],
)
def test_a_placeholder_spells_itself(text):
    placeholder = parse(text[1:-1])
    assert str(placeholder) == text


@given(st.text())
def test_an_escaped_text_renders_to_itself(text):
    assert render(escape(text), Scope()) == text


def path_with(template, value):
    return render_path(template, Scope(resources={"p": {"id": value}}))[0]


_TEXTS = st.text(st.characters(exclude_categories=("Cs",)) | st.sampled_from("./%2eE"), min_size=1)
_DOTS = re.compile(r"(\.|%(25)*2e){1,2}", re.IGNORECASE)


@given(_TEXTS)
def test_whatever_is_inserted_into_a_path_comes_out_of_one_segment_or_is_refused(value):
    if _DOTS.fullmatch(value):
        with pytest.raises(RequestError, match="lead elsewhere"):
            path_with("a/{resources.p.id}/b", value)
        return
    path = path_with("a/{resources.p.id}/b", value)
    before, segment, after = path.split("/")
    assert (before, unquote(segment), after) == ("a", value, "b")
    assert not set(segment) & set("?#/ ")


@given(_TEXTS)
def test_a_plus_keeps_slashes_and_nothing_else(value):
    parts = value.split("/")
    if any(map(_DOTS.fullmatch, parts)) or not parts[0]:
        with pytest.raises(RequestError, match="lead elsewhere"):
            path_with("a/{+resources.p.id}/b", value)
        return
    path = path_with("a/{+resources.p.id}/b", value)
    assert [unquote(segment) for segment in path.split("/")] == ["a", *parts, "b"]
    assert not set(path) & set("?# ")


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("a/{resources.p.id}", ""),
        ("a/{+resources.p.id}", "b/../c"),
        ("a/{+resources.p.id}", "/etc"),
        ("a/.{resources.p.id}/c", "."),
        ("a/{resources.p.id}{resources.p.id}", "."),
        ("a/{resources.p.id}?x=1", ".."),
        ("a/{resources.p.id}", ["b"]),
        ("a/{resources.p.id}", {"b": 1}),
        ("{resources.p.id}/x", "https://api.example.com/y?z=1"),
    ],
)
def test_a_value_that_would_lead_elsewhere_is_refused(template, value):
    with pytest.raises(RequestError):
        path_with(template, value)


@pytest.mark.parametrize(
    ("template", "value", "path"),
    [
        ("{resources.p.id}", "https://api.example.com/a/1?x=%20y", "https://api.example.com/a/1?x=%20y"),
        ("{resources.p.id}/comments?n=1", "HTTP://api.example.com/a", "HTTP://api.example.com/a/comments?n=1"),
        ("a/{resources.p.id}", "https://b", "a/https%3A%2F%2Fb"),
        ("{+resources.p.id}/b", "/v1/a", "v1/a/b"),
        ("a/../{resources.p.id}", "...", "a/../..."),
        ("a?b={resources.p.id}", "..", "a?b=.."),
        ("a?b={resources.p.id}", "", "a?b="),
        ("a?b={resources.p.id}", "c/d&e", "a?b=c%2Fd%26e"),
        ("a/{+resources.p.id}", "b/", "a/b/"),
        ("a{resources.p.id}/b", "", "a/b"),
        ("a/{resources.p.id}", True, "a/true"),
    ],
)
def test_a_path_is_rendered(template, value, path):
    assert path_with(template, value) == path


def test_a_path_says_whose_slashes_it_encoded():
    scope = Scope(resources={"p": {"id": "a/b", "n": 1}})
    assert render_path("{resources.p.n}/{resources.p.id}", scope)[1] == (parse("resources.p.id"),)
    assert render_path("{resources.p.n}/{+resources.p.id}?q={resources.p.id}", scope)[1] == ()


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_any_value_survives_as_a_lone_placeholder_and_escaped_within_a_body(value):
    assert render({"x": "{resources.p.id}"}, Scope(resources={"p": {"id": value}})) == {"x": value}
    assert render(_escaped(value), Scope()) == value


def _escaped(value):
    if isinstance(value, str):
        return escape(value)
    if isinstance(value, dict):
        return {escape(key): _escaped(item) for key, item in value.items()}
    return [_escaped(item) for item in value] if isinstance(value, list) else value
