"""Credentials: every type, one token for all threads, renewed once."""

from __future__ import annotations

import stat
import threading
import time
from base64 import b64encode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jwt
import pytest
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from dlt_lookalikes import BearerTokenAuth
from pydantic import ValidationError
from requests.auth import AuthBase, HTTPBasicAuth

from dagster_restapi.config.auth import ApiKeyAuth, register_auth
from dagster_restapi.config.client import ClientConfig
from dagster_restapi.errors import ConfigError, RequestError, ResponseError
from dagster_restapi.http.session import Call, Session
from dagster_restapi.secrets import Secret

Connect = Callable[..., Session]


def get(session: Session, path: str = "items", **call: Any) -> Any:
    answer = session.send(Call("GET", session.url(path), **call))
    assert answer is not None
    return answer.json()


def sent(api: Any, connect: Connect, auth: Any, **settings: Any) -> Any:
    """The request that reaches the server with this auth."""
    api.route("/items", [])
    get(connect(auth=auth, **settings))
    return api.seen("/items")[-1]


@pytest.mark.parametrize(
    ("auth", "header"),
    [
        ({"type": "bearer", "token": "t-12345"}, "Bearer t-12345"),
        ({"token": "t-12345"}, "Bearer t-12345"),
        ({"type": "bearer", "token": {"env": "THE_TOKEN"}}, "Bearer t-from-env"),
        ({"type": "bearer", "token": "{env.THE_TOKEN}"}, "Bearer t-from-env"),
        ({"type": "BearerTokenAuth", "token": "t-12345\n"}, "Bearer t-12345"),
        (
            {"type": "http_basic", "username": "me", "password": "pass:ö"},
            "Basic " + b64encode("me:pass:ö".encode()).decode(),
        ),
        (("me", "word"), "Basic " + b64encode(b"me:word").decode()),
        ({"type": "api_key", "api_key": "k-12345"}, "k-12345"),
        (HTTPBasicAuth("me", "word"), "Basic " + b64encode(b"me:word").decode()),
    ],
)
def test_the_authorization_header(api: Any, connect: Connect, monkeypatch: Any, auth: Any, header: str) -> None:
    monkeypatch.setenv("THE_TOKEN", "t-from-env")
    assert sent(api, connect, auth).headers["authorization"] == header


def test_an_api_key_goes_where_it_belongs(api: Any, connect: Connect) -> None:
    key = {"type": "api_key", "name": "X-Key", "api_key": "k & 12345"}
    assert sent(api, connect, key).headers["x-key"] == "k & 12345"
    for location in ("query", "param"):
        request = sent(api, connect, {**key, "location": location})
        assert request.queries == {"X-Key": ["k & 12345"]}
        assert "authorization" not in request.headers
    assert sent(api, connect, {**key, "location": "cookie"}).headers["cookie"] == "X-Key=k & 12345"


def test_a_query_key_that_the_api_echoes_in_its_links_is_sent_once_and_not_kept(api: Any, connect: Connect) -> None:
    api.route("/items", [])
    session = connect(auth={"type": "api_key", "name": "key", "api_key": "k-12345", "location": "query"})
    answer = session.send(Call("GET", session.url("items") + "?page=2&key=k-12345"))
    assert answer is not None
    assert api.requests[0].queries == {"page": ["2"], "key": ["k-12345"]}
    assert session.bare_url(f"{api.url}/items?key=k-12345&page=3") == f"{api.url}/items?page=3"
    answer = session.send(Call("GET", session.url("items")))
    assert answer is not None
    assert "k-12345" not in answer.url


def test_an_endpoint_has_its_own_auth_or_none(api: Any, connect: Connect) -> None:
    api.route("/items", [])
    session = connect(auth={"token": "client-token"})
    get(session)
    get(session, auth=ApiKeyAuth.model_validate({"api_key": "endpoint-key"}))
    get(session, auth=ClientConfig(auth="none").auth)  # type: ignore[arg-type]
    assert [request.headers.get("authorization") for request in api.requests] == [
        "Bearer client-token",
        "endpoint-key",
        None,
    ]


