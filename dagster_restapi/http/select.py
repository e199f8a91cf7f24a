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
    """The records of one page.

    Attributes:
        records: As the API sent them, without nulls.
        items: How many elements the API counts, nulls included; None where that cannot be told.
        choice: Where the data stands, for the pages after this one.
        nulls: How many elements were left out because they are null.
    """

    records: list[Any]
    items: int | None
    choice: Choice | None
    nulls: int = 0


def as_object(record: Any) -> Any:
    """A record as an object: a scalar or list becomes `{"value": record}`, as dlt stores it."""
    return record if isinstance(record, dict) else {"value": record}


def select(
    body: Any, choice: Choice | None, *, missing_data: Literal["fail", "empty"] = "fail", where: str = ""
) -> Selection:
    """The records in a decoded body.

    Args:
        body: The body; MISSING where the answer says that there is none, which is an empty page.
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
        _refuse_late_list(body, choice, where)
    matches = jsonpath.select(choice.path)(body)
    if not matches:
        return _nothing(body, choice, missing_data, where)
    if matches == [None] and not choice.detected:
        _refuse_failure(body, where)
    found, listed = _flat(matches, choice, where)
    if choice.listed and not listed and found:
        raise ResponseError(
            f"the answer has {_kind(found[0])} at {choice.path!r}, where earlier pages had a list of records",
            where=where,
            hint="If that is how the API tells of an error, name it in error_rules; nothing of this page was taken.",
        )
    records = _without_nulls(found) if listed and None in found else found
    was = choice.listed if not listed else True
    items = _items(body, choice.path, found)
    return Selection(records, items, Choice(choice.path, choice.detected, was), len(found) - len(records))


def _flat(matches: list[Any], choice: Choice, where: str) -> tuple[list[Any], bool]:
    """The elements in what a path matched, and whether they stood in a list. Null is no record where data should be."""
    if len(matches) > 1:
        return [item for match in matches for item in (match if isinstance(match, list) else [match])], True
    data = matches[0]
    if data is None:
        return [], False
    if _reaches_beyond(choice.path):  # one of several that there might have been
        return data if isinstance(data, list) else [data], True
    listed = data if isinstance(data, list) else _listed(data, choice, where)
    return ([data], False) if listed is None else (listed, True)


def _without_nulls(elements: list[Any]) -> list[Any]:
    """A null among objects or lists is none of them; among texts and numbers it is a value."""
    kept = [element for element in elements if element is not None]
    return elements if kept and not any(isinstance(element, dict | list) for element in kept) else kept


# ---- lists under another name ----------------------------------------------------------------------------------------
def as_list(data: Any) -> list[Any] | None:
    """The elements of a list that PHP wrote as an object: `{}` for an empty one, `{"0": …, "2": …}` for one with gaps.

    None: it is no such thing.
    """
    if isinstance(data, list):
        return data
    if not isinstance(data, dict) or not all(key.isascii() and key.isdigit() for key in data):
        return None
    if not all(isinstance(element, dict) for element in data.values()):
        return None  # {"2023": 5, "2024": 6} is a record
    return [data[key] for key in sorted(data, key=int)]


def _listed(data: Any, choice: Choice, where: str) -> list[Any] | None:
    """The elements of an object that stands where a list should; None: it is a record.

    Raises:
        ResponseError: It may be a list with gaps or objects by their ids, and no page before has told.
    """
    elements = as_list(data)
    if elements is None or (not elements and choice.path == "$"):
        return None
    if elements and not choice.listed and "0" not in data:
        raise ResponseError(
            f"at {choice.path!r} stand objects under numbers ({', '.join(list(data)[:5])}): a list with gaps, or a map",
            where=where,
            hint=f"If each of them is a row, say so with data_selector: {choice.path + '.*'!r}.",
        )
    return elements


def _nothing(body: Any, choice: Choice, missing_data: str, where: str) -> Selection:
    """A path that matches nothing: with an empty list on its way an empty page, else another kind of answer."""
    at = _beginning(choice.path)(body)
    listed = as_list(at)
    if listed is not None or (at is None and _reaches_beyond(choice.path)):
        return Selection([], len(listed or ()), choice)
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
    if not _reaches_beyond(path):
        return len(records)
    listed = as_list(_beginning(path)(body))
    if listed is not None:
        return len(listed)
    return None if records else 0


@lru_cache(maxsize=1024)
def _beginning(path: str) -> Callable[[Any], Any]:
    """Follows the plain keys that a path begins with."""
    if not _reaches_beyond(path):
        return jsonpath.first(path)
    return jsonpath.first("$" + "".join(f"[{json.dumps(step)}]" for step in first_keys(path)))


@lru_cache(maxsize=1024)
def first_keys(path: str) -> tuple[str | int, ...]:
    """The plain keys and indexes that a path begins with."""
    if (whole := jsonpath.plain_keys(path)) is not None:
        return whole
    keys: list[str | int] = []
    for segment in getattr(_compiled(path), "segments", ()):  # a path of several, joined by |, has none
        chosen = segment.selectors
        plain = type(segment).__name__ == "JSONPathChildSegment" and len(chosen) == 1
        if not plain or not isinstance(chosen[0], NameSelector | IndexSelector):
            break
        keys.append(chosen[0].name if isinstance(chosen[0], NameSelector) else chosen[0].index)
    return tuple(keys)


@lru_cache(maxsize=1024)
def _reaches_beyond(path: str) -> bool:
    """Whether the path may match more than one place."""
    compiled = _compiled(path)
    return compiled is None or not compiled.singular_query()


def keys_of(choice: Choice | None) -> tuple[str | int, ...] | None:
    """The keys that lead to the records; None where the whole body is one record, or is not known."""
    if choice is None or (choice.path == "$" and not choice.listed):
        return None
    return first_keys(choice.path)


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
    if not body:
        raise ResponseError(
            "the answer is an empty object, which says neither that there are rows nor that there are no rows",
            where=where,
            hint='If it is a record, say so with data_selector: "$"; if it means no rows, with an error rule.',
        )
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
    "cursor", "link", "_link", "meta", "_meta", "paging", "start", "end", "after", "before", "@odata", "is_last",
    "islast",
)  # fmt: skip


def _null_page(body: dict[str, Any]) -> tuple[str, ...] | None:
    """The key of a list that was written as null, as Go's encoder does with an empty one, or as an object by PHP."""
    nulls = [key for key, value in body.items() if key in RECORD_KEYS and (value is None or as_list(value) is not None)]
    others = [key.lower() for key in body if key not in nulls]
    if len(nulls) == 1 and others and all(key.startswith(_PAGING_KEYS) for key in others):
        return (nulls[0],)
    return None


def _refuse_late_list(body: Any, choice: Choice, where: str) -> None:
    """The first page had no list, so it was taken for a record; now there is one: which of the two is the data?"""
    if choice.path != "$" or choice.listed or not isinstance(body, dict):
        return
    late = next((keys for keys, value in _lists(body) if value and keys[-1].lower() not in _ERROR_KEYS), None)
    if late is not None:
        raise ResponseError(
            f"there is a list at {key_path(late)!r}, and the first page had none: it was taken for a record itself",
            where=where,
            hint='Say where the records are with data_selector; "$" if each answer is one.',
        )


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
