"""Which environment variables a part of the configuration is made of, wherever in it they stand."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Iterator, Mapping
from typing import Any

from dagster_restapi.config.settings import Settings
from dagster_restapi.config.values import environment_names
from dagster_restapi.secrets import Secret


def environment_of(*parts: Any) -> dict[str, str | None]:
    """The variables that models, dataclasses and plain values name, with the values that they have now; None: unset."""
    return {name: os.environ.get(name) for name in sorted(set(_names(parts)))}


def _names(value: Any) -> Iterator[str]:
    """By what things are, and not by where they stand: a setting that is added later is found as well."""
    if isinstance(value, (str, Secret)):
        yield from environment_names(value)
        if isinstance(name := getattr(value, "env_var_name", None), str):  # dg.EnvVar
            yield name
    elif isinstance(value, Mapping):
        for item in value.items():
            yield from _names(item)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for item in value:
            yield from _names(item)
    elif isinstance(value, Settings):
        yield from _names(vars(value))
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from _names(getattr(value, field.name))
    elif isinstance(value, functools.partial):
        yield from _names((value.args, value.keywords))
