"""The base of everything a user may write: frozen, without unknown keys."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


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
