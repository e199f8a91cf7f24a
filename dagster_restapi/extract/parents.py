"""The frozen rows of a parent: one line per distinct key in a file beside the spool, read one after another."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import md5
from itertools import chain
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import msgspec

from dagster_restapi.config.jsonpath import EACH, MISSING, Each, each, first, inner_of, select
from dagster_restapi.config.placeholders import unseen

if TYPE_CHECKING:
    from dagster_restapi.model import JsonScalar, Parent

FILE = "parents.ndjson"

_sorted = msgspec.json.Encoder(order="sorted").encode


@dataclass(frozen=True, slots=True)
class ParentRow:
    """What a child needs of one row of its parent.

    Attributes:
        key: The values that requests are made of, by JSONPath.
        include: The values that are copied into the child's records, by JSONPath.
        cursor: How far the child is loaded for this key; None: not yet.
        owed: Whether an earlier load left this row's children out.
    """

    key: dict[str, Any]
    include: dict[str, Any] = field(default_factory=dict)
    cursor: str | int | float | None = None
    owed: bool = False

    @property
    def label(self) -> str:
        """The key as messages show it."""
        return ", ".join(f"{name}={value!r}" for name, value in self.key.items())


class RequestFields:
    """Finds in records what the requests of a resource's children are made of.

    Rows keep it beside their columns, whose types may not have what the API sent: `1` beside a text is `"1"` there.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = [(path, _values(path[1:]) if path.startswith(EACH) else first(path)) for path in paths]

    def of(self, records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]] | None:
        """The values of each record by path, without those that it lacks; None where no child asks for any."""
        return list(map(self._of, records)) if self._paths else None

    def _of(self, record: Mapping[str, Any]) -> dict[str, Any]:
        return {path: value for path, find in self._paths if (value := find(record)) is not MISSING}


def _values(path: str) -> Callable[[Any], Any]:
    """Finds the value of a path in each of the elements that it goes through, null where one lacks it."""
    many = each(path)
    assert many is not None, "a path that matches once has no elements"
    elements, inner = _elements(many), first(many.inner)

    def values(record: Any) -> Any:
        found = elements(record)
        return found if found is MISSING else [_known(inner(element)) for element in found]

    return values


def _elements(many: Each) -> Callable[[Any], Any]:
    """Finds the elements that a path goes through: none of an empty list; MISSING where there is not even that."""
    elements, root = select(many.elements), first(many.root)

    def find(record: Any) -> Any:
        return elements(record) or (MISSING if root(record) in (MISSING, None) else [])

    return find


def _known(value: Any) -> Any:
    return None if value is MISSING else value


class Unseen:
    """The paths that no record had so far, to tell a slip from a field that is sometimes left out."""

    def __init__(self, parent: Parent) -> None:
        self._resource, self._paths = parent.resource, {*parent.fields, *parent.include}
        self._there: dict[str, None] = {}  # what the first records have
        self._looks = _LOOKS

    def look(self, record: Mapping[str, Any], found: Iterable[str]) -> None:
        """Takes a record, and the paths that it has."""
        if self._paths:
            self._paths.difference_update(found)
            if self._looks:
                self._looks -= 1
                self._there.update(dict.fromkeys(_names(record)))

    def warnings(self) -> list[str]:
        """One for each path that no record had, where there were records."""
        return [unseen(self._resource, path, list(self._there)) for path in sorted(self._paths) if self._there]


_LOOKS = 100  # records
_WORD = re.compile(r"[^\W\d][\w-]*")


def _names(record: Mapping[str, Any], depth: int = 3) -> Iterator[str]:
    """The fields of a record and of the objects in it, as placeholders name them."""
    for key, value in record.items():
        name = key if _WORD.fullmatch(key) else f"['{key}']"
        yield name
        if isinstance(value, Mapping) and depth > 1:
            yield from (
                f"{name}{inner if inner.startswith('[') else f'.{inner}'}" for inner in _names(value, depth - 1)
            )


parse_row = msgspec.json.Decoder(ParentRow).decode
"""One line of the file."""


def read_parents(path: Path) -> Iterator[ParentRow]:
    """The rows of the file, one after another."""
    with path.open("rb") as lines:
        for line in lines:
            yield parse_row(line)


