"""Query parameters and form fields as they go out: scalars in JSON's spelling, lists repeated, and nothing dropped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from dagster_restapi.config.client import ObjectParams
from dagster_restapi.config.placeholders import as_text
from dagster_restapi.config.values import LISTS, is_nested, reveal
from dagster_restapi.errors import RequestError
from dagster_restapi.secrets import Secret

Pair = tuple[str | bytes, str | bytes]

_ATOMS = (str, bytes, bytearray, Mapping)


def pairs(values: Mapping[Any, Any], objects: ObjectParams, part: str) -> list[Pair]:
    """Names and texts, in order. A null is left out, a list repeats its name.

    Args:
        values: By name.
        objects: How an object, or a list with an object or a list in it, is spelled: not at all (`fail`),
            `name[key]=…` (`brackets`), or as JSON text (`json`).
        part: What they are, for the error.

    Raises:
        RequestError: There is an object, and `fail` says that none is meant.
        ConfigError: An environment variable is not set.
    """
    return [pair for name, value in values.items() for pair in _pairs(_name(name), value, objects, part)]


def form(data: Any, objects: ObjectParams) -> Any:
    """A body that is no JSON: form fields as pairs; a text, bytes or a stream as they are; a number as its text.

    Raises:
        RequestError: It has no such form.
    """
    if data is None or isinstance(data, (str, bytes, bytearray)) or hasattr(data, "read"):
        return data
    if isinstance(data, Mapping):
        return pairs(data, objects, "data")
    if isinstance(data, Secret) or not isinstance(data, LISTS):
        return _text(data) if not hasattr(data, "__iter__") else data
    if all(isinstance(item, (list, tuple)) and len(item) == 2 and not is_nested(item[0]) for item in data):
        return [pair for name, value in data for pair in _pairs(_name(name), value, objects, "data")]
    raise RequestError(
        "`data` is a list, and a form has named fields", hint="Give `data` a mapping or a text; a list goes in `json`."
    )


def _pairs(name: str | bytes, value: Any, objects: ObjectParams, part: str) -> Iterator[Pair]:
    if value is None:
        return
    if hasattr(value, "__iter__") and not isinstance(value, (*_ATOMS, *LISTS)):
        value = list(value)
    if not is_nested(value):
        items = value if isinstance(value, LISTS) else (value,)
        yield from ((name, _text(item)) for item in items if item is not None)
    elif objects == "json":
        yield name, msgspec.json.encode(value, enc_hook=_text).decode()
    elif objects == "brackets":
        inner = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, item in inner:
            yield from _pairs(f"{_shown(name)}[{_shown(_name(key))}]", item, objects, part)
    else:
        raise RequestError(
            f"{part}: {_shown(name)!r} is an object, and how it is sent is not said",
            hint="Set `object_params` of endpoint or client: `brackets` sends name[key]=value, `json` one JSON text.",
        )


def _name(name: Any) -> str | bytes:
    return name if isinstance(name, bytes) else as_text(name)


def _shown(name: str | bytes) -> str:
    return name if isinstance(name, str) else name.decode("utf-8", "replace")


def _text(value: Any) -> str | bytes:
    if isinstance(value, Secret):
        return str(reveal(value))
    return bytes(value) if isinstance(value, (bytes, bytearray)) else as_text(value)
