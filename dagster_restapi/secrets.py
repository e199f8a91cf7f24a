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
ENV = re.compile(r"\{env\.([A-Za-z_][A-Za-z0-9_]*)\}")
_BROKEN = re.compile(r"\{\s*\+?\s*env\.")


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


def check_references(text: str) -> str:
    """The text, if every `{env.` in it begins a reference: what is none would be sent as it stands.

    Raises:
        ValueError: One is none. The text is not named.
    """
    if _BROKEN.search(ENV.sub("", text)):
        raise ValueError('"{env." begins a reference to an environment variable: write "{env.NAME}"')
    return text


class Secret:
    """A text that is a name until a request needs it: `{env.X}`, `{"env": "X"}`, `dg.EnvVar("X")`, or a literal.

    Within a text, `Token {env.X}` and `{env.A}:{env.B}`, each reference is filled in. `repr`, `str`, equality, hashing,
    pickling to JSON and the configuration's fingerprint see the names only; a literal has none and shows as `***`.

    Attributes:
        env: The variable that is all of the text; None of any other text.
        names: The variables in it, in order.
    """

    __slots__ = ("_text", "env", "names")

    def __init__(self, literal: str | None = None, *, env: str | None = None, template: str | None = None) -> None:
        if [literal, env, template].count(None) != 2:
            raise ValueError("a Secret is a literal, the name of an environment variable, or a text with such names")
        self._text = template if literal is None else literal
        self.env = env
        self.names: tuple[str, ...] = (env,) if env else tuple(ENV.findall(template or ""))
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
            match = ENV.fullmatch(value.strip())
            if match:
                return cls(env=match[1])
            return cls(template=value) if ENV.search(check_references(value)) else cls(value)
        raise ValueError('give a text, "{env.NAME}", {"env": "NAME"} or dg.EnvVar("NAME")')

    @property
    def template(self) -> str | None:
        """The text with its references, as it was written; None of a literal."""
        return f"{{env.{self.env}}}" if self.env else self._text if self.names else None

    def reveal(self) -> str:
        """The value itself, for the request that needs it; from now on it is masked wherever it shows.

        Raises:
            LookupError: An environment variable is not set.
        """
        if self.env is not None:
            return _of_environment(self.env)
        assert self._text is not None
        if not self.names:
            return self._text
        value = ENV.sub(lambda match: _of_environment(match[1]), self._text)
        conceal(value)
        return value

    def __repr__(self) -> str:
        return f"Secret(env.{self.env})" if self.env else f"Secret({self})"

    def __str__(self) -> str:
        if self.env:
            return f"{{env.{self.env}}}"
        if not self.names:
            return MASK
        parts = ENV.split(self._text or "")  # literal, name, literal, …
        return "".join(f"{{env.{part}}}" if number % 2 else MASK if part else "" for number, part in enumerate(parts))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and (self.env, self._text) == (other.env, other._text)

    def __hash__(self) -> int:
        return hash(("Secret", self.names))

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
            "description": "A text, or better the name of an environment variable, which may stand within a text: "
            '"{env.NAME}", "Token {env.NAME}" or {"env": "NAME"}.',
        }


def _of_environment(name: str) -> str:
    value = os.environ.get(name)
    if value is None:
        raise LookupError(f"the environment variable {name} is not set")
    conceal(value)
    return value
