"""What sending costs: requests, retries, bytes, and the time spent waiting."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dagster_restapi.secrets import redact


class Meter:
    """Counts what sending costs; one for all threads of a step.

    Args:
        on_note: Is told of each long wait, in one sentence, from whichever thread waits.
    """

    def __init__(self, *, on_note: Callable[[str], None] | None = None) -> None:
        self._lock = threading.Lock()
        self._on_note = on_note
        self._waiting, self._since, self._waited = 0, 0.0, 0.0
        self.requests = 0  # everything that was sent: retries, redirects and token requests too
        self.retries = 0
        self.bytes = 0  # bodies on the wire
        self.notes: list[str] = []
        self.warnings: list[str] = []

    def count(self, *, requests: int = 0, retries: int = 0, size: int = 0) -> None:
        """Adds to the counters."""
        with self._lock:
            self.requests += requests
            self.retries += retries
            self.bytes += size

    @property
    def waited_seconds(self) -> float:
        """Seconds in which at least one thread waited: after a failure, for a limit, or because the server said so."""
        with self._lock:
            running = time.monotonic() - self._since if self._waiting else 0.0
            return self._waited + running

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Counts the time in its body as waited."""
        with self._lock:
            if not self._waiting:
                self._since = time.monotonic()
            self._waiting += 1
        try:
            yield
        finally:
            with self._lock:
                self._waiting -= 1
                if not self._waiting:
                    self._waited += time.monotonic() - self._since

    def note(self, text: str) -> None:
        """Keeps a sentence for the run's log."""
        text = redact(text)
        with self._lock:
            self.notes.append(text)
        if self._on_note is not None:
            self._on_note(text)

    def warn(self, text: str) -> None:
        """Keeps a sentence for the run's metadata, once."""
        text = redact(text)
        with self._lock:
            if text not in self.warnings:
                self.warnings.append(text)
