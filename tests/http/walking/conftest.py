"""A real server on loopback whose answers a test writes as a function of the request."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from dagster_restapi.http.client import RestClient


@dataclass(frozen=True)
class Request:
    """What the server was asked."""

    method: str
    path: str
    query: dict[str, str]
    raw_query: str
    headers: Mapping[str, str]
    body: Any

    def whole(self, name: str, default: int) -> int:
        return int(self.query.get(name, default))


@dataclass
class Api:
    """The server: set `answer`, read `requests`. An answer is a body, (status, body), or (status, headers, body)."""

    url: str
    answer: Callable[[Request], Any] = lambda request: []
    requests: list[Request] = field(default_factory=list)
    clients: list[RestClient] = field(default_factory=list)

    def client(self, **settings: Any) -> RestClient:
        client = RestClient(self.url, **{"retry": {"attempts": 1}, **settings})
        self.clients.append(client)
        return client

    def walk(self, path: str = "items", **endpoint: Any) -> list[Any]:
        """The records of all pages."""
        return [record for page in self.client().paginate(path, **endpoint) for record in page]

    def asked(self, name: str) -> list[str | None]:
        return [request.query.get(name) for request in self.requests]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    api: Api

    def _serve(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        sent = self.rfile.read(size)
        parts = urlsplit(self.path)
        kind = self.headers.get("Content-Type", "")
        body = json.loads(sent) if sent and "json" in kind else sent.decode() or None
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        request = Request(self.command, parts.path, query, parts.query, dict(self.headers), body)
        self.api.requests.append(request)
        answer = self.api.answer(request)
        status, headers, content = 200, {}, answer
        if isinstance(answer, tuple):
            status, content = answer[0], answer[-1]
            headers = answer[1] if len(answer) == 3 else {}
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if status != 204:
            self.wfile.write(data)

    do_GET = do_POST = do_PUT = _serve  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="session")
def _server() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def api(_server: ThreadingHTTPServer) -> Iterator[Api]:
    """The server, with a fresh log."""
    api = _Handler.api = Api(f"http://127.0.0.1:{_server.server_port}")
    yield api
    for client in api.clients:
        client.close()
