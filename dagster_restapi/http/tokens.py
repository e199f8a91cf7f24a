"""Tokens that are fetched: OAuth 2.0, a login, a signed JWT. One for all threads, renewed once for all of them."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self
from urllib.parse import quote

from filelock import FileLock

from dagster_restapi.config.auth import (
    JwtBearerAuth,
    OAuth2ClientCredentialsAuth,
    OAuth2RefreshTokenAuth,
    SessionLoginAuth,
)
from dagster_restapi.config.jsonpath import MISSING, first
from dagster_restapi.config.values import reveal
from dagster_restapi.errors import Cancelled, ConfigError, RequestError, ResponseError
from dagster_restapi.secrets import conceal

if TYPE_CHECKING:
    from dagster_restapi.http.exchange import Answer

_JUST = 10.0  # seconds in which a token that took the place of a refused one is not replaced for a refusal again
_EARLY = 30.0  # a token is renewed so many seconds before it expires, or a tenth of its life, whichever is less


@dataclass(frozen=True)
class Token:
    """One token.

    Attributes:
        value: The token itself; empty where a cookie is the session.
        expires: By time.monotonic(); None: not known.
        number: Grows by one with each renewal.
        instead: When it took the place of a refused one, by time.monotonic(); None: it did not.
    """

    value: str
    expires: float | None
    number: int
    instead: float | None = None

    def __repr__(self) -> str:
        return f"Token({self.number})"


@dataclass(frozen=True)
class TokenRequest:
    """The request that asks for a token."""

    method: str
    url: str
    headers: Mapping[str, str]
    params: Mapping[str, Any] | None = None
    json: Any = None
    data: Any = None


Exchange = Callable[[TokenRequest, str], "Answer"]
"""Sends a token request with the session's retries, proxies and limits, but without its credentials."""


class Tokens:
    """A token that is fetched when it is first needed, and again when it has expired or was refused.

    Args:
        fetch: Gets a new token: (value, seconds that it holds or None).
        stop: Ends the wait for another thread's fetch.
    """

    def __init__(self, fetch: Callable[[], tuple[str, float | None]], stop: threading.Event | None) -> None:
        self._fetch, self._stop = fetch, stop
        self._lock = threading.Lock()
        self._token: Token | None = None

    def current(self) -> Token:
        """The token to use now."""
        token = self._token
        if token is not None and not _expired(token):
            return token
        return self._renewed(token)

    def renew(self, refused: Token) -> bool:
        """Gets a new token in place of one that was refused, unless another thread has done so.

        False where that one has just taken the place of another: then the API does not mind the token, and its issuer
        must not be asked once for every request that is refused. And where the issuer gives the same one again.
        """
        if refused is self._token and refused.instead is not None and time.monotonic() - refused.instead < _JUST:
            return False
        renewed = self._renewed(refused, refused=True)
        return not renewed.value or renewed.value != refused.value  # none: the session is a cookie

    def _renewed(self, known: Token | None, *, refused: bool = False) -> Token:
        while not self._lock.acquire(timeout=0.2):
            if self._stop is not None and self._stop.is_set():
                raise Cancelled("the run was terminated while a token was fetched")
        try:
            token = self._token
            if token is not None and token is not known and not _expired(token):
                return token
            value, lifetime = self._fetch()
            conceal(value)
            expires = None if lifetime is None else time.monotonic() + lifetime - min(_EARLY, lifetime / 10)
            instead = time.monotonic() if refused else None
            self._token = Token(value, expires, token.number + 1 if token else 1, instead)
            return self._token
        finally:
            self._lock.release()


def _expired(token: Token) -> bool:
    return token.expires is not None and time.monotonic() >= token.expires


class TokenStore(Protocol):
    """Keeps the newest refresh token from run to run. Entered while it is read, used and written: lock it there."""

    def load(self) -> str | None:
        """The newest token, or None."""

    def save(self, token: str) -> None:
        """Keeps a token in place of the one before."""

    def __enter__(self) -> Any: ...
    def __exit__(self, *_: object) -> None: ...


