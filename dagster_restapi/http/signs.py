"""What an answer says about more pages, whoever reads it: flags, links, cursors and totals under their usual names."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from dagster_restapi.http.select import key_path

if TYPE_CHECKING:
    from dagster_restapi.http.paginators import PageFacts

Keys = tuple[str, ...]

_DEPTH = 4  # objects inside each other, the answer's own counted
_MORE = frozenset(
    ("hasmore", "hasmoreitems", "hasmorepages", "hasmoreresults", "hasmorerecords", "hasmoredata", "hasnext",
     "hasnextpage", "more", "moreavailable", "moreitems", "moreresults", "morerecords", "moredata", "morerows",
     "morepages", "truncated", "istruncated", "resultstruncated", "nextpageexists")
)  # fmt: skip
_LAST = frozenset(("last", "islast", "lastpage", "islastpage", "done", "isdone", "endofstream", "eof", "nomore"))
_NEXT = re.compile(
    r"next(?:page|records?|results?|batch)?"
    r"(?:token|cursor|link|url|uri|href|path|page|pagetoken|offset|marker|continuationtoken|state|cursormark|key)?"
)
_ALSO_NEXT = frozenset(("continuationtoken", "lastevaluatedkey", "nextpartitionkey", "nextrowkey"))
_RELATIONS = ("rel", "relation")
_TARGETS = ("href", "url", "uri", "link")
_NEXT_HEADERS = (
    "x-next-page", "x-next-cursor", "x-next-page-token", "x-continuation-token", "x-ms-continuation", "x-next-token",
)  # fmt: skip
_MORE_HEADERS = ("x-has-more", "x-has-next", "x-has-next-page")


@dataclass(frozen=True, slots=True)
class Sign:
    """A place in an answer that says that more follows.

    Attributes:
        kind: A `flag` says so; a `url` or a `cursor` names the next page.
        place: JSONPath, or the name of a header.
        value: What stands there.
        key: The last of the body's keys that lead there; "" elsewhere.
    """

    kind: Literal["flag", "url", "cursor"]
    place: str
    value: Any
    key: str = ""

    def __str__(self) -> str:
        if self.kind == "flag":
            return f"{self.place} is {json.dumps(self.value)}"
        return f"{self.place} holds a {'link' if self.kind == 'url' else 'cursor'}"


def signs(facts: PageFacts, data: tuple[str | int, ...] | None) -> Iterator[Sign]:
    """The signs of more in an answer, the strongest first: links, then cursors, then flags.

    Args:
        data: Keys of the records: what stands in there is not the answer's own word. None: the whole body is one.
    """
    link = facts.answer.links.get("next", {}).get("url")
    if link:
        yield Sign("url", 'the header Link with rel="next"', link)
    inside = list(_inside(facts.body, (), data)) if isinstance(facts.body, dict) and data is not None else []
    for kind in ("url", "cursor", "flag"):
        yield from (sign for sign in inside if sign.kind == kind)
    headers = facts.answer.headers
    for name in _NEXT_HEADERS:
        if headers.get(name, "").strip() not in ("", "0", "null"):
            yield Sign("cursor", f"the header {name}", headers[name])
    for name in _MORE_HEADERS:
        if headers.get(name, "").strip().lower() in ("true", "1", "yes"):
            yield Sign("flag", f"the header {name}", True)


def is_next(key: str) -> bool:
    """Whether a key has one of the usual names of the next page's link or cursor: `nextLink`, `@odata.nextLink`,
    `__next`, `next_page_token`; `nextBuildNumber` has none."""
    plain = _plain(key)
    return plain in _ALSO_NEXT or plain.endswith("nextlink") or _NEXT.fullmatch(plain) is not None


def named_next(body: Mapping[str, Any], at: Keys = ()) -> Iterator[tuple[str, str]]:
    """Links in lists of links, `[{rel: next, href: …}]` (FHIR: `relation`, `url`): JSONPath and value."""
    for key, value in body.items():
        if isinstance(value, list) and _plain(key) in ("link", "links"):
            for entry in value:
                found = _as_next_link(entry)
                if found:
                    relation, target = found
                    name = entry[relation]
                    yield f"{key_path((*at, key))}[?@.{relation} == {json.dumps(name)}].{target}", entry[target]
        elif isinstance(value, dict) and len(at) + 2 < _DEPTH:
            yield from named_next(value, (*at, key))


def _as_next_link(entry: Any) -> tuple[str, str] | None:
    if not isinstance(entry, dict):
        return None
    relation = next((name for name in _RELATIONS if str(entry.get(name, "")).lower() == "next"), None)
    target = next((name for name in _TARGETS if isinstance(entry.get(name), str) and entry[name]), None)
    return (relation, target) if relation and target else None


def _inside(body: Mapping[str, Any], at: Keys, data: tuple[str | int, ...]) -> Iterator[Sign]:
    yield from (Sign("url", path, link) for path, link in (named_next(body) if not at else ()))
    for key, value in body.items():
        keys = (*at, key)
        if keys == data:
            continue
        path, plain = key_path(keys), _plain(key)
        if isinstance(value, bool):
            if plain in (_MORE if value else _LAST):
                yield Sign("flag", path, value)
        elif isinstance(value, str | int | float):
            if value and is_next(key) and str(value).strip().lower() not in ("", "null", "none", "false"):
                yield Sign("url" if is_link(value) else "cursor", path, value, key)
            elif str(value).lower() == ("true" if plain in _MORE else "false") and plain in _MORE | _LAST:
                yield Sign("flag", path, value)
        elif isinstance(value, dict):
            if is_next(key):  # HAL's {"next": {"href": …}}, and cursors that are objects
                target = next((name for name in _TARGETS if isinstance(value.get(name), str) and value[name]), None)
                if target:
                    yield Sign("url", key_path((*keys, target)), value[target])
                elif value and plain in _ALSO_NEXT:
                    yield Sign("cursor", path, value, key)
            elif len(keys) < _DEPTH:
                yield from _inside(value, keys, data)


def is_link(value: Any) -> bool:
    """Whether a value is a URL, whole or from the root on."""
    return isinstance(value, str) and value.lower().startswith(("http://", "https://", "/", "?"))


def _plain(key: str) -> str:
    return re.sub(r"^@?odata\.|[^a-z0-9]", "", key.lower())
