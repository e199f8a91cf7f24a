"""Parent keys of one row in several spellings: the API's own, and those that typed columns gave it.

Earlier versions read the keys of parents from typed columns, and so wrote them in cursors and in lists of failed
parents: `{"id":"1"}` where the API sends 1 and a text beside it, or a time stamp in UTC. Rows that were loaded by such
a version still have no other spelling.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from dagster_restapi.slice_state import key_value

_decode = msgspec.json.Decoder(dict[str, Any]).decode

RESPELLED_FILE = "respelled.json"
"""Beside the frozen parents: what the load has to know of spellings."""


@dataclass(frozen=True, slots=True)
class Respelled:
    """What a load has to know of the parent keys that were spelled by typed columns.

    Attributes:
        cursors: Old spelling -> the keys of the rows that it stands for; none of them: it is left over beside another.
        typed: Keys that are themselves read from typed columns: their rows may get another spelling yet.
    """

    cursors: dict[str, set[str]] = field(default_factory=dict)
    typed: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.cursors or self.typed)

    def of(self, key: str) -> str | None:
        """How a key is spelled, as `_restapi_cursors` says it."""
        return None if key in self.typed else "api"

    def to_json(self) -> bytes:
        """The content of the file."""
        return msgspec.json.encode(self)

    @classmethod
    def read(cls, folder: Path) -> Respelled:
        """What stands in the folder of the frozen parents; nothing where all keys are the API's."""
        path = folder / RESPELLED_FILE
        return msgspec.json.decode(path.read_bytes(), type=cls) if path.exists() else cls()


def match(old: Collection[str], rows: Iterable[tuple[str, str]]) -> dict[str, set[str]]:
    """Which keys the old spellings stand for.

    The spelling of today's columns comes first: the last run of an earlier version asked by that one. Then the API's.
    What neither of them finds has the spelling of a column's earlier type; it counts where it can mean one row alone.

    Args:
        old: Keys as JSON with sorted keys.
        rows: Key and typed key of each row, as JSON with sorted keys; each pair once.
    """
    found: dict[str, set[str]] = {}
    open_ = []
    for key, typed in rows:
        exact = typed if typed in old else key if key in old else None
        if exact is None:
            open_.append((key, typed))
            continue
        found.setdefault(exact, set()).add(key)
        if key != exact and key in old:
            found.setdefault(key, set())  # of the time before the column's type changed: left over
    return found | _by_value(set(old) - found.keys(), open_)


def _by_value(old: Collection[str], rows: Iterable[tuple[str, str]]) -> dict[str, set[str]]:
    """Old spellings that have the value of one row alone, which has the value of no other."""
    by_value: dict[str, list[str]] = defaultdict(list)
    for text in old:
        by_value[key_value(_decode(text))].append(text)
    claims: dict[str, set[str]] = defaultdict(set)
    wanted: dict[str, set[str]] = defaultdict(set)
    for key, typed in rows if old else ():
        for value in {key_value(_decode(key)), key_value(_decode(typed))} & by_value.keys():
            for text in by_value[value]:
                claims[text].add(key)
                wanted[key].add(text)
    return {
        text: keys for text, keys in claims.items() if len(keys) == 1 and all(len(wanted[key]) == 1 for key in keys)
    }
