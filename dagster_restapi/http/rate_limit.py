"""The pace of a source: a limit on requests for all threads and processes, and the pause that a server asks for.

The limit is a sliding window: the k-th request starts no sooner than `per` after the (k - requests)-th. A ring of time
stamps says when that was; it lives in memory, and for all processes of the machine in a small file. Nothing is reserved
ahead, so a process that dies, or a clock that is set back, costs nobody a turn. pyrate-limiter has a file too (SQLite),
but waits without letting itself be interrupted, and pays a transaction for every try.
"""

from __future__ import annotations

import os
import struct
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Protocol

from dagster_restapi.config.client import RateLimitConfig

try:
    import fcntl
except ImportError:  # Windows: one process is all that a limit can see
    fcntl = None  # type: ignore[assignment]

_HEAD = struct.Struct("<dQ")  # paused until, how many requests started
_STAMP = struct.Struct("<d")


class Ring(Protocol):
    """The last `size` starts."""

    def take(self) -> float:
        """Takes a turn and gives 0, or takes none and gives the seconds until one may be free."""

    def hold(self, until: float) -> None:
        """No turns before this time (seconds since 1970)."""

    def close(self) -> None:
        """Lets go of what it holds."""


class MemoryRing:
    """For one process."""

    def __init__(self, size: int, per: float) -> None:
        self._stamps, self._per, self._count, self._until = [0.0] * size, per, 0, 0.0
        self._mutex = threading.Lock()

    def take(self) -> float:
        with self._mutex:
            now = time.time()
            place = self._count % len(self._stamps)
            wait = max(_wait(self._stamps[place], now, self._per), self._until - now)
            if wait <= 0:
                self._stamps[place] = now
                self._count += 1
            return max(0.0, wait)

    def hold(self, until: float) -> None:
        with self._mutex:
            self._until = max(self._until, until)

    def close(self) -> None:
        """Nothing to let go of."""


class FileRing:
    """For all processes of one user on one machine: head and stamps in a file, which is locked for each turn."""

    def __init__(self, path: Path, size: int, per: float) -> None:
        self._size, self._per = size, per
        self._mutex = threading.Lock()  # a file lock does not hold off threads of the same process
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)

    def take(self) -> float:
        with self._locked():
            now = time.time()
            until, count = self._head()
            at = _HEAD.size + count % self._size * _STAMP.size
            data = os.pread(self._file, _STAMP.size, at)
            stamp = _STAMP.unpack(data)[0] if len(data) == _STAMP.size else 0.0
            wait = max(_wait(stamp, now, self._per), until - now if until - now < _LONGEST else 0.0)
            if wait <= 0:
                os.pwrite(self._file, _STAMP.pack(now), at)
                os.pwrite(self._file, _HEAD.pack(until, count + 1), 0)
            return max(0.0, wait)

    def hold(self, until: float) -> None:
        with self._locked():
            before, count = self._head()
            os.pwrite(self._file, _HEAD.pack(max(before, until), count), 0)

    def close(self) -> None:
        with self._mutex:
            if self._file >= 0:
                os.close(self._file)
                self._file = -1

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._mutex:
            fcntl.flock(self._file, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(self._file, fcntl.LOCK_UN)

    def _head(self) -> tuple[float, int]:
        data = os.pread(self._file, _HEAD.size, 0)
        return _HEAD.unpack(data) if len(data) == _HEAD.size else (0.0, 0)


_LONGEST = 86_400.0  # a pause beyond a day is a clock that was set back


def _wait(stamp: float, now: float, per: float) -> float:
    """Seconds until a turn of that age is free again; a stamp from the future is a clock that was set back."""
    return stamp + per - now if stamp <= now + 1 else 0.0


def ring(limit: RateLimitConfig, origin: str) -> Ring:
    """The ring that a limit means; a file in the temporary folder, if it is shared and the folder is ours."""
    folder = _folder() if limit.shared and fcntl is not None else None
    if folder is None:
        return MemoryRing(limit.requests, limit.per)
    name = sha256(f"{limit.name or origin} {limit.requests} {limit.per}".encode()).hexdigest()[:24]
    return FileRing(folder / f"{name}.rate", limit.requests, limit.per)


def _folder() -> Path | None:
    user = os.getuid() if hasattr(os, "getuid") else 0
    folder = Path(tempfile.gettempdir()) / f"dagster_restapi-{user}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        owner = folder.lstat()
    except OSError:
        return None
    ours = folder.is_dir() and not folder.is_symlink() and (not hasattr(os, "getuid") or owner.st_uid == user)
    return folder if ours and not owner.st_mode & 0o077 else None


class Pause:
    """A time before which no thread of a session sends anything."""

    def __init__(self) -> None:
        self._until = 0.0
        self._mutex = threading.Lock()

    def hold(self, seconds: float) -> bool:
        """Pauses for so long from now; whether that is longer than was known."""
        until = time.monotonic() + seconds
        with self._mutex:
            longer = until > self._until + 0.5
            self._until = max(self._until, until)
            return longer

    def left(self) -> float:
        """Seconds that the pause still lasts."""
        return max(0.0, self._until - time.monotonic())
