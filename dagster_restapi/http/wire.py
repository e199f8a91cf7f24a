"""One try of a request: made, given its credentials, sent, followed through redirects, and read to its end."""

from __future__ import annotations

import logging
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote, urlencode

import requests
import urllib3
from requests.cookies import RequestsCookieJar, extract_cookies_to_jar, get_cookie_header
from requests.models import PreparedRequest
from requests.structures import CaseInsensitiveDict

from dagster_restapi.config.auth import HttpBasicAuth
from dagster_restapi.config.client import ClientConfig, ObjectParams
from dagster_restapi.config.placeholders import as_text
from dagster_restapi.config.values import conceal_sensitive, fill_address, is_sensitive, reveal
from dagster_restapi.errors import RequestError
from dagster_restapi.http.auth import Credentials
from dagster_restapi.http.exchange import Answer, Call
from dagster_restapi.http.faults import Fault, connection_fault
from dagster_restapi.http.meter import Meter
from dagster_restapi.http.origin import (
    Trust,
    guard_urls,
    joined,
    origin_of,
    safe_url,
    without_secrets,
    without_userinfo,
)
from dagster_restapi.http.query import form, pairs
from dagster_restapi.http.transport import Bounds, PlainSession, Sockets, read_body, without_retries
from dagster_restapi.secrets import Secret, conceal, guard_logger, redact

REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HARMLESS = frozenset({"accept", "accept-encoding", "accept-language", "connection", "user-agent"})
_HEADERS = {
    "User-Agent": "dagster-restapi",
    "Accept": "application/json, */*;q=0.5",
    "Accept-Encoding": "gzip, deflate",
    "Connection": "keep-alive",
}
_TALKATIVE = ("urllib3", "urllib3.connectionpool", "urllib3.connection", "urllib3.poolmanager", "urllib3.util.retry")


@dataclass(frozen=True)
class Hop:
    """One request on its way through redirects.

    Attributes:
        trusted: It goes to the API: with the client's headers, cookies and credentials. Once lost, it stays lost.
        bare: A token request: without them, wherever it goes.
        cookies: Of a token request: those that answers on its way have set, for whom they are.
        objects: How objects among `params` and form fields are spelled.
        remark: What a 404 may come from, for errors.
    """

    method: str
    url: str
    params: Any
    headers: Mapping[str, Any]
    json: Any
    data: Any
    trusted: bool = True
    bare: bool = False
    cookies: RequestsCookieJar | None = None
    objects: ObjectParams = "fail"
    remark: str = ""

    def place(self, where: str) -> str:
        """For errors: resource, method and URL, without secrets."""
        query = urlencode(pairs(self.params, "brackets", "params")) if self.params else ""
        url = f"{self.url}{'&' if '?' in self.url else '?'}{query}" if query else self.url
        return f"{where} {self.method} {safe_url(url)}".strip()


@dataclass(frozen=True)
class Reply:
    """An answer, the requests.Response it was made of, and the ticket of the credentials that were used."""

    answer: Answer
    response: requests.Response
    ticket: Any