@dataclass(frozen=True, slots=True)
class Frozen:
    """What freezing brought.

    Attributes:
        keys: Distinct keys written.
        skipped_null: Rows left out because a part of their key was null.
        load_id: The newest load of a parent that has a table.
        since: The load from which on rows count as changed, where only those are here.
        whole: Whether these are all rows of the parent, and not only those that changed.
        cursors: Whether the rows tell how far the child is loaded for them.
        complete: Whether the parent's own walk came to its end.
        warnings: What a person should know of that walk.
        beside: Files that were written beside the rows, and belong to them.
    """

    keys: int
    skipped_null: int
    load_id: str | None = None
    since: str | None = None
    whole: bool = True
    cursors: bool = False
    complete: bool = True
    warnings: tuple[str, ...] = ()
    beside: tuple[Path, ...] = ()


def freeze_parents(
    records: Iterable[Mapping[str, Any]], parent: Parent, path: Path, cursors: Mapping[str, JsonScalar]
) -> Frozen:
    """Writes the parent's rows that are not in a table: one line per distinct key, in order of appearance.

    Args:
        cursors: How far the child is loaded, by key.
    """
    absent = Unseen(parent)
    rows = parent_rows(records, parent, absent)
    placed = (row and replace(row, cursor=cursors.get(_sorted(row.key).decode())) for row in rows)
    frozen = freeze_rows(placed if cursors else rows, path)
    return replace(frozen, cursors=bool(cursors), warnings=tuple(absent.warnings()))


def freeze_rows(rows: Iterable[ParentRow | None], path: Path) -> Frozen:
    """Writes one line per distinct key, in order of appearance. The file appears whole or not at all.

    Where several rows have one key, what is included comes from the last of them, as it does of a stored parent.
    """
    seen: set[bytes] = set()
    later: dict[bytes, bytes] = {}  # of keys that came again: their last line
    skipped = 0
    part = path.with_suffix(".part")
    with _private(part) as lines:
        for row in rows:
            if row is None:
                skipped += 1
                continue
            digest, line = _digest_of(row), msgspec.json.encode(row) + b"\n"
            if digest not in seen:
                seen.add(digest)
                lines.write(line)
            else:
                later[digest] = line
    if later:
        whole = path.with_suffix(".last")
        with part.open("rb") as first, _private(whole) as lines:
            lines.writelines(later.get(_digest_of(parse_row(line)), line) for line in first)
        whole.replace(part)
    part.replace(path)
    return Frozen(len(seen), skipped)


def _private(path: Path) -> IO[bytes]:
    return open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")


def _digest_of(row: ParentRow) -> bytes:
    return md5(msgspec.json.encode(row.key), usedforsecurity=False).digest()


def parent_rows(
    records: Iterable[Mapping[str, Any]], parent: Parent, absent: Unseen | None = None
) -> Iterator[ParentRow | None]:
    """What the child needs of each record of its parent, or of each element that its placeholders go through.

    None where a part of the key is null or not there: then there is nothing to ask with.

    Args:
        absent: Is told which fields each record has.
    """
    paths = (*parent.fields, *parent.include)
    inners = {path: first(inner) for path in paths if (inner := inner_of(path, parent.elements)) is not None}
    plain = {path: first(path) for path in paths if path not in inners}
    many = next((found for path in inners if (found := each(path))), None)
    elements = _elements(many) if many else None
    for record in records:
        values = {path: value for path, find in plain.items() if (value := find(record)) is not MISSING}
        through: Any = MISSING if elements is None else elements(record)
        rows = [values] if through is MISSING else [{**values, **_inner_values(inners, item)} for item in through]
        if absent is not None:
            absent.look(record, chain(*rows) if rows else (*values, *inners))
        for row in rows:
            key = {path: row.get(path) for path in parent.fields}
            include = {path: row.get(path) for path in parent.include}
            yield None if None in key.values() else ParentRow(key, include)


def _inner_values(inners: Mapping[str, Callable[[Any], Any]], element: Any) -> dict[str, Any]:
    return {path: value for path, find in inners.items() if (value := find(element)) is not MISSING}


def included(parent: Parent | None, row: ParentRow | None) -> dict[str, Any]:
    """The parent's fields under the names that they have in the child's records: `_<parent>_<field>`."""
    if parent is None or row is None:
        return {}
    return {f"_{parent.resource}_{name}": value for name, value in row.include.items()}
