"""Environment variables within texts: filled in wherever a configuration may hold a secret, or refused; never sent."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from dagster_restapi.config.auth import AuthConfig
from dagster_restapi.config.fingerprint import fingerprint
from dagster_restapi.errors import ConfigError
from dagster_restapi.extract.preview import iter_records
from dagster_restapi.http.session import Call, Session
from dagster_restapi.secrets import MASK, Secret, redact

Connect = Callable[..., Session]
A, B = "alpha-value", "beta-value"


@pytest.fixture(autouse=True)
def variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VA", A)
    monkeypatch.setenv("VB", B)


TOKENS = {"access_token": "tok-of-the-issuer", "expires_in": 60}
BOTH = f"{A}:{B}"
AUTHS: list[tuple[dict[str, Any], str]] = [
    ({"type": "bearer", "token": "{env.VA}:{env.VB}"}, f"Bearer {BOTH}"),
    ({"type": "api_key", "api_key": "Token {env.VA}"}, f"Token {A}"),
    ({"type": "api_key", "name": "k", "location": "query", "api_key": "x-{env.VA}"}, f"x-{A}"),
    ({"type": "api_key", "name": "k", "location": "cookie", "api_key": "x-{env.VA}"}, f"k=x-{A}"),
    (
        {"type": "http_basic", "username": "{env.VA}/token", "password": "p-{env.VB}"},
        "Basic " + b64encode(f"{A}/token:p-{B}".encode()).decode(),
    ),
    (
        {"type": "oauth2_client_credentials", "access_token_url": "/token", "client_id": "i-{env.VA}"}
        | {"client_secret": "s-{env.VB}", "access_token_request_data": {"scope": "x {env.VA}"}},
        "i-",
    ),
    (
        {"type": "oauth2_refresh_token", "access_token_url": "/token", "refresh_token": "r-{env.VA}"}
        | {"client_id": "i-{env.VB}", "client_secret": "s-{env.VB}"},
        "r-",
    ),
    (
        {"type": "session_login", "url": "token", "json": {"user": "u-{env.VA}", "password": "p-{env.VB}"}}
        | {"token_path": "access_token", "template": "App {env.VA} {token}"},
        f"App {A} tok-of-the-issuer",
    ),
]


@pytest.mark.parametrize(("auth", "sent"), AUTHS, ids=lambda value: value["type"] if isinstance(value, dict) else "")
def test_variables_within_texts_are_filled_in_for_every_auth(api: Any, connect: Connect, auth: Any, sent: str) -> None:
    api.route("/items", [])
    api.route("/token", TOKENS)
    if "access_token_url" in auth:
        auth = {**auth, "access_token_url": f"{api.url}/token"}
    session = connect(auth=auth)
    session.send(Call("GET", session.url("items")))
    everything = "\n".join(f"{r.path} {r.queries} {r.headers} {r.body.decode()}" for r in api.requests)
    assert sent in everything
    assert "env." not in everything
    assert "%7Benv" not in everything
    assert A in everything or "Basic" in everything


def test_variables_within_headers_are_filled_in(api: Any, connect: Connect) -> None:
    api.route("/items", [])
    session = connect(headers={"X-Pair": "{env.VA}:{env.VB}"})
    session.send(Call("GET", session.url("items")))
    endpoint = {"path": "items", "headers": {"Authorization": "Token {env.VA}"}}
    config = {"client": {"base_url": api.url}, "resources": [{"name": "items", "endpoint": endpoint}]}
    assert list(iter_records(config, "items")) == []
    assert api.requests[0].headers["x-pair"] == BOTH
    assert api.requests[1].headers["authorization"] == f"Token {A}"


def test_what_is_filled_in_is_concealed_and_the_literal_part_is_in_no_text() -> None:
    secret = Secret.parse("user:pass-{env.VB}")
    assert repr(secret) == f"Secret({MASK}{{env.VB}})"
    assert str(secret) == f"{MASK}{{env.VB}}"
    assert secret.reveal() == f"user:pass-{B}"
    assert redact(f"sent user:pass-{B} and {B}") == f"sent {MASK} and {MASK}"
    assert secret == Secret.parse("user:pass-{env.VB}")
    assert secret != Secret.parse("user:{env.VB}")
    auth = TypeAdapter(AuthConfig).validate_python({"token": "user:pass-{env.VB}"})
    for text in (repr(auth), json.dumps(auth.model_dump(mode="json"))):
        assert "pass-" not in text
        assert "env.VB" in text
    assert fingerprint(auth) == fingerprint(TypeAdapter(AuthConfig).validate_python({"token": "other-{env.VB}"}))


def test_a_value_that_looks_like_a_reference_is_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VA", "{env.VB}")
    assert Secret.parse("x {env.VA}").reveal() == "x {env.VB}"


def test_a_missing_variable_is_named(api: Any, connect: Connect) -> None:
    session = connect(auth={"token": "x {env.NOT_THERE}"})
    with pytest.raises(ConfigError, match="NOT_THERE is not set"):
        session.send(Call("GET", session.url("items")))
    assert api.requests == []


@pytest.mark.parametrize(
    "auth",
    [
        {"token": "Token {env.MY-KEY}"},
        {"token": "{ env.VA }"},
        {"type": "http_basic", "username": "{env.}", "password": "x"},
        {"type": "api_key", "api_key": "x", "name": "{env.VA}"},
        {"type": "session_login", "url": "x", "data": {"a": "{env.1}"}},
        {"type": "session_login", "url": "x", "method": "{env.VA}"},
    ],
)
def test_what_cannot_be_filled_in_is_refused(auth: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=r"env\.NAME|environment variable"):
        TypeAdapter(AuthConfig).validate_python(auth)


def test_bounds_of_a_cursor_are_filled_in(api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("START", "2024-01-02")
    api.route("/items", [{"at": "2024-01-01"}, {"at": "2024-01-03"}, {"at": "2025-01-03"}])
    incremental = {"cursor_path": "at", "initial_value": "{env.START}", "end_value": "{env.END}-01", "start_param": "s"}
    config = {
        "client": {"base_url": api.url},
        "resources": [{"name": "items", "endpoint": {"path": "items", "incremental": incremental}}],
    }
    with pytest.raises(ConfigError, match="END is not set"):
        list(iter_records(config, "items"))
    monkeypatch.setenv("END", "2025-01")
    assert list(iter_records(config, "items")) == [{"at": "2024-01-03"}]
    assert [request.query for request in api.requests] == [{"s": "2024-01-02"}]
    assert redact("2024-01-02") == "2024-01-02"
