"""Sends requests until they are answered: pace, retries, renewed credentials, error rules. No way leads around it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from dagster_restapi.config.actions import Rule
from dagster_restapi.config.auth import GivenAuth, NoAuth
from dagster_restapi.config.client import ClientConfig, RetryConfig
from dagster_restapi.config.dlt_objects import means_ignore
from dagster_restapi.config.values import reveal
from dagster_restapi.errors import Cancelled, RequestError, ResponseError
from dagster_restapi.http.auth import Credentials, Fixed, credentials, given_by_session
from dagster_restapi.http.exchange import Answer, Call
from dagster_restapi.http.faults import Fault, status_hint, status_words
from dagster_restapi.http.meter import Meter
from dagster_restapi.http.origin import origin_of, safe_url, without_secrets, without_userinfo
from dagster_restapi.http.rate_limit import Pause, Ring, ring
from dagster_restapi.http.retry import Attempts, is_repeatable, is_transient, wait_of
from dagster_restapi.http.rules import AnyRule, as_rules, holds, message_of
from dagster_restapi.http.tokens import TokenRequest
from dagster_restapi.http.transport import Sockets
from dagster_restapi.http.wire import Hop, Reply, Wire, answer_of
from dagster_restapi.secrets import guard_logger, redact

__all__ = ["Answer", "Call", "Meter", "Session"]

log = logging.getLogger("dagster_restapi.http")

_LONG = 5.0  # seconds: a longer wait is told to the run's log
_NOT_READY = 202  # RFC 9110, 15.3.3: accepted, and not yet carried out
_UNCHANGED = 304
_CONDITIONS = ("if-none-match", "if-modified-since")  # to which 304 is the answer
_KINDS = 64  # of credentials that are kept ready: a client may be called with an auth of its own each time
_UNKNOWN = (400, 404)  # what servers answer to a path that they do not read as it was meant
_NOBODY = Fixed(lambda request: None, "those that auth asks for a token with")


class Session:
    """Talks to one API for all threads of a step.

    Args:
        config: The client's settings.
        meter: Counts what is sent; a new one where none is given.
        stop: When it is set, every call raises Cancelled within a second, whatever it waits for (while it connects, and
            with a `session` of the user's, as soon as that is over).
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
        guard_logger(log.name)
        self.config, self.meter, self.stop = config, meter or Meter(), stop
        self._sockets = Sockets()
        self._wire = Wire(config, self.meter, self._sockets, exact_decimals)
        self._pause = Pause()
        self._ring: Ring | None = None
        if config.rate_limit is not None:
            self._ring = ring(config.rate_limit, str(self._wire.trust.home))
        self._rules = as_rules(config.error_rules)
        self._lock = threading.Lock()
        self._credentials: list[tuple[Any, Credentials]] = []  # those used last are first
        self._closed = threading.Event()
        if stop is not None:
            threading.Thread(target=self._watch, args=(stop,), name="dagster_restapi-stop", daemon=True).start()

    # ---- what the rest of the library calls --------------------------------------------------------------------
    def url(self, path: str) -> str:
        """Joins base URL and path as dlt does: one slash between them; an absolute path replaces the base."""
        base = self._wire.base_url
        if path[:6].lower().startswith(("http:", "https:")):
            return path
        if not path or not base:
            return base or path
        return f"{base.rstrip('/')}/{path.lstrip('/')}"

    def bare_url(self, url: str, call: Call | None = None) -> str:
        """Where a link is followed to, without credentials in its query: fit to be kept. `auth` adds its own again.

        Args:
            url: Where a link leads.
            call: The request whose link it is; those of its own parameters that hold a secret are left out too.
        """
        with self._lock:
            names = frozenset[str]().union(*(made.names for _, made in self._credentials))
        url = self._wire.trust.followed(without_userinfo(url)[0])
        return without_secrets(url, names, _pairs(call.secret_params) if call else ())

    def send(
        self,
        call: Call,
        *,
        rules: Sequence[AnyRule] = (),
        retry: RetryConfig | None = None,
        where: str = "",
        fault_in: Callable[[Answer], Fault | None] = lambda answer: None,
    ) -> Answer | None:
        """Sends a request until it is answered.

        Args:
            call: What to send.
            rules: The endpoint's `response_actions` and `error_rules`; they are looked at in order, then the client's.
            retry: The endpoint's retry settings: those that are given there go over the client's.
            where: Resource and page, for errors.
            fault_in: Why a successful answer is none that can be used; then it is tried again like any other.

        Returns:
            The answer, or None where a rule says to ignore it.

        Raises:
            RequestError: No answer could be had, its status is an error, or the URL leads elsewhere.
            ResponseError: An answer came, but a rule says that it is a fault, or it is too large.
            Cancelled: `stop` was set.
        """
        url, _ = without_userinfo(call.url)
        trusted = not self._asks_stranger(call, url, where)
        if trusted:
            self._wire.trust.check(url, where)
        hop = Hop(
            call.method.upper(),
            url,
            call.params or None,
            call.headers,
            call.json,
            call.data,
            trusted=trusted,
            objects=call.object_params or self.config.object_params or "fail",
            remark=call.remark,
        )
        every = (*as_rules(rules), *self._rules)
        return self._sent(hop, self._for(call.auth), every, self._policy(retry), where, fault_in)

    def may_repeat(self, method: str, retry: RetryConfig | None) -> bool:
        """Whether a request of this method may be sent twice, by the endpoint's retry settings."""
        return is_repeatable(method, self._policy(retry))

    def close(self) -> None:
        """Closes the connections, unless they belong to a session of the user's."""
        self._closed.set()
        if self.config.session is None:
            self._wire.http.close()
        if self._ring is not None:
            self._ring.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Session({safe_url(self._wire.base_url)})"

    def _asks_stranger(self, call: Call, url: str, where: str) -> bool:
        """Whether a request goes to another host that the endpoint itself names, and has nothing to hide from it.

        Raises:
            RequestError: It would go from https to http.
        """
        wire, origin = self._wire, origin_of(url)
        auth = self.config.auth if call.auth is None else call.auth
        if origin != call.named or wire.trust.trusts(origin) or wire.basic is not None or wire.holds_credentials(call):
            return False
        wire.trust.check_scheme(origin, url, where)
        return auth is None or isinstance(auth, NoAuth)

    # ---- settings ----------------------------------------------------------------------------------------------
    def _for(self, auth: Any) -> Credentials:
        """The credentials that an auth configuration means, made once for all that are equal."""
        auth = self.config.auth if auth is None else auth
        with self._lock:
            kept = self._credentials
            place = next((n for n, (known, _) in enumerate(kept) if known is auth), None)
            if place is None:
                place = next((n for n, (known, _) in enumerate(kept) if _equal(known, auth)), None)
            entry = (auth, self._made(auth)) if place is None else kept.pop(place)
            kept.insert(0, entry)
            del kept[_KINDS:]
            return entry[1]

    def _made(self, auth: Any) -> Credentials:
        if auth is None and self._wire.basic is not None:
            auth = self._wire.basic
        elif auth is None and self.config.session is not None:
            auth = given_by_session(self._wire.http)
        return credentials(
            auth,
            exchange=self._token_answer,
            url=self.url,
            conceal_cookies=self._wire.conceal_cookies,
            warn=self.meter.warn,
            stop=self.stop,
        )

    def _policy(self, retry: RetryConfig | None) -> RetryConfig:
        if retry is None:
            return self.config.retry
        return self.config.retry.model_copy(update={name: getattr(retry, name) for name in retry.model_fields_set})

    # ---- the life of a request ---------------------------------------------------------------------------------
    def _sent(
        self,
        hop: Hop,
        auth: Credentials,
        rules: tuple[Rule, ...],
        policy: RetryConfig,
        where: str,
        fault_in: Callable[[Answer], Fault | None] = lambda answer: None,
    ) -> Answer | None:
        attempts = Attempts(policy, hop.method)
        renewed = False
        while True:
            if not hop.bare:
                self._take_turn()
            self._check_stop()
            reply = self._wire.exchange(hop, auth, where, attempts.deadline)
            self._check_stop(acted=True)
            if isinstance(reply, Fault):
                self._again(reply, None, attempts, hop, where)
                continue
            rule, reply = _matching(rules, reply)
            answer = reply.answer
            taken = _taken(answer, rule, hop)
            if taken is not None:
                unfit = None if taken.status == _UNCHANGED else fault_in(taken)
                if unfit is None:
                    return taken
                self._again(unfit, answer, attempts, hop, where)
                continue
            refused = answer.status == 401 if rule is None else rule.action == "refresh"
            if refused and not renewed and auth.renew(reply.ticket):
                renewed = True
                self.meter.count(retries=1)
            elif rule is not None and rule.action == "ignore":
                if not self._may_improve(answer, attempts) or self._gives_up(answer, "", attempts, hop, where):
                    if hop.remark and answer.status in _UNKNOWN:
                        self.meter.warn(f"an answer {answer.status} was ignored: {hop.remark}")
                    return None
            else:
                fault = _fault_of(answer, rule, auth.source, policy)
                if hop.remark and answer.status in _UNKNOWN:
                    fault = replace(fault, hint=hop.remark)
                self._again(fault, answer, attempts, hop, where)

    def _may_improve(self, answer: Answer, attempts: Attempts) -> bool:
        """An answer that is to be ignored, but is one of those that are retried, gets its retries first, as in dlt."""
        return is_transient(answer.status) and attempts.may_repeat(acted=answer.status != 429)

    def _again(self, fault: Fault, answer: Answer | None, attempts: Attempts, hop: Hop, where: str) -> None:
        """Waits before the next try; or raises, where there is none."""
        in_doubt = fault.transient and not attempts.may_repeat(acted=fault.acted)
        if fault.transient and not in_doubt:
            reason = self._gives_up(answer, fault.what, attempts, hop, where)
            if reason is None:
                return
            fault = replace(fault, what=f"{fault.what}; {reason}")
        elif in_doubt:
            hint = "A POST or PATCH is not sent twice unless `retry: {idempotent: true}` says that it does no harm."
            fault = replace(fault, hint=f"{fault.hint} {hint}" if fault.hint else hint)
        known: dict[str, Any] = {"hint": fault.hint, "transient": fault.transient and not in_doubt}
        if not fault.broken:
            known["status"] = answer.status if answer else None
        kind = ResponseError if fault.broken else RequestError
        error = kind(fault.what, where=hop.place(where), **known)
        error.acted = in_doubt or (answer is None and fault.acted)
        raise error

    def _gives_up(self, answer: Answer | None, what: str, attempts: Attempts, hop: Hop, where: str) -> str | None:
        """Waits as long as the server asks, or as our own backoff says; or says why there is no further try."""
        told = wait_of(answer, attempts.policy.wait) if answer else None
        pending = answer is not None and answer.status == _NOT_READY
        if told is None and pending:
            told = attempts.patience(), "status 202"
        if told is not None:
            wait, reason = told
            if not attempts.obey(wait):
                return f"the API asks to wait {wait:.0f} s ({reason}), longer than `retry: {{total}}` allows"
            if pending:  # of this answer alone: nobody else has to wait
                self._tell_wait(wait, reason, hop, where)
                self._wait(wait)
            else:
                self._hold(wait, reason, hop, where)
        else:
            delay = attempts.backoff()
            if delay is None:
                return f"gave up after {attempts.failed + attempts.told} tries in {attempts.seconds:.1f} s"
            if delay > _LONG:
                self._tell(f"{hop.place(where)}: waiting {delay:.0f} s before try {attempts.failed + 1} ({what})")
            self._wait(delay)
        self.meter.count(retries=1)
        return None

    # ---- waiting -----------------------------------------------------------------------------------------------
    def _take_turn(self) -> None:
        """Waits for the pause to end and for a turn within the rate limit."""
        told = False
        while True:
            wait = paused = self._pause.left()
            if not wait and self._ring is not None:
                wait = self._ring.take()
            if not wait:
                return
            if wait > _LONG and not told and not paused:
                self._tell(f"waiting {wait:.0f} s for the client's rate_limit")
                told = True
            self._wait(wait)

    def _hold(self, wait: float, reason: str, hop: Hop, where: str) -> None:
        """Stops all threads of the session, and with a shared rate limit all processes, as long as the server asks."""
        if hop.bare or self._pause.hold(wait):
            self._tell_wait(wait, reason, hop, where)
        if hop.bare:  # the limit of whoever issues tokens
            self._wait(wait)
        elif self._ring is not None:
            self._ring.hold(time.time() + wait)

    def _tell_wait(self, wait: float, reason: str, hop: Hop, where: str) -> None:
        if wait > _LONG:
            self._tell(f"{hop.place(where)}: waiting {wait:.0f} s because the API asks for it ({reason})")

    def _tell(self, text: str) -> None:
        log.warning("%s", redact(text))
        self.meter.note(text)

    def _wait(self, seconds: float) -> None:
        with self.meter.waiting():
            (self.stop or self._closed).wait(seconds)
        self._check_stop()

    def _check_stop(self, *, acted: bool = False) -> None:
        if self.stop is not None and self.stop.is_set():
            error = Cancelled("the run was terminated")
            error.acted = acted
            raise error

    def _watch(self, stop: threading.Event) -> None:
        """Cuts the connections when the run is terminated: a thread that reads cannot look at an event."""
        while not self._closed.is_set():
            if stop.wait(0.25):
                self._sockets.cut()
                self._closed.wait(0.25)

    def _token_answer(self, request: TokenRequest, what: str) -> Answer:
        """Sends a token request: with the session's connections and limits, without its credentials."""
        url, _ = without_userinfo(request.url)
        hop = Hop(request.method, url, request.params, request.headers, request.json, request.data, bare=True)
        self._wire.trust.check_scheme(origin_of(url), url, what)
        policy = self.config.retry.model_copy(update={"idempotent": True})  # asking twice for a token does no harm
        answer = self._sent(hop, _NOBODY, (), policy, what)
        assert answer is not None, "without rules nothing is ignored"
        return answer


def _taken(answer: Answer, rule: Rule | None, hop: Hop) -> Answer | None:
    """The answer, where its status or a rule says that it is one; None: it is a fault, or is to be ignored."""
    if rule is None:
        unchanged = answer.status == _UNCHANGED and any(name.lower() in _CONDITIONS for name in hop.headers)
        return answer if unchanged or (200 <= answer.status < 300 and answer.status != _NOT_READY) else None
    if rule.action == "empty":
        return replace(answer, empty=True)
    return answer if rule.action == "accept" else None


def _pairs(params: Mapping[str, Any]) -> set[tuple[str, str]]:
    """Names and values as they stand in a query."""
    shown = {k: reveal(v, f"params.{k}") for k, v in params.items()}
    return {(k, str(item)) for k, v in shown.items() for item in (v if isinstance(v, (list, tuple)) else [v])}


def _matching(rules: tuple[Rule, ...], reply: Reply) -> tuple[Rule | None, Reply]:
    """The first rule that holds and decides; functions on the way may replace the answer."""
    for rule in rules:
        if not holds(rule, reply.answer):
            continue
        if not rule.calls:
            return rule, reply
        response = reply.response
        try:
            for call in rule.calls:
                response = call(response) or response
        except Exception as signal:
            if not means_ignore(signal):
                raise
            return replace(rule, action="ignore"), reply
        reply = Reply(answer_of(response, reply.answer.url, reply.answer.exact_decimals), response, reply.ticket)
    return None, reply


def _equal(known: Any, auth: Any) -> bool:
    """Whether two auth configurations mean the same; an object of the user's means itself alone."""
    return not isinstance(known, GivenAuth) and bool(known == auth)


def _fault_of(answer: Answer, rule: Rule | None, source: str, policy: RetryConfig) -> Fault:
    """What an unwelcome answer means: by its status, or by the rule that it fulfils."""
    words = status_words(answer) if answer.status >= 400 else f"status {answer.status}"
    limited = wait_of(answer, policy.wait) is not None
    acted = answer.status == _NOT_READY or (answer.status != 429 and not limited)
    if rule is None:
        transient = limited or is_transient(answer.status) or answer.status == _NOT_READY
        return Fault(words, status_hint(answer.status, source), transient=transient, acted=acted)
    own = message_of(rule, answer)
    said = f": “{redact(own)[:300]}”" if own else ""
    return Fault(
        f"the answer matches a rule of {rule.origin}{said} ({words})",
        status_hint(401, source) if rule.action == "refresh" else None,
        transient=rule.action == "retry",
        acted=acted,
        broken=answer.status < 400,
    )
