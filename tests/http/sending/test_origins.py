"""Whom credentials are shown to: links, redirects, and https."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import urljoin

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from dagster_restapi.config.auth import ApiKeyAuth, NoAuth
from dagster_restapi.errors import RequestError
from dagster_restapi.http.origin import Trust, absolute, named_origin, origin_of, relative, safe_url, without_userinfo
from dagster_restapi.http.session import Call, Session
from dagster_restapi.secrets import Secret, conceal

Connect = Callable[..., Session]
CANARY = "canary-4711-token"

EVERY_AUTH = [
    {"token": CANARY},
    {"type": "http_basic", "username": "me", "password": CANARY},
    {"type": "api_key", "name": "X-Custom", "api_key": CANARY},
    {"type": "api_key", "name": "anything", "api_key": CANARY, "location": "query"},
    {"type": "api_key", "name": "sid", "api_key": CANARY, "location": "cookie"},
]


def everything(request: Any) -> str:
    return f"{request.path} {request.query} {request.headers} {request.body!r}"


@pytest.mark.parametrize("auth", EVERY_AUTH, ids=["bearer", "basic", "header", "query", "cookie"])
def test_a_link_to_a_stranger_is_refused_and_nothing_is_sent(
    api: Any, stranger: Any, connect: Connect, auth: dict[str, str]
) -> None:
    session = connect(auth=auth)
    with pytest.raises(RequestError, match=rf'"{stranger.host}" to the client\'s allowed_hosts'):
        session.send(Call("GET", f"{stranger.url}/items"))
    assert not stranger.requests


@pytest.mark.parametrize("auth", EVERY_AUTH, ids=["bearer", "basic", "header", "query", "cookie"])
def test_a_link_to_an_allowed_host_gets_the_credentials(
    api: Any, stranger: Any, connect: Connect, auth: dict[str, str]
) -> None:
    stranger.route("/items", [1])
    session = connect(auth=auth, allowed_hosts=[stranger.host])
    assert session.send(Call("GET", f"{stranger.url}/items")) is not None


# ---- a path that is a whole URL --------------------------------------------------------------------------------
def named(stranger: Any, path: str = "/items", **call: Any) -> Call:
    """A call whose endpoint itself names the other host."""
    url = f"{stranger.url}{path}"
    return Call(call.pop("method", "GET"), url, named=named_origin(url), **call)


@pytest.mark.parametrize("base_url", ["", None])
def test_a_host_that_the_path_names_is_asked_where_there_is_nothing_to_hide(
    api: Any, stranger: Any, connect: Connect, base_url: str | None
) -> None:
    stranger.route("/items", lambda request: (200, [1], {"Set-Cookie": "c=1"}))
    session = connect(headers={"Accept": "text/json"}, **({} if base_url is None else {"base_url": base_url}))
    for _ in range(2):
        answer = session.send(named(stranger, params={"page": 1}, json={"q": [1]}, method="POST"))
        assert answer is not None
        assert answer.json() == [1]
    assert [(r.query, r.json(), r.headers["accept"]) for r in stranger.requests] == [
        ({"page": "1"}, {"q": [1]}, "text/json")
    ] * 2
    assert not any("cookie" in request.headers for request in stranger.requests)
    assert not api.requests


SECRETIVE = [
    *({"auth": auth} for auth in EVERY_AUTH),
    {"auth": lambda request: request},
    {"headers": {"X-Team": "any header that is not everyone's"}},
    {"headers": {"User-Agent": "{env.CANARY}"}},
    {"session": requests.Session()},
    {"cert": "client.pem"},
    {"call": {"auth": ApiKeyAuth.model_validate({"api_key": CANARY})}},
    {"call": {"headers": {"X-Api-Key": CANARY}}},
    {"call": {"params": {"api_key": "a literal one"}}},
    {"call": {"params": {"q": Secret(CANARY)}}},
    {"call": {"params": {"q": [f"known {CANARY}"]}}},
    {"call": {"json": {"a": [{"password": "x"}]}}},
    {"call": {"data": f"x={CANARY}"}},
    {"path": f"/{CANARY}/items"},
]


@pytest.mark.parametrize("case", SECRETIVE)
def test_a_host_that_the_path_names_gets_no_credential_of_any_kind(
    stranger: Any, connect: Connect, case: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANARY", CANARY)
    conceal(CANARY)
    settings = dict(case)
    call = named(stranger, settings.pop("path", "/items"), **settings.pop("call", {}))
    session = connect(**settings)
    with pytest.raises(RequestError, match="allowed_hosts"):
        session.send(call)
    assert not stranger.requests


def test_auth_none_of_an_endpoint_takes_the_clients_credentials_away(stranger: Any, connect: Connect) -> None:
    stranger.route("/items", [1])
    session = connect(auth={"token": CANARY})
    assert session.send(named(stranger, auth=NoAuth())) is not None
    assert CANARY not in everything(stranger.requests[0])


def test_a_host_that_only_a_link_names_is_not_asked(api: Any, stranger: Any, make_api: Any, connect: Connect) -> None:
    third = make_api()
    session = connect()
    for url in (f"{third.url}/items", f"http://localhost:{stranger.port}/items"):
        with pytest.raises(RequestError, match="allowed_hosts"):
            session.send(replace(named(stranger), url=url))
    assert not third.requests
    assert not stranger.requests


def test_the_scheme_is_not_lowered_for_a_host_that_the_path_names(
    secure_api: Any, stranger: Any, connect: Connect, authority_file: str
) -> None:
    session = connect(base_url=secure_api.url, verify=authority_file)
    with pytest.raises(RequestError, match="from https to http"):
        session.send(named(stranger))
    assert not stranger.requests


@pytest.mark.parametrize(
    ("path", "host"),
    [
        ("https://a.example/items/{resources.x.id}", "https://a.example"),
        ("http://a.example:8080?x=1", "http://a.example:8080"),
        ("https://A.example", "https://a.example"),
        ("https://{resources.x.host}/items", None),
        ("https://a.example{resources.x.port}/items", None),
        ("https://a.example:{resources.x.port}/items", None),
        ("{resources.x.url}", None),
        ("{env.OTHER}/items", None),
        ("https://me:word@a.example/items", None),
        ("https://a.example\\@b.example/", None),
        ("https://[::bad/", None),
        ("https:/a.example", None),
        ("items", None),
        ("", None),
    ],
)
def test_a_host_is_named_where_all_of_it_is_written(path: str, host: str | None) -> None:
    found = named_origin(path)
    assert (found and str(found)) == host


@pytest.mark.parametrize("auth", EVERY_AUTH, ids=["bearer", "basic", "header", "query", "cookie"])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_a_stranger_is_followed_without_any_credential(
    api: Any, stranger: Any, connect: Connect, auth: dict[str, str], status: int
) -> None:
    def away(request: Any) -> Any:
        echoed = "&".join(f"{name}={value}" for name, value in request.query.items())
        return (status, {}, {"Location": f"{stranger.url}/file?sig=1&{echoed}", "Set-Cookie": f"c={CANARY}; Path=/"})

    api.route("/items", away)
    stranger.route("/file", [1])
    session = connect(auth=auth, headers={"X-Team": CANARY, "Accept": "application/json"})
    answer = session.send(Call("GET", session.url("items"), headers={"X-Other": CANARY}))
    assert answer is not None
    assert answer.json() == [1]
    (request,) = stranger.requests
    assert CANARY not in everything(request)
    assert "cookie" not in request.headers
    assert "authorization" not in request.headers
    assert request.headers["accept"] == "application/json"
    assert request.query == {"sig": "1"}


def test_credentials_once_lost_do_not_come_back(api: Any, stranger: Any, connect: Connect) -> None:
    api.route("/items", (302, {}, {"Location": f"{stranger.url}/x"}))
    stranger.route("/x", (302, {}, {"Location": f"{api.url}/private"}))
    api.route("/private", [1])
    session = connect(auth={"token": CANARY})
    session.send(Call("GET", session.url("items")))
    assert "authorization" not in api.seen("/private")[0].headers


def test_a_redirect_on_the_same_host_keeps_them(api: Any, connect: Connect) -> None:
    api.route("/items", (307, {}, {"Location": "/items/"}))
    api.route("/items/", [1])
    session = connect(auth={"token": CANARY})
    answer = session.send(Call("POST", session.url("items"), json={"q": 1}))
    assert answer is not None
    assert answer.url == f"{api.url}/items/"
    request = api.seen("/items/")[0]
    assert (request.method, request.json(), request.headers["authorization"]) == ("POST", {"q": 1}, f"Bearer {CANARY}")


def test_303_turns_a_post_into_a_get(api: Any, connect: Connect) -> None:
    api.route("/items", (303, {}, {"Location": "/result"}))
    api.route("/result", [1])
    session = connect()
    session.send(Call("POST", session.url("items"), json={"q": 1}))
    request = api.seen("/result")[0]
    assert (request.method, request.body, request.headers.get("content-type")) == ("GET", b"", None)


def test_a_body_is_not_carried_to_a_stranger(api: Any, stranger: Any, connect: Connect) -> None:
    api.route("/items", (307, {}, {"Location": f"{stranger.url}/x"}))
    session = connect()
    with pytest.raises(RequestError, match="allowed_hosts"):
        session.send(Call("POST", session.url("items"), json={"password": "x"}))
    assert not stranger.requests


def test_a_redirect_that_hides_a_secret_in_its_path_is_refused(api: Any, stranger: Any, connect: Connect) -> None:
    api.route("/items", (302, {}, {"Location": f"{stranger.url}/{CANARY}/x"}))
    session = connect(auth={"token": CANARY})
    with pytest.raises(RequestError, match="holds credentials") as caught:
        session.send(Call("GET", session.url("items")))
    assert CANARY not in str(caught.value)
    assert not stranger.requests


def test_a_redirect_to_what_is_no_url_shows_nothing_of_its_query(api: Any, connect: Connect) -> None:
    api.route("/items", (302, {}, {"Location": f"http://[::bad/x?sig={CANARY}"}))
    session = connect()
    with pytest.raises(RequestError, match="no URL") as caught:
        session.send(Call("GET", session.url("items"), params={"page": 1}))
    assert CANARY not in str(caught.value)


def test_a_stranger_that_refuses_is_an_error_and_no_token_is_renewed(api: Any, stranger: Any, connect: Connect) -> None:
    api.route("/token", {"access_token": CANARY})
    api.route("/items", (302, {}, {"Location": f"{stranger.url}/file"}))
    stranger.route("/file", (401, {}))
    auth = {"type": "oauth2_client_credentials", "client_id": "a", "client_secret": "b"}
    session = connect(auth={**auth, "access_token_url": f"{api.url}/token"})
    with pytest.raises(RequestError, match="status 401"):
        session.send(Call("GET", session.url("items")))
    assert len(api.seen("/token")) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_nowhere_is_an_error(api: Any, connect: Connect, status: int) -> None:
    api.route("/items", (status, {}))
    session = connect()
    with pytest.raises(RequestError, match=f"status {status}.*\n.*without saying where"):
        session.send(Call("GET", session.url("items")))
    assert len(api.requests) == 1


def test_redirects_in_a_circle_end(api: Any, connect: Connect) -> None:
    api.route("/items", (302, {}, {"Location": "/items"}))
    session = connect(max_redirects=3)
    with pytest.raises(RequestError, match="more than 3 redirects"):
        session.send(Call("GET", session.url("items")))
    assert len(api.requests) == 4


def test_a_token_request_is_not_redirected_elsewhere(api: Any, stranger: Any, connect: Connect) -> None:
    api.route("/token", (307, {}, {"Location": f"{stranger.url}/token"}))
    auth = {
        "type": "oauth2_client_credentials",
        "access_token_url": f"{api.url}/token",
        "client_id": "i",
        "client_secret": CANARY,
    }
    session = connect(auth=auth)
    with pytest.raises(RequestError, match="redirects to"):
        session.send(Call("GET", session.url("items")))
    assert not stranger.requests


def test_nothing_goes_from_https_to_http(secure_api: Any, stranger: Any, connect: Connect, authority_file: str) -> None:
    secure_api.route("/items", (302, {}, {"Location": f"{stranger.url}/x"}))
    session = connect(base_url=secure_api.url, verify=authority_file, allowed_hosts=[stranger.host])
    with pytest.raises(RequestError, match="from https to http"):
        session.send(Call("GET", session.url("items")))
    with pytest.raises(RequestError, match="from https to http"):
        session.send(Call("GET", f"{stranger.url}/x"))
    with pytest.raises(RequestError, match="from https to http"):
        session.send(Call("GET", f"http://{secure_api.host}/x"))
    assert not stranger.requests


@pytest.mark.parametrize(
    ("base", "allowed", "url", "trusted"),
    [
        ("https://api.x.com/v1", [], "https://api.x.com/v2", True),
        ("https://API.x.com", [], "https://api.X.com:443/", True),
        ("https://api.x.com", [], "https://api.x.com:8443/", False),
        ("https://api.x.com", [], "https://evil-api.x.com/", False),
        ("https://api.x.com", [], "https://api.x.com.evil.org/", False),
        ("https://api.x.com", [], "https://api.x.com@evil.org/", False),
        ("http://api.x.com", [], "https://api.x.com/", True),
        ("http://api.x.com:8080", [], "https://api.x.com/", False),
        ("https://api.x.com", ["files.x.com"], "https://files.x.com/", True),
        ("https://api.x.com", ["*.x.com"], "https://a.b.x.com/", True),
        ("https://api.x.com", ["*.x.com"], "https://x.com/", False),
        ("https://api.x.com", ["*.x.com"], "https://evilx.com/", False),
        ("https://api.x.com", ["files.x.com:8443"], "https://files.x.com/", False),
        ("https://api.x.com", ["https://files.x.com/"], "https://files.x.com/", True),
        ("", ["files.x.com"], "https://files.x.com/", True),
        ("", [], "https://files.x.com/", False),
    ],
)
def test_who_is_trusted(base: str, allowed: list[str], url: str, trusted: bool) -> None:
    assert Trust(base, allowed).trusts(origin_of(url)) is trusted


@pytest.mark.parametrize("url", ["ftp://x/", "//x/", "x", "http://", "http://[::1", "https://a\\@b/", "http://a:b/"])
def test_what_is_no_url_is_refused(url: str, connect: Connect) -> None:
    with pytest.raises(RequestError):
        connect().send(Call("GET", url))


def test_urls_in_messages_carry_no_credential() -> None:
    assert safe_url("https://me:pass@x.com/a?api_key=1&page=2&access_token=abc") == (
        "https://x.com/a?api_key=***&page=2&access_token=***"
    )
    assert safe_url("https://x.com/a?next_token=abc&sort_key=name") == "https://x.com/a?next_token=abc&sort_key=name"
    assert without_userinfo("https://a@b/c@d?e@f") == ("https://b/c@d?e@f", "a")


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://x.com/bot1/items?page=2", "?page=2"),
        ("https://x.com/bot1/items", "./items"),
        ("https://x.com/bot1/other?page=2", "./other?page=2"),
        ("https://x.com/bot1/a:b/c", "./a:b/c"),
        ("https://x.com/v2/items?a=b", "./../v2/items?a=b"),
        ("https://x.com/", "./../"),
        ("https://x.com/bot1//items?p=2", "https://x.com/bot1//items?p=2"),
        ("https://y.com/bot1/items?page=2", "https://y.com/bot1/items?page=2"),
    ],
)
def test_a_link_is_kept_as_seen_from_where_we_asked(url: str, kept: str) -> None:
    assert relative(url, "https://x.com/bot1/items?page=1") == kept


@given(
    base=st.lists(st.sampled_from(["a", "b", "", ".", "..", "ü x", "a:b"]), max_size=5),
    there=st.lists(st.sampled_from(["a", "b", "", "..", "%2F", "a:b", "?", "=1"]), max_size=6),
)
def test_a_kept_link_leads_where_it_led(base: list[str], there: list[str]) -> None:
    asked = "https://x.com/" + "/".join(base)
    url = urljoin(asked, "/" + "/".join(there))
    assert absolute(relative(url, asked), asked) == url
