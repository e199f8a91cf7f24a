"""The base of everything a user may write: frozen, without unknown keys."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema


class Settings(BaseModel):
    """A part of the configuration. Every field has a description; `model_json_schema()` is the reference."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        arbitrary_types_allowed=True,
        validate_default=False,
        use_attribute_docstrings=True,
        hide_input_in_errors=True,  # an input may be a secret
    )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """A `type` with one value describes itself."""
        json_schema = handler(schema)
        kind = handler.resolve_ref_schema(json_schema).get("properties", {}).get("type", {})
        if "const" in kind:
            kind.setdefault("description", f"`{kind['const']}`")
        return json_schema
