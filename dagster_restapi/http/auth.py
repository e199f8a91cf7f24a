"""Puts credentials on a request, and knows whether new ones can be had when they are refused."""

from __future__ import annotations

import threading
from base64 import b64encode
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import requests
from requests.auth import HTTPDigestAuth
from requests.models import PreparedRequest

from dagster_restapi.config import auth as config
from dagster_restapi.config.dlt_objects import what_auth_lacks
from dagster_restapi.config.values import environment_names, reveal
from dagster_restapi.errors import ConfigError
from dagster_restapi.http.tokens import (
    Exchange,
    Refresher,
    Token,
    Tokens,
    client_credentials,
    jwt_bearer,
    session_login,
)
from dagster_restapi.secrets import conceal


class Credentials(Protocol):
    """What a session asks of every kind of auth."""

    names: frozenset[str]  # query parameters that are credentials
    source: str  # where they come from, for hints

    def put(self, request: PreparedRequest) -> tuple[PreparedRequest, Any]:
        """The request with its credentials, and a ticket that names the ones that were used."""

    def renew(self, ticket: Any) -> bool:
        """Gets new credentials in place of refused ones; False where there are none to be had."""


class Fixed:
    """Credentials that stay what they are: nothing, a bearer token, basic, a key.

    Args:
        put: Changes the request.
        source: Where the credentials come from.
        names: Query parameters that are credentials.
    """

    def __init__(
        self, put: Callable[[PreparedRequest], None], source: str, names: frozenset[str] = frozenset()
    ) -> None:
        self._put, self.source, self.names = put, source, names

    def put(self, request: PreparedRequest) -> tuple[PreparedRequest, Any]:
        self._put(request)
        return request, None

    def renew(self, ticket: Any) -> bool:
        return False


class Fetched:
    """Credentials that are made of a token which can be fetched again."""

    def __init__(
        self,
        tokens: Tokens,
        place: Callable[[PreparedRequest, str], None],
        source: str,
        names: frozenset[str] = frozenset(),
    ) -> None:
        self._tokens, self._place, self.source, self.names = tokens, place, source, names

    def put(self, request: PreparedRequest) -> tuple[PreparedRequest, Any]:
        token = self._tokens.current()
        self._place(request, token.value)
        return request, token

    def renew(self, ticket: Any) -> bool:
        return isinstance(ticket, Token) and self._tokens.renew(ticket)  # none: a redirect to a stranger was answered


class Given:
    """A callable of the user's: a requests.auth.AuthBase, or an instance of a registered class.

    What it adds to a request is concealed, as far as headers and query show it.
    """

    names: frozenset[str] = frozenset()
    _MOST = 64  # signatures are new with each request: they are concealed up to here, then no longer

    def __init__(self, call: Callable[[PreparedRequest], Any], source: str, *, signs: bool = False) -> None:
        self._call, self.source = call, source
        self._concealed: set[str] = set()
        self._lock = threading.Lock()
        self._renewals = 0
        self._most = 0 if signs else self._MOST

    def put(self, request: PreparedRequest) -> tuple[PreparedRequest, Any]:
        ticket, headers, url = self._renewals, dict(request.headers), request.url
        answer = self._call(request)
        request = answer if isinstance(answer, PreparedRequest) else request
        added = {value for name, value in request.headers.items() if headers.get(name) != value}
        if request.url != url:
            added |= {pair.partition("=")[2] for pair in (request.url or "").partition("?")[2].split("&")}
            added -= {pair.partition("=")[2] for pair in (url or "").partition("?")[2].split("&")}
        texts = {str(text) for text in added}
        if len(self._concealed) < self._most and not texts <= self._concealed:
            self._concealed |= texts
            for text in texts:
                scheme, _, rest = text.partition(" ")
                conceal(text, rest if rest and scheme.isalpha() else text)
        if request.body is not None:
            request.prepare_content_length(request.body)
        return request, ticket

    def renew(self, ticket: Any) -> bool:
        again = getattr(self._call, "refresh", None)
        if not callable(again):
            return False
        with self._lock:
            if ticket == self._renewals:
                again()
                self._renewals += 1
        return True


def _header(name: str, request: PreparedRequest, value: str) -> None:
    request.headers[name] = value


def _query(name: str, request: PreparedRequest, value: str) -> None:
    url = request.url or ""
    head, mark, query = url.partition("?")
    pairs = [pair for pair in query.split("&") if pair and pair.partition("=")[0] != name]  # one that the API echoed
    request.url = f"{head}{mark if pairs else ''}{'&'.join(pairs)}"
    request.prepare_url(request.url, {name: value})


def _cookie(name: str, request: PreparedRequest, value: str) -> None:
    if any(character in value for character in ";\r\n"):
        raise ConfigError("a cookie's value cannot hold ; or a line break", where="auth.api_key")
    before = request.headers.get("Cookie")
    request.headers["Cookie"] = f"{before}; {name}={value}" if before else f"{name}={value}"


