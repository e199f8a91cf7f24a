"""The sample API's HTTP side: paths, paging styles, bearer auth, conditional requests, and controls for tests.

    GET /repositories                                 page, per_page          {"items", "page", "total_pages", "total"}
    GET /repositories/{name}
    GET /issues                                       Link header; state, since, until, sort, direction, page, per_page
    GET /repositories/{name}/issues                   the same, of one repository
    GET /repositories/{name}/issues/{number}
    GET /repositories/{name}/issues/{number}/comments Link header; since, page, per_page
    GET /comments                                     Link header; since, until, sort, direction, page, per_page
    GET /events                                       cursor, limit, since_id, since, until  {"events", "next_cursor"}
    GET /users                                        offset, limit           {"users", "offset", "limit", "total"}
    GET /users/{login}

`since` is inclusive, `until` is not. Without `sort`, issues come newest first and everything else oldest first.

Controls take no token and do not show in the log:

    POST /_add/{collection}           a JSON object of fields, or nothing     the new row
    POST /_touch/{collection}/{id}    a JSON object of fields, or nothing     the changed row
    POST /_delete/{collection}/{id}                                           the row that was
    POST /_latency?seconds=0.03       from now on every answer waits so long
    POST /_reset                      forgets changes and the log
    GET  /_log                        every request since: [{"at", "method", "path", "status", "headers", "bytes"}]
    GET  /_counts                     rows per collection
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Mapping
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, ClassVar, Self
from urllib.parse import urlsplit

from dagster_restapi.demo.api import Api, Query, Refused
from dagster_restapi.demo.tracker import COLLECTIONS, Collection, Row, Tracker

DEMO_TOKEN = "demo-token"
"""The token of the sample API where nothing else is said. It opens nothing but made-up rows on this machine."""

_REASONS = {200: "OK", 304: "Not Modified", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found"}
_REASONS |= {405: "Method Not Allowed", 422: "Unprocessable Content"}


class SampleApi:
    """The sample API, served from threads of this process on a loopback port until `stop`, or for `seconds`.

    Args:
        port: 0 takes a free one.
        token: What callers must send as a bearer token; None lets everybody in.
        latency: Seconds that every answer waits; may be set at any time.
        seconds: After so many seconds the server stops by itself.
        tracker: The data; by default the one of seed 1.

    Example:
        >>> with SampleApi() as api:
        ...     api.url.startswith("http://127.0.0.1:")
        True
    """

    def __init__(
        self,
        *,
        port: int = 0,
        token: str | None = DEMO_TOKEN,
        latency: float = 0.0,
        seconds: float = 3600.0,
        tracker: Tracker | None = None,
    ) -> None:
        self.token, self.latency = token, latency
        self.tracker = tracker or Tracker()
        self._log: list[dict[str, Any]] = []
        self._api = Api(self.tracker)
        handler = type("_SampleHandler", (_Handler,), {"sample": self})
        self._server = _Server(("127.0.0.1", port), handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._timer = threading.Timer(seconds, self.stop)
        self._timer.daemon = True
        self._stopping = threading.Lock()
        self._stopped = False

    def start(self) -> Self:
        """Begins to answer."""
        self._thread.start()
        self._timer.start()
        return self

    def stop(self) -> None:
        """Closes the port; a second call does nothing."""
        with self._stopping:
            if self._stopped:
                return
            self._stopped = True
        self._timer.cancel()
        if self._thread.is_alive():
            self._server.shutdown()
        self._server.server_close()

    def wait(self) -> None:
        """Waits until the server has stopped."""
        self._thread.join()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def log(self) -> list[dict[str, Any]]:
        """The requests served so far, controls left out."""
        return list(self._log)

    def paths(self) -> list[str]:
        """The paths of those requests, queries included, in order."""
        return [entry["path"] for entry in self._log]

    def forget_log(self) -> None:
        """Begins a new log."""
        self._log = []

    def reset(self) -> None:
        """Forgets changes and the log."""
        self.tracker.reset()
        self.forget_log()

    def control(self, method: str, path: str, query: Query, body: bytes) -> Any:
        """Carries out a control request.

        Raises:
            Refused: There is no such control or row, or the fields are none.
        """
        match method, path.strip("/").split("/"):
            case "GET", ["_log"]:
                return self.log
            case "GET", ["_counts"]:
                return self.tracker.counts()
            case "POST", ["_reset"]:
                self.reset()
                return self.tracker.counts()
            case "POST", ["_latency"]:
                self.latency = _seconds(query.given.get("seconds", "0"))
                return {"seconds": self.latency}
            case "POST", [verb, collection, *rest] if collection in COLLECTIONS:
                return self._change(verb, collection, rest, body)
        raise Refused(404, f"There is no control {method} {path}")

    def _change(self, verb: str, collection: Collection, rest: list[str], body: bytes) -> Row:
        fields = _fields(body)
        try:
            match verb, rest:
                case "_add", []:
                    return self.tracker.add(collection, fields)
                case "_touch", [row_id]:
                    return self.tracker.touch(collection, int(row_id), fields)
                case "_delete", [row_id]:
                    return self.tracker.delete(collection, int(row_id))
        except LookupError as error:
            raise Refused(404, str(error.args[0])) from None
        except ValueError as error:
            raise Refused(422, str(error)) from None
        raise Refused(404, f"There is no control {verb} of {'/'.join([collection, *rest])}")

    def answer(self, method: str, base: str, target: str, headers: Message, body: bytes) -> _Answer:
        """The whole answer to one request."""
        url = urlsplit(target)
        try:
            query = Query(url.query)
            if url.path.startswith("/_"):
                return _Answer.of(200, self.control(method, url.path, query, body))
            time.sleep(self.latency)
            if self.token is not None and headers.get("Authorization") != f"Bearer {self.token}":
                message = "This API wants a token: send the header Authorization: Bearer <token>"
                raise Refused(401, message, **{"WWW-Authenticate": 'Bearer realm="sample API"'})
            if method not in ("GET", "HEAD"):
                raise Refused(405, f"{method} is not allowed here", Allow="GET, HEAD")
            answer = _Answer.of(200, *self._api.get(base, url.path, query))
        except Refused as refused:
            return _Answer.of(refused.status, {"message": refused.message, "status": refused.status}, refused.headers)
        etag = f'"{hashlib.sha1(answer.body, usedforsecurity=False).hexdigest()}"'
        if etag in (part.strip().removeprefix("W/") for part in headers.get("If-None-Match", "").split(",")):
            return _Answer(304, b"", {"ETag": etag})
        return _Answer(200, answer.body, {**answer.headers, "ETag": etag})

    def note(self, entry: dict[str, Any]) -> None:
        """Adds a request to the log."""
        self._log.append(entry)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 60:
        raise Refused(422, "seconds must be a number from 0 to 60")
    return seconds


def _fields(body: bytes) -> Mapping[str, Any]:
    if not body:
        return {}
    try:
        fields = json.loads(body)
    except ValueError:
        fields = None
    if not isinstance(fields, dict):
        raise Refused(422, "the body must be a JSON object of fields")
    return fields


class _Answer:
    def __init__(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.status, self.body, self.headers = status, body, headers

    @classmethod
    def of(cls, status: int, value: Any, headers: Mapping[str, str] | None = None) -> Self:
        """A JSON answer."""
        body = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
        return cls(status, body, {"Content-Type": "application/json; charset=utf-8", **(headers or {})})

    def head(self, *, close: bool) -> bytes:
        """Status line and headers."""
        length = {} if self.status == 304 else {"Content-Length": str(len(self.body))}
        fields = {**self.headers, **length, "Connection": "close" if close else "keep-alive"}
        lines = [
            f"HTTP/1.1 {self.status} {_REASONS[self.status]}",
            *(f"{name}: {text}" for name, text in fields.items()),
        ]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


class _Handler(BaseHTTPRequestHandler):
    """Reads a request, and writes its answer in one piece: two small packets would wait for each other."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 60  # seconds that an idle connection is kept
    sample: ClassVar[SampleApi]

    def _serve(self) -> None:
        at = time.time()
        size = self.headers.get("Content-Length", "0")
        body = self.rfile.read(int(size)) if size.isascii() and size.isdigit() else b""
        base = f"http://{self.headers.get('Host', self.sample.url.removeprefix('http://'))}"
        answer = self.sample.answer(self.command, base, self.path, self.headers, body)
        if not self.path.startswith("/_"):
            headers = {name: "***" if name == "Authorization" else text for name, text in self.headers.items()}
            entry = {"at": at, "method": self.command, "path": self.path, "status": answer.status}
            self.sample.note({**entry, "headers": headers, "bytes": len(answer.body)})
        sent = b"" if self.command == "HEAD" else answer.body
        self.wfile.write(answer.head(close=self.close_connection) + sent)

    do_GET: Callable[[_Handler], None] = _serve  # noqa: N815
    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on standard error: the log is at `/_log`."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that hangs up, or a connection idle for too long, is no news."""
