"""When a request is sent again, and after which wait: our own backoff, or what the server asks for.

Written by hand, not with stamina or tenacity: those count attempts of a function, here a wait that the server asks for
is no attempt, holds up every thread of the session, and ends at once when the run is terminated.
"""

from __future__ import annotations

import math
import random
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from dagster_restapi.config.client import RetryConfig, WaitConfig
from dagster_restapi.config.jsonpath import first
from dagster_restapi.errors import ResponseError

if TYPE_CHECKING:
    from dagster_restapi.http.exchange import Answer

REPEATABLE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})  # RFC 9110, 9.2.2
_SECONDARY = (b"secondary rate limit", b"api rate limit exceeded", b"abuse detection")  # GitHub's texts, in lower case
_SHOWN = 60  # characters of a header in a message
_PATIENCE = 30.0  # seconds: the longest wait between two looks at what is not ready yet
_LONGEST = 3.2e8  # seconds, ten years: whoever asks for more asks for this; events cannot wait for more than 292 years
_A_MINUTE = 60.0  # what GitHub asks for where it names no time
_IETF_RESET = re.compile(r"(?:^|[;,\s])(?:t|reset)\s*=\s*(\d+)", re.IGNORECASE)
_IETF_LEFT = re.compile(r"(?:^|[;,\s])(?:r|remaining)\s*=\s*(\d+)", re.IGNORECASE)
_RESETS = ("x-ratelimit-reset", "x-rate-limit-reset", "ratelimit-reset", "x-ratelimit-reset-after")
_LEFT = ("x-ratelimit-remaining", "x-rate-limit-remaining", "ratelimit-remaining")


def is_transient(status: int) -> bool:
    """Whether a later try may succeed: 408, 425, 429 and everything from 500 on."""
    return status >= 500 or status in (408, 425, 429)


def is_repeatable(method: str, policy: RetryConfig) -> bool:
    """Whether a request may be sent twice, although the server may have carried it out."""
    return policy.idempotent or method.upper() in REPEATABLE


def wait_of(answer: Answer, place: WaitConfig | None) -> tuple[float, str] | None:
    """How many seconds an answer asks to wait, and in which words: where `retry: {wait}` finds it, else as everywhere.

    Where the place has nothing, or nothing that can be read, nothing is told there.
    """
    if place is not None:
        value = _configured(answer, place)
        wait = None if value is None else _in_seconds(value, place, answer.headers)
        if wait is not None and wait > 0:
            return wait, f"status {answer.status}, {place.header or place.jsonpath}: {str(value)[:_SHOWN]}"
    return told_wait(answer.status, answer.headers, answer.body)


def _configured(answer: Answer, place: WaitConfig) -> Any:
    if place.header is not None:
        return answer.headers.get(place.header)
    assert place.jsonpath is not None, "the settings have one of both"
    try:
        return first(place.jsonpath)(answer.json())
    except ResponseError:
        return None


def _in_seconds(value: Any, place: WaitConfig, headers: Mapping[str, str]) -> float | None:
    if place.unit == "http_date":
        moment = _moment(str(value))
        return None if moment is None else moment - _now(headers)
    try:
        number = float(str(value).strip()) * (0.001 if place.unit in ("ms", "epoch_ms") else 1.0)
    except ValueError:
        return None
    return number - _now(headers) if place.unit in ("epoch", "epoch_ms") else number


def told_wait(status: int, headers: Mapping[str, str], body: bytes) -> tuple[float, str] | None:
    """How many seconds the server asks to wait, and in which words; None where it does not.

    `Retry-After` in both forms (RFC 9110, 10.2.3), `X-RateLimit-Reset` as epoch seconds or seconds to go, the
    `RateLimit` fields of the IETF draft, and GitHub's limits, which come as 403. Times of day are measured against the
    answer's own `Date`, so that a wrong clock on either side does no harm.
    """
    if status < 400 and status != 202:
        return None
    after = headers.get("retry-after")
    if after is not None and (is_transient(status) or status in (202, 403)):
        wait = _seconds(after, headers)
        if wait is not None and wait > 0:
            return wait, f"status {status}, Retry-After: {after[:_SHOWN]}"
    if status == 429 or (status in (403, 503) and _exhausted(headers)):
        for name in _RESETS:
            wait = _seconds(headers.get(name), headers)
            if wait is not None and wait > 0:
                return wait, f"status {status}, {name}: {headers[name][:_SHOWN]}"
        wait = _longest_exhausted(headers.get("ratelimit", ""))
        if wait > 0:
            return wait, f"status {status}, RateLimit: {headers['ratelimit'][:_SHOWN]}"
    if status in (403, 429) and any(text in body[:4096].lower() for text in _SECONDARY):
        return _A_MINUTE, f"status {status}, a secondary rate limit"
    return None


