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
        since: Where the fetch goes on, in words; the end of each line.
        every: Seconds between two lines.
    """

    def __init__(self, name: str, tell: Callable[[str], None], since: str = "", every: float = 5.0) -> None:
        self.name, self._tell, self._since, self._every = name, tell, since, every
        self._watch = watcher.get()
        self._lock = threading.Lock()
        self._started = self._last = time.monotonic()
        self.pages = self.rows = self.received = self.bytes = 0
        self.walks = 0
        self._before = {"parents": 0, "rows": 0, "pages": 0}
        self.expected_rows: int | None = None
        self.expected_pages: int | None = None
        self.expected_walks: int | None = None
        self._said: list[str] = []

    def goes_on(self, *, walks: int, received: int, pages: int) -> None:
        """An earlier try has done so much already: it counts for what is left, and not for how fast this one is."""
        self._before = {"parents": walks, "rows": received, "pages": pages}
        self.walks = walks

    def page(self, rows: int, size: int, *, received: int | None = None) -> None:
        """One more page has come.

        Args:
            rows: Those that are kept.
            size: Bytes of its body.
            received: Rows that the API sent, where not all of them are kept.
        """
        with self._lock:
            self.pages += 1
            self.rows += rows
            self.received += rows if received is None else received
            self.bytes += size

    def walk(self) -> None:
        """One more parent is done."""
        with self._lock:
            self.walks += 1

    def say(self, line: str) -> None:
        """Takes a line from any thread; the one that ticks tells it."""
        with self._lock:
            self._said.append(line)

    def tick(self) -> None:
        """Tells, if it is time to, and at once what was said."""
        if self._watch is not None:
            self._watch(self)
        with self._lock:
            said, self._said = self._said, []
        for line in said:
            self._tell(f"{self.name}: {line}")
        now = time.monotonic()
        if now - self._last >= self._every:
            self._last = now
            self._tell(self.line())

    def line(self) -> str:
        """`issues: 41 pages, 4,100 rows, 8.2 MB, 510 rows/s, 59% of 7,000 rows, about 6 s to go`."""
        seconds = max(time.monotonic() - self._started, 1e-6)
        parts = [
            f"{self.pages:,} pages",
            f"{self.rows:,} rows",
            f"{self.bytes / 1e6:,.1f} MB",
            f"{self.rows / seconds:,.0f} rows/s",
        ]
        done, of, what = self._share()
        if of:
            now, left = done - self._before[what], of - done
            parts.append(f"{min(1.0, done / of):.0%} of {of:,} {what}")
            if now > 0 and left > 0:
                parts.append(f"about {seconds * left / now:,.0f} s to go")
        if self._since:
            parts.append(self._since)
        return f"{self.name}: {', '.join(parts)}"

    def _share(self) -> tuple[int, int, str]:
        """How much is done of how much, as far as it is known."""
        if self.expected_walks:
            return self.walks, self.expected_walks, "parents"
        if self.expected_rows:
            return self.received + self._before["rows"], self.expected_rows, "rows"
        return self.pages + self._before["pages"], self.expected_pages or 0, "pages"