class Wire:
    """The connections to one API, and the rules about who gets to see what on them.

    Args:
        config: The client's settings.
        meter: Counts requests and bytes.
        sockets: Remembers the open connections.
        exact_decimals: For the answers' JSON.

    Raises:
        ConfigError: An environment variable that the settings name is not set.
    """

    def __init__(self, config: ClientConfig, meter: Meter, sockets: Sockets, exact_decimals: bool) -> None:
        for name in _TALKATIVE:
            guard_logger(name)
            guard_urls(logging.getLogger(name))
        self._config, self._meter, self._exact_decimals = config, meter, exact_decimals
        self.http: requests.Session = config.session or PlainSession(sockets)
        self.base_url, userinfo = without_userinfo(fill_address(config.base_url, "client.base_url"))
        self.basic = basic_of(userinfo)
        self.trust = Trust(self.base_url, config.allowed_hosts, links_home=config.link_origin == "base_url")
        self._headers = self._client_headers()
        self._timeout = _timeouts(config)
        self._settings: dict[tuple[str, str], dict[str, Any]] = {}
        self._concealed: set[str] = set()

    def _client_headers(self) -> dict[str, str]:
        given = {name: reveal(value, f"client.headers.{name}") for name, value in self._config.headers.items()}
        given = {name: value for name, value in given.items() if value is not None}
        conceal_sensitive(given)
        if self._config.session is not None:
            conceal_sensitive(dict(self.http.headers))
        return given

    def holds_credentials(self, call: Call) -> bool:
        """Whether a request has something that only the API, or nobody, may see: a stranger's answer would need it, or
        be an answer to another question without it. Auth is not looked at here."""
        headers = {name.lower(): value for name, value in {**self._headers, **call.headers}.items()}
        return (
            self._config.session is not None
            or self._config.cert is not None
            or not _HARMLESS.issuperset(headers)
            or any(map(_is_secret, (call.url, headers, call.params, call.json, call.data)))
        )

    def conceal_cookies(self) -> None:
        """Conceals the cookies that the session holds: after a login they are credentials."""
        jar: Any = self.http.cookies
        conceal(*(cookie.value for cookie in list(jar) if cookie.value))

    def exchange(self, hop: Hop, auth: Credentials, where: str, deadline: float) -> Reply | Fault:
        """Sends a request and follows its redirects. What has not come by the deadline (time.monotonic) is a fault.

        Raises:
            RequestError: The request cannot be made, or must not be sent where a redirect leads.
        """
        for _ in range(self._config.max_redirects + 1):
            reply = self._tried(hop, auth, deadline)
            if isinstance(reply, Fault) or reply.answer.status not in REDIRECTS:
                return reply
            location = reply.answer.headers.get("location")
            if not location:
                return reply
            hop = self._redirected(_with_cookies(hop, reply.response), reply.answer, location, auth, where)
        return Fault(
            f"more than {self._config.max_redirects} redirects",
            "The API redirects in a circle, often to a login page: check base_url, path and auth.",
            transient=False,
        )

    def _redirected(self, hop: Hop, answer: Answer, location: str, auth: Credentials, where: str) -> Hop:
        """The next request (RFC 9110, 15.4; methods change as in requests). A stranger gets no credential at all."""
        url, _ = without_userinfo(joined(answer.url, location).partition("#")[0])
        origin = origin_of(url)
        self.trust.check_scheme(origin, url, f"{hop.place(where)} redirects:")
        method = hop.method
        if (answer.status == 303 and method != "HEAD") or (answer.status in (301, 302) and method == "POST"):
            method = "GET"
        changed = method != hop.method
        onward = replace(
            hop,
            method=method,
            url=url,
            params=None,
            headers=_without_body_headers(hop.headers) if changed else hop.headers,
            json=None if changed else hop.json,
            data=None if changed else hop.data,
        )
        if hop.trusted and (origin == origin_of(answer.url) if hop.bare else self.trust.trusts(origin)):
            return onward
        clean = without_secrets(url, auth.names)
        if redact(clean) != clean or onward.json is not None or onward.data is not None or hop.bare:
            raise RequestError(
                f"the API redirects to {origin} with a request that holds credentials or a body",
                where=hop.place(where),
                hint="If they may be sent there, add the host to the client's allowed_hosts.",
            )
        return replace(onward, url=clean, trusted=False)

    def _tried(self, hop: Hop, auth: Credentials, deadline: float) -> Reply | Fault:
        """One request, one answer."""
        prepared, url, ticket = self._prepared(hop, auth)
        self._meter.count(requests=1)
        response: requests.Response | None = None
        read: tuple[bytes, int] | Fault
        bounds = Bounds(deadline, self._config.max_response_bytes)
        try:
            with bounds:
                response = self._transmit(prepared, trusted=hop.trusted)
                read = read_body(response, self._config.max_response_bytes, deadline)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            read = bounds.fault or connection_fault(error, str(origin_of(url)), self._timeout)
        if isinstance(read, Fault):
            if response is not None:
                response.close()
            return read
        assert response is not None
        body, size = read
        self._meter.count(size=size)
        response._content, response._content_consumed = body, True  # type: ignore[attr-defined]
        return Reply(answer_of(response, url, self._exact_decimals), response, ticket)

    def _prepared(self, hop: Hop, auth: Credentials) -> tuple[PreparedRequest, str, Any]:
        """The request as it goes out, its URL before credentials came into it, and the credentials' ticket."""
        request, failure = PreparedRequest(), ""
        try:
            request.prepare_method(hop.method)
            request.prepare_url(hop.url, self._params_of(hop))
            request.prepare_headers(self._headers_of(hop))
            request.prepare_body(form(hop.data, hop.objects), None, hop.json)
            request.hooks = {name: list(hooks) for name, hooks in self.http.hooks.items()}
        except (requests.RequestException, ValueError, TypeError) as error:
            failure = type(error).__name__
        if failure:
            raise RequestError(
                f"the request cannot be made ({failure})",
                where=f"{hop.method} {safe_url(hop.url)}",
                hint="Check path, params, headers and body: something in them cannot be sent.",
            )
        url = request.url or ""
        origin = origin_of(url)
        if origin != origin_of(hop.url):
            raise RequestError("this URL reads differently to different readers", where=safe_url(hop.url))
        if not hop.trusted or hop.bare:
            if hop.cookies is not None:
                request.prepare_cookies(hop.cookies)
            return request, url, None
        cookies = get_cookie_header(self.http.cookies, request)  # type: ignore[no-untyped-call]
        if cookies is not None:
            request.headers["Cookie"] = cookies
        jar: Any = self.http.cookies
        request._cookies = jar.copy() if cookies else RequestsCookieJar()  # type: ignore[attr-defined]  # Digest needs it
        request, ticket = auth.put(request)
        if request.url != url and origin_of(request.url or "") != origin:
            raise RequestError("auth changed the host of the request", where=safe_url(url))
        return request, url, ticket

    def _params_of(self, hop: Hop) -> Any:
        params = dict(hop.params or {})
        if hop.trusted and not hop.bare:
            self._conceal(params)
            if self.http.params:  # of a user's session
                params = {**dict(self.http.params), **params}  # type: ignore[arg-type]
        return pairs(params, hop.objects, "params") or None

    def _headers_of(self, hop: Hop) -> dict[str, Any]:
        headers: CaseInsensitiveDict[Any] = CaseInsensitiveDict(_HEADERS)
        if not hop.bare:
            if self._config.session is not None:
                headers.update(self.http.headers)
            headers.update(self._headers)
        self._conceal(hop.headers)
        headers.update(hop.headers)
        return {
            name: value if isinstance(value, (str, bytes)) else as_text(reveal(value, f"headers.{name}"))
            for name, value in headers.items()
            if value is not None and (hop.trusted or (name.lower() in _HARMLESS and redact(str(value)) == str(value)))
        }

    def _conceal(self, values: Any) -> None:
        """Conceals literal credentials that a request brings along; not without end, as names may deceive."""
        if values and isinstance(values, Mapping) and len(self._concealed) < 256:
            new = {k: v for k, v in values.items() if isinstance(v, str) and v not in self._concealed}
            if new:
                conceal_sensitive(new)
                self._concealed.update(v for k, v in new.items() if isinstance(k, str))

    def _transmit(self, request: PreparedRequest, *, trusted: bool) -> requests.Response:
        url = request.url or ""
        settings = self._settings_for(url)
        if trusted:
            send = without_retries(self.http.send)
            return send(request, stream=True, allow_redirects=False, timeout=self._timeout, **settings)
        adapter = self.http.get_adapter(url)  # past the session: a stranger's cookies do not get into its jar
        return adapter.send(request, stream=True, timeout=self._timeout, **settings)

    def _settings_for(self, url: str) -> dict[str, Any]:
        """Proxies and TLS, from the configuration, the user's session and the environment, as requests has it."""
        origin = origin_of(url)
        key = (origin.scheme, origin.host)
        known = self._settings.get(key)
        if known is None:
            config = self._config
            proxies = {name: reveal(value, "client.proxies") for name, value in config.proxies.items()}
            verify = config.verify if "verify" in config.model_fields_set else None
            settings = self.http.merge_environment_settings(url, proxies, True, verify, config.cert)
            known = {name: settings[name] for name in ("proxies", "verify", "cert")}
            for proxy in known["proxies"].values():
                basic_of(without_userinfo(str(proxy))[1])
            self._settings[key] = known
        return known


