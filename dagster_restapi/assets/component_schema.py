"""A component's JSON schema in a form in which a validator's error lies at the wrong line and not somewhere above it.

pydantic writes a choice as `anyOf`; where none of its members fits, a validator blames the whole. Here the kind of the
value, and of several objects their `type`, chooses the one member that is checked. A template, `{{ … }}`, may stand for
anything: what it becomes is checked when definitions load.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Schema = dict[str, Any]

_TEMPLATE: Schema = {"type": "string", "pattern": r"\{\{.*\}\}"}
_NOTES = ("title", "description", "default", "examples")
_KINDS = {"string": ("string",), "integer": ("integer",), "number": ("number",), "boolean": ("boolean",)}


def pointed(schema: Schema) -> Schema:
    """The same schema with every choice made by kind. The given one is left as it is."""
    definitions = schema.get("$defs", {})
    made = _Pointed(definitions)
    top = made.object(schema)  # the attributes as a whole are no template
    top["$defs"] = {name: made.schema(definition) for name, definition in definitions.items()}
    return top


class _Pointed:
    """Rewrites one document, whose definitions it can look up."""

    def __init__(self, definitions: Mapping[str, Schema]) -> None:
        self._definitions = definitions

    def schema(self, schema: Schema) -> Schema:
        """A schema for a value at any place below the top."""
        options = list(self._options(schema))
        if not options:
            return schema
        notes = {key: schema[key] for key in _NOTES if key in schema}
        strings = [option for option in options if _accepts(option, "string")]
        if any(set(option) <= {"type", *_NOTES} for option in strings):
            strings = [{"type": "string"}]
        others = [option for option in options if option not in strings and not _accepts(option, "string")]
        rest = self._by_kind(others, {"type": self._kinds(options, templated=False)})
        if strings == [{"type": "string"}]:
            return {**notes, "if": {"type": "string"}, "else": rest} if rest else notes
        return {**notes, "if": _TEMPLATE, "else": self._strings_or(strings, rest)}

    def object(self, schema: Schema) -> Schema:
        """An object's schema, its properties rewritten."""
        made = dict(schema)
        if "properties" in schema:
            made["properties"] = {name: self.schema(item) for name, item in schema["properties"].items()}
        if isinstance(schema.get("additionalProperties"), dict):
            made["additionalProperties"] = self.schema(schema["additionalProperties"])
        return made

    def _options(self, schema: Schema) -> Iterator[Schema]:
        """The members of a choice, choices within it included; a schema that is none is its own only member."""
        inner = schema.get("anyOf") or schema.get("oneOf")
        if inner is None:
            yield {key: item for key, item in schema.items() if key not in _NOTES}
            return
        for option in inner:
            yield from self._options(option)
