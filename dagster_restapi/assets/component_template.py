"""Fills in the templates of a component's YAML, and keeps environment variables as names in all that is sent."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any

from dagster.components.resolved.context import ResolutionContext
from dagster.components.resolved.scopes import EnvScope
from jinja2 import Template

from dagster_restapi.errors import ConfigError
from dagster_restapi.secrets import Secret

_IS_TEMPLATE = re.compile(r"\{\{|\{%|\{#")
_NAMED = re.compile(r"""\{\{\s*env(?:\.([A-Za-z_]\w*)|\(\s*(['"])([A-Za-z_]\w*)\2\s*\))\s*\}\}""")
_SENT = frozenset({"path", "params", "headers", "json", "data"})

# What of an auth or client is read when definitions load: names and numbers, no credentials.
SETTINGS_OF_AUTH = frozenset(
    {
        "type",
        "name",
        "location",
        "client_auth",
        "method",
        "expiration",
        "default_token_expiration",
        "token_path",
        "store",
        "algorithm",
        "lifetime",
    }
)


def render(context: ResolutionContext, value: Any) -> Any:
    """A part of the configuration with its templates filled in.

    Only texts that are templates are touched; `{resources.x.y}` is none. `{{ env.X }}` in a request, an auth, a header
    or a URL becomes `{env.X}`: it is read when a request is made, and is in no definition, event or hash.

    Args:
        context: At the value's place in the YAML file.
        value: Texts, numbers, lists and mappings.

    Raises:
        ConfigError: An expression over the environment stands in a path: its value would be stored.
    """
    if isinstance(value, dict):
        return {key: render(context.at_path(key), item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [render(context.at_path(index), item) for index, item in enumerate(value)]
    if not isinstance(value, str) or not _IS_TEMPLATE.search(value):
        return value
    if not is_sent(context.path):
        return context.resolve_value(value)
    named = _NAMED.sub(lambda match: f"{{env.{match[1] or match[3]}}}", value)
    return _expression(context, named) if _IS_TEMPLATE.search(named) else named


def is_sent(path: Sequence[str | int]) -> bool:
    """Whether a value at this place of the YAML file goes into requests, so that it may be a name until then."""
    keys = [key for key in path if key != "attributes"]
    if keys[:1] == ["client"]:
        return _in_client(keys[1:])
    if keys[:1] == ["resource_defaults"]:
        keys = keys[1:]
    elif keys[:1] == ["resources"]:
        keys = keys[2:]
    if keys[:1] != ["endpoint"]:
        return False
    return len(keys) == 1 or keys[1] in _SENT or (keys[1] == "auth" and _in_auth(keys[2:]))


def _in_client(keys: Sequence[str | int]) -> bool:
    return keys[:1] in (["base_url"], ["headers"], ["proxies"]) or (keys[:1] == ["auth"] and _in_auth(keys[1:]))


def _in_auth(keys: Sequence[str | int]) -> bool:
    return not keys or keys[0] not in SETTINGS_OF_AUTH


class _Reading(EnvScope):
    """The environment for one expression; notes what was read."""

    def __init__(self) -> None:
        self.__dict__["read"] = set[str]()

    def __call__(self, key: str, default: Any = ...) -> Any:
        value = super().__call__(key, default)
        self._note(os.environ.get(key))
        return value

    def __getattr__(self, key: str) -> Any:
        value = super().__getattr__(key)
        self._note(value)
        return value

    def _note(self, value: str | None) -> None:
        if value:
            self.read.add(value)


def _expression(context: ResolutionContext, text: str) -> Any:
    """More than a name: it is computed now, and what comes from the environment is a secret from here on."""
    environment = _Reading()
    context = context.with_scope(env=environment)
    value = context.resolve_value(text)
    if not environment.read or not isinstance(value, (str, int, float)):
        return value
    value = Template(text).render(**context.scope)  # as text: Dagster's own rendering makes the number 100 of "1e2"
    if context.path[-1] == "base_url":
        return value
    if context.path[-1] in ("path", "endpoint"):
        raise ConfigError(
            "an expression over the environment in a path would be stored with the asset",
            where=".".join(map(str, context.path)),
            hint="Write {{ env.NAME }} alone: it stays a name until the request is made.",
        )
    return Secret(value)