def test_netrc_neither_adds_nor_replaces_credentials(
    api: Any, connect: Connect, monkeypatch: Any, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    assert "authorization" not in sent(api, connect, None).headers
    assert sent(api, connect, {"token": "t-12345"}).headers["authorization"] == "Bearer t-12345"
    assert sent(api, connect, None, headers={"Authorization": "mine"}).headers["authorization"] == "mine"


def test_user_and_password_of_the_base_url_are_basic_credentials(api: Any, connect: Connect) -> None:
    request = sent(api, connect, None, base_url=api.url.replace("://", "://me:p%40ss@"))
    assert request.headers["authorization"] == "Basic " + b64encode(b"me:p@ss").decode()


def test_a_missing_environment_variable_is_named(api: Any, connect: Connect) -> None:
    with pytest.raises(ConfigError, match="environment variable NOT_SET_HERE is not set"):
        sent(api, connect, {"token": "{env.NOT_SET_HERE}"})
    with pytest.raises(ConfigError, match=r"NOT_SET_HERE.*client.headers.X-Team"):
        sent(api, connect, None, headers={"X-Team": "{env.NOT_SET_HERE}"})
    assert not api.requests


def test_references_in_a_call_are_filled_in(api: Any, connect: Connect, monkeypatch: Any) -> None:
    monkeypatch.setenv("THE_TOKEN", "t-from-env")
    api.route("/items", [])
    secret = Secret(env="THE_TOKEN")
    get(connect(), params={"key": secret}, headers={"X-Key": secret})
    assert (api.requests[0].query, api.requests[0].headers["x-key"]) == ({"key": "t-from-env"}, "t-from-env")


def test_a_401_names_the_environment_variable(api: Any, connect: Connect, monkeypatch: Any) -> None:
    monkeypatch.setenv("THE_TOKEN", "t-from-env")
    api.route("/items", (401, {"message": "bad t-from-env"}))
    with pytest.raises(RequestError, match="THE_TOKEN") as caught:
        get(connect(auth={"token": "{env.THE_TOKEN}"}))
    assert "t-from-env" not in str(caught.value)
    assert caught.value.status == 401


def test_http_digest(api: Any, connect: Connect) -> None:
    challenge = {"WWW-Authenticate": 'Digest realm="r", nonce="n", qop="auth", algorithm=MD5'}
    api.route(
        "/items", lambda r: [1] if r.headers.get("authorization", "").startswith("Digest ") else (401, {}, challenge)
    )
    assert get(connect(auth={"type": "http_digest", "username": "me", "password": "word"})) == [1]


# ---- OAuth 2.0 -------------------------------------------------------------------------------------------------
class Issuer:
    """Issues tokens, and takes only the newest."""

    def __init__(self, api: Any, lifetime: float | str | None = 3600, **more: Any) -> None:
        self.api, self.count = api, 0
        self.lock = threading.Lock()
        self.more = {**({} if lifetime is None else {"expires_in": lifetime}), **more}
        api.route("/token", self.token)
        api.route("/items", self.items)
        self.valid: set[str] = set()

    def token(self, request: Any) -> Any:
        with self.lock:
            self.count += 1
            token = f"access-{self.count}"
            self.valid = {f"Bearer {token}"}
        time.sleep(0.05)
        return {"access_token": token, "token_type": "bearer", **self.more}

    def items(self, request: Any) -> Any:
        if request.headers.get("authorization") in self.valid:
            return [request.headers["authorization"]]
        return (401, {"message": "expired"})

    def auth(self, **more: Any) -> dict[str, Any]:
        return {
            "type": "oauth2_client_credentials",
            "access_token_url": f"{self.api.url}/token",
            "client_id": "the-id",
            "client_secret": "the-secret",
            **more,
        }


def test_client_credentials(api: Any, connect: Connect) -> None:
    issuer = Issuer(api)
    session = connect(
        auth=issuer.auth(access_token_request_data={"scope": "read"}), headers={"X-Client": "only the API"}
    )
    assert get(session) == get(session) == ["Bearer access-1"]
    (request,) = api.seen("/token")
    assert request.form() == {
        "grant_type": "client_credentials",
        "client_id": "the-id",
        "client_secret": "the-secret",
        "scope": "read",
    }
    assert "x-client" not in request.headers


def test_client_credentials_in_a_basic_header(api: Any, connect: Connect) -> None:
    issuer = Issuer(api)
    get(connect(auth=issuer.auth(client_auth="basic")))
    (request,) = api.seen("/token")
    assert request.form() == {"grant_type": "client_credentials"}
    assert request.headers["authorization"] == "Basic " + b64encode(b"the-id:the-secret").decode()


def test_the_token_may_be_issued_by_another_host(api: Any, stranger: Any, connect: Connect) -> None:
    issuer = Issuer(stranger)
    api.route("/items", [1])
    assert get(connect(auth=issuer.auth())) == [1]
    assert api.requests[0].headers["authorization"] == "Bearer access-1"


def test_an_expired_token_is_renewed_before_it_is_refused(api: Any, connect: Connect) -> None:
    issuer = Issuer(api, lifetime="0.2")
    session = connect(auth=issuer.auth())
    get(session)
    time.sleep(0.25)
    assert get(session) == ["Bearer access-2"]
    assert len(api.seen("/items")) == 2


def test_concurrent_threads_fetch_one_token(api: Any, connect: Connect) -> None:
    issuer = Issuer(api)
    session = connect(auth=issuer.auth())
    with ThreadPoolExecutor(16) as pool:
        assert len(list(pool.map(lambda n: get(session), range(50)))) == 50
    assert issuer.count == 1


def test_a_token_that_dies_in_mid_walk_is_renewed_once_by_all_threads_together(api: Any, connect: Connect) -> None:
    issuer = Issuer(api)
    session = connect(auth=issuer.auth(), retry={"attempts": 1})
    get(session)
    issuer.valid = set()
    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(lambda n: get(session), range(50))) == [["Bearer access-2"]] * 50
    assert issuer.count == 2


