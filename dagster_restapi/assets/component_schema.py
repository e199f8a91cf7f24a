"""A component's JSON schema in a form in which a validator's error lies at the wrong line and not somewhere above it.

pydantic writes a choice as `anyOf`; where none of its members fits, a validator blames the whole. Here the kind of the
value, and of several objects their `type`, chooses the one member that is checked. A template, `{{ … }}`, may stand for
anything: what it becomes is checked when definitions load.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

Schema = dict[str, Any]

TEMPLATE = r"\{[\{%].*[\}%]\}"
_NOTES = ("title", "description", "default", "examples")
_KINDS = ("object", "array", "string", "number", "integer", "boolean", "null")
_PYTHON = {str: "string", bool: "boolean", int: "integer", float: "number", dict: "object", list: "array"}


def pointed(schema: Schema, *, injected: Iterable[str] = ()) -> Schema:
    """The same schema with every choice made by kind. The given one is left as it is.

    Args:
        schema: Of an object, with its `$defs`.
        injected: Properties that take a text only because Dagster lets a template stand there.
    """
    made = _Pointed(schema.get("$defs", {}))
    properties = dict(schema.get("properties", {}))
    for name in injected:
        options = [option for option in properties[name]["anyOf"] if option != {"type": "string"}]
        properties[name] = {**properties[name], "anyOf": options}
    top = made.inner({**schema, "properties": properties})
    top["$defs"] = {name: made.inner(definition) for name, definition in schema.get("$defs", {}).items()}
    return top


class _Pointed:
    """Rewrites the schemas of one document, whose definitions it can look up."""

    def __init__(self, definitions: Mapping[str, Schema]) -> None:
        self._definitions = definitions

    def inner(self, schema: Schema) -> Schema:
        """A schema with what lies below it rewritten."""
        made = dict(schema)
        if "properties" in schema:
            made["properties"] = {name: self.choice(item) for name, item in schema["properties"].items()}
        for key in ("additionalProperties", "items"):
            if isinstance(schema.get(key), dict):
                made[key] = self.choice(schema[key])
        return made

    def choice(self, schema: Schema) -> Schema:
        """The schema of one value: what is checked depends on the value's kind."""
        options = list(self._options(schema))
        notes = {key: schema[key] for key in _NOTES if key in schema}
        kinds = {kind for option in options for kind in self._kinds(option)}
        if kinds == set(_KINDS):
            return notes
        checks = []
        for kind in _KINDS:
            of_kind = [option for option in options if kind in self._kinds(option)]
            check = self._string(of_kind, kinds) if kind == "string" else self._one(of_kind)
            if check and not set(check) <= {"type"}:
                checks.append({"if": {"type": kind}, "then": check})
        named = kinds - {"integer"} if "number" in kinds else kinds
        return {**notes, "type": sorted(named | {"string"}), **({"allOf": checks} if checks else {})}

    def _options(self, schema: Schema) -> Iterator[Schema]:
        """The members of a choice, those of choices within it included; what is no choice is its own only member."""
        inner = schema.get("anyOf") or schema.get("oneOf")
        if inner is None:
            yield {key: item for key, item in schema.items() if key not in _NOTES}
            return
        for option in inner:
            yield from self._options(option)

    def _kinds(self, option: Schema) -> tuple[str, ...]:
        """The kinds of values that a member can accept."""
        if "$ref" in option:
            return self._kinds(self._definition(option))
        if "const" in option or "enum" in option:
            values = option.get("enum", [option.get("const")])
            return tuple({_PYTHON.get(type(value), "null") for value in values})
        kind = option.get("type", _KINDS)
        kinds = (kind,) if isinstance(kind, str) else tuple(kind)
        return (*kinds, "integer") if "number" in kinds else kinds

    def _definition(self, option: Schema) -> Schema:
        return self._definitions[option["$ref"].rpartition("/")[2]] if "$ref" in option else option

    def _string(self, options: list[Schema], kinds: set[str]) -> Schema:
        """A text: free where one member takes any; else a template, or what the members ask for."""
        if any(set(option) <= {"type"} for option in options):
            return {}
        return {"if": {"pattern": TEMPLATE}, "else": self._one(options) if options else {"type": sorted(kinds)}}

    def _one(self, options: list[Schema]) -> Schema:
        """What a value must fulfil for which these members are left."""
        distinct = [option for index, option in enumerate(options) if option not in options[:index]]
        if len(distinct) == 1:
            return self.inner(distinct[0])
        if not distinct or not all("object" in self._kinds(option) for option in distinct):
            return {"anyOf": [self.inner(option) for option in distinct]} if distinct else {}
        return self._by_type(distinct)

    def _by_type(self, options: list[Schema]) -> Schema:
        """Of several objects, the one whose `type` the value names. An unknown `type` may be a registered one."""
        checks: list[Schema] = []
        for option in options:
            field = self._definition(option).get("properties", {}).get("type", {})
            names = field.get("enum", [field["const"]] if "const" in field else [])
            if names:
                named = {"required": ["type"], "properties": {"type": {"enum": names}}}
                checks.append({"if": named, "then": self.inner(option)})
        untyped = {"anyOf": [self.inner(option) for option in options]}
        return {"allOf": [*checks, {"if": {"not": {"required": ["type"]}}, "then": untyped}]}