def _exhausted(headers: Mapping[str, str]) -> bool:
    left = _IETF_LEFT.findall(headers.get("ratelimit", ""))
    return any(headers.get(name, "").strip() == "0" for name in _LEFT) or any(float(rest) == 0 for rest in left)


def _longest_exhausted(field: str) -> float:
    """Seconds until the last of the policies of a `RateLimit` field that are used up is reset; of all, if none says so.

    `"burst";r=5;t=1, "daily";r=0;t=3600`; an older draft writes one policy as `limit=10, remaining=0, reset=5`.
    """
    policies = [field] if "reset" in field.lower() else field.split(",")
    waits = [
        (float(reset[1]), left is not None and float(left[1]) == 0)
        for reset, left in ((_IETF_RESET.search(policy), _IETF_LEFT.search(policy)) for policy in policies)
        if reset
    ]
    used_up = [wait for wait, is_used_up in waits if is_used_up]
    return min(max(used_up or [wait for wait, _ in waits], default=0.0), _LONGEST)


def _seconds(value: str | None, headers: Mapping[str, str]) -> float | None:
    """Reads seconds to go, seconds or milliseconds since 1970, or a date. None: it is none of them, or infinite."""
    if value is None:
        return None
    try:
        number = float(value.split(",")[0].split(";")[0])
    except ValueError:
        moment = _moment(value)
        return None if moment is None else min(moment - _now(headers), _LONGEST)
    if not math.isfinite(number):
        return None
    if number > 1e11:
        number = number / 1000 - _now(headers)
    elif number > 1e8:
        number -= _now(headers)
    return min(number, _LONGEST)


def _moment(value: str) -> float | None:
    """A date of HTTP or ISO 8601 as seconds since 1970. Without a zone, or with -0000 (RFC 5322, 3.3), it is in UTC."""
    for read in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            moment = read(value)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError, TypeError, IndexError):  # a zone may be any number, and a year too
            continue
    return None


def _now(headers: Mapping[str, str]) -> float:
    stated = _moment(headers["date"]) if "date" in headers else None
    return time.time() if stated is None else stated


class Attempts:
    """The tries of one request.

    Args:
        policy: The retry settings in force.
        method: The request's method.
    """

    def __init__(self, policy: RetryConfig, method: str) -> None:
        self.policy = policy
        self.failed = 0
        self.told = 0
        self._started = time.monotonic()
        self._repeatable = is_repeatable(method, policy)

    @property
    def deadline(self) -> float:
        """When the whole time for the request is over, by time.monotonic()."""
        return self._started + self.policy.total

    @property
    def seconds(self) -> float:
        """Since the first try."""
        return time.monotonic() - self._started

    def may_repeat(self, *, acted: bool) -> bool:
        """Whether the request may be sent again. `acted`: the server may have carried it out."""
        return self._repeatable or not acted

    def backoff(self) -> float | None:
        """Counts a failed try; the seconds to wait before the next one, or None to give up."""
        self.failed += 1
        if self.failed >= self.policy.attempts:
            return None
        delay = min(self.policy.backoff * 2.0 ** (self.failed - 1), self.policy.max_delay)
        delay = min(delay * (1 + self.policy.jitter * random.random()), self.policy.max_delay)
        return delay if self.seconds + delay <= self.policy.total else None

    def patience(self) -> float:
        """The seconds to wait for an answer that is not ready, where the server names none."""
        return min(self.policy.backoff * 2.0**self.told, self.policy.max_delay, _PATIENCE)

    def obey(self, wait: float) -> bool:
        """Whether to wait as long as the server asks: not beyond `total`, and not for ever in small portions."""
        self.told += 1
        return self.seconds + wait <= self.policy.total and self.told <= 20 * self.policy.attempts