def test_a_fresh_token_that_is_refused_too_is_an_error(api: Any, connect: Connect) -> None:
    issuer = Issuer(api)
    api.route("/items", (401, {}))
    with pytest.raises(RequestError, match="status 401"):
        get(connect(auth=issuer.auth()))
    assert issuer.count == 2
    assert len(api.seen("/items")) == 2


def test_the_issuer_is_not_asked_for_every_request_that_is_refused(api: Any, connect: Connect) -> None:
    issuer = Issuer(api)
    api.route("/secret", (401, {}))
    session = connect(auth=issuer.auth())
    for _ in range(5):
        get(session)
        with pytest.raises(RequestError, match="status 401"):
            get(session, "/secret")
    assert issuer.count == 2
    assert len(api.seen("/secret")) == 6


def test_a_token_that_dies_again_later_is_renewed_again(api: Any, connect: Connect, monkeypatch: Any) -> None:
    monkeypatch.setattr("dagster_restapi.http.tokens._JUST", 0.1)
    issuer = Issuer(api)
    session = connect(auth=issuer.auth())
    for number in range(1, 4):
        assert get(session) == [f"Bearer access-{number}"]
        issuer.valid = set()
        time.sleep(0.15)


def test_a_refused_token_request_says_what_the_server_said(api: Any, connect: Connect) -> None:
    issuer = Issuer(api)
    api.route("/token", (400, {"error": "invalid_client", "echo": "the-secret"}))
    with pytest.raises(RequestError, match=r"invalid_client.*the token request POST") as caught:
        get(connect(auth=issuer.auth()))
    assert "the-secret" not in str(caught.value)
    assert not api.seen("/items")


