"""The GET operations of a description that answer with a list: each may become a resource."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dagster_restapi.cli.key_guess import singular
from dagster_restapi.cli.starter.openapi import Document, Shape, mapping, sequence, spell
from dagster_restapi.cli.starter.paging import Paging, guess_paging, plain
from dagster_restapi.http.select import RECORD_KEYS

_AROUND_LISTS = (
    "next", "prev", "first", "last", "total", "count", "page", "per_page", "limit", "offset", "size", "has_", "more",
    "cursor", "link", "meta", "paging", "pagination", "start", "end", "incomplete", "object", "url", "self", "kind",
    "etag", "status", "success", "request_id", "response_metadata",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of an operation. `place` is path, query, header or cookie."""

    name: str
    place: str
    required: bool
    shape: Shape
    description: str


@dataclass(frozen=True, slots=True)
class Listing:
    """A GET operation that answers with a list.

    Attributes:
        path: As described, `/repos/{owner}/issues`.
        selector: JSONPath of the rows; None: the answer is not described.
        row: The shape of one row.
    """

    path: str
    summary: str
    parameters: tuple[Parameter, ...]
    selector: str | None
    row: Shape
    paging: Paging
    deprecated: bool

    @property
    def segments(self) -> tuple[str, ...]:
        return tuple(self.path.strip("/").split("/"))

    def of(self, place: str) -> Iterator[Parameter]:
        """The parameters in the path, the query or the headers."""
        return (parameter for parameter in self.parameters if parameter.place == place)


def is_slot(segment: str) -> bool:
    """Whether a segment of a path is one parameter and nothing else."""
    return re.fullmatch(r"\{[^{}]+\}", segment) is not None


def slots(path: str) -> list[str]:
    """The names of a path's parameters."""
    return re.findall(r"\{([^{}]+)\}", path)


def listings(document: Document) -> tuple[list[Listing], list[str]]:
    """The operations that give lists, in the document's order, and the paths of the other GET operations."""
    found, rest = [], []
    for path, item in mapping(document.root.get("paths")).items():
        node = document.node(item)
        operation = mapping(node.get("get"))
        if not operation:
            continue
        listing = _listing(document, str(path), node, operation)
        if listing is None:
            rest.append(f"GET {path}")
        else:
            found.append(listing)
    return found, rest


def _listing(document: Document, path: str, item: Mapping[str, Any], operation: Mapping[str, Any]) -> Listing | None:
    parameters = tuple(_parameters(document, item, operation))
    response = _success(document, operation)
    schema = _json_schema(response)
    answer = document.shape(schema)
    queries = {parameter.name: parameter.shape for parameter in parameters if parameter.place == "query"}
    paging = guess_paging(document, queries, answer, mapping(response.get("headers")))
    rows = _rows(document, answer, path, paging)
    if rows is None and (schema is not None or not _sounds_like_a_list(path, paging)):
        return None
    selector, row = rows or (None, Shape())
    return Listing(
        path,
        str(operation.get("summary") or operation.get("description") or ""),
        parameters,
        selector,
        row,
        paging,
        operation.get("deprecated") is True,
    )


def _parameters(document: Document, item: Mapping[str, Any], operation: Mapping[str, Any]) -> Iterator[Parameter]:
    """The path's parameters and the operation's own, which go over them."""
    nodes: dict[tuple[str, str], dict[str, Any]] = {}
    for described in (*sequence(item.get("parameters")), *sequence(operation.get("parameters"))):
        node = document.node(described)
        if isinstance(node.get("name"), str) and isinstance(node.get("in"), str):
            nodes[node["in"], node["name"]] = node
    for (place, name), node in nodes.items():
        schema = node.get("schema")
        if schema is None:
            schema = next((mapping(media).get("schema") for media in mapping(node.get("content")).values()), None)
        shape = document.shape(schema)
        about = {key: node[key] for key in ("example", "description") if node.get(key)}
        shape = dataclasses.replace(shape, about={**shape.about, **about})
        description = str(shape.about.get("description", ""))
        yield Parameter(name, place, node.get("required") is True or place == "path", shape, description)


def _success(document: Document, operation: Mapping[str, Any]) -> Mapping[str, Any]:
    """The described answer of a success."""
    responses = {str(status).upper(): answer for status, answer in mapping(operation.get("responses")).items()}
    statuses = [status for status in responses if re.fullmatch(r"2(\d\d|XX)", status)]
    chosen = next(iter(sorted(statuses)), "DEFAULT")
    return document.node(responses.get(chosen))


def _json_schema(response: Mapping[str, Any]) -> Any:
    """The schema of the JSON in an answer; None where none is described."""
    for kind, media in mapping(response.get("content")).items():
        if re.search(r"[/+]json\b|^\*/\*", str(kind)):
            return mapping(media).get("schema")
    return None


def _rows(document: Document, answer: Shape, path: str, paging: Paging) -> tuple[str, Shape] | None:
    """Where the rows stand in an answer and what one looks like; None where the answer is one thing."""
    if answer.is_list:
        return "$", document.shape(answer.items)
    last = path.rstrip("/").rpartition("/")[2]
    if is_slot(last):
        return None
    lists = list(document.lists_in(answer))
    named = [(keys, row) for keys, row in lists if keys[-1] in RECORD_KEYS]
    same = [(keys, row) for keys, row in lists if _same_word(keys[-1], last)]
    objects = [(keys, row) for keys, row in lists if row.is_object]
    beside = [plain(name) for name in answer.fields if not any(name == keys[0] for keys, _ in lists)]
    enveloped = len(lists) == 1 and all(name.startswith(_AROUND_LISTS) for name in beside)
    if named or same:
        keys, row = (named or same)[0]
    elif lists and (enveloped or paging.params):
        keys, row = (objects or lists)[0]
    else:
        return None
    return spell(keys), row


def _same_word(one: str, other: str) -> bool:
    return singular(plain(one)) == singular(plain(other.partition(".")[0]))


def _sounds_like_a_list(path: str, paging: Paging) -> bool:
    """Where no answer is described: a plural, or parameters for paging."""
    last = path.rstrip("/").rpartition("/")[2]
    return bool(last) and not slots(last) and (bool(paging.params) or singular(plain(last)) != plain(last))
