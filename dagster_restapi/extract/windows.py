"""Time windows of partitions that follow each other, and which of them a cursor value lies in."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dagster_restapi.model import Window

_LARGEST = (  # numbers below are of this unit: seconds reach to the year 5138, milliseconds back to 1973
    (10**11, 1),
    (10**14, 10**3),
    (10**17, 10**6),
    (10**21, 10**9),
)


class Windows:
    """Windows [start, end), each beginning where the one before ends."""

    def __init__(self, windows: Sequence[Window]) -> None:
        edges = [datetime.fromisoformat(text) for text in (*(window.start for window in windows), windows[-1].end)]
        self._instants = [edge.astimezone(UTC) for edge in edges]
        self._clocks = [edge.replace(tzinfo=None) for edge in edges]

    def __len__(self) -> int:
        return len(self._instants) - 1

    def place(self, kind: str, order: Any) -> int:
        """The number of the window that a ranked cursor value lies in; -1 before all of them, their number behind.

        A date is a day of the windows' own time zone, not of UTC. A number counts from 1970: seconds, or by its size
        milliseconds, microseconds or nanoseconds.

        Raises:
            TypeError: The value is no point in time.
        """
        if kind == "instant":
            return bisect_right(self._instants, order[0]) - 1
        if kind == "date":
            return bisect_right(self._clocks, order[0].replace(tzinfo=None)) - 1
        if kind == "number":
            return bisect_right(self._instants, _since_1970(order)) - 1
        raise TypeError("a cursor of kind text lies in no time window")


def _since_1970(number: int | float | Decimal) -> datetime:
    """The second that the number lies in: no window begins within one."""
    for largest, unit in _LARGEST:
        if -largest // 2 < number < largest:
            return datetime.fromtimestamp(int(number // unit), UTC)
    raise TypeError(f"the cursor {number} is no time since 1970")