def test_a_token_answer_without_a_token_is_an_error(api: Any, connect: Connect) -> None:
    issuer = Issuer(api)
    api.route("/token", {"ok": True})
    with pytest.raises(ResponseError, match="no access_token"):
        get(connect(auth=issuer.auth()))


def test_a_token_request_is_retried(api: Any, connect: Connect) -> None:
    issuer = Issuer(api)
    api.replies("/token", (503, {}), api.Reply({"access_token": "late"}, drop=True), {"access_token": "late"})
    issuer.valid = {"Bearer late"}
    assert get(connect(auth=issuer.auth())) == ["Bearer late"]


class Rotating:
    """Each refresh token may be used once."""

    def __init__(self, api: Any) -> None:
        self.api, self.count, self.good = api, 0, "refresh-0"
        self.lock = threading.Lock()
        api.route("/token", self.token)
        api.route("/items", [1])

    def token(self, request: Any) -> Any:
        with self.lock:
            if request.form()["refresh_token"] != self.good:
                return (400, {"error": "invalid_grant"})
            self.count += 1
            self.good = f"refresh-{self.count}"
            return {"access_token": f"access-{self.count}", "refresh_token": self.good, "expires_in": 0.1}

    def auth(self, **more: Any) -> dict[str, Any]:
        url = f"{self.api.url}/token"
        return {"type": "oauth2_refresh_token", "access_token_url": url, "refresh_token": "refresh-0", **more}


def test_a_rotated_refresh_token_is_used_the_next_time(api: Any, connect: Connect) -> None:
    rotating = Rotating(api)
    session = connect(auth=rotating.auth())
    for _ in range(3):
        get(session)
        time.sleep(0.1)
    assert rotating.count == 3
    assert any("no `store`" in warning for warning in session.meter.warnings)


def test_a_rotated_refresh_token_is_kept_for_the_next_run(api: Any, connect: Connect, tmp_path: Path) -> None:
    rotating = Rotating(api)
    store = tmp_path / "tokens" / "tracker"
    for _ in range(3):
        assert get(connect(auth=rotating.auth(store=str(store)))) == [1]
    assert rotating.count == 3
    assert store.read_text() == "refresh-3"
    assert stat.S_IMODE(store.stat().st_mode) == 0o600


def test_many_sessions_rotate_through_one_store_without_losing_the_token(
    api: Any, connect: Connect, tmp_path: Path
) -> None:
    rotating = Rotating(api)
    sessions = [connect(auth=rotating.auth(store=str(tmp_path / "token"))) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(get, sessions)) == [[1]] * 8
    assert rotating.count == 8


def test_a_new_refresh_token_in_the_configuration_wins_over_a_refused_one_in_the_store(
    api: Any, connect: Connect, tmp_path: Path
) -> None:
    rotating = Rotating(api)
    (tmp_path / "token").write_text("refresh-old")
    assert get(connect(auth=rotating.auth(store=str(tmp_path / "token")))) == [1]
    assert (tmp_path / "token").read_text() == "refresh-1"


def test_a_store_of_ones_own(api: Any, connect: Connect) -> None:
    class Store:
        token: str | None = None

        def load(self) -> str | None:
            return self.token

        def save(self, token: str) -> None:
            self.token = token

        def __enter__(self) -> Store:
            return self

        def __exit__(self, *_: object) -> None: ...

    store = Store()
    rotating = Rotating(api)
    get(connect(auth=rotating.auth(store=store)))
    assert store.token == "refresh-1"


