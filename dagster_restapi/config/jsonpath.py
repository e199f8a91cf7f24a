"""JSONPath as configurations spell it: compiled once, with a short way for plain `a.b.c`."""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum
from functools import lru_cache
from typing import Any, Final, NamedTuple

import jsonpath
from jsonpath.segments import JSONPathChildSegment
from jsonpath.selectors import IndexSelector, NameSelector

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


class Each(NamedTuple):
    """A path that may match many values, as the elements that it goes through and what it asks of each.

    Attributes:
        elements: The path as far as it may match more than once: `labels[*]` of `labels[*].id`.
        inner: The rest, from an element on; `$` is the element itself.
        root: The path before the first step that may match more than once: `labels`.
        container: The path of the list, where the elements are just the items of one; else None.
    """

    elements: str
    inner: str
    root: str
    container: str | None


@lru_cache(maxsize=4096)
def each(path: str) -> Each | None:
    """What a path goes through, in one spelling for all that mean the same; None where it has one match at the most.

    Raises:
        ConfigError: The text is no JSONPath.
    """
    if path and plain_keys(path) is not None:
        return None
    compiled = _compile(path)
    if not isinstance(compiled, jsonpath.JSONPath):
        return Each(path, "$", "$", None)
    if compiled.singular_query():
        return None
    steps = [(str(segment), _is_single(segment)) for segment in compiled.segments]
    first_many = next(number for number, (_, single) in enumerate(steps) if not single)
    last_many = max(number for number, (_, single) in enumerate(steps) if not single)
    texts = [text for text, _ in steps]
    root = "".join(["$", *texts[:first_many]])
    return Each(
        "".join(["$", *texts[: last_many + 1]]),
        "".join(["$", *texts[last_many + 1 :]]),
        root,
        root if first_many == last_many and texts[last_many] == "[*]" else None,
    )


def _is_single(segment: Any) -> bool:
    if not isinstance(segment, JSONPathChildSegment) or len(segment.selectors) != 1:
        return False
    return isinstance(segment.selectors[0], (NameSelector, IndexSelector))


def inner_of(path: str, elements: str | None) -> str | None:
    """What a path asks of each of these elements; None where it does not go through them."""
    many = each(path) if elements else None
    return many.inner if many and many.elements == elements else None


def kept_as(path: str, elements: str | None) -> str:
    """The name under which a row keeps the value of a path; of elements it keeps a list with the value of each."""
    return path if inner_of(path, elements) is None else f"{EACH}{path}"


EACH = "*"  # no path of a record begins so and goes on


def checked(path: str | None) -> str | None:
    """The path itself, where it is one; for the fields of models.

    Raises:
        ConfigError: The text is no JSONPath.
    """
    if path is not None:
        select(path)
    return path
