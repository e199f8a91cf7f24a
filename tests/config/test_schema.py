"""The JSON schema is the reference: every property says what it is."""

import json

from dagster_restapi.config.source import RestApiConfig


def properties(node, definitions, path=""):
    """Every property of every object in a schema, with its path and its own or its type's description."""
    if isinstance(node, dict):
        for name, item in node.get("properties", {}).items():
            kind = definitions.get(item.get("$ref", "").removeprefix("#/$defs/"), {})
            yield f"{path}.{name}", item.get("description") or kind.get("description")
        for name, item in node.items():
            yield from properties(item, definitions, f"{path}.{name}")
    elif isinstance(node, list):
        for number, item in enumerate(node):
            yield from properties(item, definitions, f"{path}[{number}]")


def test_every_property_at_every_level_has_a_description():
    schema = RestApiConfig.model_json_schema()
    found = dict(properties(schema, schema["$defs"]))
    assert len(found) > 150
    assert [path for path, description in found.items() if not description] == []


def test_the_schema_is_json_and_knows_the_short_forms():
    schema = json.loads(json.dumps(RestApiConfig.model_json_schema()))
    assert {"type": "string"} in schema["properties"]["resources"]["items"]["anyOf"]
    endpoint = schema["$defs"]["ResourceConfig"]["properties"]["endpoint"]
    assert {"type": "string"} in endpoint["anyOf"]
    assert "json" in schema["$defs"]["EndpointConfig"]["properties"]
    assert schema["additionalProperties"] is False