# ---- logins, JWT, the user's own --------------------------------------------------------------------------------
def test_a_login_yields_a_token(api: Any, connect: Connect) -> None:
    valid = ["token-1"]
    api.replies("/login", {"data": {"token": "token-1"}}, {"data": {"token": "token-2"}})
    api.route("/items", lambda r: [1] if r.headers.get("x-session") == f"S {valid[0]}" else (401, {}))
    auth = {
        "type": "session_login",
        "url": "login",
        "json": {"user": "me", "password": "{env.THE_PASSWORD}"},
        "token_path": "data.token",
        "name": "X-Session",
        "template": "S {token}",
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("THE_PASSWORD", "pass-word")
        session = connect(auth=auth)
        assert get(session) == [1]
        valid[0] = "token-2"
        assert get(session) == [1]
    assert [request.json() for request in api.seen("/login")] == [{"user": "me", "password": "pass-word"}] * 2


def test_a_login_yields_a_cookie(api: Any, connect: Connect) -> None:
    api.route("/login", (200, {}, {"Set-Cookie": "sid=cookie-1; Path=/; HttpOnly"}))
    api.route("/items", lambda r: [1] if r.headers.get("cookie") == "sid=cookie-1" else (401, {}))
    session = connect(auth={"type": "session_login", "url": "/login", "data": {"user": "me"}})
    assert get(session) == [1]
    assert api.seen("/login")[0].form() == {"user": "me"}


@pytest.mark.parametrize("status", [301, 302, 303])
def test_a_login_that_redirects_with_a_cookie_keeps_it(api: Any, connect: Connect, status: int) -> None:
    def welcome(request: Any) -> Any:
        known = request.headers.get("cookie") == "sid=cookie-1"
        return (200, {"token": "token-1"}, {"Set-Cookie": "extra=cookie-2; Path=/"}) if known else (403, {})

    api.route("/login", (status, {}, {"Set-Cookie": "sid=cookie-1; Path=/", "Location": "/welcome"}))
    api.route("/welcome", welcome)
    api.route("/items", lambda r: [1] if r.headers.get("cookie") == "sid=cookie-1; extra=cookie-2" else (401, {}))
    assert get(connect(auth={"type": "session_login", "url": "login", "data": {"user": "me"}})) == [1]
    api.route("/items", lambda r: [1] if r.headers.get("authorization") == "Bearer token-1" else (401, {}))
    assert get(connect(auth={"type": "session_login", "url": "login", "token_path": "token"})) == [1]


def test_a_cookie_of_a_login_goes_no_further_than_its_path(api: Any, connect: Connect) -> None:
    api.route("/login", (302, {}, {"Set-Cookie": "sid=cookie-1; Path=/private", "Location": "/welcome"}))
    api.route("/welcome", {"token": "token-1"})
    api.route("/items", [1])
    get(connect(auth={"type": "session_login", "url": "login", "token_path": "token"}))
    assert "cookie" not in api.seen("/welcome")[0].headers


def test_a_login_begins_without_the_cookies_of_the_one_before(api: Any, connect: Connect) -> None:
    api.route("/login", (302, {}, {"Set-Cookie": "sid=cookie-1; Path=/", "Location": "/welcome"}))
    api.route("/welcome", {"token": "token-1"})
    api.replies("/items", [1], (401, {}), [2])
    session = connect(auth={"type": "session_login", "url": "login", "data": {}})
    assert (get(session), get(session)) == ([1], [2])
    assert ["cookie" in request.headers for request in api.seen("/login")] == [False, False]


def test_a_login_that_redirects_elsewhere_takes_nothing_along(api: Any, stranger: Any, connect: Connect) -> None:
    api.route("/login", (302, {}, {"Set-Cookie": "sid=cookie-1; Path=/", "Location": f"{stranger.url}/welcome"}))
    with pytest.raises(RequestError, match="redirects to"):
        get(connect(auth={"type": "session_login", "url": "login"}))
    assert not stranger.requests


@pytest.mark.parametrize(
    "answer",
    [
        (201, b"eyJ.abc.def", {"Content-Type": "text/plain; charset=utf-8"}),
        (201, b" eyJ.abc.def\n", {"Content-Type": "text/plain"}),
        (201, b'"eyJ.abc.def"', {"Content-Type": "application/json"}),
        (201, b'"eyJ.abc.def"', {"Content-Type": "text/plain"}),
    ],
)
def test_a_login_may_answer_with_the_token_alone(api: Any, connect: Connect, answer: Any) -> None:
    api.route("/login", answer)
    api.route("/items", lambda r: [1] if r.headers.get("authorization") == "Bearer eyJ.abc.def" else (401, {}))
    assert get(connect(auth={"type": "session_login", "url": "login", "token_path": "$"})) == [1]


@pytest.mark.parametrize("body", [b"<html>Log in</html>", b'{"error": "no"}', b"", b"one\ntwo"])
def test_a_page_or_an_object_is_no_token(api: Any, connect: Connect, body: bytes) -> None:
    api.route("/login", (200, body, {"Content-Type": "text/plain"}))
    with pytest.raises(ResponseError):
        get(connect(auth={"type": "session_login", "url": "login", "token_path": "$"}))
    assert len(api.requests) == 1


def test_equal_auths_share_one_token_and_few_are_kept(api: Any, connect: Connect) -> None:
    api.route("/login", {"token": "token-1"})
    api.route("/items", [1])
    session = connect()
    login = {"type": "session_login", "url": "login", "token_path": "token", "json": {"password": "pass-word"}}

    def auth(**other: Any) -> Any:
        return ClientConfig.model_validate({"auth": {**login, **other}}).auth

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: get(session, auth=auth()), range(100)))
    assert len(api.seen("/login")) == 1
    get(session, auth=auth(json={"password": "other-word"}))
    assert len(api.seen("/login")) == 2
    for number in range(200):
        get(session, auth=ClientConfig.model_validate({"auth": {"token": f"token-{number}"}}).auth)
        get(session, auth=auth())
    assert len(api.seen("/login")) == 2, "what is used stays"
    assert len(session._credentials) <= 64
    assert "pass-word" not in repr(session._credentials)


