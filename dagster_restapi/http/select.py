"""Which part of an answer is the data: by the configured path, or by dlt's rule, chosen on the first page and kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import jsonpath as jsonpath_library
from jsonpath.selectors import IndexSelector, NameSelector

from dagster_restapi.config import jsonpath
from dagster_restapi.config.jsonpath import MISSING
from dagster_restapi.errors import ResponseError

RECORD_KEYS = frozenset(
    ("data", "items", "results", "entries", "records", "rows", "entities", "payload", "content", "objects", "values")
)
_ERROR_KEYS = ("error", "errors")
_DEPTH = 3


@dataclass(frozen=True, slots=True)
class Choice:
    """Where the data stands, as the first page decided it. It travels in the state of a walk.

    Attributes:
        path: JSONPath of the data.
        detected: Nobody configured the path: it was found.
        listed: The data was a list, so an object in its place is another kind of answer. None: not seen yet.
    """

    path: str
    detected: bool = False
    listed: bool | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """The records of one page, and how many elements the API counts on it (None: that cannot be told)."""

    records: list[Any]
    items: int | None
    choice: Choice | None


def as_object(record: Any) -> Any:
    """A record as an object: a scalar or list becomes `{"value": record}`, as dlt stores it."""
    return record if isinstance(record, dict) else {"value": record}


def select(
    body: Any, choice: Choice | None, *, missing_data: Literal["fail", "empty"] = "fail", where: str = ""
) -> Selection:
    """The records in a decoded body.

    Args:
        body: The body; MISSING where the answer has none (204), which is an empty page.
        choice: Of the page before, or the configured path; None: find the data.
        missing_data: What an answer without the data path is: an error, or an empty page.
        where: Names the page in errors.

    Raises:
        ResponseError: The data path is missing, or an answer that is not the data stands in its place.
    """
    if body is MISSING:
        return Selection([], 0, choice)
    if choice is None:
        choice = detect_data(body, where)
    elif choice.detected:
        _refuse_failure(body, where)
    matches = jsonpath.select(choice.path)(body)
    if not matches:
        return _nothing(body, choice, missing_data, where)
    if matches == [None] and not choice.detected:
        _refuse_failure(body, where)
    records, listed = _flat(matches)
    if choice.path == "$" and choice.listed and not listed and records:
        raise ResponseError(
            f"the answer is {_kind(records[0])}, but was a list of records on earlier pages",
            where=where,
            hint="If that is how the API tells of an error, name it in error_rules; nothing of this page was taken.",
        )
    was = choice.listed if not listed else True
    return Selection(records, _items(body, choice.path, records), Choice(choice.path, choice.detected, was))


def _flat(matches: list[Any]) -> tuple[list[Any], bool]:
    """The records in what a path matched, and whether they stood in a list. Null is no record where data should be."""
    if len(matches) == 1:
        data = matches[0]
        if data is None:
            return [], False
        return (data, True) if isinstance(data, list) else ([data], False)
    records: list[Any] = []
    for match in matches:
        if isinstance(match, list):
            records.extend(match)
        elif match is not None:
            records.append(match)
    return records, True


def _nothing(body: Any, choice: Choice, missing_data: str, where: str) -> Selection:
    """A path that matches nothing: with an empty list on its way an empty page, else another kind of answer."""
    at = _beginning(choice.path)(body)
    if isinstance(at, list) or (at is None and _reaches_beyond(choice.path)):
        return Selection([], len(at or []), choice)
    if missing_data == "empty":
        return Selection([], 0, choice)
    keys = f"it has {', '.join(map(repr, list(body)[:8]))}" if isinstance(body, dict) else f"it is {_kind(body)}"
    raise ResponseError(
        f"the answer has no data at {choice.path!r}: {keys}",
        where=where,
        hint="Correct data_selector, name the API's errors in error_rules, or set `missing_data: empty` if an answer "
        "without it is a page without rows.",
        transient=bool(choice.listed),  # on the first page it is the setting that is wrong
    )


def _items(body: Any, path: str, records: list[Any]) -> int | None:
    """How many elements the API counts: the length of the first list on the path, whatever is picked from them."""
    at = _beginning(path)(body)
    if isinstance(at, list):
        return len(at)
    return len(records) if not _reaches_beyond(path) or not records else None


@lru_cache(maxsize=1024)
def _beginning(path: str) -> Callable[[Any], Any]:
    """Follows the plain keys that a path begins with."""
    if not _reaches_beyond(path):
        return jsonpath.first(path)
    compiled = jsonpath_library.compile(path)
    keys: list[str] = []
    for segment in getattr(compiled, "segments", ()):  # a path of several, joined by |, has none
        chosen = segment.selectors
        plain = type(segment).__name__ == "JSONPathChildSegment" and len(chosen) == 1
        if not plain or not isinstance(chosen[0], NameSelector | IndexSelector):
            break
        step = chosen[0].name if isinstance(chosen[0], NameSelector) else chosen[0].index
        keys.append(f"[{json.dumps(step)}]" if isinstance(step, str) else f"[{step}]")
    return jsonpath.first("$" + "".join(keys))


@lru_cache(maxsize=1024)
def _reaches_beyond(path: str) -> bool:
    """Whether the path may match more than one place."""
    compiled = _compiled(path)
    return compiled is None or not compiled.singular_query()


def _compiled(path: str) -> jsonpath_library.JSONPath | None:
    try:
        compiled = jsonpath_library.compile(path)
    except jsonpath_library.JSONPathError:  # dlt's own spellings of plain keys
        compiled = jsonpath_library.compile("$")
    return compiled if isinstance(compiled, jsonpath_library.JSONPath) else None


def _kind(value: Any) -> str:
    if isinstance(value, dict):
        return f"an object with {', '.join(map(repr, list(value)[:5]))}" if value else "an empty object"
    return "a list" if isinstance(value, list) else "null" if value is None else f"only {type(value).__name__}"


def key_path(keys: tuple[str, ...]) -> str:
    """The JSONPath of nested keys, whatever characters they hold."""
    return "$" + "".join(f"[{json.dumps(key, ensure_ascii=False)}]" for key in keys)


def detect_data(body: Any, where: str = "") -> Choice:
    """Where the data of an answer stands, by dlt's rule (`rest_client.detector`).

    A list is the data. In an object, of the lists at most three keys deep, in document order: the first under one of
    `RECORD_KEYS`, else the first, else the object itself. Beyond dlt: an answer that says of itself that it failed is
    refused, `error` and `errors` are never taken for data, and a null under one of `RECORD_KEYS` is an empty page where
    nothing but paging stands beside it.

    Raises:
        ResponseError: The answer says that it failed, or is a bare text or number.
    """
    if not isinstance(body, dict):
        if body is not None and not isinstance(body, list):
            raise ResponseError(
                f"the answer is {_kind(body)}, no object or list",
                where=where,
                hint='If that is the data, say so with data_selector: "$".',
            )
        return Choice("$", detected=True)
    _refuse_failure(body, where)
    lists = [keys for keys, value in _lists(body) if keys[-1].lower() not in _ERROR_KEYS]
    named = next((keys for keys in lists if keys[-1] in RECORD_KEYS), None)
    if found := named or (lists[0] if lists else None) or _null_page(body):
        return Choice(key_path(found), detected=True)
    return Choice("$", detected=True)


def _lists(body: dict[str, Any], at: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], list[Any]]]:
    found: list[tuple[tuple[str, ...], list[Any]]] = []
    for key, value in body.items():
        if isinstance(value, list):
            found.append(((*at, key), value))
        elif isinstance(value, dict) and len(at) + 1 < _DEPTH:
            found.extend(_lists(value, (*at, key)))
    return found


_PAGING_KEYS = (
    "next", "prev", "first", "last", "total", "count", "page", "per_page", "limit", "offset", "size", "has_", "hasmore",
    "cursor", "link", "_link", "meta", "_meta", "paging", "start", "end",
)  # fmt: skip


def _null_page(body: dict[str, Any]) -> tuple[str, ...] | None:
    """The key of an empty page whose list was written as null, as Go's encoder does."""
    nulls = [key for key, value in body.items() if key in RECORD_KEYS and value is None]
    others = [key.lower() for key in body if key not in nulls]
    if len(nulls) == 1 and others and all(key.startswith(_PAGING_KEYS) for key in others):
        return (nulls[0],)
    return None


def _refuse_failure(body: Any, where: str) -> None:
    """An error answered with status 200, as Slack and apilayer do."""
    if not isinstance(body, dict):
        return
    failed = next((key for key in ("success", "ok") if body.get(key) is False), None)
    failed = failed or next(
        (k for k, value in body.items() if k.lower() in _ERROR_KEYS and isinstance(value, str | dict | list) and value),
        None,
    )
    if failed is None:
        return
    raise ResponseError(
        f"the answer tells of an error: {failed!r} is {json.dumps(body[failed], default=str)[:300]}",
        where=where,
        hint='Name the API\'s errors in error_rules; if this is data, say where it stands with data_selector, "$" for '
        "the whole answer.",
    )
