"""Sends requests: credentials, origins, redirects, pace, retries, limits, error rules. There is no way around it."""

from __future__ import annotations

import logging
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any
from urllib.parse import unquote, urljoin

import requests
import urllib3
from requests.cookies import get_cookie_header
from requests.models import PreparedRequest
from requests.structures import CaseInsensitiveDict
from requests.utils import parse_header_links

from dagster_restapi.config.actions import Rule
from dagster_restapi.config.client import ClientConfig, RetryConfig
from dagster_restapi.config.values import conceal_sensitive, fill_address, reveal
from dagster_restapi.errors import Cancelled, RequestError, ResponseError
from dagster_restapi.http.auth import Credentials, Fixed, credentials, given_by_session
from dagster_restapi.http.decode import decode
from dagster_restapi.http.faults import Fault, connection_fault, status_hint, status_words
from dagster_restapi.http.origin import Trust, origin_of, safe_url, without_secrets, without_userinfo
from dagster_restapi.http.rate_limit import Pause, Ring, ring
from dagster_restapi.http.retry import Attempts, is_transient, told_wait
from dagster_restapi.http.rules import AnyRule, as_rules, holds, message_of
from dagster_restapi.http.tokens import TokenRequest
from dagster_restapi.http.transport import PlainSession, Sockets, read_body
from dagster_restapi.secrets import conceal, guard_logger, redact

log = logging.getLogger("dagster_restapi.http")

_LONG = 5.0  # seconds: a longer wait is told to the run's log
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HARMLESS = frozenset({"accept", "accept-encoding", "accept-language", "user-agent"})  # all that a stranger gets
_HEADERS = {
    "User-Agent": "dagster-restapi",
    "Accept": "application/json, */*;q=0.5",
    "Accept-Encoding": "gzip, deflate",
    "Connection": "keep-alive",
}
_TALKATIVE = ("urllib3", "urllib3.connectionpool", "urllib3.connection", "urllib3.poolmanager", "urllib3.util.retry")


@dataclass(frozen=True)
class Call:
    """One request, rendered: no placeholder is left in it.

    Attributes:
        method: GET, POST, …
        url: Absolute.
        params: Query parameters, added to those in the URL; a None is left out, a list is repeated.
        headers: They override the client's of the same name.
        json: JSON body; excludes `data`.
        data: Form fields, text or bytes.
        auth: An auth model in place of the client's; None: the client's.
    """

    method: str
    url: str
    params: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, Any] = field(default_factory=dict)
    json: Any = None
    data: Any = None
    auth: Any = None

    def __repr__(self) -> str:
        return f"Call({self.method} {safe_url(self.url)})"


@dataclass(frozen=True)
class Answer:
    """A whole answer.

    Attributes:
        status: HTTP status.
        headers: Without regard to case.
        url: Where it came from in the end, without what `auth` put into it.
        body: Decompressed.
    """

    status: int
    headers: Mapping[str, str]
    url: str
    body: bytes
    exact_decimals: bool = False

    @cached_property
    def _value(self) -> Any:
        return decode(
            self.body,
            content_type=self.headers.get("content-type", ""),
            exact_decimals=self.exact_decimals,
            where=self.safe_url,
        )

    def json(self) -> Any:
        """The value of the body, decoded once; None for an empty body.

        Raises:
            ResponseError: It is no JSON.
        """
        return self._value

    @property
    def text(self) -> str:
        """The body as text, whatever it is."""
        return self.body.decode("utf-8", "replace")

    @cached_property
    def links(self) -> dict[str, dict[str, str]]:
        """The `Link` header (RFC 8288): relation → url, rel, …"""
        header = self.headers.get("link")
        found: dict[str, dict[str, str]] = {}
        for link in parse_header_links(header) if header else []:
            for relation in (link.get("rel") or link.get("url", "")).split():
                found.setdefault(relation, link)
        return found

    @property
    def safe_url(self) -> str:
        """The URL for messages."""
        return safe_url(self.url)

    def __repr__(self) -> str:
        return f"Answer({self.status}, {self.safe_url}, {len(self.body)} bytes)"