def test_an_auth_object_of_the_users_means_itself_alone(api: Any, connect: Connect) -> None:
    class Numbered(AuthBase):
        def __init__(self, number: int) -> None:
            self.number = number

        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = None  # type: ignore[assignment]

        def __call__(self, request: Any) -> Any:
            request.headers["X-Number"] = str(self.number)
            return request

    api.route("/items", [1])
    session = connect()
    for number in range(3):
        get(session, auth=ClientConfig.model_validate({"auth": Numbered(number)}).auth)
    assert [request.headers["x-number"] for request in api.requests] == ["0", "1", "2"]


def test_a_login_without_the_token_is_an_error(api: Any, connect: Connect) -> None:
    api.route("/login", {"error": "wrong password"})
    with pytest.raises(ResponseError, match=r"no token at 'data.token'"):
        get(connect(auth={"type": "session_login", "url": "login", "token_path": "data.token"}))


@pytest.fixture(scope="module")
def key_pair() -> tuple[str, Any]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"phrase")
    )
    return text.decode(), key.public_key()


def test_a_signed_jwt_is_the_token(api: Any, connect: Connect, key_pair: tuple[str, Any]) -> None:
    private, public = key_pair
    auth = {
        "type": "jwt_bearer",
        "private_key": private,
        "private_key_passphrase": "phrase",
        "client_id": "app",
        "key_id": "k1",
        "claims": {"sub": "other"},
    }
    token = sent(api, connect, auth).headers["authorization"].removeprefix("Bearer ")
    claims = jwt.decode(token, public, algorithms=["RS256"])
    assert (claims["iss"], claims["sub"]) == ("app", "other")
    assert jwt.get_unverified_header(token)["kid"] == "k1"


