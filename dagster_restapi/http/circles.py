"""Recognises a walk in circles: what was seen before, in constant space, so that it fits into a checkpoint."""

from __future__ import annotations

from base64 import b64encode
from hashlib import blake2b
from typing import Any

import msgspec

_RECENT = 64
_REMEMBERED = 100_000  # fingerprints a running walk keeps in memory, about 10 MB


def fingerprint(value: Any) -> str:
    """Twelve characters that two different JSON values share about once in 2^72 times."""
    try:
        data = msgspec.json.encode(value)
    except UnicodeEncodeError:  # a lone surrogate
        data = repr(value).encode("utf-8", "backslashreplace")
    return b64encode(blake2b(data, digest_size=9).digest()).decode()


class Trail(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a walk has been: the newest fingerprints, and one older mark that is moved less and less often.

    A circle of up to 64 pages is seen when its first page comes again. For longer ones the mark is enough, whatever the
    length (R. P. Brent, "An improved Monte Carlo factorization algorithm", 1980): once it lies inside the circle and
    its reach is longer than the circle, the walk meets it. A walk that runs in one process remembers more besides.
    """

    recent: tuple[str, ...] = ()
    mark: str = ""
    steps: int = 0  # since the mark was set
    reach: int = 1

    def knows(self, step: str, memory: set[str] | None) -> bool:
        """Whether the walk has been here."""
        return step in self.recent or step == self.mark or (memory is not None and step in memory)

    def extended(self, step: str, memory: set[str] | None) -> Trail:
        """The trail after this step; `memory` takes it too."""
        if memory is not None and len(memory) < _REMEMBERED:
            memory.add(step)
        recent = (*self.recent[1 - _RECENT :], step)
        if self.steps + 1 == self.reach:
            return Trail(recent, step, 0, self.reach * 2)
        return Trail(recent, self.mark, self.steps + 1, self.reach)