def _is_secret(value: Any) -> bool:
    """Whether a credential stands somewhere in a part of a request, by its value or its name."""
    if isinstance(value, Mapping):
        return any(is_sensitive(str(name)) or _is_secret(name) or _is_secret(item) for name, item in value.items())
    if isinstance(value, (list, tuple)):
        return any(map(_is_secret, value))
    return isinstance(value, Secret) or (value is not None and redact(str(value)) != str(value))


def _with_cookies(hop: Hop, response: requests.Response) -> Hop:
    """A token request with the cookies of the answer that redirects it: a login tells by them who has logged in."""
    if not hop.bare:
        return hop
    jar = hop.cookies or RequestsCookieJar()
    extract_cookies_to_jar(jar, response.request, response.raw)  # type: ignore[no-untyped-call]
    return replace(hop, cookies=jar)


def answer_of(response: requests.Response, url: str, exact_decimals: bool) -> Answer:
    """A response that was read, as an answer."""
    return Answer(response.status_code, response.headers, url, response.content or b"", exact_decimals)


def basic_of(userinfo: str | None) -> HttpBasicAuth | None:
    """Basic credentials from the `user:password@` of a URL, concealed."""
    if userinfo is None:
        return None
    user, _, password = userinfo.partition(":")
    user, password = unquote(user), unquote(password)
    conceal(userinfo, password or user, b64encode(f"{user}:{password}".encode()).decode())
    return HttpBasicAuth.model_validate({"username": user, "password": password})


def _without_body_headers(headers: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in headers.items() if k.lower() not in ("content-type", "content-encoding", "content-length")}


def _timeouts(config: ClientConfig) -> tuple[float, float]:
    """(connect, read)."""
    if isinstance(config.timeout, tuple):
        return config.timeout
    return min(config.timeout, 10.0), config.timeout