class FileTokenStore:
    """A refresh token in a file that only its owner may read; a lock file beside it orders processes."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path).expanduser()
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = FileLock(f"{self._path}.lock", mode=0o600, timeout=300, thread_local=False)

    def load(self) -> str | None:
        """The newest token, or None."""
        try:
            return self._path.read_text("utf-8").strip() or None
        except FileNotFoundError:
            return None

    def save(self, token: str) -> None:
        """Keeps a token in place of the one before, at once or not at all."""
        handle, name = tempfile.mkstemp(dir=self._path.parent, prefix=f".{self._path.name}-")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(token)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(self._path)

    def __enter__(self) -> Self:
        self._lock.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def __repr__(self) -> str:
        return f"FileTokenStore({self._path.name!r})"


def client_credentials(config: OAuth2ClientCredentialsAuth, exchange: Exchange) -> tuple[str, float | None]:
    """RFC 6749, 4.4."""
    form = {"grant_type": "client_credentials", **_form(config.access_token_request_data)}
    answer = _oauth(config, form, exchange)
    return _access_token(answer, config.default_token_expiration)


class Refresher:
    """RFC 6749, 6: a refresh token yields an access token, and perhaps the next refresh token."""

    def __init__(self, config: OAuth2RefreshTokenAuth, exchange: Exchange, warn: Callable[[str], None]) -> None:
        self._config, self._exchange, self._warn = config, exchange, warn
        self._rotated: str | None = None
        store = reveal(config.store, "auth.store") if isinstance(config.store, str) else config.store
        self._store: TokenStore | None = FileTokenStore(store) if isinstance(store, (str, os.PathLike)) else store

    def __call__(self) -> tuple[str, float | None]:
        """A new access token."""
        if self._store is None:
            return self._renew(self._rotated)
        guard: AbstractContextManager[Any] = self._store
        with guard:
            return self._renew(self._store.load())

    def _renew(self, kept: str | None) -> tuple[str, float | None]:
        given = reveal(self._config.refresh_token, "auth.refresh_token")
        answer = self._ask(kept or given, tolerant=kept is not None and kept != given)
        if answer is None:  # the kept one is refused: the configured one may be newer
            answer = self._ask(given, tolerant=False)
        assert answer is not None
        token = _access_token(answer, self._config.default_token_expiration)
        rotated = first("refresh_token")(answer.json())
        if isinstance(rotated, str) and rotated and rotated != (kept or given):
            self._keep(rotated)
        return token

    def _ask(self, refresh_token: str, *, tolerant: bool) -> Answer | None:
        conceal(refresh_token)
        form = {
            "grant_type": "refresh_token",
            "refresh_token": refresh_token,
            **_form(self._config.access_token_request_data),
        }
        try:
            return _oauth(self._config, form, self._exchange)
        except RequestError as error:
            if not tolerant or error.status not in (400, 401):
                raise
        return None

    def _keep(self, token: str) -> None:
        conceal(token)
        self._rotated = token
        if self._store is not None:
            self._store.save(token)
        else:
            self._warn(
                "the API replaced the refresh token, and there is no `store` to keep the new one: the next run may be "
                "refused. Give auth a `store`."
            )


def _form(values: Any) -> dict[str, Any]:
    return dict(reveal(values, "auth.access_token_request_data") or {})


def _oauth(
    config: OAuth2ClientCredentialsAuth | OAuth2RefreshTokenAuth, form: dict[str, Any], exchange: Exchange
) -> Answer:
    client_id = reveal(config.client_id, "auth.client_id")
    client_secret = reveal(config.client_secret, "auth.client_secret")
    headers = {"Accept": "application/json"}
    if config.client_auth == "basic":
        pair = f"{quote(client_id or '', safe='')}:{quote(client_secret or '', safe='')}"  # RFC 6749, 2.3.1
        basic = b64encode(pair.encode()).decode()
        conceal(basic)
        headers["Authorization"] = f"Basic {basic}"
    else:
        form |= {
            name: value
            for name, value in (("client_id", client_id), ("client_secret", client_secret))
            if value is not None
        }
    url = reveal(config.access_token_url, "auth.access_token_url")
    return exchange(TokenRequest("POST", url, headers, data=form), "the token request")


def _access_token(answer: Answer, default: float) -> tuple[str, float]:
    body = answer.json()
    token = body.get("access_token") if isinstance(body, dict) else None
    if not isinstance(token, str) or not token:
        raise ResponseError(
            "the token answer has no access_token",
            where=answer.safe_url,
            hint="Check access_token_url, and what the API wants in `access_token_request_data`.",
            transient=False,
        )
    conceal(token, *(value for value in body.values() if isinstance(value, str) and len(value) > 20))
    try:
        return token, float(body["expires_in"])
    except (KeyError, TypeError, ValueError):
        return token, default


def session_login(
    config: SessionLoginAuth, url: Callable[[str], str], exchange: Exchange, conceal_cookies: Callable[[], None]
) -> tuple[str, float | None]:
    """Logs in; the token is where `token_path` says, or the session is a cookie."""
    request = TokenRequest(
        config.method.upper(),
        url(reveal(config.url, "auth.url")),
        {"Accept": "application/json", **(reveal(config.headers, "auth.headers") or {})},
        reveal(config.params, "auth.params") or None,
        reveal(config.json_body, "auth.json"),
        reveal(config.data, "auth.data"),
    )
    answer = exchange(request, "the login")
    conceal_cookies()
    if config.token_path is None:
        return "", config.expiration
    token = _text(answer) if config.token_path == "$" else first(config.token_path)(answer.json())
    if token is MISSING or not isinstance(token, (str, int)) or not str(token):
        raise ResponseError(
            f"the login's answer has no token at {config.token_path!r}",
            where=answer.safe_url,
            hint="Check `token_path` of auth, and that user and password are right.",
            transient=False,
        )
    return str(token), config.expiration


def _text(answer: Answer) -> Any:
    """The whole body as a token: a JSON text or number, or a line of plain text."""
    text = answer.text.strip()
    plain = answer.headers.get("content-type", "").partition(";")[0].strip().lower() == "text/plain"
    return text if plain and text[:1] not in ('"', "{", "[", "<") and text.isprintable() else answer.json()


def jwt_bearer(config: JwtBearerAuth, exchange: Exchange) -> tuple[str, float | None]:
    """Signs a token (RFC 7519); with an `access_token_url`, exchanges it (RFC 7523)."""
    signed = _signed(config)
    conceal(signed)
    if config.access_token_url is None:
        return signed, config.lifetime
    form = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": signed}
    headers = {"Accept": "application/json", **(reveal(config.headers, "auth.headers") or {})}
    url = reveal(config.access_token_url, "auth.access_token_url")
    answer = exchange(TokenRequest("POST", url, headers, data=form), "the token request")
    return _access_token(answer, config.default_token_expiration)


def _signed(config: JwtBearerAuth) -> str:
    import jwt  # optional; the configuration has checked that it is there

    now = int(time.time())
    claims: dict[str, Any] = {"iat": now - 30, "exp": now + max(1, int(config.lifetime))}
    client_id = reveal(config.client_id, "auth.client_id")
    if client_id is not None:
        claims |= {"iss": client_id, "sub": client_id}
    if config.access_token_url is not None:
        claims["aud"] = reveal(config.access_token_url, "auth.access_token_url")
    if config.scopes is not None:
        scopes = reveal(config.scopes, "auth.scopes")
        claims["scope"] = scopes if isinstance(scopes, str) else " ".join(scopes)
    claims |= reveal(config.claims, "auth.claims") or {}
    failed = ""
    try:
        key_id = reveal(config.key_id, "auth.key_id")
        headers = {"kid": key_id} if key_id else None
        return str(jwt.encode(claims, _key(config), config.algorithm, headers=headers))
    except (jwt.PyJWTError, ValueError, TypeError, NotImplementedError) as error:
        failed = type(error).__name__
    raise ConfigError(
        f"no token can be signed with this key as {config.algorithm} ({failed})",
        where="auth",
        hint="Check private_key (PEM, with its line breaks), private_key_passphrase and algorithm.",
    )


def _key(config: JwtBearerAuth) -> Any:
    key = reveal(config.private_key, "auth.private_key").replace("\\n", "\n")
    if config.private_key_passphrase is None:
        return key
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    passphrase = reveal(config.private_key_passphrase, "auth.private_key_passphrase")
    return load_pem_private_key(key.encode(), passphrase.encode())
