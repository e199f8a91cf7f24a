"""What one unit of a fetch has learnt; it stands in the spool's journal with every commit."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Self

import msgspec


@dataclass(slots=True)
class Facts:
    """Counts and findings of one unit: of one walk, or of the walks of a few parents one after another.

    Attributes:
        walk_pages: Pages of the walk under way, those that another unit fetched of it included.
        received: Records as the API sent them, before the processing steps and the cursor window.
        cuts: Walks that ended while more follows: by a rule, or by `max_pages`.
        furthest: The furthest cursor value of the walk under way; those that lie ahead of the clock left out.
        ahead: The furthest of those, of all walks.
        cursors: (key, furthest) of each parent that is done, where the child has a cursor of its own.
        failed: Keys of the parents that `on_error: skip` left out.
        may_pass: How many of them may be answered by a later try.
        sent: The root run of which a request that is sent once only is under way; "": none is.
        owed: Keys of the parents that were owed before, and of which more follows.
        settled: Keys of those of which all is here.
        held_back: Whether a cursor among them lies before its rows, for the walk was interrupted.
        rest: Where the last block of pages ended while the API said that more follow.
    """

    pages: int = 0
    walk_pages: int = 0
    walks: int = 0
    received: int = 0
    furthest: Any = None
    ahead: Any = None
    out_of_range: int = 0
    without_cursor: int = 0
    cuts: int = 0
    warnings: list[str] = field(default_factory=list)
    cursors: list[tuple[dict[str, Any], Any]] = field(default_factory=list)
    failed: list[dict[str, Any]] = field(default_factory=list)
    may_pass: int = 0
    sent: str = ""
    owed: list[dict[str, Any]] = field(default_factory=list)
    settled: list[dict[str, Any]] = field(default_factory=list)
    held_back: bool = False
    rest: Any = None

    @property
    def complete(self) -> bool:
        """Whether every walk came to its end."""
        return not self.cuts

    @classmethod
    def parse(cls, data: dict[str, Any]) -> Self:
        """The facts that the journal kept; fresh ones where it kept none."""
        return msgspec.convert(data, cls)

    def to_json(self) -> dict[str, Any]:
        """The form for the journal."""
        return msgspec.to_builtins(self)  # type: ignore[no-any-return]
