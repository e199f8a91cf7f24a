"""Values that may name an environment variable, and durations: the small types that configurations are made of."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema

from dagster_restapi.errors import ConfigError
from dagster_restapi.secrets import ENV, Secret, check_references, conceal

_UNITS = {"ms": 0.001, "s": 1.0, "sec": 1.0, "second": 1.0, "m": 60.0, "min": 60.0, "minute": 60.0}
_UNITS |= {"h": 3600.0, "hour": 3600.0, "d": 86400.0, "day": 86400.0}
_LONGEST = 1e9  # seconds
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]+)")
_SENSITIVE = re.compile(
    r"(?:^|[_\-.])(?:auth|authorization|token|secret|passw(?:or)?d|passphrase|pwd|apikey|key|appid|sig|signature|"
    r"session|sessionid|sid|cookie|credential|credentials|assertion|jwt)$",
    re.IGNORECASE,
)
LISTS = (list, tuple, set, frozenset)  # what repeats its name among parameters
_PAGING = re.compile(r"(?:page|next|cursor|continuation|sync|sort|partition|order|group|scroll)", re.IGNORECASE)


def is_sensitive(name: str) -> bool:
    """Whether a header or parameter of this name holds a credential, as far as names tell (`next_token` does not)."""
    spelled = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name)
    return bool(_SENSITIVE.search(spelled)) and not _PAGING.search(name)


def is_nested(value: Any) -> bool:
    """Whether a value has no plain place among parameters: an object, or a list that holds an object or a list."""
    if isinstance(value, LISTS):
        return any(isinstance(item, (Mapping, *LISTS)) for item in value)
    return isinstance(value, Mapping)


def seconds(value: Any) -> float:
    """Reads a duration: a number of seconds, "1s", "500ms", "5m", "1h 30m", "minute", or a timedelta.

    Raises:
        ValueError: It is none of these, or negative.
    """
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if value < 0 or value != value:
            raise ValueError("a duration cannot be negative")
        return _bounded(float(value))
    if isinstance(value, str):
        text = value.strip().lower()
        if re.fullmatch(r"\d+(\.\d+)?", text):
            return _bounded(float(text))
        if text in _UNITS:
            return _UNITS[text]
        parts = _DURATION.findall(text)
        units = [_UNITS.get(unit) or _UNITS.get(unit.rstrip("s")) for _, unit in parts]
        if parts and all(units) and not _DURATION.sub("", text).strip():
            return _bounded(sum(float(number) * (unit or 0.0) for (number, _), unit in zip(parts, units, strict=True)))
    raise ValueError('give seconds as a number, or a text such as "500ms", "30s", "5m" or "1h"')


def _bounded(duration: float) -> float:
    if duration > _LONGEST:
        raise ValueError("a duration is 30 years at the most")
    return duration


Duration = Annotated[
    float,
    BeforeValidator(seconds),
    WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0}, {"type": "string"}], "examples": ["30s", "5m", 1.5]}),
]
"""Seconds; written as a number or as "500ms", "30s", "5m", "1h"."""


def _reference(value: Any) -> Any:
    """Turns what names an environment variable, or is marked as secret, into a Secret; leaves the rest alone."""
    if isinstance(value, Secret) or hasattr(value, "get_secret_value"):
        return Secret.parse(value)
    if isinstance(getattr(value, "env_var_name", None), str):  # dg.EnvVar, which is a str of its own name
        return Secret.parse(value)
    if isinstance(value, Mapping) and set(value) == {"env"} and isinstance(value["env"], str):
        return Secret(env=value["env"])
    return check_references(value) if isinstance(value, str) else value


def _text(value: Any) -> Any:
    value = _reference(value)
    if isinstance(value, (int, float)):
        return str(value).lower() if isinstance(value, bool) else str(value)
    return value


def hidden(name: str, value: Any) -> Any:
    """A literal text under a name that says it is a credential, as a Secret: it shows in no repr, dump or hash."""
    if not isinstance(value, str) or "{env." in value or not is_sensitive(name):
        return value
    conceal_sensitive({name: value})
    return Secret(value)


def _nested(value: Any) -> Any:
    found = _reference(value)
    if isinstance(found, Mapping):
        return {key: hidden(str(key), _nested(item)) for key, item in found.items()}
    if isinstance(found, (list, tuple)):
        return [_nested(item) for item in found]
    return found


def _names_only(value: Any) -> Any:
    if isinstance(value, Secret):
        return str(value)
    if isinstance(value, Mapping):
        return {key: _names_only(item) for key, item in value.items()}
    return [_names_only(item) for item in value] if isinstance(value, list) else value


Value = Annotated[Annotated[str | Secret, Field(union_mode="left_to_right")], BeforeValidator(_text)]
"""A text in which `{env.X}` stands for an environment variable, or a reference to one."""

Values = Annotated[Any, BeforeValidator(_nested), PlainSerializer(_names_only, when_used="json")]
"""JSON whose texts may hold `{env.X}` and whose values may be references to environment variables. Literal texts under
names of credentials become Secrets."""


def reveal(value: Any, where: str | None = None) -> Any:
    """The value with every environment variable in it filled in; what was filled in is concealed from now on.

    Args:
        value: Text, Secret, or JSON made of them.
        where: The place in the configuration, for the error.

    Raises:
        ConfigError: An environment variable is not set.
    """
    missing = ""
    try:
        return _reveal(value)
    except LookupError as error:
        missing = str(error.args[0])
    raise ConfigError(missing, where=where, hint="Set it where the run executes, or name another one.")


def fill_plain(text: str, where: str | None = None) -> str:
    """A text that is no secret, with its environment variables filled in.

    Raises:
        ConfigError: One of them is not set.
    """
    for name in ENV.findall(text):
        if name not in os.environ:
            raise ConfigError(f"the environment variable {name} is not set", where=where, hint="Set it where it runs.")
    return ENV.sub(lambda match: os.environ[match[1]], text)


def fill_address(address: str, where: str | None = None) -> str:
    """An address with its environment variables filled in. A host is no secret, so a variable that stands before the
    path is not concealed; one in the path or the query is.

    Raises:
        ConfigError: An environment variable is not set.
    """
    match = ENV.search(address)
    if match is None or "/" in address[: match.start()].replace("://", ""):
        return str(reveal(address, where))
    value = os.environ.get(match[1])
    if value is None:
        return str(reveal(match[0], where))
    return address[: match.start()] + value.strip() + fill_address(f"//{address[match.end() :]}", where)[2:]


def _reveal(value: Any) -> Any:
    if isinstance(value, str):
        return ENV.sub(lambda match: Secret(env=match[1]).reveal(), value) if "{env." in value else value
    if isinstance(value, Secret):
        return value.reveal()
    if isinstance(value, Mapping):
        return {_reveal(key): _reveal(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_reveal(item) for item in value]
    return value


def conceal_sensitive(values: Mapping[str, Any]) -> None:
    """Conceals the texts of those entries whose names say that they are credentials, without their scheme word too."""
    for name, value in values.items():
        if isinstance(value, str) and is_sensitive(name):
            scheme, _, rest = value.partition(" ")
            conceal(value, rest if rest and scheme.isalpha() else value)


def environment_names(value: Any) -> list[str]:
    """The environment variables that a value names, in order, for hints."""
    if isinstance(value, Secret):
        return list(value.names)
    if isinstance(value, str):
        return ENV.findall(value)
    if isinstance(value, Mapping):
        return [name for item in value.values() for name in environment_names(item)]
    if isinstance(value, (list, tuple)):
        return [name for item in value for name in environment_names(item)]
    return []
