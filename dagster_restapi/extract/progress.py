"""How far a fetch has come, in one line every few seconds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextvars import ContextVar

watcher: ContextVar[Callable[[Progress], None] | None] = ContextVar("watcher", default=None)
"""Who is shown every fetch several times a second, beside the log: the command line's progress bars."""


class Progress:
    """Counts pages, rows and bytes from many threads, and tells them in one line at most every `every` seconds.

    Args:
        name: The resource.
        tell: Takes a finished line; the run's log.
        every: Seconds between two lines.
    """

    def __init__(self, name: str, tell: Callable[[str], None], every: float = 5.0) -> None:
        self.name, self._tell, self._every = name, tell, every
        self._watch = watcher.get()
        self._lock = threading.Lock()
        self._started = self._last = time.monotonic()
        self.pages = self.rows = self.bytes = 0
        self.walks = 0
        self.expected_rows: int | None = None
        self.expected_walks: int | None = None

    def page(self, rows: int, size: int) -> None:
        """One more page has come, with so many rows and bytes."""
        with self._lock:
            self.pages += 1
            self.rows += rows
            self.bytes += size

    def walk(self) -> None:
        """One more parent is done."""
        with self._lock:
            self.walks += 1

    def tick(self) -> None:
        """Tells, if it is time to."""
        if self._watch is not None:
            self._watch(self)
        now = time.monotonic()
        if now - self._last >= self._every:
            self._last = now
            self._tell(self.line())

    def line(self) -> str:
        """`issues: 41 pages, 4,100 rows, 8.2 MB, 510 rows/s, 59 % of 7,000 rows`."""
        seconds = max(time.monotonic() - self._started, 1e-6)
        parts = [
            f"{self.pages:,} pages",
            f"{self.rows:,} rows",
            f"{self.bytes / 1e6:,.1f} MB",
            f"{self.rows / seconds:,.0f} rows/s",
        ]
        if self.expected_walks:
            parts.append(f"{self.walks:,} of {self.expected_walks:,} parents")
        elif self.expected_rows:
            parts.append(f"{min(1.0, self.rows / self.expected_rows):.0%} of {self.expected_rows:,} rows")
        return f"{self.name}: {', '.join(parts)}"
