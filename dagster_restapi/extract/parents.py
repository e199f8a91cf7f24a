"""The frozen rows of a parent: one line per distinct key in a file beside the spool, read one after another."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import md5
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import msgspec

from dagster_restapi.config.jsonpath import MISSING, first
from dagster_restapi.errors import ExtractError

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
        self._paths = [(path, first(path)) for path in paths]

    def of(self, records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]] | None:
        """The values of each record by path, without those that it lacks; None where no child asks for any."""
        return list(map(self._of, records)) if self._paths else None

    def _of(self, record: Mapping[str, Any]) -> dict[str, Any]:
        return {path: value for path, find in self._paths if (value := find(record)) is not MISSING}


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
    records: Iterable[Mapping[str, Any]], parent: Parent, path: Path, where: str, cursors: Mapping[str, JsonScalar]
) -> Frozen:
    """Writes the parent's rows that are not in a table: one line per distinct key, in order of appearance.

    Args:
        cursors: How far the child is loaded, by key.

    Raises:
        ExtractError: A row lacks a field that `include_from_parent` or a placeholder names.
    """
    rows = parent_rows(records, parent, where)
    placed = (row and replace(row, cursor=cursors.get(_sorted(row.key).decode())) for row in rows)
    return replace(freeze_rows(placed if cursors else rows, path), cursors=bool(cursors))


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


def parent_rows(records: Iterable[Mapping[str, Any]], parent: Parent, where: str) -> Iterator[ParentRow | None]:
    """What the child needs of each record of its parent; None where a part of the key is null."""
    keys = [(name, first(name)) for name in parent.fields]
    includes = [(name, first(name)) for name in parent.include]
    for record in records:
        key = {name: find(record) for name, find in keys}
        include = {name: find(record) for name, find in includes}
        for name, value in (*key.items(), *include.items()):
            if value is MISSING:
                raise ExtractError(
                    f"a row of the parent {parent.resource!r} has no field {name!r}",
                    where=where,
                    hint=f"Fields of that row: {', '.join(list(record)[:20])}.",
                )
        yield None if None in key.values() else ParentRow(key, include)


def included(parent: Parent | None, row: ParentRow | None) -> dict[str, Any]:
    """The parent's fields under the names that they have in the child's records: `_<parent>_<field>`."""
    if parent is None or row is None:
        return {}
    return {f"_{parent.resource}_{name}": value for name, value in row.include.items()}
