"""Retries and rate limits: what is sent again, when, and how often."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from dagster_restapi.config.actions import ResponseAction
from dagster_restapi.config.client import RetryConfig
from dagster_restapi.errors import Cancelled, RequestError
from dagster_restapi.http.retry import told_wait
from dagster_restapi.http.session import Call, Meter, Session

Connect = Callable[..., Session]


def get(session: Session, path: str = "items", **call: Any) -> Any:
    answer = session.send(Call("GET", session.url(path), **call))
    return None if answer is None else answer.json()


@pytest.mark.parametrize("status", [500, 502, 503, 504, 429, 408])
def test_a_transient_status_is_tried_again(api: Any, connect: Connect, status: int) -> None:
    api.replies("/items", (status, {}), (status, {}), [1])
    session = connect()
    assert get(session) == [1]
    assert (session.meter.requests, session.meter.retries) == (3, 2)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_other_errors_are_not_tried_again(api: Any, connect: Connect, status: int) -> None:
    api.route("/items", (status, {"message": "no"}))
    with pytest.raises(RequestError, match=f"status {status}") as caught:
        get(connect())
    assert caught.value.status == status
    assert len(api.requests) == 1


def test_after_five_attempts_the_error_says_so(api: Any, connect: Connect) -> None:
    api.route("/items", (500, {"message": "out of order"}))
    with pytest.raises(RequestError, match=r"out of order.*gave up after 5 tries") as caught:
        get(connect())
    assert len(api.requests) == 5
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_the_waits_double_up_to_the_cap(api: Any, connect: Connect) -> None:
    api.route("/items", (500, {}))
    with pytest.raises(RequestError):
        get(connect(retry={"backoff": "80ms", "max_delay": "200ms", "jitter": 0, "attempts": 4}))
    times = [request.at for request in api.requests]
    waits = [after - before for before, after in pairwise(times)]
    assert all(asked <= wait < asked + 1 for asked, wait in zip([0.08, 0.16, 0.2], waits, strict=True)), waits


def test_the_total_time_ends_the_retries(api: Any, connect: Connect) -> None:
    api.route("/items", (500, {}))
    started = time.monotonic()
    with pytest.raises(RequestError, match="gave up after 2 tries"):
        get(connect(retry={"backoff": "300ms", "jitter": 0, "attempts": 50, "total": "500ms"}))
    assert time.monotonic() - started < 1


@pytest.mark.parametrize(
    "fault",
    [
        {"cut": 5},
        {"cut": 5, "chunked": True},
        {"cut": 20, "gzip": True},
        {"drop": True},
        {"cut": 20, "gzip": True, "headers": {"Content-Length": "20"}},
    ],
    ids=["cut", "cut-chunked", "cut-gzip", "dropped", "gzip-stream-cut"],
)
def test_a_broken_connection_and_a_cut_body_are_tried_again(api: Any, connect: Connect, fault: dict[str, Any]) -> None:
    api.replies("/items", api.Reply([1, 2, 3, 4, 5, 6, 7, 8], **fault), [1])
    session = connect()
    assert get(session) == [1]
    assert session.meter.retries == 1


def test_a_body_shorter_than_announced_is_never_taken_for_whole(api: Any, connect: Connect) -> None:
    api.route("/items", api.Reply("[1, 2]      ", cut=6))  # what arrived is valid JSON
    with pytest.raises(RequestError, match="broke in the middle of the body"):
        get(connect(retry={"attempts": 2}))


def test_a_timeout_is_tried_again(api: Any, connect: Connect) -> None:
    api.replies("/items", api.Reply([1], delay=1), [2])
    assert get(connect(timeout=0.2)) == [2]


def test_a_timeout_in_the_middle_of_the_body_is_tried_again(api: Any, connect: Connect) -> None:
    api.replies("/items", api.Reply([1], hang=1), [2])
    assert get(connect(timeout=0.2)) == [2]


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_comes_in_drops_ends_with_the_time_of_the_request(
    api: Any, connect: Connect, chunked: bool
) -> None:
    api.route("/items", api.Reply(b" " * 1000, drip=0.05, chunked=chunked))
    started = time.monotonic()
    with pytest.raises(RequestError, match=r"was not whole when the time .*\n.*sends in drops"):
        get(connect(timeout=1, retry={"total": "500ms"}))
    assert time.monotonic() - started < 2


def test_a_post_is_not_sent_twice(api: Any, connect: Connect) -> None:
    api.replies("/items", (500, {}), [1])
    session = connect()
    with pytest.raises(RequestError, match="idempotent"):
        session.send(Call("POST", session.url("items"), json={}))
    assert len(api.requests) == 1


def test_a_post_is_sent_again_where_the_configuration_says_it_is_safe(api: Any, connect: Connect) -> None:
    api.replies("/items", (500, {}), api.Reply([1], drop=True), [1])
    session = connect()
    answer = session.send(Call("POST", session.url("items"), json={"q": 1}), retry=RetryConfig(idempotent=True))
    assert answer is not None
    assert answer.json() == [1]
    assert [request.json() for request in api.requests] == [{"q": 1}] * 3


def test_a_post_that_the_server_turned_away_is_sent_again(api: Any, connect: Connect) -> None:
    api.replies("/items", (429, {}), [1])
    session = connect()
    answer = session.send(Call("POST", session.url("items"), data={"q": "1"}))
    assert answer is not None
    assert [request.form() for request in api.requests] == [{"q": "1"}] * 2


def test_the_endpoints_retry_settings_go_over_the_clients(api: Any, connect: Connect) -> None:
    api.route("/items", (500, {}))
    session = connect(retry={"backoff": "5ms"})
    with pytest.raises(RequestError, match="2 tries"):
        session.send(Call("GET", session.url("items")), retry=RetryConfig(attempts=2))
    assert len(api.requests) == 2


# ---- what the server asks for ----------------------------------------------------------------------------------
def retry_after_seconds(_: float) -> dict[str, str]:
    return {"Retry-After": "1"}


def retry_after_date(now: float) -> dict[str, str]:
    return {"Retry-After": formatdate(now + 2, usegmt=True)}


def reset_epoch(now: float) -> dict[str, str]:
    return {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(now) + 2)}


def reset_to_go(_: float) -> dict[str, str]:
    return {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1"}


def ietf_fields(_: float) -> dict[str, str]:
    return {"RateLimit-Limit": "10", "RateLimit-Remaining": "0", "RateLimit-Reset": "1"}


def ietf_structured(_: float) -> dict[str, str]:
    return {"RateLimit": '"default";r=0;t=1'}


def ietf_policies(_: float) -> dict[str, str]:
    return {"RateLimit": '"burst";r=5;t=30, "minute";r=0;t=1'}


def ietf_older_draft(_: float) -> dict[str, str]:
    return {"RateLimit": "limit=10, remaining=0, reset=1"}


WAYS = [retry_after_seconds, retry_after_date, reset_epoch, reset_to_go, ietf_fields, ietf_structured, ietf_policies]
WAYS += [ietf_older_draft]


@pytest.mark.parametrize("way", WAYS)
def test_429_waits_as_long_as_the_server_asks(
    api: Any, connect: Connect, way: Callable[[float], dict[str, str]]
) -> None:
    moments: list[float] = []

    def answer(request: Any) -> Any:
        moments.append(time.time())
        return (429, {}, way(time.time())) if len(moments) == 1 else [1]

    api.route("/items", answer)
    session = connect(retry={"attempts": 1})  # a wait that the server asks for is no failed attempt
    assert get(session) == [1]
    assert 0.9 <= moments[1] - moments[0] <= 3
    assert session.meter.waited_seconds == pytest.approx(moments[1] - moments[0], abs=0.3)


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"Retry-After": "1"}, {"message": "You have exceeded a secondary rate limit"}),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1"}, {"message": "API rate limit exceeded"}),
    ],
    ids=["retry-after", "reset"],
)
def test_githubs_403_waits(api: Any, connect: Connect, headers: dict[str, str], body: Any) -> None:
    api.replies("/items", (403, body, headers), [1])
    session = connect(retry={"attempts": 1})
    assert get(session) == [1]
    assert session.meter.waited_seconds >= 0.9


def test_githubs_secondary_limit_without_a_time_means_a_minute() -> None:
    body = b'{"message": "You have exceeded a secondary rate limit. Please wait."}'
    assert told_wait(403, {}, body) == (60.0, "status 403, a secondary rate limit")
    assert told_wait(403, {"x-ratelimit-remaining": "4999", "x-ratelimit-reset": "1"}, b"{}") is None
    assert told_wait(200, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "99"}, b"") is None


def test_times_of_day_are_measured_against_the_servers_clock() -> None:
    an_hour_ahead = time.time() + 3600
    headers = {"date": formatdate(an_hour_ahead, usegmt=True), "x-ratelimit-reset": str(int(an_hour_ahead) + 30)}
    told = told_wait(429, headers, b"")
    assert told is not None
    assert told[0] == pytest.approx(30, abs=1.1)


@pytest.mark.parametrize("value", ["0", "-5", "soon", "", "Thu, 01 Jan 1970 00:00:00 GMT"])
def test_a_retry_after_that_says_nothing_leaves_our_own_backoff(api: Any, connect: Connect, value: str) -> None:
    api.replies("/items", (429, {}, {"Retry-After": value}), [1])
    assert get(connect()) == [1]


HEADERS = ["retry-after", "x-ratelimit-reset", "x-ratelimit-remaining", "ratelimit-reset", "ratelimit", "date"]
ODD = [
    "9" * 5000,
    "t=" + "9" * 5000,
    "r=" + "9" * 5000,
    "1e999",
    "nan",
    "-inf",
    "²",
    "Fri, 31 Dec 9999 23:59:59 -2359",
    "0",
]


YEAR = st.integers(0, 10_001) | st.integers(10**5, 10**19)
ZONE = st.builds("{}{}".format, st.sampled_from(["+", "-", " +", " -", ""]), st.integers(0, 10**12)) | st.sampled_from(
    ["", "Z", " GMT", " EST", " -0000", "+00:00", "-23:59", "+24:00", "+99:99", " +2359", " -2359", "+00:00:00.1"]
)
HTTP_DATE = st.builds("Fri, {} Dec {} {}:00:00{}".format, st.integers(0, 40), YEAR, st.integers(0, 30), ZONE)
ISO_DATE = st.builds("{:04}-12-{:02}T{:02}:00:00{}".format, YEAR, st.integers(0, 40), st.integers(0, 30), ZONE)
NUMBER = (
    st.floats().map(repr) | st.integers(-(10**400), 10**400).map(str) | st.integers(0, 10**13).map("t={};r=0".format)
)
HEADER = st.text(max_size=20) | st.sampled_from(ODD) | HTTP_DATE | ISO_DATE | NUMBER


@given(status=st.sampled_from([403, 429, 503]), headers=st.dictionaries(st.sampled_from(HEADERS), HEADER))
def test_no_header_is_too_odd(status: int, headers: dict[str, str]) -> None:
    told = told_wait(status, headers, b"")
    assert told is None or (0 < told[0] < threading.TIMEOUT_MAX and len(told[1]) < 120)


@pytest.mark.parametrize("name", ["Retry-After", "Date"])
@pytest.mark.parametrize("value", ["Fri, 31 Dec 9999 23:59:59 -2359", "Mon, 01 Jan 0001 00:00:00 +2359", "inf"])
@pytest.mark.parametrize("total", ["1s", "20 days"])
def test_an_odd_time_neither_ends_the_run_in_a_crash_nor_waits_for_ever(
    api: Any, connect: Connect, name: str, value: str, total: str
) -> None:
    headers = {"Retry-After": formatdate(time.time() + 1, usegmt=True), name: value}
    api.replies("/items", (429, {}, headers), [1])
    try:
        assert get(connect(retry={"total": total})) == [1]
    except RequestError as error:
        assert "longer than `retry: {total}` allows" in str(error)  # noqa: PT017


@pytest.mark.parametrize("zone", ["-0000", "+0000", "GMT", ""])
def test_a_date_without_a_zone_is_in_utc(monkeypatch: pytest.MonkeyPatch, zone: str) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        headers = {"retry-after": f"Thu, 01 Jan 2026 00:01:00 {zone}", "date": "Thu, 01 Jan 2026 00:00:00 GMT"}
        told = told_wait(429, headers, b"")
    finally:
        monkeypatch.undo()
        time.tzset()
    assert told is not None
    assert told[0] == 60


@pytest.mark.parametrize("value", [math.inf, 1e300, "99999999999d"])
def test_no_setting_waits_for_ever(value: Any) -> None:
    with pytest.raises(ValidationError, match="a duration is 30 years at the most"):
        RetryConfig(total=value)


def test_a_wait_beyond_the_total_is_an_error_at_once(api: Any, connect: Connect) -> None:
    api.route("/items", (429, {}, {"Retry-After": "7200"}))
    with pytest.raises(RequestError, match=r"asks to wait 7200 s .*retry: \{total\}"):
        get(connect())
    assert len(api.requests) == 1


def test_a_server_that_always_asks_for_a_moment_is_given_up(api: Any, connect: Connect) -> None:
    api.route("/items", (429, {}, {"Retry-After": "0.01"}))
    with pytest.raises(RequestError):
        get(connect(retry={"attempts": 1}))
    assert len(api.requests) <= 22


def test_all_threads_keep_the_pause_that_one_was_told(api: Any, connect: Connect) -> None:
    blocked_until = [0.0]
    early: list[float] = []
    lock = threading.Lock()

    def answer(request: Any) -> Any:
        with lock:
            if not blocked_until[0]:
                blocked_until[0] = time.monotonic() + 1
                return (403, {}, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1"})
            if time.monotonic() < blocked_until[0] - 0.8:
                return [request.query["n"]]  # was under way when the limit was reached
            if time.monotonic() < blocked_until[0] - 0.05:
                early.append(time.monotonic())
            return [request.query["n"]]

    api.route("/items", answer)
    session = connect()
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda n: get(session, params={"n": n}), range(100)))
    assert found == [[str(n)] for n in range(100)]
    assert not early
    assert session.meter.retries == 1
    assert 0.9 <= session.meter.waited_seconds <= 2  # as a clock on the wall has it, not once per thread


def test_a_long_wait_is_logged_once_with_its_reason(api: Any, connect: Connect, caplog: Any) -> None:
    api.route("/items", (429, {}, {"Retry-After": "6"}))
    told: list[str] = []
    stop = threading.Event()
    session = connect(stop=stop, meter=Meter(on_note=told.append))

    def run() -> None:
        with pytest.raises(Cancelled):
            get(session)

    with caplog.at_level(logging.DEBUG), ThreadPoolExecutor(2) as pool:
        for _ in range(2):
            pool.submit(run)
        time.sleep(0.4)
        started = time.monotonic()
        stop.set()
    assert time.monotonic() - started < 1
    assert len(told) == 1
    assert "waiting 6 s because the API asks for it (status 429, Retry-After: 6)" in told[0]
    assert told[0] in caplog.text


def test_stop_ends_a_backoff_within_a_second(api: Any, connect: Connect) -> None:
    api.route("/items", (500, {}))
    stop = threading.Event()
    session = connect(stop=stop, retry={"backoff": "60s"})
    threading.Timer(0.2, stop.set).start()
    started = time.monotonic()
    with pytest.raises(Cancelled):
        get(session)
    assert time.monotonic() - started < 1.2


@pytest.mark.parametrize("fault", [{"delay": 8}, {"hang": 8}], ids=["before-headers", "in-the-body"])
def test_stop_ends_a_read_within_a_second(api: Any, connect: Connect, fault: dict[str, float]) -> None:
    api.route("/items", api.Reply([1, 2, 3], **fault))
    stop = threading.Event()
    session = connect(stop=stop, timeout=30)
    threading.Timer(0.2, stop.set).start()
    started = time.monotonic()
    with pytest.raises(Cancelled):
        get(session)
    assert time.monotonic() - started < 1.2


def test_nothing_is_sent_after_stop(api: Any, connect: Connect) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(Cancelled):
        get(connect(stop=stop))
    assert not api.requests


def test_an_ignored_status_is_retried_first_where_it_is_transient(api: Any, connect: Connect) -> None:
    api.replies("/items", (503, {}), [1])
    session = connect()
    rules = [ResponseAction(status_code=503, action="ignore")]
    answer = session.send(Call("GET", session.url("items")), rules=rules)
    assert answer is not None
    api.route("/items", (503, {}))
    assert session.send(Call("GET", session.url("items")), rules=rules) is None


def test_connections_are_kept_alive(api: Any, connect: Connect) -> None:
    api.route("/items", [1])
    session = connect()
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda n: get(session), range(200)))
    assert api.connections <= 16
    assert session.meter.requests == 200


# ---- a wait that the API tells in a place of its own -----------------------------------------------------------------
def told_after(unit: str, seconds: float) -> Any:
    now = time.time()
    return {
        "s": seconds,
        "ms": int(seconds * 1000),
        "epoch": now + seconds,
        "epoch_ms": int((now + seconds) * 1000),
        "http_date": formatdate(now + seconds + 1, usegmt=True),  # whole seconds
    }[unit]


@pytest.mark.parametrize("place", ["header", "jsonpath"])
@pytest.mark.parametrize("unit", ["s", "ms", "epoch", "epoch_ms", "http_date"])
@pytest.mark.parametrize("status", [429, 400, 500])
def test_a_wait_in_another_header_or_in_the_body_is_obeyed(
    api: Any, connect: Connect, place: str, unit: str, status: int
) -> None:
    told = told_after(unit, 0.4)
    refusal = (status, {}, {"X-Wait": str(told)}) if place == "header" else (status, {"error": {"retry_after": told}})
    api.replies("/items", refusal, [1])
    where = {"header": "x-wait"} if place == "header" else {"jsonpath": "$.error.retry_after"}
    session = connect(retry={"attempts": 1, "wait": {**where, "unit": unit}})
    started = time.monotonic()
    assert get(session) == [1], "a wait that is asked for is no failed attempt"
    assert 0.15 <= time.monotonic() - started <= 2.5


def test_a_wait_beyond_the_total_is_not_waited_for(api: Any, connect: Connect) -> None:
    api.route("/items", (429, {"retry_after": 60_000}))
    session = connect(retry={"total": 5, "wait": {"jsonpath": "retry_after", "unit": "ms"}})
    with pytest.raises(RequestError, match=r"asks to wait 60 s \(status 429, retry_after: 60000\)") as caught:
        get(session)
    assert caught.value.transient
    assert len(api.requests) == 1


@pytest.mark.parametrize(
    "body",
    [{}, {"retry_after": "soon"}, {"retry_after": None}, {"retry_after": True}, {"retry_after": -3}, [], "no JSON"],
)
def test_where_the_place_says_nothing_the_usual_headers_count(api: Any, connect: Connect, body: Any) -> None:
    api.replies("/items", (429, body, {"Retry-After": "1"}), [1])
    started = time.monotonic()
    assert get(connect(retry={"attempts": 1, "wait": {"jsonpath": "retry_after"}})) == [1]
    assert time.monotonic() - started >= 0.9


def test_a_limit_told_with_status_200_waits_where_a_rule_says_that_it_is_one(api: Any, connect: Connect) -> None:
    api.replies("/items", {"error": "slow down", "retry_after": 0.3}, [1])
    session = connect(
        retry={"attempts": 1, "wait": {"jsonpath": "retry_after"}},
        error_rules=[{"jsonpath": "error", "equals": "slow down", "action": "retry"}],
    )
    started = time.monotonic()
    answer = session.send(Call("POST", session.url("items")))
    assert answer is not None
    assert answer.json() == [1], "also by POST: the server has not acted on it"
    assert time.monotonic() - started >= 0.25


@pytest.mark.parametrize(
    "wrong", [{}, {"header": "a", "jsonpath": "b"}, {"jsonpath": "["}, {"header": "a", "unit": "h"}]
)
def test_a_wait_is_at_one_place(wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"either `header` or `jsonpath`|no JSONPath|unit"):
        RetryConfig.model_validate({"wait": wrong})


def test_an_error_knows_whether_it_may_pass(api: Any, connect: Connect) -> None:
    for status, method, passes, acted in [
        (500, "GET", True, False),
        (500, "POST", False, True),
        (429, "POST", True, False),
        (404, "GET", False, False),
        (404, "POST", False, False),
    ]:
        api.route("/items", (status, {}))
        session = connect(retry={"attempts": 1})
        with pytest.raises(RequestError) as caught:
            session.send(Call(method, session.url("items")))
        assert (caught.value.transient, caught.value.acted) == (passes, acted), (status, method)


def test_many_policies_are_not_kept(api: Any, connect: Connect) -> None:
    api.route("/items", [1])
    session = connect()
    for number in range(100):
        answer = session.send(Call("GET", session.url("items")), retry=RetryConfig(attempts=number % 3 + 1))
        assert answer is not None
    kept = [value for value in vars(session).values() if isinstance(value, (dict, list)) and len(value) > 2]
    assert not kept
