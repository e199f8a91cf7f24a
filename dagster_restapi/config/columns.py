"""Columns: how users spell them, where they stand in a record, and what tables call them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dagster_restapi.config.naming import normalize_path

if TYPE_CHECKING:
    from dagster_restapi.config.table import ColumnHint
    from dagster_restapi.model import TablePlan

Path = tuple[str, ...]
"""Keys from a table's record down to a value; () is the record itself, or the value of a list of scalars."""

_KEY = re.compile(r"""\.?(?:\[(['"])(?P<quoted>.*?)\1\]|\[(?P<index>\d+)\]|(?P<name>[^.\[\]]+))""")


def keys_of(path: str) -> tuple[str | int, ...] | None:
    """The keys and indexes of a plain JSONPath (`a.b`, `$.a`, `a['odd key']`, `a[0].b`); None for any other."""
    text = path.strip().removeprefix("$")
    keys: list[str | int] = []
    position = 0
    while position < len(text):
        match = _KEY.match(text, position)
        if match is None or "*" in match[0]:
            return None
        keys.append(int(match["index"]) if match["index"] else match["name"] or match["quoted"] or "")
        position = match.end()
    return tuple(keys)


def key_path(path: str) -> Path:
    """The keys of a column's JSONPath; a path that is none is taken as one key."""
    keys = keys_of(path)
    if keys is None or not all(isinstance(key, str) for key in keys):
        return (path,)
    return tuple(str(key) for key in keys)


def column_name(plan: TablePlan, path: Path) -> str:
    """The name that a column has unless another path came first."""
    if not path:
        return "value"
    return "__".join(_normal(plan, key) for key in path)


def child_name(plan: TablePlan, parent: str, path: Path) -> str:
    """The name that a child table has unless another path came first."""
    return "__".join((parent, *(_normal(plan, key) for key in path or ("list",))))


def _normal(plan: TablePlan, key: str) -> str:
    name = normalize_path(key) if plan.naming == "snake_case" else key.replace("\0", "")
    return name or "x"


def longest_path(nested: str | None, max_nesting: int | None) -> int | None:
    """The most keys of a path that has a column of its own: what is below is inside one. None: as many as there are."""
    if nested in ("json", "native"):
        return 1
    return None if max_nesting is None else max_nesting + 1


class Hints:
    """What the user said of the columns of a root table."""

    def __init__(self, plan: TablePlan) -> None:
        self._plan = plan
        self.by_path = {key_path(name): hint for name, hint in plan.hints.items()}
        self._longest = longest_path(plan.nested, plan.max_nesting)

    def of(self, path: Path) -> ColumnHint | None:
        """The hint of a column, which may be spelled by its path or by its name; None inside a column."""
        if self._longest is not None and len(path) > self._longest:
            return None
        return self.by_path.get(path) or self.by_path.get((column_name(self._plan, path),))