class Meter:
    """Counts what sending costs; one for all threads of a step.

    Args:
        on_note: Is told of each long wait, in one sentence, from whichever thread waits.
    """

    def __init__(self, *, on_note: Callable[[str], None] | None = None) -> None:
        self._lock = threading.Lock()
        self._on_note = on_note
        self._waiting, self._since, self._waited = 0, 0.0, 0.0
        self.requests = 0  # everything that was sent: retries, redirects and token requests too
        self.retries = 0
        self.bytes = 0  # bodies on the wire
        self.notes: list[str] = []
        self.warnings: list[str] = []

    def count(self, *, requests: int = 0, retries: int = 0, size: int = 0) -> None:
        """Adds to the counters."""
        with self._lock:
            self.requests += requests
            self.retries += retries
            self.bytes += size

    @property
    def waited_seconds(self) -> float:
        """Seconds in which at least one thread waited: after a failure, for a limit, or because the server said so."""
        with self._lock:
            running = time.monotonic() - self._since if self._waiting else 0.0
            return self._waited + running

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Counts the time in its body as waited."""
        with self._lock:
            if not self._waiting:
                self._since = time.monotonic()
            self._waiting += 1
        try:
            yield
        finally:
            with self._lock:
                self._waiting -= 1
                if not self._waiting:
                    self._waited += time.monotonic() - self._since

    def note(self, text: str) -> None:
        """Keeps a sentence for the run's log."""
        text = redact(text)
        with self._lock:
            self.notes.append(text)
        if self._on_note is not None:
            self._on_note(text)

    def warn(self, text: str) -> None:
        """Keeps a sentence for the run's metadata, once."""
        text = redact(text)
        with self._lock:
            if text not in self.warnings:
                self.warnings.append(text)


@dataclass(frozen=True)
class _Hop:
    """One request on the way through redirects."""

    method: str
    url: str
    params: Any
    headers: Mapping[str, Any]
    json: Any
    data: Any
    trusted: bool = True
    bare: bool = False  # a token request: no client headers, no credentials


@dataclass(frozen=True)
class _Reply:
    """An answer, and the requests.Response it was made of."""

    answer: Answer
    response: requests.Response
    ticket: Any


_NOBODY = Fixed(lambda request: None, "those that auth asks for a token with")


