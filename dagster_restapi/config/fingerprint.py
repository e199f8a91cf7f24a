"""A hash of what a resource asks for and where it goes: the same in every process, and without a secret in it."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Mapping
from hashlib import sha256
from pathlib import PurePath
from typing import Any

import msgspec

from dagster_restapi.config.functions import function_name
from dagster_restapi.config.settings import Settings
from dagster_restapi.config.values import is_sensitive
from dagster_restapi.secrets import MASK, Secret

_USERINFO = re.compile(r"(//)[^/@\s]*@")


def fingerprint(*parts: Any) -> str:
    """sha256 over models, dataclasses and plain values, as 64 hexadecimal digits.

    Secrets count by the name of their environment variable, and all others as the same; functions by module and name.
    A setting that is None counts as if it did not exist, so that a later one of this library changes no hash; and so
    does a field of a dataclass whose metadata say `fingerprint: False`.
    """
    return sha256(msgspec.json.encode(_plain(parts), order="sorted")).hexdigest()


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float)):
        return value if not isinstance(value, int) else str(value)
    if isinstance(value, str):
        return _USERINFO.sub(rf"\1{MASK}@", value)
    if isinstance(value, Secret):
        return str(value)
    if isinstance(value, Settings):
        fields = {name: _plain_entry(name, item) for name, item in vars(value).items() if item is not None}
        return [type(value).__name__, fields]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        counted = (item for item in dataclasses.fields(value) if item.metadata.get("fingerprint", True))
        items = ((item.name, getattr(value, item.name)) for item in counted)
        return [type(value).__name__, {name: _plain(item) for name, item in items if item is not None}]
    if isinstance(value, Mapping):
        return {str(key): _plain_entry(str(key), item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, functools.partial):
        return [function_name(value), _plain(value.args), _plain(value.keywords)]
    if isinstance(value, (bytes, PurePath)):
        return value.hex() if isinstance(value, bytes) else str(value)
    return function_name(value)


def _plain_entry(name: str, value: Any) -> Any:
    """A literal under a name that speaks of a credential is one, wherever it stands."""
    if isinstance(value, str) and is_sensitive(name) and "{" not in value:
        return MASK
    return _plain(value)
