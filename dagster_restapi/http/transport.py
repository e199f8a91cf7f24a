"""One exchange on the wire: connections that can be cut, answers that end, bodies that are whole and decompressed."""

from __future__ import annotations

import io
import socket
import threading
import time
import weakref
import zlib
from collections.abc import Callable
from http import HTTPStatus
from http.client import HTTPResponse
from types import TracebackType
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from dagster_restapi.http.faults import Fault

CONNECTIONS = 64  # kept alive per host: as many as a step has threads
_CHUNK = 2**18
_AT_ONCE = 0.001  # seconds: zero would not wait for a connection at all
_FRAMING = 2**20  # bytes of headers, chunk sizes and trailers that no body is measured by
_OVER = " when the time for the request was over"
_FEED = 2**14  # bytes for the decompressor at a time: it copies what lies behind each member of a gzip body
_GZIP = b"\x1f\x8b"


class Sockets:
    """The open sockets of a session, so that a run that is terminated does not wait for an answer."""

    def __init__(self) -> None:
        self._open: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._mutex = threading.Lock()

    def add(self, sock: socket.socket) -> None:
        """Remembers a socket as long as it lives."""
        with self._mutex:
            self._open.add(sock)

    def cut(self) -> None:
        """Ends every read and write that is under way; the threads in them get a connection error."""
        with self._mutex:
            sockets = list(self._open)
        for sock in sockets:
            try:
                socket.socket.shutdown(sock, socket.SHUT_RDWR)
            except OSError:
                continue  # closed already


class Bounds:
    """What one try of a request may take. As a context, it binds every socket that this thread reads in it.

    A timeout of a socket is for silence; whoever sends a byte now and then never meets it. So each read waits no longer
    than is left: through TLS and proxies, and whether it is headers, one `100 Continue` after another, chunks or
    trailers that come in drops or without end. A status line and headers, once begun, have `timeout` to be whole.

    Args:
        deadline: When the answer must be whole, by time.monotonic().
        limit: Bytes that a body may have.
    """

    def __init__(self, deadline: float, limit: int) -> None:
        self.deadline, self.limit, self.came = deadline, limit, 0
        self._fault: Fault | None = None
        self._most = 2 * limit + _FRAMING  # on the wire: each byte of a body may be a chunk, but not for ever

    def __enter__(self) -> Bounds:
        _thread.bounds = self
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        _thread.bounds = None

    @property
    def fault(self) -> Fault | None:
        """Which bound was met; None: it was something else that went wrong."""
        return self._fault or (_late(self.came) if time.monotonic() >= self.deadline else None)

    def take(self, size: int) -> None:
        """Counts bytes that came.

        Raises:
            OSError: They are too many.
        """
        self.came += size
        if self.came > self._most:
            self._fault = _too_large(self.limit)
            raise OSError("too much")

    def drops(self, seconds: float) -> None:
        """The headers took too long."""
        self._fault = Fault(
            f"status line and headers were not whole {seconds:g} s after they began",
            "The server, or a proxy between, sends them in drops, or one `100 Continue` after the other. Raise "
            "`timeout` of the client if the API is this slow.",
        )


_thread = threading.local()


def _bounds() -> Bounds | None:
    return getattr(_thread, "bounds", None)


class _Reads(io.RawIOBase):
    """What a socket sends, within the bounds of the try that it answers."""

    def __init__(self, sock: socket.socket, bounds: Bounds) -> None:
        self._sock, self._bounds = sock, bounds
        self._raw: Any = sock.makefile("rb", buffering=0)
        self._silence = sock.gettimeout()
        self._set = self._silence
        self._head_until: float | None = None
        self.is_head = True

    def makefile(self, mode: str) -> io.BufferedReader:
        """What http.client reads."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        bounds, now = self._bounds, time.monotonic()
        left = bounds.deadline - now
        if self.is_head and self._head_until is not None:
            left = min(left, self._head_until - now)
        wait = left if self._silence is None else min(left, self._silence)
        try:
            if wait <= 0:
                raise TimeoutError
            if wait != self._set:
                self._sock.settimeout(wait)
                self._set = wait
            size: int | None = self._raw.readinto(buffer)
        except TimeoutError:
            if self._head_until is not None and self.is_head and time.monotonic() < bounds.deadline:
                bounds.drops(self._silence or 0)
            raise
        if self._head_until is None and self._silence is not None:
            self._head_until = time.monotonic() + self._silence
        bounds.take(size or 0)
        return size

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(HTTPResponse):
    """http.client's response, also that of a proxy to CONNECT, read within bounds."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        bounds = _bounds()
        self._reads = _Reads(sock, bounds) if bounds else None
        super().__init__(self._reads or sock, *args, **kwargs)  # type: ignore[arg-type]  # it asks for a makefile only

    def _read_status(self) -> tuple[str, int, str]:
        """Answers on the way to the answer (102, 103: RFC 9110, 15.2) are passed over, as http.client does with 100."""
        version, status, reason = super()._read_status()  # type: ignore[misc]
        interim = 100 < status < 200 and status != HTTPStatus.SWITCHING_PROTOCOLS
        return version, HTTPStatus.CONTINUE if interim else status, reason

    def begin(self) -> None:
        super().begin()
        if self._reads is not None:
            self._reads.is_head = False


