"""Secrets that show themselves only to a request, and redaction by value for every text that leaves us."""

from __future__ import annotations

import json
import logging
import os
import re
import threading
from typing import Any
from urllib.parse import quote, quote_plus

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

MASK = "***"
_SHORTEST = 4  # shorter values stand in ordinary words: masking them would garble every text

_values: set[str] = set()
_forms: tuple[str, ...] = ()  # the values, longest first
_lock = threading.Lock()
_ENV_TEXT = re.compile(r"\{env\.([A-Za-z_][A-Za-z0-9_]*)\}")


def conceal(*values: str) -> None:
    """From now on `redact` masks these values, also URL-encoded or JSON-escaped."""
    global _forms
    forms = {
        form
        for value in values
        if len(value) >= _SHORTEST
        for form in (value, quote(value, safe=""), quote(value), quote_plus(value), json.dumps(value)[1:-1])
    }
    with _lock:
        if not forms <= _values:
            _values.update(forms)
            _forms = tuple(sorted(_values, key=len, reverse=True))


def redact(text: str) -> str:
    """The text with every concealed value replaced by `***`."""
    for form in [form for form in _forms if form in text]:  # one pattern of them all would be slow: tokens come and go
        text = text.replace(form, MASK)
    return text


def is_secret(text: str) -> bool:
    """Whether the text as a whole is a concealed value."""
    return text != MASK and redact(text) == MASK


class RedactionFilter(logging.Filter):
    """Masks concealed values in a log record's finished message, its exception included."""

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        masked = redact(message)
        if masked != message:
            record.msg, record.args = masked, ()
        if record.exc_info and not record.exc_text:
            trace = logging.Formatter().formatException(record.exc_info)
            record.exc_text = redact(trace)
            if record.exc_text != trace:
                record.exc_info = None  # formatters print the text
        return True


def guard_logger(name: str) -> None:
    """Masks concealed values in what the named logger writes: `urllib3` logs whole request lines at DEBUG."""
    logger = logging.getLogger(name)
    if not any(isinstance(item, RedactionFilter) for item in logger.filters):
        logger.addFilter(RedactionFilter())


class Secret:
    """A text that is a name until a request needs it: `{env.X}`, `{"env": "X"}`, `dg.EnvVar("X")`, or a literal.

    `repr`, `str`, equality, hashing, pickling to JSON and the configuration's fingerprint see the name only;
    a literal has none and shows as `***`.
    """

    __slots__ = ("_literal", "env")

    def __init__(self, literal: str | None = None, *, env: str | None = None) -> None:
        if (literal is None) == (env is None):
            raise ValueError("a Secret is either a literal or the name of an environment variable")
        self._literal, self.env = literal, env
        if literal is not None:
            conceal(literal)

    @classmethod
    def parse(cls, value: Any) -> Secret:
        """Takes every form that a configuration may use for a secret.

        Raises:
            ValueError: The value is no text and no reference to an environment variable. The value is not named.
        """
        if isinstance(value, Secret):
            return value
        env_name = getattr(value, "env_var_name", None)  # dg.EnvVar, without importing dagster
        if isinstance(env_name, str):
            return cls(env=env_name)
        if hasattr(value, "get_secret_value"):  # pydantic's SecretStr
            value = value.get_secret_value()
        if isinstance(value, dict) and set(value) == {"env"} and isinstance(value["env"], str):
            return cls(env=value["env"])
        if isinstance(value, str):
            match = _ENV_TEXT.fullmatch(value.strip())
            return cls(env=match[1]) if match else cls(value)
        raise ValueError('give a text, "{env.NAME}", {"env": "NAME"} or dg.EnvVar("NAME")')

    def reveal(self) -> str:
        """The value itself, for the request that needs it; from now on it is masked wherever it shows.

        Raises:
            LookupError: The environment variable is not set.
        """
        if self._literal is not None:
            return self._literal
        assert self.env is not None
        value = os.environ.get(self.env)
        if value is None:
            raise LookupError(f"the environment variable {self.env} is not set")
        conceal(value)
        return value

    def __repr__(self) -> str:
        return f"Secret(env.{self.env})" if self.env else f"Secret({MASK})"

    def __str__(self) -> str:
        return f"{{env.{self.env}}}" if self.env else MASK

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and (self.env, self._literal) == (other.env, other._literal)

    def __hash__(self) -> int:
        return hash(("Secret", self.env))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls.parse, serialization=core_schema.plain_serializer_function_ser_schema(str)
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {
            "anyOf": [
                {"type": "string"},
                {
                    "type": "object",
                    "properties": {"env": {"type": "string", "description": "Name of the environment variable."}},
                    "required": ["env"],
                },
            ],
            "description": 'A text, or better the name of an environment variable: "{env.NAME}" or {"env": "NAME"}.',
        }