class Session:
    """Talks to one API for all threads of a step.

    Args:
        config: The client's settings.
        meter: Counts what is sent; a new one where none is given.
        stop: When it is set, every call raises Cancelled within a second, whatever it waits for.
        exact_decimals: Numbers with a fraction are decoded as `decimal.Decimal`.

    Raises:
        ConfigError: An environment variable that the settings name is not set.
    """

    def __init__(
        self,
        config: ClientConfig,
        *,
        meter: Meter | None = None,
        stop: threading.Event | None = None,
        exact_decimals: bool = False,
    ) -> None:
        for name in _TALKATIVE:
            guard_logger(name)
        guard_logger(log.name)
        self.config = config
        self.meter = meter or Meter()
        self.stop = stop
        self._exact_decimals = exact_decimals
        self._sockets = Sockets()
        self._http: requests.Session = config.session or PlainSession(self._sockets)
        base_url, self._userinfo = without_userinfo(fill_address(config.base_url, "client.base_url"))
        self.base_url = base_url
        self._trust = Trust(base_url, config.allowed_hosts)
        self._headers = self._client_headers()
        self._timeout = _timeouts(config)
        self._transport: dict[tuple[str, str], dict[str, Any]] = {}
        self._pause = Pause()
        self._ring: Ring | None = None
        if config.rate_limit is not None:
            self._ring = ring(config.rate_limit, str(self._trust.home))
        self._rules = as_rules(config.error_rules)
        self._lock = threading.Lock()
        self._credentials: dict[int, tuple[Any, Credentials]] = {}
        self._retries: dict[int, tuple[RetryConfig, RetryConfig]] = {}
        self._closed = threading.Event()
        if stop is not None:
            threading.Thread(target=self._watch, args=(stop,), name="dagster_restapi-stop", daemon=True).start()

    # ---- what the rest of the library calls --------------------------------------------------------------------
    def url(self, path: str) -> str:
        """Joins base URL and path as dlt does: one slash between them; an absolute path replaces the base."""
        if path.startswith(("http:", "https:")):
            return path
        if not path or not self.base_url:
            return self.base_url or path
        return f"{self.base_url.rstrip('/')}/{path.lstrip('/')}"

    def bare_url(self, url: str) -> str:
        """The URL without what the client's `auth` puts into it: fit to be kept and to be asked for again."""
        return without_secrets(without_userinfo(url)[0], self._for(None).names)

    def send(
        self, call: Call, *, rules: Sequence[AnyRule] = (), retry: RetryConfig | None = None, where: str = ""
    ) -> Answer | None:
        """Sends a request until it is answered.

        Args:
            call: What to send.
            rules: The endpoint's `response_actions` and `error_rules`; they are looked at in order, then the client's.
            retry: The endpoint's retry settings: those that are given there go over the client's.
            where: Resource and page, for errors.

        Returns:
            The answer, or None where a rule says to ignore it.

        Raises:
            RequestError: No answer could be had, its status is an error, or the URL leads elsewhere.
            ResponseError: An answer came, but a rule says that it is a fault, or it is too large.
            Cancelled: `stop` was set.
        """
        url, _ = without_userinfo(call.url)
        self._trust.check(url, where)
        method = call.method.upper()
        hop = _Hop(method, url, call.params or None, call.headers, call.json, call.data)
        return self._sent(hop, self._for(call.auth), (*as_rules(rules), *self._rules), self._policy(retry), where)

    def close(self) -> None:
        """Closes the connections, unless they belong to a session of the user's."""
        self._closed.set()
        if self.config.session is None:
            self._http.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Session({safe_url(self.base_url)})"

    # ---- settings ----------------------------------------------------------------------------------------------
    def _client_headers(self) -> dict[str, str]:
        given = {name: reveal(value, f"client.headers.{name}") for name, value in self.config.headers.items()}
        given = {name: value for name, value in given.items() if value is not None}
        conceal_sensitive(given)
        if self.config.session is not None:
            conceal_sensitive(dict(self._http.headers))
        return given

    def _for(self, auth: Any) -> Credentials:
        """The credentials that an auth configuration means, made once."""
        if auth is None:
            auth = self.config.auth
        with self._lock:
            known = self._credentials.get(id(auth))
            if known is None:
                known = (auth, self._made(auth))
                self._credentials[id(auth)] = known
            return known[1]

    def _made(self, auth: Any) -> Credentials:
        if auth is None and self._userinfo is not None:
            auth = _basic_of(self._userinfo)
        elif auth is None and self.config.session is not None:
            auth = given_by_session(self._http)
        return credentials(
            auth,
            exchange=self._exchange,
            url=self.url,
            conceal_cookies=self._conceal_cookies,
            warn=self.meter.warn,
            stop=self.stop,
        )

    def _conceal_cookies(self) -> None:
        jar: Any = self._http.cookies
        conceal(*(cookie.value for cookie in list(jar) if cookie.value))

    def _policy(self, retry: RetryConfig | None) -> RetryConfig:
        if retry is None:
            return self.config.retry
        known = self._retries.get(id(retry))
        if known is None:
            given = {name: getattr(retry, name) for name in retry.model_fields_set}
            known = self._retries[id(retry)] = (retry, self.config.retry.model_copy(update=given))
        return known[1]

    # ---- the life of a request ---------------------------------------------------------------------------------
    def _sent(
        self, hop: _Hop, auth: Credentials, rules: tuple[Rule, ...], policy: RetryConfig, where: str
    ) -> Answer | None:
        attempts = Attempts(policy, hop.method)
        place = f"{where} {hop.method} {safe_url(hop.url)}".strip()
        renewed = False
        while True:
            if not hop.bare:
                self._take_turn()
            self._check_stop()
            reply = self._followed(hop, auth, place)
            self._check_stop()
            if isinstance(reply, Fault):
                self._again(reply, attempts, place)
                continue
            rule, reply = _matching(rules, reply)
            answer = reply.answer
            refused = answer.status == 401 if rule is None else rule.action == "refresh"
            if refused and not renewed and auth.renew(reply.ticket):
                renewed = True
                self.meter.count(retries=1)
                continue
            if rule is None and answer.status < 400:
                return answer
            fault = self._fault_of(answer, rule, auth)
            if fault is None:
                if self._worth_another(answer, attempts, place):
                    continue
                return None
            self._again(fault, attempts, place, answer)

    def _fault_of(self, answer: Answer, rule: Rule | None, auth: Credentials) -> Fault | None:
        """What an unwelcome answer means; None: a rule says to ignore it."""
        if rule is not None and rule.action == "ignore":
            return None
        words = status_words(answer) if answer.status >= 400 else ""
        if rule is None:
            limited = told_wait(answer.status, answer.headers, answer.body) is not None
            acted = answer.status != 429 and not limited
            hint = status_hint(answer.status, auth.source)
            return Fault(words, hint, transient=limited or is_transient(answer.status), acted=acted)
        own = message_of(rule, answer)
        what = f"the answer matches a rule of {rule.origin}" + (f": “{redact(own)[:300]}”" if own else "")
        hint = status_hint(401, auth.source) if rule.action == "refresh" else None
        return Fault(
            f"{what} ({words or f'status {answer.status}'})",
            hint,
            transient=rule.action == "retry",
            broken=answer.status < 400,
        )

    def _worth_another(self, answer: Answer, attempts: Attempts, place: str) -> bool:
        """An answer that is to be ignored, but may be better next time, gets its retries first, as in dlt."""
        if not is_transient(answer.status) or not attempts.may_repeat(acted=answer.status != 429):
            return False
        return self._retry_waited(attempts, place, f"status {answer.status}", answer)

    def _again(self, fault: Fault, attempts: Attempts, place: str, answer: Answer | None = None) -> None:
        """Waits before the next try; or raises, where there is none."""
        if fault.transient and attempts.may_repeat(acted=fault.acted):
            if self._retry_waited(attempts, place, fault.what, answer):
                return
            tries = f"gave up after {attempts.failed + attempts.told} tries in {attempts.seconds:.1f} s"
            fault = replace(fault, what=f"{fault.what}; {tries}")
        elif fault.transient:
            hint = "A POST or PATCH is not sent twice unless `retry: {idempotent: true}` says that it does no harm."
            fault = replace(fault, hint=f"{fault.hint} {hint}" if fault.hint else hint)
        if fault.broken:
            raise ResponseError(fault.what, where=place, hint=fault.hint)
        raise RequestError(fault.what, where=place, hint=fault.hint, status=answer.status if answer else None)

    def _retry_waited(self, attempts: Attempts, place: str, reason: str, answer: Answer | None) -> bool:
        told = answer and told_wait(answer.status, answer.headers, answer.body)
        if told:
            wait, reason = told
            if not attempts.obey(wait):
                return False
            self._hold(wait, reason, place)
        else:
            delay = attempts.backoff()
            if delay is None:
                return False
            log.debug("%s: trying again in %.1f s (%s)", place, delay, reason)
            if delay > _LONG:
                self._tell(f"{place}: waiting {delay:.0f} s before try {attempts.failed + 1} ({reason})")
            self._wait(delay)
        self.meter.count(retries=1)
        return True

    # ---- waiting -----------------------------------------------------------------------------------------------
    def _take_turn(self) -> None:
        """Waits for the pause to end and for a turn within the rate limit."""
        told = False
        while True:
            wait = self._pause.left()
            if not wait and self._ring is not None:
                wait = self._ring.take()
            if not wait:
                return
            if wait > _LONG and not told and not self._pause.left():
                self._tell(f"waiting {wait:.0f} s for the client's rate_limit")
                told = True
            self._wait(min(wait, 60.0))

    def _hold(self, wait: float, reason: str, place: str) -> None:
        """Stops every thread of the session, and with a shared rate limit every process, as long as the server asks."""
        if self._pause.hold(wait) and wait > _LONG:
            self._tell(f"{place}: waiting {wait:.0f} s because the API asks for it ({reason})")
        if self._ring is not None:
            self._ring.hold(time.time() + wait)

    def _tell(self, text: str) -> None:
        log.warning("%s", redact(text))
        self.meter.note(text)

    def _wait(self, seconds: float) -> None:
        with self.meter.waiting():
            (self.stop or self._closed).wait(seconds)
        self._check_stop()

    def _check_stop(self) -> None:
        if self.stop is not None and self.stop.is_set():
            raise Cancelled("the run was terminated")

    def _watch(self, stop: threading.Event) -> None:
        """Cuts the connections when the run is terminated: a thread that reads cannot look at an event."""
        while not self._closed.is_set():
            if stop.wait(0.25):
                self._sockets.cut()
                self._closed.wait(0.25)

    # ---- one try -----------------------------------------------------------------------------------------------
    def _exchange(self, request: TokenRequest, what: str) -> Answer:
        """Sends a token request: with the session's connections and limits, without its credentials."""
        url, _ = without_userinfo(request.url)
        hop = _Hop(request.method, url, request.params, request.headers, request.json, request.data, bare=True)
        self._trust.check_scheme(origin_of(url), url, what)
        policy = self.config.retry.model_copy(update={"idempotent": True})  # asking twice for a token does no harm
        answer = self._sent(hop, _NOBODY, (), policy, what)
        assert answer is not None
        return answer

    def _followed(self, hop: _Hop, auth: Credentials, place: str) -> _Reply | Fault:
        """Sends a request and follows its redirects."""
        for _ in range(self.config.max_redirects + 1):
            reply = self._tried(hop, auth)
            if isinstance(reply, Fault) or reply.answer.status not in _REDIRECTS:
                return reply
            location = reply.answer.headers.get("location")
            if not location:
                return reply
            hop = self._redirected(hop, reply.answer, location, auth, place)
        return Fault(
            f"more than {self.config.max_redirects} redirects",
            "The API redirects in a circle, often to a login page: check base_url, path and auth.",
            transient=False,
        )

    def _redirected(self, hop: _Hop, answer: Answer, location: str, auth: Credentials, place: str) -> _Hop:
        """The next request (RFC 9110, 15.4; methods change as in requests). A stranger gets no credential at all."""
        url, _ = without_userinfo(urljoin(answer.url, location).partition("#")[0])
        origin = origin_of(url)
        self._trust.check_scheme(origin, url, f"{place} redirects:")
        method = hop.method
        if (answer.status == 303 and method != "HEAD") or (answer.status in (301, 302) and method == "POST"):
            method = "GET"
        kept = method == hop.method
        headers = hop.headers if kept else {k: v for k, v in hop.headers.items() if k.lower() != "content-type"}
        next_hop = replace(
            hop,
            method=method,
            url=url,
            params=None,
            headers=headers,
            json=hop.json if kept else None,
            data=hop.data if kept else None,
        )
        if hop.trusted and (self._trust.trusts(origin) or (hop.bare and origin == origin_of(hop.url))):
            return next_hop
        clean = without_secrets(url, auth.names)
        if redact(clean) != clean or next_hop.json is not None or next_hop.data is not None or hop.bare:
            raise RequestError(
                f"the API redirects to {origin} with a request that holds credentials or a body",
                where=place,
                hint="If they may be sent there, add the host to the client's allowed_hosts.",
            )
        return replace(next_hop, url=clean, trusted=False)

    def _tried(self, hop: _Hop, auth: Credentials) -> _Reply | Fault:
        """One request, one answer, read to its end."""
        prepared, url, ticket = self._prepared(hop, auth)
        host = str(origin_of(url))
        self.meter.count(requests=1)
        response: requests.Response | None = None
        try:
            response = self._transmit(prepared, trusted=hop.trusted)
            read = read_body(response, self.config.max_response_bytes)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            read = connection_fault(error, host, self._timeout)
        if isinstance(read, Fault):
            if response is not None:
                response.close()
            return read
        assert response is not None
        body, size = read
        self.meter.count(size=size)
        response._content, response._content_consumed = body, True  # type: ignore[attr-defined]
        return _Reply(self._answer(response, url), response, ticket)

    def _answer(self, response: requests.Response, url: str) -> Answer:
        body = response.content or b""
        return Answer(response.status_code, response.headers, url, body, self._exact_decimals)

    def _prepared(self, hop: _Hop, auth: Credentials) -> tuple[PreparedRequest, str, Any]:
        """The request as it goes out, its URL before credentials came into it, and the credentials' ticket."""
        headers: CaseInsensitiveDict[Any] = CaseInsensitiveDict(_HEADERS)
        session_params: Any = {}
        if hop.trusted and not hop.bare:
            if self.config.session is not None:
                headers.update(self._http.headers)
                session_params = self._http.params
            headers.update(self._headers)
        headers.update(hop.headers)
        if not hop.trusted:
            headers = CaseInsensitiveDict({k: v for k, v in headers.items() if k.lower() in _HARMLESS})
        request = PreparedRequest()
        failure = ""
        try:
            request.prepare_method(hop.method)
            request.prepare_url(hop.url, _params(session_params, hop.params))
            request.prepare_headers(
                {k: v if isinstance(v, (str, bytes)) else str(v) for k, v in headers.items() if v is not None}
            )
            request.prepare_body(hop.data, None, hop.json)
            request.hooks = {name: list(hooks) for name, hooks in self._http.hooks.items()}
        except (requests.RequestException, ValueError, TypeError) as error:
            failure = type(error).__name__
        if failure:
            raise RequestError(
                f"the request cannot be made ({failure})",
                where=f"{hop.method} {safe_url(hop.url)}",
                hint="Check path, params, headers and body: something in them cannot be sent.",
            )
        url = request.url or ""
        if origin_of(url) != origin_of(hop.url):
            raise RequestError("this URL reads differently to different readers", where=safe_url(hop.url))
        if not hop.trusted or hop.bare:
            return request, url, None
        cookies = get_cookie_header(self._http.cookies, request)  # type: ignore[no-untyped-call]
        if cookies is not None:
            request.headers["Cookie"] = cookies
        request, ticket = auth.put(request)
        if origin_of(request.url or "") != origin_of(url):
            raise RequestError("auth changed the host of the request", where=safe_url(url))
        return request, url, ticket

    def _transmit(self, request: PreparedRequest, *, trusted: bool) -> requests.Response:
        url = request.url or ""
        settings = self._settings(url)
        if trusted:
            return self._http.send(request, stream=True, allow_redirects=False, timeout=self._timeout, **settings)
        adapter = self._http.get_adapter(url)  # past the session: a stranger's cookies do not get into its jar
        return adapter.send(request, stream=True, timeout=self._timeout, **settings)

    def _settings(self, url: str) -> dict[str, Any]:
        """Proxies and TLS, from the configuration, the user's session and the environment, as requests has it."""
        origin = origin_of(url)
        key = (origin.scheme, origin.host)
        known = self._transport.get(key)
        if known is None:
            config = self.config
            proxies = {name: reveal(value, "client.proxies") for name, value in config.proxies.items()}
            verify = config.verify if "verify" in config.model_fields_set else None
            settings = self._http.merge_environment_settings(url, proxies, True, verify, config.cert)
            known = {name: settings[name] for name in ("proxies", "verify", "cert")}
            for proxy in known["proxies"].values():
                _basic_of(without_userinfo(str(proxy))[1])
            self._transport[key] = known
        return known