def _pool(kind: type[Any], sockets: Sockets) -> type[Any]:
    made: Any = kind.ConnectionCls

    class Connection(made):  # type: ignore[misc]
        response_class = _Response

        def _new_conn(self) -> socket.socket:
            bounds = _bounds()
            if bounds is not None:  # for the handshake of TLS too, which keeps to the timeout of the socket as a whole
                self.timeout: float = max(min(self.timeout, bounds.deadline - time.monotonic()), _AT_ONCE)
            new: socket.socket = super()._new_conn()
            return new

        def connect(self) -> None:
            super().connect()
            if self.sock is not None:
                sockets.add(self.sock)

    return type(kind.__name__, (kind,), {"ConnectionCls": Connection})


class Adapter(HTTPAdapter):
    """requests' adapter with enough connections, all of them known to `sockets`."""

    def __init__(self, sockets: Sockets) -> None:
        self._pools = {"http": _pool(HTTPConnectionPool, sockets), "https": _pool(HTTPSConnectionPool, sockets)}
        super().__init__(pool_connections=16, pool_maxsize=CONNECTIONS)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **kwargs)
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = self._pools
        return manager


class PlainSession(requests.Session):
    """requests' session without its own redirects: where they may lead is decided beside the credentials."""

    def __init__(self, sockets: Sockets) -> None:
        super().__init__()
        self.mount("http://", Adapter(sockets))
        self.mount("https://", Adapter(sockets))

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        return None


def without_retries(send: Callable[..., requests.Response]) -> Callable[..., requests.Response]:
    """A session's `send` as it was before tenacity wrapped it, as dlt's `Client` does: our own retries come on top."""
    while hasattr(send, "retry") and hasattr(send, "__wrapped__"):
        send = send.__wrapped__
    return send


def read_body(response: requests.Response, limit: int, deadline: float) -> tuple[bytes, int] | Fault:
    """The whole body, decompressed, and its length on the wire.

    Args:
        response: Sent with `stream=True`.
        limit: Bytes that are accepted, on the wire and after decompression.
        deadline: By time.monotonic(): for a session of the user's, whose sockets know no bounds.

    Raises:
        urllib3.exceptions.HTTPError, OSError: The connection broke, or the body is shorter than announced.
    """
    raw = response.raw
    if response._content_consumed:  # type: ignore[attr-defined]  # an auth hook or a user's adapter has read it already
        data = response.content
        return (data, len(data)) if len(data) <= limit else _too_large(limit)
    announced = response.headers.get("content-length", "")
    length = int(announced) if announced.isdigit() and response.request.method != "HEAD" else None
    if length is not None and length > limit:
        return _too_large(limit)
    chunks: list[bytes] = []
    size = 0
    while chunk := raw.read1(_CHUNK, decode_content=False):
        chunks.append(chunk)
        size += len(chunk)
        if size > limit:
            return _too_large(limit)
        if time.monotonic() > deadline:
            return _late(size)
    data = b"".join(chunks)
    if length is not None and size < length and response.status_code not in (204, 304):
        raise urllib3.exceptions.IncompleteRead(size, length - size)
    plain = _decompressed(data, response.headers.get("content-encoding", ""), limit)
    return plain if isinstance(plain, Fault) else (plain, len(data))


def _late(came: int) -> Fault:
    what = f"the answer was not whole{_OVER} ({came:,} bytes had come)" if came else f"no answer had come{_OVER}"
    why = "sends in drops" if came else "is slow, or hangs"
    return Fault(what, f"The server {why}: ask for less at once, or raise `retry: {{total}}`.", transient=False)


def _too_large(limit: int) -> Fault:
    return Fault(
        f"the body is larger than max_response_bytes ({limit:,} bytes)",
        "Ask for smaller pages, or raise `max_response_bytes` of the client.",
        transient=False,
        broken=True,
    )


def _decompressed(data: bytes, encodings: str, limit: int) -> bytes | Fault:
    for encoding in reversed([name.strip().lower() for name in encodings.split(",")]):
        if encoding in ("", "identity") or not data:
            continue
        if encoding in ("gzip", "x-gzip", "deflate"):
            plain = _inflate(data, encoding, limit)
            if isinstance(plain, Fault):
                return plain
            data = plain
        else:
            return Fault(
                f"the body is compressed as {encoding[:20]}, which was not asked for",
                'Leave the header "Accept-Encoding" out of `headers`.',
                transient=False,
                broken=True,
            )
    if data.startswith(_GZIP):  # compressed without a header that says so, or twice; no JSON begins like this
        return _inflate(data, "gzip", limit)
    return data


def _inflate(data: bytes, encoding: str, limit: int) -> bytes | Fault:
    """gzip (also in several members) or deflate (with and without zlib's header), never more than `limit`."""
    if encoding != "deflate" and not data.startswith(_GZIP):
        return data  # said to be compressed, but is not
    plain, window, worker = bytearray(), _window(data), None
    try:
        for start in range(0, len(data), _FEED):
            left = data[start : start + _FEED]
            while left and (worker or (left := left.lstrip(b"\0"))):  # zeros may fill what lies between members
                worker = worker or zlib.decompressobj(window)
                plain += worker.decompress(left, limit + 1 - len(plain))
                if len(plain) > limit:
                    return _too_large(limit)
                left = worker.unused_data
                worker = None if worker.eof else worker
    except zlib.error:
        if not plain:
            return Fault("the compressed body is damaged", "The server, or a proxy between, garbles answers.")
        return bytes(plain)
    if worker is not None:
        return Fault("the compressed body is cut off", "The server, or a proxy between, cuts answers short.")
    return bytes(plain)


def _window(data: bytes) -> int:
    """zlib's word for the format: gzip, zlib, or raw."""
    if data.startswith(_GZIP):
        return 31
    return 15 if len(data) > 1 and data[0] & 0x0F == 8 and (data[0] << 8 | data[1]) % 31 == 0 else -15
