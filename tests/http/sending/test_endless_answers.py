"""Answers that never end, in every part of them: each request ends by its time, and says why."""

from __future__ import annotations

import itertools
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
import requests
import trustme

from dagster_restapi.errors import RequestError, ResponseError
from dagster_restapi.http.session import Call, Session

Connect = Callable[..., Session]
TOTAL = 0.3  # seconds for a request
FOR_EVER = 30  # seconds that the server would go on: no test waits for it
PAUSE = 0.05  # seconds between two drops: none is long enough for a timeout
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
WHOLE = HEAD + b"Content-Length: 3\r\n\r\n[1]"


def for_ever(start: bytes, drops: bytes) -> Iterator[bytes]:
    """A beginning, and then the drops, one byte after the other, again and again."""
    yield start
    yield from itertools.cycle([drops[n : n + 1] for n in range(len(drops))])


def lines(start: bytes, line: bytes) -> Iterator[bytes]:
    yield start
    yield from itertools.repeat(line)


DROPS: dict[str, Callable[[], Iterable[bytes]]] = {
    "nothing": lambda: lines(b"", b""),
    "status line": lambda: for_ever(b"HTTP/1.1 200 ", b"O"),
    "a header": lambda: for_ever(HEAD + b"X-A: ", b"a"),
    "headers": lambda: lines(HEAD, b"X-A: a\r\n"),
    "100 Continue": lambda: lines(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "100 Continue with headers": lambda: for_ever(b"HTTP/1.1 100 Continue\r\n", b"X-A: a\r\n" * 9 + b"\r\n"),
    "body with a length": lambda: for_ever(HEAD + b"Content-Length: 100000\r\n\r\n", b" "),
    "body to the end of the connection": lambda: for_ever(HEAD + b"Connection: close\r\n\r\n", b" "),
    "one chunk": lambda: for_ever(CHUNKED + b"ffff\r\n", b" "),
    "chunks": lambda: lines(CHUNKED, b"1\r\n \r\n"),
    "chunk size": lambda: for_ever(CHUNKED, b"0"),
    "chunk extension": lambda: for_ever(CHUNKED + b"1;a=", b"a"),
    "trailers": lambda: lines(CHUNKED + b"3\r\n[1]\r\n0\r\n", b"X-A: a\r\n"),
    "a trailer": lambda: for_ever(CHUNKED + b"3\r\n[1]\r\n0\r\nX-A: ", b"a"),
}


def request(sock: socket.socket) -> bytes:
    """The head of the next request; nothing where the connection was closed."""
    asked = b""
    while b"\r\n\r\n" not in asked and (more := sock.recv(65536)):
        asked += more
    return asked


@contextmanager
def server(answer: Callable[[bytes], Iterable[bytes]], pause: float, context: ssl.SSLContext | None = None) -> Any:
    """Answers every request with what `answer` gives for it, part by part."""
    over = threading.Event()
    listening = socket.create_server(("127.0.0.1", 0))

    def serve(connection: socket.socket) -> None:
        until = time.monotonic() + FOR_EVER
        connection.settimeout(FOR_EVER)
        with suppress(OSError), context.wrap_socket(connection, server_side=True) if context else connection as sock:
            while asked := request(sock):
                for number, part in enumerate(answer(asked)):
                    if time.monotonic() > until or (number and pause and over.wait(pause)) or over.is_set():
                        return
                    sock.sendall(part)

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listening.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"{'https' if context else 'http'}://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        over.set()
        listening.close()


def ended(connect: Connect, url: str, **settings: Any) -> str:
    """The error of a request that must end by its time."""
    session = connect(base_url=url, **{"retry": {"total": TOTAL}, **settings})
    started = time.monotonic()
    with pytest.raises((RequestError, ResponseError)) as error:
        session.send(Call("GET", session.url("items")))
    assert time.monotonic() - started < FOR_EVER / 3
    return str(error.value)


OVER = "when the time for the request was over"


@pytest.mark.parametrize("part", DROPS)
def test_a_part_that_comes_in_drops_ends_with_the_time_of_the_request(connect: Connect, part: str) -> None:
    with server(lambda asked: DROPS[part](), PAUSE) as url:
        error = ended(connect, url)
    silent = part == "nothing"
    assert (f"no answer had come {OVER}" if silent else f"the answer was not whole {OVER} (") in error
    assert ("is slow, or hangs" if silent else "sends in drops") in error


@pytest.mark.parametrize("part", [part for part in DROPS if part != "nothing"])
def test_a_part_without_end_ends(connect: Connect, part: str) -> None:
    with server(lambda asked: DROPS[part](), 0) as url:
        error = ended(connect, url, max_response_bytes=1000, retry={"total": 5, "attempts": 1})
    assert OVER in error or "max_response_bytes" in error or "broke" in error


@pytest.mark.parametrize("part", ["status line", "a header", "100 Continue", "body with a length", "trailers"])
def test_so_it_does_through_tls(connect: Connect, authority: trustme.CA, authority_file: str, part: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with server(lambda asked: DROPS[part](), PAUSE, context) as url:
        assert OVER in ended(connect, url, verify=authority_file)


@pytest.mark.parametrize("part", ["nothing", "status line", "a header"])
def test_so_does_a_proxy(connect: Connect, part: str) -> None:
    with server(lambda asked: DROPS[part](), PAUSE) as proxy:
        assert OVER in ended(connect, "https://api.example.com", proxies={"https": proxy})
        assert OVER in ended(connect, "http://api.example.com", proxies={"http": proxy})


def test_so_does_a_handshake_of_tls(connect: Connect) -> None:
    with server(lambda asked: [], 0) as url:  # waits for an empty line, and says nothing
        assert OVER in ended(connect, url.replace("http:", "https:"))


@pytest.mark.parametrize("part", ["body with a length", "chunks"])
def test_so_does_a_body_in_a_session_of_the_users(connect: Connect, part: str) -> None:
    with requests.Session() as own, server(lambda asked: DROPS[part](), PAUSE) as url:
        assert OVER in ended(connect, url, session=own)


def test_so_does_what_a_redirect_leads_to(connect: Connect) -> None:
    def answer(asked: bytes) -> Iterable[bytes]:
        if b"/items " in asked:
            return [b"HTTP/1.1 302 Found\r\nLocation: /there\r\nContent-Length: 0\r\n\r\n"]
        return DROPS["a header"]()

    with server(answer, PAUSE) as url:
        assert OVER in ended(connect, url)


@pytest.mark.parametrize("part", ["status line", "a header", "100 Continue"])
def test_headers_that_come_in_drops_end_a_try_and_not_the_request(connect: Connect, part: str) -> None:
    answers = iter([DROPS[part](), [WHOLE]])
    with server(lambda asked: next(answers), PAUSE) as url:
        session = connect(base_url=url, timeout=0.5)
        answer = session.send(Call("GET", session.url("items")))
    assert answer is not None
    assert answer.json() == [1]
    assert session.meter.retries == 1
    with server(lambda asked: DROPS[part](), PAUSE) as url:
        error = ended(connect, url, timeout=0.4, retry={"attempts": 1})
    assert "status line and headers were not whole 0.4 s after they began" in error
    assert "Raise `timeout`" in error


@pytest.mark.parametrize("times", [1, 3])
def test_a_slow_answer_is_none_that_is_too_late(connect: Connect, times: int) -> None:
    """`timeout` counts from one byte to the next in a body, and headers have it for themselves."""
    parts = [b"HTTP/1.1 100 Continue\r\n\r\n", CHUNKED, *[b"1\r\n \r\n"] * 9, b"3\r\n[1]\r\n0\r\n", b"X-A: a\r\n\r\n"]
    with server(lambda asked: parts, 0.1) as url:
        session = connect(base_url=url, timeout=0.6)
        for _ in range(times):
            answer = session.send(Call("GET", session.url("items")))
            assert answer is not None
            assert answer.json() == [1]
    assert session.meter.retries == 0
