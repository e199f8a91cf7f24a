"""The client's own limit: exact over threads and over processes."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from dagster_restapi.errors import Cancelled
from dagster_restapi.http.session import Call, Session

Connect = Callable[..., Session]


def assert_paced(arrivals: list[float], began: float, requests: int, per: float) -> None:
    """No request came sooner than the limit allows. A busy machine makes them come later, which proves nothing."""
    early = [n for n, at in enumerate(sorted(arrivals)) if at - began < n // requests * per - 0.02]
    assert early == []


def test_no_window_holds_more_requests_than_the_limit(api: Any, connect: Connect) -> None:
    api.route("/items", [1])
    session = connect(rate_limit={"requests": 10, "per": "500ms", "shared": False})
    started = time.monotonic()
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda n: session.send(Call("GET", session.url("items"))), range(35)))
    assert 1.5 <= time.monotonic() - started < 10
    assert_paced([request.at for request in api.requests], started, 10, 0.5)
    assert session.meter.waited_seconds > 1


def test_processes_share_the_limit_through_a_file(api: Any) -> None:
    api.route("/items", [1])
    program = f"""
from dagster_restapi.config.client import ClientConfig
from dagster_restapi.http.session import Call, Session
limit = {{"requests": 5, "per": 0.5}}
session = Session(ClientConfig.model_validate({{"base_url": "{api.url}", "rate_limit": limit}}))
for _ in range(8):
    session.send(Call("GET", session.url("items")))
"""
    processes = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(3)]
    assert [process.wait(30) for process in processes] == [0, 0, 0]
    assert len(api.requests) == 24
    arrivals = [request.at for request in api.requests]
    assert_paced(arrivals, min(arrivals) - 0.2, 5, 0.5)  # the first one may have been under way for a while


def test_sessions_of_one_process_share_the_limit_too(api: Any, connect: Connect) -> None:
    api.route("/items", [1])
    sessions = [connect(rate_limit={"requests": 5, "per": "400ms"}) for _ in range(2)]
    started = time.monotonic()
    for number in range(12):
        session = sessions[number % 2]
        session.send(Call("GET", session.url("items")))
    assert time.monotonic() - started >= 0.8


def test_stop_ends_the_wait_for_a_turn(api: Any, connect: Connect) -> None:
    api.route("/items", [1])
    stop = threading.Event()
    session = connect(rate_limit={"requests": 1, "per": "1m", "shared": False}, stop=stop)
    session.send(Call("GET", session.url("items")))
    threading.Timer(0.2, stop.set).start()
    started = time.monotonic()
    with pytest.raises(Cancelled):
        session.send(Call("GET", session.url("items")))
    assert time.monotonic() - started < 1.2


def test_a_limit_that_nobody_reaches_costs_no_time(api: Any, connect: Connect) -> None:
    api.route("/items", [1])
    session = connect(rate_limit={"requests": 1000, "per": "1s"})
    for _ in range(50):
        session.send(Call("GET", session.url("items")))
    assert session.meter.waited_seconds == 0
