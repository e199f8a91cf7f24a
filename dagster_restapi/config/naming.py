"""Names of tables and columns as dlt's snake_case makes them."""

from __future__ import annotations

import re
from functools import lru_cache

_SPOKEN = str.maketrans("+-*@|", "x_xal")  # dlt's replacements for signs that often stand alone
_ODD = re.compile(r"[^A-Za-z0-9_]+")
_WORD = re.compile(r"([^_])([A-Z][a-z]+)")
_CAPITAL = re.compile(r"([a-z0-9])([A-Z])")
_UNDERSCORES = re.compile(r"_{2,}")


@lru_cache(maxsize=65536)
def normalize(name: str) -> str:
    """One identifier in snake_case: `camelCase` gives `camel_case`, `1st` gives `_1st`, `a b` gives `a_b`.

    Runs of underscores become one, each underscore at the end an `x`; what is empty becomes `x`. The result is
    unchanged by a second call, but different names can meet in it. Source: dlt's naming convention snake_case.
    """
    name = _ODD.sub("_", name.strip().translate(_SPOKEN))
    name = _CAPITAL.sub(r"\1_\2", _WORD.sub(r"\1_\2", name)).lower()
    if name[:1].isdigit():
        name = f"_{name}"
    body = name.rstrip("_")
    return _UNDERSCORES.sub("_", body + "x" * (len(name) - len(body))) or "x"


def normalize_path(name: str) -> str:
    """A table's or a column's name in snake_case, part by part: `__`, which separates the parts, stays.

    Empty parts are left out, so that `__typename` gives `typename`; a name of spaces alone gives `_empty`. The result
    is unchanged by a second call. Source: dlt's naming of tables and columns.
    """
    if not name.strip():
        return "_empty"
    return "__".join(normalize(part) for part in name.strip().split("__") if part.strip()) or "x"


def asset_name(table: str) -> str:
    """The name under which Dagster knows a table: what is no letter, digit or underscore becomes an underscore."""
    return _ODD.sub("_", table)