def _params(first: Any, second: Any) -> Any:
    if not first:
        return second
    return {**dict(first), **dict(second or {})}


def _matching(rules: tuple[Rule, ...], reply: _Reply) -> tuple[Rule | None, _Reply]:
    """The first rule that holds and decides; functions on the way may replace the answer."""
    for rule in rules:
        if not holds(rule, reply.answer):
            continue
        if not rule.calls:
            return rule, reply
        response = reply.response
        for call in rule.calls:
            response = call(response) or response
        answer = reply.answer
        changed = Answer(
            response.status_code, response.headers, answer.url, response.content or b"", answer.exact_decimals
        )
        reply = _Reply(changed, response, reply.ticket)
    return None, reply


def _basic_of(userinfo: str | None) -> Any:
    """Basic credentials from `user:password@` of a URL, concealed."""
    from dagster_restapi.config.auth import HttpBasicAuth

    if userinfo is None:
        return None
    user, _, password = userinfo.partition(":")
    user, password = unquote(user), unquote(password)
    conceal(userinfo, password or user, b64encode(f"{user}:{password}".encode()).decode())
    return HttpBasicAuth.model_validate({"username": user, "password": password})


def _timeouts(config: ClientConfig) -> tuple[float, float]:
    if isinstance(config.timeout, tuple):
        return config.timeout
    return min(config.timeout, 10.0), config.timeout
