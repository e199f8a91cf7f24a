"""What parameters, forms and headers are sent as: JSON's spelling, and nothing dropped."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import date
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_restapi.errors import RequestError
from dagster_restapi.http.query import form, pairs
from dagster_restapi.http.session import Call, Session
from dagster_restapi.secrets import Secret

Connect = Callable[..., Session]


@pytest.fixture(autouse=True)
def an_endpoint(api: Any) -> None:
    api.route("/items", [])


def lists(sent: list[tuple[str, str]]) -> dict[str, list[str]]:
    return {name: [text for other, text in sent if other == name] for name, _ in sent}


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (True, ["true"]),
        (False, ["false"]),
        (None, []),
        (0, ["0"]),
        (1.5, ["1.5"]),
        ("", [""]),
        ("a&b", ["a&b"]),
        (b"a", ["a"]),
        (date(2024, 1, 2), ["2024-01-02"]),
        (Decimal("1.10"), ["1.10"]),
        (["a", True, None, 2], ["a", "true", "2"]),
        (("a", "b"), ["a", "b"]),
        ({"a": 1}.keys(), ["a"]),
        ([], []),
        (Secret("hush-hush"), ["hush-hush"]),
    ],
)
def test_a_value_of_a_parameter_and_of_a_form_field(api: Any, connect: Connect, value: Any, sent: list[str]) -> None:
    session = connect()
    session.send(Call("POST", session.url("items"), params={"x": value, "y": 1}, data={"x": value, "y": 1}))
    (request,) = api.requests
    expected = [*(("x", text) for text in sent), ("y", "1")]
    assert request.queries == lists(expected)
    assert parse_qsl(request.body.decode(), keep_blank_values=True) == expected


@pytest.mark.parametrize("value", [{"size": 2}, {}, [{"size": 2}], [[1]]])
@pytest.mark.parametrize("part", ["params", "data"])
def test_an_object_is_refused_before_the_request(api: Any, connect: Connect, part: str, value: Any) -> None:
    session = connect()
    with pytest.raises(RequestError, match="'page' is an object") as error:
        session.send(Call("POST", session.url("items"), **{part: {"page": value}}))
    assert "object_params" in str(error.value)
    assert api.requests == []


@pytest.mark.parametrize(
    ("objects", "value", "sent"),
    [
        ("brackets", {"size": 2, "no": None}, [("p[size]", "2")]),
        ("brackets", {"a": {"b": [1, True]}}, [("p[a][b]", "1"), ("p[a][b]", "true")]),
        ("brackets", [{"f": "x"}, "y"], [("p[0][f]", "x"), ("p[1]", "y")]),
        ("json", {"size": 2, "no": None}, [("p", '{"size":2,"no":null}')]),
        ("json", [{"f": True}], [("p", '[{"f":true}]')]),
        ("json", [1, 2], [("p", "1"), ("p", "2")]),
    ],
)
@pytest.mark.parametrize("at", ["client", "call"])
def test_an_object_is_sent_as_the_setting_says(
    api: Any, connect: Connect, objects: Any, value: Any, sent: list[tuple[str, str]], at: str
) -> None:
    session = connect(object_params=objects) if at == "client" else connect()
    own = {} if at == "client" else {"object_params": objects}
    session.send(Call("POST", session.url("items"), params={"p": value}, data={"p": value}, **own))
    (request,) = api.requests
    assert request.queries == lists(sent)
    assert parse_qsl(request.body.decode()) == sent


_JSON = st.recursive(
    st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, min_size=1, max_size=3) | st.dictionaries(st.text(), inner, min_size=1, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), _JSON))
def test_every_leaf_goes_out_whatever_is_around_it(values: dict[str, Any]) -> None:
    assert sorted(text for _, text in pairs(values, "brackets", "params")) == sorted(_leaves(values))
    whole = pairs(values, "json", "params")
    assert {name for name, _ in whole} == set(values)
    try:
        plain = pairs(values, "fail", "params")
    except RequestError:
        assert whole != pairs(values, "brackets", "params")
    else:
        assert plain == whole == pairs(values, "brackets", "params")


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _leaves(item)
    else:
        yield value if isinstance(value, str) else json.dumps(value)


@pytest.mark.parametrize(
    ("data", "body"), [(5, b"5"), (0, b"0"), (1.5, b"1.5"), (True, b"true"), (False, b"false"), ("", b""), (b"x", b"x")]
)
def test_a_body_that_is_one_value(api: Any, connect: Connect, data: Any, body: bytes) -> None:
    session = connect()
    session.send(Call("POST", session.url("items"), data=data))
    assert [request.body for request in api.requests] == [body]


def test_a_list_is_a_form_only_as_pairs() -> None:
    assert form([("a", 1), ("a", True)], "fail") == [("a", "1"), ("a", "true")]
    with pytest.raises(RequestError, match="named fields"):
        form(["a", "b"], "fail")


def test_headers_have_jsons_spelling(api: Any, connect: Connect) -> None:
    session = connect()
    session.send(Call("GET", session.url("items"), headers={"X-Flag": True, "X-Number": 7}))
    (request,) = api.requests
    assert (request.headers["x-flag"], request.headers["x-number"]) == ("true", "7")