def test_a_signed_jwt_is_exchanged_as_dlt_does(api: Any, connect: Connect, key_pair: tuple[str, Any]) -> None:
    issuer = Issuer(api)
    auth = {
        "type": "OAuthJWTAuth",
        "private_key": key_pair[0],
        "private_key_passphrase": "phrase",
        "client_id": "app",
        "auth_endpoint": f"{api.url}/token",
        "scopes": ["a", "b"],
    }
    assert get(connect(auth=auth)) == ["Bearer access-1"]
    form = api.seen("/token")[0].form()
    claims = jwt.decode(form["assertion"], key_pair[1], algorithms=["RS256"], audience=f"{api.url}/token")
    assert claims["scope"] == "a b"
    assert issuer.count == 1


def test_a_key_that_cannot_sign_is_an_error_without_the_key(api: Any, connect: Connect) -> None:
    with pytest.raises(ConfigError, match="no token can be signed") as caught:
        sent(api, connect, {"type": "jwt_bearer", "private_key": "not a key at all"})
    assert "not a key" not in str(caught.value)


class Stamp(AuthBase):
    """A registered type that can be renewed."""

    def __init__(self, word: str, *, number: int = 1) -> None:
        self.word, self.number = word, number

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["X-Stamp"] = f"{self.word}-{self.number}"
        return request

    def refresh(self) -> None:
        self.number += 1


def test_a_registered_type_is_made_and_renewed(api: Any, connect: Connect, monkeypatch: Any) -> None:
    monkeypatch.setenv("THE_WORD", "abracadabra")
    register_auth("stamp", Stamp)
    api.route("/items", lambda r: [1] if r.headers["x-stamp"] == "abracadabra-2" else (401, {}))
    session = connect(auth={"type": "stamp", "word": "{env.THE_WORD}"})
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda n: get(session), range(8))) == [[1]] * 8


def test_a_users_requests_session_keeps_what_it_brings(api: Any, connect: Connect) -> None:
    own = requests.Session()
    own.auth = ("me", "word")
    own.headers["X-Own"] = "1"
    own.params = {"own": "2"}
    request = sent(api, connect, None, session=own, headers={"X-More": "3"})
    assert request.headers["authorization"].startswith("Basic ")
    assert (request.headers["x-own"], request.headers["x-more"], request.query) == ("1", "3", {"own": "2"})


# ---- the configuration -----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("auth", "message"),
    [
        ("barer", "did you mean 'bearer'"),
        ("bearer", r'write \{type: bearer, token: "\{env.TOKEN\}"\}'),
        ({"type": "bearer"}, r"token\s+Field required"),
        ({"type": "api_key", "api_key": "k", "location": "body"}, "'header', 'query', 'param' or 'cookie'"),
        ({"username": "me"}, "needs a `type`"),
        ({"type": "bearer", "token": "t", "scheme": "x"}, r"scheme\s+Extra inputs"),
        ({"type": "session_login", "url": "x", "json": {}, "data": {}}, "exclude each other"),
        ({"type": "stamp"}, "missing a required argument: 'word'"),
        (7, "auth is a mapping"),
    ],
)
def test_a_wrong_auth_is_refused_in_clear_words(auth: Any, message: str) -> None:
    register_auth("stamp", Stamp)
    with pytest.raises(ValidationError, match=message):
        ClientConfig(auth=auth)


def test_a_registered_class_of_dlts_that_is_made_without_its_value_sends_nothing(api: Any, connect: Connect) -> None:
    register_auth("dlt_bearer", BearerTokenAuth)
    with pytest.raises(ConfigError, match="BearerTokenAuth has no token"):
        sent(api, connect, {"type": "dlt_bearer"})
    assert not api.requests
    assert sent(api, connect, {"type": "dlt_bearer", "token": "t-12345"}).headers["authorization"] == "Bearer t-12345"


def test_a_name_of_our_own_cannot_be_registered() -> None:
    with pytest.raises(ConfigError, match="exists already"):
        register_auth("bearer", Stamp)
