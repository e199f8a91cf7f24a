"""An OpenAPI 3 description: its references followed, its schemas reduced to what a starter asks of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import yaml

from dagster_restapi.errors import ConfigError

_DEEP = 24  # schemas within schemas, and references to references
_NESTED = 3  # keys between an answer and its list, as in data selection


@dataclass(frozen=True, slots=True)
class Shape:
    """A schema without its references and unions.

    Attributes:
        kinds: Names of JSON types, without null; empty: anything.
        fields: Of an object: name -> schema.
        items: Of a list: its items' schema.
        about: The schema's other keywords: format, enum, default, example, minimum, maximum, description.
    """

    kinds: frozenset[str] = frozenset()
    fields: Mapping[str, Any] = field(default_factory=dict)
    items: Any = None
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_list(self) -> bool:
        return "array" in self.kinds or (not self.kinds and self.items is not None)

    @property
    def is_object(self) -> bool:
        return "object" in self.kinds or (not self.kinds and bool(self.fields))


class Document:
    """An OpenAPI description.

    Attributes:
        root: The document.
        outside: References that lead out of it: they are not followed.
    """

    def __init__(self, root: Mapping[str, Any]) -> None:
        self.root = root
        self.outside: set[str] = set()

    def node(self, value: Any) -> dict[str, Any]:
        """The object itself, or the one it refers to; keywords beside `$ref` go over that. Empty if there is none."""
        found = mapping(value)
        beside: dict[str, Any] = {}
        for _ in range(_DEEP):
            if not isinstance(found.get("$ref"), str):
                return {**found, **beside}
            beside = {**{key: item for key, item in found.items() if key != "$ref"}, **beside}
            found = mapping(self._at(found["$ref"]))
        return {}

    def _at(self, reference: str) -> Any:
        """What a reference leads to, by its JSON pointer (RFC 6901)."""
        if not reference.startswith("#"):
            self.outside.add(reference)
            return None
        found: Any = self.root
        for part in unquote(reference[1:]).split("/")[1:]:
            key = part.replace("~1", "/").replace("~0", "~")
            if isinstance(found, Mapping):
                found = found.get(key)
            elif isinstance(found, Sequence) and not isinstance(found, str) and key.isdigit() and int(key) < len(found):
                found = found[int(key)]
            else:
                return None
        return found

    def shape(self, schema: Any, depth: int = 0) -> Shape:
        """The shape of a schema: all of `allOf`, the first of `oneOf` and `anyOf` that is not null."""
        if depth > _DEEP:
            return Shape()
        node = self.node(schema)
        kinds = {str(kind) for kind in _listed(node.get("type"))} - {"null"}
        fields = {str(name): field_ for name, field_ in mapping(node.get("properties")).items()}
        items = node.get("items")
        about = {key: node[key] for key in _ABOUT if key in node}
        parts = [self.shape(part, depth + 1) for part in sequence(node.get("allOf"))]
        for union in ("oneOf", "anyOf"):
            members = (self.shape(member, depth + 1) for member in sequence(node.get(union)) if not _is_null(member))
            parts += [next(members, Shape())]
        for part in parts:
            kinds |= part.kinds if not kinds else set()
            fields = {**part.fields, **fields}
            items = part.items if items is None else items
            about = {**part.about, **about}
        return Shape(frozenset(kinds), fields, items, about)

    def lists_in(self, shape: Shape, at: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Shape]]:
        """The lists in an object, at most three keys deep, in the document's order: their keys and their items."""
        for name, schema in shape.fields.items():
            inner = self.shape(schema)
            if inner.is_list:
                yield (*at, str(name)), self.shape(inner.items)
            elif inner.is_object and len(at) + 1 < _NESTED:
                yield from self.lists_in(inner, (*at, str(name)))

    def scalars_in(self, shape: Shape, at: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Shape]]:
        """The texts, numbers and booleans in an object, at most three keys deep, outer ones first."""
        inner = [((*at, str(name)), self.shape(schema)) for name, schema in shape.fields.items()]
        yield from ((keys, value) for keys, value in inner if not value.is_list and not value.is_object)
        for keys, value in inner:
            if value.is_object and len(keys) < _NESTED:
                yield from self.scalars_in(value, keys)


_ABOUT = ("format", "enum", "default", "example", "examples", "minimum", "maximum", "description", "const")


def mapping(value: Any) -> Mapping[str, Any]:
    """The value if it is an object, else an empty one: descriptions are not always what they should be."""
    return value if isinstance(value, Mapping) else {}


def sequence(value: Any) -> Sequence[Any]:
    """The value if it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _is_null(schema: Any) -> bool:
    return mapping(schema).get("type") == "null"


def spell(keys: Sequence[str]) -> str:
    """The JSONPath of keys: dots where they are plain words."""
    if all(re.fullmatch(r"[A-Za-z_]\w*", key, re.ASCII) for key in keys):
        return ".".join(keys)
    return "$" + "".join(
        f"['{key}']" if key.isprintable() and not set(key) & set("'\\") else f"[{json.dumps(key)}]" for key in keys
    )


# ---- reading ---------------------------------------------------------------------------------------------------------
class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # it is one of two classes
    """YAML as JSON would have it: no dates, and only true and false are booleans (`NO` is a country)."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag.rpartition(":")[2] not in ("timestamp", "bool")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^(?:true|false)$"), ["t", "f"])


def read_document(text: str, where: str) -> Any:
    """The value of a JSON or YAML text.

    Raises:
        ConfigError: It is neither.
    """
    if text.lstrip("\ufeff \t\r\n").startswith(("{", "[")):
        try:
            return json.loads(text.lstrip("\ufeff"))
        except (ValueError, RecursionError):
            pass  # YAML has braces too
    fault = ""
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        fault = getattr(error, "problem", None) or "unreadable"
    except (ValueError, RecursionError):
        fault = "unreadable"
    raise ConfigError(f"this is neither JSON nor YAML: {fault}", where=where)


def is_description(document: Any) -> bool:
    """Whether a document says of itself that it is OpenAPI 3.

    Raises:
        ConfigError: It is Swagger 2.
    """
    found = mapping(document)
    if str(found.get("swagger", "")).startswith("2"):
        raise ConfigError(
            "this is a description in Swagger 2.0; OpenAPI 3 is needed",
            hint="Convert it, for example with swagger2openapi or on editor.swagger.io.",
        )
    return str(found.get("openapi", "")).startswith("3") and isinstance(found.get("paths", {}), Mapping)
