"""Objects that a program for dlt puts into a configuration mean what they mean there, or are refused by name."""

from __future__ import annotations

from typing import Any

import pytest
import requests
from dlt_lookalikes import APIKeyAuth, BearerTokenAuth, HttpBasicAuth, Incremental, client_session
from hypothesis import given
from hypothesis import strategies as st
from requests.auth import AuthBase

from dagster_restapi import RestApiConfig, register_auth
from dagster_restapi.config.endpoint import IncrementalConfig
from dagster_restapi.config.plan import plan
from dagster_restapi.errors import ConfigError


def planned(endpoint: Any, defaults: Any = None) -> Any:
    config = {"client": {"base_url": "https://x"}, "resources": [{"name": "a", "endpoint": endpoint}]}
    return plan(RestApiConfig.parse({**config, "resource_defaults": defaults}))["a"]


SETTINGS = st.fixed_dictionaries(
    {"cursor_path": st.sampled_from(["updated_at", "meta.at"])},
    optional={
        "initial_value": st.sampled_from([5, "2024-01-01"]),
        "last_value_func": st.sampled_from([max, min, "min"]),
        "row_order": st.sampled_from(["asc", "desc"]),
        "allow_external_schedulers": st.sampled_from([None, False]),
        "on_cursor_value_missing": st.sampled_from(["raise", "include", "exclude"]),
        "lag": st.sampled_from([0, 5, 2.5]),
        "range_start": st.sampled_from(["closed", "open"]),
        "range_end": st.sampled_from(["closed", "open"]),
    },
)


@given(SETTINGS)
def test_an_incremental_object_is_the_cursor_that_its_arguments_describe(settings):
    written = {key: value for key, value in settings.items() if key != "allow_external_schedulers"}
    wanted = planned({"params": {"x": 1}, "incremental": {"start_param": "since", **written}})
    in_params = planned({"params": {"x": 1, "since": Incremental(**settings)}})
    assert in_params.endpoint.params == wanted.endpoint.params == {"x": 1, "since": "{incremental.start_value}"}
    for name, value in IncrementalConfig(**written):
        assert getattr(in_params.incremental, name) == value, name
    assert planned(
        {"params": {"since": "{incremental.start_value}"}, "incremental": Incremental(**settings)}
    ).incremental
    alone = planned({"incremental": Incremental(**settings)}).incremental
    assert alone.model_dump() == in_params.incremental.model_dump() == wanted.incremental.model_dump()
    assert in_params.fingerprint == wanted.fingerprint


def test_an_incremental_object_in_the_defaults_or_of_a_class_of_ones_own_is_one_too():
    class Own(Incremental):
        pass

    found = planned({"path": "b"}, {"endpoint": {"params": {"since": Own("at", 5, end_value=9)}}})
    assert found.endpoint.params == {"since": "{incremental.start_value}"}
    assert (found.incremental.initial_value, found.incremental.end_value) == (5, 9)


@pytest.mark.parametrize(
    ("endpoint", "message"),
    [
        ({"params": {"since": Incremental("at"), "from": Incremental("at")}}, "one cursor only: since, from"),
        ({"params": {"s": Incremental("at"), "t": {"type": "incremental", "cursor_path": "at"}}}, "one cursor only"),
        ({"params": {"since": Incremental("at")}, "incremental": {"cursor_path": "b"}}, "one cursor only"),
        ({"params": {"since": Incremental()}}, "cursor_path"),
        ({"params": {"since": Incremental("at", primary_key="id")}}, "compared by the resource's primary_key"),
        ({"params": {"since": Incremental("at", last_value_func=len)}}, "max, min"),
        ({"incremental": Incremental("at", allow_external_schedulers=True)}, "Windows come from `partitions`"),
        ({"params": {"range": [Incremental("at")]}}, "Incremental of dlt's cannot be sent; it stands in `params` by"),
        ({"json": {"since": Incremental("at")}}, "Incremental of dlt's cannot be sent"),
        ({"data": {"since": {"x": Incremental("at")}}}, "Incremental of dlt's cannot be sent"),
    ],
)
def test_an_incremental_object_that_cannot_be_meant_is_refused(endpoint, message):
    with pytest.raises(ConfigError, match=message):
        planned(endpoint)


@given(
    st.dictionaries(st.text(max_size=5), st.integers(), max_size=2),
    st.none() | st.integers() | st.text(max_size=12),
)
def test_a_parameter_of_an_unknown_type_is_refused_with_those_that_there_are(options, kind):
    if kind in ("incremental", "resolve"):
        return
    with pytest.raises(ConfigError, match=r"'since' has an unknown `type`: there are incremental and resolve.*since\["):
        planned({"params": {"since": {**options, "type": kind}}})


