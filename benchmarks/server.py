"""The benchmark's API: answers that were made beforehand, over HTTP/1.1 with keep-alive, in a process of its own.

    GET /flat, /nested, /million    ?page=N; ?since= an instant, inclusive        {"results": […], "next": URL or null}
    GET /parents                    ?page=N                                       the same
    GET /parents/{id}/children      after the latency                             {"results": […]}
    GET /slow                       ?page=N, after the latency                    {"results": […], "total_pages": 500}
    GET /_counts                    {"requests", "first", "last"}, times in seconds since 1970; begins to count anew

It listens on loopback only, and ends with its standard input or after `--seconds`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import selectors
import subprocess
import sys
import time
from types import TracebackType
from typing import Self
from urllib.parse import unquote
from urllib.request import urlopen

from benchmarks.pages import Pages

LATENCY = 0.03
"""Seconds that slow answers wait."""

_CONNECTIONS = 256
_NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


class _Counts:
    def __init__(self) -> None:
        self.requests, self.first, self.last = 0, 0.0, 0.0

    def add(self) -> None:
        self.last = time.time()
        if not self.requests:
            self.first = self.last
        self.requests += 1

    def told(self) -> bytes:
        """The counts as an answer; begins anew."""
        body = json.dumps({"requests": self.requests, "first": self.first, "last": self.last}).encode()
        self.__init__()  # type: ignore[misc]
        return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


class _Connection(asyncio.Protocol):
    """Answers one connection's requests one after another; bodies are not expected."""

    open = 0

    def __init__(self, pages: Pages, counts: _Counts) -> None:
        self._pages, self._counts, self._received = pages, counts, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        _Connection.open += 1
        if _Connection.open > _CONNECTIONS:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        _Connection.open -= 1

    def data_received(self, data: bytes) -> None:
        self._received += data
        while b"\r\n\r\n" in self._received:
            head, _, self._received = self._received.partition(b"\r\n\r\n")
            answer, slow = self._answer(head.split(b" ", 2)[1].decode())
            if slow:
                asyncio.get_running_loop().call_later(LATENCY, self._send, answer)
            else:
                self._send(answer)

    def _send(self, answer: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(answer)

    def _answer(self, target: str) -> tuple[bytes, bool]:
        """The answer to a path, and whether it waits."""
        path, _, query = target.partition("?")
        if path == "/_counts":
            return self._counts.told(), False
        self._counts.add()
        asked = dict(pair.partition("=")[::2] for pair in query.split("&") if pair)
        try:
            match path.strip("/").split("/"):
                case ["parents", parent, "children"]:
                    return self._pages.children(int(parent)), True
                case [name]:
                    since = unquote(asked["since"]) if "since" in asked else None
                    return self._pages.collection(name, since)[int(asked.get("page", "1")) - 1], name == "slow"
        except (LookupError, ValueError):
            return _NOT_FOUND, False
        return _NOT_FOUND, False


def _exact() -> asyncio.AbstractEventLoop:
    """A loop that waits as long as it is told to: with epoll, Linux's default, a wait ends at a whole millisecond."""
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


async def _serve(seconds: float) -> None:
    loop, counts, made = asyncio.get_running_loop(), _Counts(), list[Pages]()
    server = await loop.create_server(lambda: _Connection(made[0], counts), "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    made.append(Pages(url))
    print(url, flush=True)  # noqa: T201  # the starter reads it
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    try:
        async with asyncio.timeout(seconds), server:
            await reader.read()
    except TimeoutError:
        pass


class Server:
    """The server in a process of its own, for the body of a `with`.

    Args:
        seconds: After so many it ends by itself.
    """

    def __init__(self, seconds: float = 3600.0) -> None:
        command = [sys.executable, "-m", "benchmarks.server", "--seconds", str(seconds)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()

    def warm(self, path: str) -> None:
        """Asks for a path once, so that its pages are made."""
        with urlopen(f"{self.url}/{path}") as answer:
            answer.read()

    def counts(self) -> dict[str, float]:
        """What was served since the last call: `requests`, and when the `first` and the `last` came."""
        with urlopen(f"{self.url}/_counts") as answer:
            counts: dict[str, float] = json.load(answer)
        return counts

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=10)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.server", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3600.0, help="after so many it ends")
    with asyncio.Runner(loop_factory=_exact) as runner:
        runner.run(_serve(parser.parse_args().seconds))


if __name__ == "__main__":
    main()
