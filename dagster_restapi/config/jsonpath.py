"""JSONPath as configurations spell it: compiled once, with a short way for plain `a.b.c`."""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum
from functools import lru_cache
from typing import Any, Final

import jsonpath

from dagster_restapi.errors import ConfigError


class Missing(Enum):
    """The type of `MISSING`, so that a type checker can tell it from a value."""

    MISSING = "missing"

    def __repr__(self) -> str:
        return "MISSING"

    def __bool__(self) -> bool:
        return False


MISSING: Final = Missing.MISSING
"""What `first` gives where a path matches nothing; an explicit null is None."""

_SEGMENT = re.compile(
    r"""
      \.? (?P<name> (?! \d+ (?: [.\[] | $ ) ) [\w@] [\w@-]* ) # data, x-id, 1st, @type
    | \.? \[ (?P<quote> ['"] ) (?P<key> [^'"\\]* ) (?P=quote) \]         # ['odd key']
    | \.? (?P<mark> ['"] ) (?P<bare> [^'"\\]* ) (?P=mark)                # 'odd key'
    | \[ (?P<index> -?\d+ ) \]                                          # [0]
    """,
    re.VERBOSE,
)


def plain_keys(path: str) -> tuple[str | int, ...] | None:
    """The keys and indexes of a path that holds nothing else; None for everything a JSONPath can do beyond."""
    position = 1 if path.startswith("$") else 0
    keys: list[str | int] = []
    while position < len(path):
        match = _SEGMENT.match(path, position)
        if match is None:
            return None
        misplaced = match[0].startswith(".") if position == 0 else not match[0].startswith((".", "["))
        if misplaced:
            return None
        keys.append(int(match["index"]) if match["index"] else match["name"] or match["key"] or match["bare"] or "")
        position = match.end()
    return tuple(keys)


def _follow(keys: tuple[str | int, ...]) -> Callable[[Any], Any]:
    def follow(data: Any) -> Any:
        for key in keys:
            if isinstance(key, int):
                if not isinstance(data, list) or not -len(data) <= key < len(data):
                    return MISSING
                data = data[key]
            elif not isinstance(data, dict) or key not in data:
                return MISSING
            else:
                data = data[key]
        return data

    return follow


def _compile(path: str) -> jsonpath.JSONPath | jsonpath.CompoundJSONPath:
    if path.strip():
        try:
            return jsonpath.compile(path)
        except (jsonpath.JSONPathError, RecursionError):
            pass
    raise ConfigError(
        f"{path!r} is no JSONPath",
        hint="Write it like data.items, $.data.items, results[*].id or ['odd key'].x; $ is the whole document.",
    )


@lru_cache(maxsize=4096)
def is_plain(path: str) -> bool:
    """Whether a path is keys and indexes alone, so that it matches one value at the most."""
    return bool(path) and plain_keys(path) is not None


@lru_cache(maxsize=4096)
def select(path: str) -> Callable[[Any], list[Any]]:
    """All matches of a path, in document order; an empty list where there are none.

    Args:
        path: As dlt takes it: `data.items`, `$.data.items`, `$`, `results[*].x`, `['odd key']`.

    Raises:
        ConfigError: The text is no JSONPath.
    """
    keys = plain_keys(path)
    if keys is not None and path:
        follow = _follow(keys)

        def one(data: Any) -> list[Any]:
            value = follow(data)
            return [] if value is MISSING else [value]

        return one
    compiled = _compile(path)

    def all_matches(data: Any) -> list[Any]:
        return list(compiled.findall(data)) if isinstance(data, (dict, list)) else []

    return all_matches


@lru_cache(maxsize=4096)
def first(path: str) -> Callable[[Any], Any]:
    """The first match of a path, or `MISSING`. Takes what `select` takes.

    Raises:
        ConfigError: The text is no JSONPath.
    """
    keys = plain_keys(path)
    if keys is not None and path:
        return _follow(keys)
    compiled = _compile(path)

    def first_match(data: Any) -> Any:
        match = compiled.match(data) if isinstance(data, (dict, list)) else None
        return MISSING if match is None else match.value

    return first_match
