"""Recognises a walk in circles: what was seen before, in constant space, so that it fits into a checkpoint."""

from __future__ import annotations

from base64 import b64encode
from hashlib import blake2b
from typing import Any

import msgspec

_RECENT = 64
_SAMPLE = 16  # records that stand for a page, where they all differ
_REMEMBERED = 100_000  # fingerprints a running walk keeps in memory, about 10 MB


def fingerprint(value: Any) -> str:
    """Twelve characters that two different JSON values share about once in 2^72 times."""
    return _digest(_written(value))


def fingerprint_of_page(records: list[Any]) -> str:
    """Fingerprint of a page: of a few records spread over it, and of all where those few are not all different.

    Two pages that agree in 16 different records, each at its place, are the same page; and to write every record once
    more for this would cost as much as spooling it.
    """
    last = len(records) - 1
    if last >= _SAMPLE:
        sample = [_written(records[last * number // (_SAMPLE - 1)]) for number in range(_SAMPLE)]
        if len(set(sample)) == _SAMPLE:
            return _digest(b"%d\n%b" % (last, b"\n".join(sample)))
    return fingerprint(records)


def _written(value: Any) -> bytes:
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:  # a lone surrogate
        return repr(value).encode("utf-8", "backslashreplace")


def _digest(data: bytes) -> str:
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
