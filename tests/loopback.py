"""A server on loopback that answers as a test says, faults included, and remembers what it was asked."""

from __future__ import annotations

import gzip
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import trustme

from dagster_restapi.config.client import ClientConfig
from dagster_restapi.http.session import Session


@dataclass(frozen=True)
class Request:
    """What the server was asked."""

    method: str
    path: str
    query: dict[str, str]
    queries: dict[str, list[str]]
    headers: dict[str, str]  # names in lower case
    body: bytes
    at: float  # time.monotonic()

    def json(self) -> Any:
        return json.loads(self.body)

    def form(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(self.body.decode()).items()}


@dataclass
class Reply:
    """What the server answers. A body that is neither bytes nor text is sent as JSON."""

    body: Any = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    type: str = "application/json"
    delay: float = 0.0  # seconds before the first byte
    gzip: bool = False
    chunked: bool = False
    cut: int | None = None  # so many bytes of the body, then the connection breaks
    drop: bool = False  # the connection breaks before the first byte
    hang: float = 0.0  # seconds between the first and the second half of the body
    drip: float = 0.0  # seconds between each byte and the next

    def payload(self) -> bytes:
        data = self.body if isinstance(self.body, bytes) else None
        if data is None:
            data = self.body.encode() if isinstance(self.body, str) else json.dumps(self.body).encode()
        return gzip.compress(data) if self.gzip else data


Handler = Callable[[Request], Any]


def as_reply(value: Any) -> Reply:
    """A Reply; JSON alone; (status, JSON); or (status, JSON, headers)."""
    if isinstance(value, Reply):
        return value
    if isinstance(value, tuple):
        return Reply(value[1], value[0], value[2] if len(value) > 2 else {})
    return Reply(value)


class Api:
    """A server with one handler per path.

        api.route("/items", lambda request: [{"id": 1}])
        api.replies("/items", (500, {}), [{"id": 1}])     # one after another, the last one again and again

    `api.requests` holds every request in the order of arrival; `api.seen("/items")` those of one path.
    """

    Reply = Reply

    def __init__(self, certificate: trustme.LeafCert | None = None) -> None:
        self.requests: list[Request] = []
        self.connections = 0
        self._handlers: dict[str, Handler] = {}
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            certificate.configure_cert(context)
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.port: int = self._server.server_address[1]
        self.host = f"127.0.0.1:{self.port}"
        self.url = f"{'https' if certificate else 'http'}://{self.host}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def route(self, path: str, answer: Handler | Any) -> None:
        """Answers requests for a path (without query) with what a function gives, or always with the same."""
        self._handlers[path] = answer if callable(answer) else lambda request: answer

    def replies(self, path: str, *answers: Any) -> None:
        """Answers with one after another; the last one stays."""
        waiting = list(answers)

        def next_one(request: Request) -> Any:
            with self._lock:
                return waiting.pop(0) if len(waiting) > 1 else waiting[0]

        self.route(path, next_one)

    def seen(self, path: str) -> list[Request]:
        with self._lock:
            return [request for request in self.requests if request.path == path]

    def reply(self, request: Request) -> Reply:
        with self._lock:
            self.requests.append(request)
        handler = self._handlers.get(request.path)
        return Reply({"message": "no such path"}, 404) if handler is None else as_reply(handler(request))

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Broken connections are what is tested here."""


def _handler(api: Api) -> type[BaseHTTPRequestHandler]:
    class Handling(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 30
        wbufsize = -1  # header and body in one packet: otherwise a delayed ACK costs 40 ms

        def setup(self) -> None:
            super().setup()
            with api._lock:
                api.connections += 1

        def answer(self) -> None:
            parts = urlsplit(self.path)
            queries = parse_qs(parts.query, keep_blank_values=True)
            request = Request(
                self.command,
                parts.path,
                {name: values[0] for name, values in queries.items()},
                queries,
                {name.lower(): value for name, value in self.headers.items()},
                self.rfile.read(int(self.headers.get("content-length") or 0)),
                time.monotonic(),
            )
            self.send(api.reply(request))

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = answer  # noqa: N815

        def send(self, reply: Reply) -> None:
            time.sleep(reply.delay)
            if reply.drop:
                self.abort()
                return
            payload = reply.payload()
            self.send_response(reply.status)
            headers = {"Content-Type": reply.type, **reply.headers}
            if reply.gzip:
                headers.setdefault("Content-Encoding", "gzip")
            if reply.chunked:
                headers["Transfer-Encoding"] = "chunked"
            else:
                headers.setdefault("Content-Length", str(len(payload)))
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.send_payload(reply, payload)
            self.wfile.flush()

        def send_payload(self, reply: Reply, payload: bytes) -> None:
            data = payload if reply.cut is None else payload[: reply.cut]
            half = len(data) // 2 if reply.hang else len(data)
            parts = [data[:half], data[half:]] if not reply.drip else [data[n : n + 1] for n in range(len(data))]
            for part in filter(None, parts):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part) if reply.chunked else part)
                if (reply.hang and part is not data[half:]) or reply.drip:
                    self.wfile.flush()
                    time.sleep(reply.hang or reply.drip)
            if reply.cut is not None:
                self.abort()
            elif reply.chunked:
                self.wfile.write(b"0\r\n\r\n")

        def abort(self) -> None:
            self.wfile.flush()
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

    return Handling


@pytest.fixture
def make_api() -> Iterator[Callable[..., Api]]:
    """Makes servers that end with the test."""
    made: list[Api] = []

    def make(certificate: trustme.LeafCert | None = None) -> Api:
        made.append(Api(certificate))
        return made[-1]

    yield make
    for api in made:
        api.close()


@pytest.fixture
def api(make_api: Callable[..., Api]) -> Api:
    """The API."""
    return make_api()


@pytest.fixture
def stranger(make_api: Callable[..., Api]) -> Api:
    """A server that is not the API's: another port is another origin."""
    return make_api()


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """Whoever signs certificates here."""
    return trustme.CA()


@pytest.fixture
def authority_file(authority: trustme.CA, tmp_path: Path) -> str:
    """The authority's certificate, for `verify`."""
    path = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture
def secure_api(make_api: Callable[..., Api], authority: trustme.CA) -> Api:
    """The API by https, with a certificate for 127.0.0.1."""
    return make_api(authority.issue_cert("127.0.0.1"))


@pytest.fixture
def client(api: Api) -> Callable[..., ClientConfig]:
    """Settings for `api`, with short waits; keywords go over them."""

    def make(**settings: Any) -> ClientConfig:
        retry = {"backoff": "10ms", **settings.pop("retry", {})}
        return ClientConfig.model_validate({"base_url": api.url, "retry": retry, "timeout": 5, **settings})

    return make


@pytest.fixture
def connect(client: Callable[..., ClientConfig]) -> Iterator[Callable[..., Session]]:
    """Opens sessions: `connect(auth=…)`; `stop`, `meter` and `exact_decimals` go to the session."""
    opened: list[Session] = []

    def make(**settings: Any) -> Session:
        own = {name: settings.pop(name) for name in ("stop", "meter", "exact_decimals") if name in settings}
        opened.append(Session(client(**settings), **own))
        return opened[-1]

    yield make
    for session in opened:
        session.close()
