"""The recorded schema: which kinds of values were seen at which path of the records, one mask per path."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import IntFlag
from typing import Any

_INSTANT = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?(?:Z|[+-]\d\d(?::?\d\d)?)?", re.ASCII
).fullmatch


class Kind(IntFlag):
    """One bit per kind of JSON value that a column's type depends on."""

    NULL = 1
    BOOL = 2
    INT = 4  # |n| <= 2^53: exact in a DOUBLE as well
    LONG = 8  # the rest of int64
    HUGE = 16  # the rest of int128
    VAST = 32  # any larger integer
    FLOAT = 64
    INSTANT = 128  # text: an ISO 8601 date-time that exists, with at most 6 digits of fraction
    TEXT = 256  # any other text; once seen, INSTANT is no longer recorded
    OBJECT = 512
    LIST = 1024


# Plain ints: IntFlag arithmetic costs ten times as much, and this is the hot loop of a fetch.
_NULL, _BOOL, _INT, _LONG, _HUGE, _VAST, _FLOAT, _INSTANT_BIT, _TEXT, _OBJECT, _LIST = (int(kind) for kind in Kind)


def is_instant(text: str) -> bool:
    """Whether a text is an ISO 8601 date-time (with the `T`) that exists in the calendar and fits microseconds."""
    if len(text) < 16 or text[10] != "T" or _INSTANT(text) is None:
        return False
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


class Node:
    """What was seen at one path: the kinds, the fields of its objects in order of appearance, its lists' items."""

    __slots__ = ("fields", "items", "mask")

    def __init__(self, mask: int = 0) -> None:
        self.mask = mask
        self.fields: dict[str, Node] = {}
        self.items: Node | None = None

    def to_json(self) -> list[Any]:
        """`[mask, fields, items]`, the form that the spool keeps."""
        return [
            self.mask,
            {key: node.to_json() for key, node in self.fields.items()},
            self.items.to_json() if self.items else None,
        ]

    @classmethod
    def from_json(cls, data: list[Any]) -> Node:
        node = cls(data[0])
        node.fields = {key: cls.from_json(value) for key, value in data[1].items()}
        node.items = cls.from_json(data[2]) if data[2] else None
        return node

    def merge(self, other: Node) -> None:
        """Takes over everything that the other one has seen."""
        self.mask |= other.mask
        for key, theirs in other.fields.items():
            self.fields.setdefault(key, Node()).merge(theirs)
        if other.items:
            self.items = self.items or Node()
            self.items.merge(other.items)


class Recorder:
    """Records the schema of records as they pass by. Not safe for threads: its owner holds a lock."""

    def __init__(self, root: Node | None = None) -> None:
        self.root = root or Node(_OBJECT)
        self.version = 0  # grows whenever something new was seen

    def observe(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Adds the kinds of every value in these records."""
        for record in records:
            self._object(self.root, record)

    def _object(self, node: Node, record: Mapping[str, Any]) -> None:
        fields = node.fields
        for key, value in record.items():
            child = fields.get(key)
            if child is None:
                child = fields[key] = Node()
                self.version += 1
            kind = type(value)
            if kind is str:
                if child.mask & _TEXT:
                    continue
                bit = _INSTANT_BIT if is_instant(value) else _TEXT
            elif kind is dict:
                bit = _OBJECT
                self._object(child, value)
            elif value is None:
                bit = _NULL
            else:
                bit = self._other(child, kind, value)
            if not child.mask & bit:
                child.mask |= bit
                self.version += 1

    def _list(self, node: Node, values: list[Any]) -> None:
        if node.items is None:
            node.items = Node()
        child = node.items
        for value in values:
            kind = type(value)
            if kind is dict:
                bit = _OBJECT
                self._object(child, value)
            elif kind is str:
                if child.mask & _TEXT:
                    continue
                bit = _INSTANT_BIT if is_instant(value) else _TEXT
            elif value is None:
                bit = _NULL
            else:
                bit = self._other(child, kind, value)
            if not child.mask & bit:
                child.mask |= bit
                self.version += 1

    def _other(self, node: Node, kind: type, value: Any) -> int:
        if kind is bool:
            return _BOOL
        if kind is int:
            if -9007199254740992 <= value <= 9007199254740992:
                return _INT
            if -(2**63) <= value < 2**63:
                return _LONG
            return _HUGE if -(2**127) <= value < 2**127 else _VAST
        if kind is list:
            if value:
                self._list(node, value)
            return _LIST
        return _FLOAT  # float, or Decimal where the plan asks for exact decimals
