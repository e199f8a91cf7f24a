"""Which field is the key of a record, guessed from names and, where there are records, from their values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dagster_restapi.config.jsonpath import MISSING, first
from dagster_restapi.config.naming import normalize

GLOBAL = ("id", "uuid", "guid", "oid")
"""Names of fields that are unique over a whole API."""
LOCAL = ("key", "number", "name", "slug", "code", "login", "username", "sha", "hash", "symbol", "ref", "email")
"""Names of fields that are unique within their list, so within one parent."""


def singular(word: str) -> str:
    """The singular of an English plural, as far as names of resources need it: issues, companies, boxes, addresses."""
    for plural, one in (("ies", "y"), ("sses", "ss"), ("xes", "x"), ("ches", "ch"), ("shes", "sh"), ("s", "")):
        if word.endswith(plural) and not word.endswith(("ss", "us", "is")) and len(word) > len(plural) + 1:
            return word[: -len(plural)] + one
    return word


def by_likelihood(names: Iterable[str], resource: str) -> list[str]:
    """The names that may be those of a key, the likeliest first: `id`, `<resource>_id`, `uuid`, `number`, `name` …"""
    one = singular(normalize(resource).rpartition("_")[2])
    ranked = []
    for place, name in enumerate(names):
        plain = normalize(name).strip("_")
        own = plain.removeprefix(f"{one}_")
        if plain in GLOBAL:
            rank = GLOBAL.index(plain)
        elif own in GLOBAL and own != plain:
            rank = 10 + GLOBAL.index(own)
        elif plain in LOCAL or own in LOCAL:
            rank = 20 + LOCAL.index(own if own in LOCAL else plain)
        elif re.search(r"_(id|uuid|guid|key|number|code)$", plain):
            rank = 40
        else:
            continue
        ranked.append((rank, place, name))
    return [name for _, _, name in sorted(ranked)]


def guess_key(records: Sequence[Mapping[str, Any]], resource: str) -> str | None:
    """The likeliest field that every record has and no two share; None where no field is like that."""
    if not records:
        return None
    return next((name for name in by_likelihood(records[0], resource) if fault_of_key(records, (name,)) is None), None)


def fault_of_key(records: Sequence[Mapping[str, Any]], key: Sequence[str]) -> str | None:
    """Why these fields are not the key of these records; None where they may be."""
    seen = set()
    for record in records:
        values = tuple(first(name)(record) if name not in record else record[name] for name in key)
        for name, value in zip(key, values, strict=True):
            if value is MISSING or value is None:
                return f"{name} is {'missing' if value is MISSING else 'null'} in a row"
            if isinstance(value, (dict, list, bool, float)):
                return f"{name} is no text or whole number"
        if values in seen:
            return f"two rows have the same {', '.join(key)}"
        seen.add(values)
    return None