_PLACES: dict[str, Callable[[str, PreparedRequest, str], None]] = {
    "header": _header,
    "query": _query,
    "param": _query,
    "cookie": _cookie,
}


def credentials(
    auth: Any,
    *,
    exchange: Exchange,
    url: Callable[[str], str],
    conceal_cookies: Callable[[], None],
    warn: Callable[[str], None],
    stop: threading.Event | None,
) -> Credentials:
    """What an auth configuration means.

    Args:
        auth: One of the models of config/auth.py, or None.
        exchange: Sends a token request.
        url: Makes a whole URL of a path.
        conceal_cookies: Conceals the cookies that the session holds.
        warn: Takes a warning for the run's metadata.
        stop: Set when the run is terminated.
    """
    if auth is None or isinstance(auth, config.NoAuth):
        return Fixed(lambda request: None, "none are configured: set `auth` of the client")
    source = _source(auth)
    if isinstance(auth, config.BearerAuth):
        return Fixed(lambda request: _header("Authorization", request, f"Bearer {_one_line(auth.token)}"), source)
    if isinstance(auth, config.HttpBasicAuth):
        return Fixed(partial(_basic, auth), source)
    if isinstance(auth, config.ApiKeyAuth):
        place = partial(_PLACES[auth.location], auth.name)
        names = frozenset({auth.name}) if auth.location in ("query", "param") else frozenset[str]()
        return Fixed(lambda request: place(request, _one_line(auth.api_key)), source, names)
    if isinstance(auth, config.HttpDigestAuth):
        digest = HTTPDigestAuth(reveal(auth.username, "auth.username"), reveal(auth.password, "auth.password"))
        return Given(digest, source, signs=True)
    if isinstance(auth, config.GivenAuth):
        return Given(auth.auth, source)
    if isinstance(auth, config.RegisteredAuth):
        made = config.registered_auth(auth.type)(**reveal(auth.arguments, "auth"))
        if lacking := what_auth_lacks(made):
            raise ConfigError(lacking, where="auth")
        return Given(made, source)
    return _fetched(auth, source, exchange, url, conceal_cookies, warn, stop)


def _fetched(
    auth: Any,
    source: str,
    exchange: Exchange,
    url: Callable[[str], str],
    conceal_cookies: Callable[[], None],
    warn: Callable[[str], None],
    stop: threading.Event | None,
) -> Credentials:
    def bearer(request: PreparedRequest, value: str) -> None:
        _header("Authorization", request, f"Bearer {value}")

    if isinstance(auth, config.OAuth2ClientCredentialsAuth):
        return Fetched(Tokens(partial(client_credentials, auth, exchange), stop), bearer, source)
    if isinstance(auth, config.OAuth2RefreshTokenAuth):
        return Fetched(Tokens(Refresher(auth, exchange, warn), stop), bearer, source)
    if isinstance(auth, config.JwtBearerAuth):
        return Fetched(Tokens(partial(jwt_bearer, auth, exchange), stop), bearer, source)
    assert isinstance(auth, config.SessionLoginAuth)
    tokens = Tokens(partial(session_login, auth, url, exchange, conceal_cookies), stop)
    names = frozenset({auth.name}) if auth.token_path and auth.location == "query" else frozenset[str]()
    return Fetched(tokens, partial(_login_place, auth), source, names)


def _login_place(auth: config.SessionLoginAuth, request: PreparedRequest, value: str) -> None:
    if auth.token_path is not None:
        template = str(reveal(auth.template, "auth.template"))
        shown = template.replace("{token}", value) if auth.location == "header" else value
        _PLACES[auth.location](auth.name, request, shown)


def _one_line(secret: Any) -> str:
    """The secret without the line break that files and terminals put behind it."""
    whole = str(reveal(secret, "auth"))
    value = whole.strip()
    if value != whole:
        conceal(value)
    if "\n" in value or "\r" in value:
        raise ConfigError("a credential holds a line break", where="auth", hint="It was cut or joined when it was set.")
    return value


def _basic(auth: config.HttpBasicAuth, request: PreparedRequest) -> None:
    user, password = reveal(auth.username, "auth.username"), reveal(auth.password, "auth.password")
    value = b64encode(f"{user}:{password}".encode()).decode()
    conceal(value, *([] if password else [user]))  # without a password the user's name is the key, as at Stripe
    _header("Authorization", request, f"Basic {value}")


def given_by_session(session: requests.Session) -> Any:
    """The auth of a user's requests.Session, as a model."""
    auth = session.auth
    if isinstance(auth, tuple):
        return config.HttpBasicAuth.model_validate({"username": auth[0], "password": auth[1]})
    return None if auth is None else config.GivenAuth(auth=auth)


def _source(auth: Any) -> str:
    names = [name for key in type(auth).model_fields for name in environment_names(getattr(auth, key))]
    where = f", from the environment variable{'s' if len(names) > 1 else ''} {', '.join(names)}" if names else ""
    return f"auth {auth.type}{where}"
