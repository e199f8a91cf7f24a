"""The recorded schema: which kinds of values were seen at which path of the records, one mask per path."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import IntFlag
from typing import Annotated, Any, Self, Union

import msgspec

_INSTANT = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?(?:Z|[+-]\d\d(?::?\d\d)?)?", re.ASCII
).fullmatch


class Kind(IntFlag):
    """One bit per kind of JSON value that a column's type depends on.

    Beside a kind of number that holds a narrower one (FLOAT and LONG hold INT), the narrower may go unrecorded: it
    changes no type.
    """

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
    """Records the schema of records as they pass by. Not safe for threads: its owner holds a lock.

    Looking at every value in Python costs more than all else that is done to a record. So once a batch has brought
    nothing new, the schema so far is put into a form that tells fast whether later batches bring anything new.
    """

    def __init__(self, root: Node | None = None) -> None:
        self.root = root or Node(_OBJECT)
        self.version = 0  # grows whenever something new was seen
        self._known: tuple[int, Known | None] = (-1, None)  # made of which version

    def observe(self, records: list[dict[str, Any]]) -> None:
        """Adds the kinds of every value in these records."""
        version = self.version
        made_of, known = self._known
        if made_of == version and known and known.fits(records):
            return
        for record in records:
            self._object(self.root, record)
        if self.version == version != made_of:
            self._known = version, Known.of(self.root)

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


# ---- recognising what is known ---------------------------------------------------------------------------------------
_MOST_PATHS = 5_000  # more of them are a sign of keys that are data
_TWO = "[0-9][0-9]"
_INSTANTS = re.compile(  # one a line; whether they exist is another question
    rf"(?:{_TWO}{_TWO}-{_TWO}-{_TWO}T{_TWO}:{_TWO}:{_TWO}(?:\.[0-9]{{1,6}})?(?:Z|[+-]{_TWO}(?::?{_TWO})?)?\n)*+"
).fullmatch

Keys = tuple[str | None, ...]
"""A path from the record: keys, and None for the items of a list."""


@dataclass(frozen=True, slots=True)
class Known:
    """A recorded schema in a form that tells fast whether records have anything that is not recorded.

    Attributes:
        type: msgspec's, of a list of records; date-times are any text there.
        instants: The paths whose texts must all be date-times.
    """

    type: Any
    instants: tuple[Keys, ...]

    @classmethod
    def of(cls, root: Node) -> Self | None:
        """None where a schema has no such form."""
        if paths(root) > _MOST_PATHS:
            return None
        instants: list[Keys] = []
        try:
            return cls(list[_struct(root, (), instants)], tuple(instants))  # type: ignore[misc]
        except (ValueError, RecursionError, _Unspeakable):  # ValueError: a key that a struct cannot have, such as '"'
            return None

    def fits(self, records: list[dict[str, Any]]) -> bool:
        """Whether all values are of recorded kinds. False may also mean that this was not found out."""
        try:
            msgspec.convert(records, self.type)
            return all(instants(texts_at(records, path)) is not None for path in self.instants)
        except (msgspec.ValidationError, UnicodeEncodeError):
            return False


class _Unspeakable(Exception):
    """msgspec has no type for this."""


def texts_at(records: list[dict[str, Any]], path: Keys) -> list[str]:
    """The texts at a path, of all records."""
    values: list[Any] = list(records)
    for key in path:
        if key is None:
            values = [item for value in values if value.__class__ is list for item in value]
        else:
            values = [value.get(key) for value in values if value.__class__ is dict]
    return [value for value in values if value.__class__ is str]


def instants(texts: list[str]) -> list[datetime] | None:
    """The moments of texts that are all ISO 8601 date-times, at once; None also where that was not found out."""
    if not _INSTANTS("\n".join([*texts, ""])):
        return None
    try:
        return msgspec.convert(texts, list[datetime])
    except msgspec.ValidationError:  # the calendar does not have them
        return None


def paths(node: Node) -> int:
    """How many paths there are from here on, this one included."""
    return 1 + sum(map(paths, node.fields.values())) + (paths(node.items) if node.items else 0)


def _struct(node: Node, path: Keys, instants: list[Keys]) -> Any:
    """An object: each of its keys may be missing, none may be added."""
    names = {f"f{number}": key for number, key in enumerate(node.fields)}
    types = {name: _union(node.fields[key], (*path, key), instants) for name, key in names.items()}
    fields = [(name, type_ | msgspec.UnsetType, msgspec.UNSET) for name, type_ in types.items()]
    return msgspec.defstruct("Record", fields, rename=names, forbid_unknown_fields=True, gc=False)


def _union(node: Node, path: Keys, instants: list[Keys]) -> Any:
    # No `Meta(pattern=…)` here: in a union with a list, msgspec 0.22 crashes on it.
    mask, types = node.mask, list[Any](_numbers(node.mask))
    if mask & _NULL:
        types.append(None)
    if mask & _BOOL:
        types.append(bool)
    if mask & (_TEXT | _INSTANT_BIT):
        types.append(str)
        if not mask & _TEXT:
            instants.append(path)
    if mask & _OBJECT:
        types.append(_struct(node, path, instants))
    if mask & _LIST:
        empty = Annotated[list[Any], msgspec.Meta(max_length=0)]
        types.append(list[_union(node.items, (*path, None), instants)] if node.items else empty)  # type: ignore[misc]
    if not types:
        raise _Unspeakable
    return Union[tuple(types)]  # noqa: UP007  # of types that are known only now


def _numbers(mask: int) -> Iterator[Any]:
    """Types that take the recorded kinds of numbers and narrower ones."""
    if mask & _VAST:
        yield int
    elif mask & _HUGE:
        raise _Unspeakable  # msgspec knows no bounds beyond 64 bits
    elif mask & _LONG:
        yield Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
    elif mask & _INT:
        yield Annotated[int, msgspec.Meta(ge=-(2**53), le=2**53)]
    elif mask & _FLOAT:  # msgspec takes integers for floats: those that a float may not hold are kept out
        yield Annotated[float, msgspec.Meta(gt=-(2.0**53), lt=2.0**53)]
        return
    if mask & _FLOAT:
        yield float