def test_an_object_with_a_type_further_down_is_the_apis_own():
    assert planned({"json": {"filter": {"type": "open"}}}).endpoint.json_body == {"filter": {"type": "open"}}


def test_transform_is_the_older_word_for_convert():
    for endpoint in (
        {"params": {"since": {"type": "incremental", "cursor_path": "at", "transform": str}}},
        {"incremental": {"cursor_path": "at", "start_param": "since", "transform": str}},
    ):
        assert planned(endpoint).incremental.convert is str
    with pytest.raises(ConfigError, match="`transform` is the older word for `convert`: leave one"):
        planned({"incremental": {"cursor_path": "at", "transform": str, "convert": str}})


# ---- auth and sessions -----------------------------------------------------------------------------------------------
class Derived(BearerTokenAuth):
    pass


class OwnCall(BearerTokenAuth):
    def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
        return r


LACKING = [
    (BearerTokenAuth(), "BearerTokenAuth has no token"),
    (Derived(), "Derived has no token"),
    (BearerTokenAuth(BearerTokenAuth("a value of dlt's that it would fill in")), "has no token"),
    (APIKeyAuth("X-Key"), "APIKeyAuth has no api_key"),
    (HttpBasicAuth("me"), "HttpBasicAuth has no password"),
    (HttpBasicAuth(), "no username and no password"),
]


@pytest.mark.parametrize(("auth", "message"), LACKING)
def test_an_auth_object_of_dlts_without_its_value_is_refused_by_name(auth, message):
    own = requests.Session()
    own.auth = auth
    for client in ({"auth": auth}, {"session": own}):
        with pytest.raises(ConfigError, match=f"{message}.*dlt's secrets are not looked up") as caught:
            RestApiConfig.parse({"client": {"base_url": "https://x", **client}, "resources": ["a"]})
        assert "{env.NAME}" in str(caught.value)
    with pytest.raises(ConfigError, match=message):
        planned({"auth": auth})


@pytest.mark.parametrize("auth", [BearerTokenAuth("t"), APIKeyAuth("X", "k"), HttpBasicAuth("me", ""), OwnCall()])
def test_an_auth_object_of_dlts_with_its_value_is_taken(auth):
    assert planned({"auth": auth}).endpoint.auth.auth is auth


class NoAuthAtAll:
    """Its objects cannot be called."""


class Renewed(NoAuthAtAll):
    def refresh(self) -> None:
        pass


class Unfinished(AuthBase):
    """Inherits a `__call__` that only raises."""


class NotCallable(AuthBase):
    __call__ = None  # type: ignore[assignment]


@pytest.mark.parametrize("cls", [NoAuthAtAll, Renewed, Unfinished, NotCallable, AuthBase, dict, len, None, "bearer"])
def test_a_class_that_makes_no_auth_cannot_be_registered(cls):
    with pytest.raises(ConfigError, match="has no __call__"):
        register_auth("no_auth_at_all", cls)
    with pytest.raises(ConfigError, match="there is no auth type 'no_auth_at_all'"):
        planned({"auth": {"type": "no_auth_at_all"}})


def test_a_session_of_dlts_is_taken_but_not_with_a_condition_that_only_its_own_retries_know():
    session = client_session()
    config = {"client": {"base_url": "https://x", "session": session}, "resources": ["a"]}
    assert RestApiConfig.parse(config).client.session is session
    config["client"]["session"] = client_session(retry_condition=lambda response, error: True)
    with pytest.raises(ConfigError, match=r"`retry_condition`.*`error_rules` with `action: retry`"):
        RestApiConfig.parse(config)


# ---- what names one thing --------------------------------------------------------------------------------------------
@given(st.text(st.characters(exclude_characters="{}?/", exclude_categories=("Cs",)), min_size=1, max_size=8))
def test_a_name_in_the_last_segment_means_one_thing_where_openapi_allows_its_letters(name):
    kinds = ("resources.", "incremental.", "partition.", "env.")
    if name.startswith("+"):  # `{+name}` is the parameter `name`, whose slashes stay
        return
    found = planned({"path": f"users/{{{name}}}", "params": {name: 5}})
    allowed = all(letter.isascii() and (letter.isalnum() or letter in "._-") for letter in name)
    if name.startswith(kinds):
        return
    assert found.endpoint.path == "users/5"
    assert (found.endpoint.paginator.type, found.endpoint.data_selector) == (
        ("single_page", "$") if allowed else ("auto", None)
    )
