"""Secrets that show themselves only to a request, and redaction by value for every text that leaves us."""

from __future__ import annotations

import html
import json
import logging
import os
import re
import threading
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote, quote_plus

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

MASK = "***"
_SHORTEST = 4  # shorter values stand in ordinary words: masking them would garble every text

_values: frozenset[str] = frozenset()
_forms: tuple[str, ...] = ()  # every usual spelling of the values, longest first
_plain_forms: tuple[str, ...] = ()  # the same as `_unescaped` gives them
_edges: dict[str, str] = {}  # of spellings that stand within base64: the pattern that takes what they share with others
_lock = threading.Lock()
ENV = re.compile(r"\{env\.([A-Za-z_][A-Za-z0-9_]*)\}")
_BROKEN = re.compile(r"\{\s*\+?\s*env\.")


def conceal(*values: str) -> None:
    """From now on `redact` masks these values, however they are encoded: for URLs, JSON, HTML, or in base64."""
    global _values, _forms, _plain_forms
    new = {value for value in values if len(value) >= _SHORTEST} - _values
    if not new:
        return
    edges = {core: pattern for value in new for core, pattern in _in_base64(value)}
    forms = {*edges, *(form for value in new for form in _spellings(value))}
    plain = {form for form in map(_unescaped, forms) if len(form.strip()) >= _SHORTEST}
    with _lock:
        _edges.update(edges)
        _forms = tuple(sorted({*_forms, *forms}, key=len, reverse=True))
        _plain_forms = tuple(sorted({*_plain_forms, *plain}, key=len, reverse=True))
        _values |= new


def _spellings(value: str) -> Iterator[str]:
    """How a value is written by those who encode all of it: its percent-encodings in both cases and twice, in JSON, in
    HTML. What mixes them is found by `_unescaped`."""
    yield value
    for once in (quote(value, safe=""), quote(value), quote_plus(value)):
        for spelled in (once, quote(once, safe="")):
            yield from (spelled, _HEX.sub(lambda match: match[0].lower(), spelled))
    for text in (json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]):
        yield from (text, text.replace("/", "\\/"))
    yield from (html.escape(value), html.escape(value, quote=False))


def _in_base64(value: str) -> Iterator[tuple[str, str]]:
    """What is the same in every base64 that holds a value, as in `user:secret`, for each of the three places where it
    may begin; and a pattern that takes the characters too which hold bits of the value and of its neighbours."""
    data = value.encode("utf-8", "surrogatepass")
    for before in range(3):
        shared, end = (before * 8 + 5) // 6, (before + len(data)) * 8 // 6
        for encode in (b64encode, urlsafe_b64encode):
            core = encode(b"\0" * before + data).decode()[shared:end]
            letters = re.escape(core).replace(r"\+", "[+ ]")
            pattern = f"{_BASE64 if before else ''}{letters}{f'{_BASE64}?=*' if end * 6 % 8 else ''}"
            yield from ((core, pattern), (core.replace("+", " "), pattern))


_BASE64 = "[A-Za-z0-9+/_ -]"
_HEX = re.compile("%[0-9A-F]{2}")
_ESCAPE = re.compile(
    r"%[0-9A-Fa-f]{2}"
    r"|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\x[0-9a-fA-F]{2}|\\[/\"'\\bfnrt]"
    r"|&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,30});"
)
_ROUNDS = 4  # an encoding within an encoding within another, and one more


def _unescaped(text: str) -> str:
    """A text as bytes of UTF-8, one character each, after all decoding that readers of URLs, JSON and HTML may do. Plus
    and space are the same."""
    text = _bytes(text)
    for _ in range(_ROUNDS):
        before, text = text, _ESCAPE.sub(_decoded, text)
        if before == text:
            break
    return text.replace("+", " ")


def _bytes(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "surrogatepass").decode("latin-1")


def _decoded(match: re.Match[str]) -> str:
    escape = match[0]
    if escape[0] == "%":
        return chr(int(escape[1:], 16))
    if escape[0] == "&":
        return _bytes(html.unescape(escape))
    if escape[1] == "x":
        return chr(int(escape[2:], 16))
    return _bytes(str(json.loads(f'"{escape}"'))) if escape[1] != "'" else "'"


def redact(text: str) -> str:
    """The text with every concealed value replaced by `***`, however it is spelled."""
    for form in [form for form in _forms if form in text]:  # one pattern of them all would be slow: tokens come and go
        edge = _edges.get(form)
        text = re.sub(edge, MASK, text) if edge else text.replace(form, MASK)
    if _forms and ("%" in text or "\\" in text or "&" in text) and (plain := _unescaped(text)) != text:
        found = [form for form in _plain_forms if form in plain]
        text = _masked(text, found) if found else text
    return text


def _masked(text: str, forms: Sequence[str]) -> str:
    """The text without those parts that are one of the forms when they are unescaped."""
    spans = [(at, at + 1) for at, letter in enumerate(text) for _ in _bytes(letter)]
    plain = _bytes(text)
    for _ in range(_ROUNDS):
        parts, kept, last = list[str](), list[tuple[int, int]](), 0
        for match in _ESCAPE.finditer(plain):
            decoded = _decoded(match)
            parts += [plain[last : match.start()], decoded]
            kept += spans[last : match.start()] + [(spans[match.start()][0], spans[match.end() - 1][1])] * len(decoded)
            last = match.end()
        plain, spans = "".join([*parts, plain[last:]]), kept + spans[last:]
    plain = plain.replace("+", " ")
    pattern = re.compile("|".join(_edges.get(form) or re.escape(form) for form in forms))
    shown, at = list[str](), 0
    for match in pattern.finditer(plain):
        start, end = spans[match.start()][0], spans[match.end() - 1][1]
        if start >= at:
            shown.append(text[at:start] + MASK)
        at = max(at, end)
    return "".join(shown) + text[at:]


def is_secret(text: str) -> bool:
    """Whether the text as a whole is a concealed value, not only one that holds it, or is made of it."""
    return text in _values


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
