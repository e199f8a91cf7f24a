"""The CONFIG argument: a YAML file, or a dict or RestApiConfig in a module or a Python file."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import re
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dagster_restapi.config.source import RestApiConfig
from dagster_restapi.errors import ConfigError, RestApiError

_IN_PYTHON = re.compile(r"(?P<place>.+):(?P<attribute>[^\W\d]\w*(?:\.[^\W\d]\w*)*)", re.DOTALL)


def read_config(text: str) -> RestApiConfig:
    """The configuration that a CONFIG argument names.

    Args:
        text: Path of a YAML file, `package.module:attribute`, or `file.py:attribute`. The attribute is a dict, a
            `RestApiConfig`, or a function without arguments that gives one.

    Raises:
        ConfigError: There is no such thing, or it is no configuration.
    """
    match = None if Path(text).exists() else _IN_PYTHON.fullmatch(text)
    if match is None:
        if text.endswith(".py"):
            raise ConfigError("which configuration in this file?", where=text, hint=f"Name it: {text}:config")
        return RestApiConfig.from_yaml(text)
    module = _module(match["place"])
    try:
        found = functools.reduce(getattr, match["attribute"].split("."), module)
    except AttributeError:
        found = None
    if found is None:
        raise ConfigError(f"{match['place']} has no {match['attribute']}", where=text)
    return _parsed(found, text)


def _parsed(found: Any, where: str) -> RestApiConfig:
    if callable(found) and not isinstance(found, (type, Mapping, RestApiConfig)):
        found = _guarded(found, where)
    if not isinstance(found, (Mapping, RestApiConfig)):
        raise ConfigError(
            f"this is a {type(found).__name__}, not a configuration",
            where=where,
            hint="Name a dict, a RestApiConfig, or a function without arguments that gives one.",
        )
    return RestApiConfig.parse(found)


def _module(place: str) -> Any:
    """The module of that name, or the one that a Python file makes, found as `python` itself would find them."""
    if not place.endswith(".py"):
        _search(Path.cwd())
        return _guarded(functools.partial(importlib.import_module, place), place)
    file = Path(place)
    if not file.is_file():
        raise ConfigError("there is no such file", where=place)
    _search(file.resolve().parent)
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None, "a file that ends in .py has a loader"
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module  # as an import does, so that what is defined there can be found by its name
    _guarded(functools.partial(spec.loader.exec_module, module), place)
    return module


def _search(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _guarded(call: Any, where: str) -> Any:
    """What the user's own code gives; whatever it raises becomes one error that names its line."""
    try:
        return call()
    except RestApiError:
        raise
    except Exception as error:  # noqa: BLE001  # it is the user's code: it may raise anything
        told = traceback.extract_tb(error.__traceback__)[-1]
        fault, line = f"{type(error).__name__}: {error}", f"{told.filename}:{told.lineno}"
    raise ConfigError(f"it cannot be read: {fault}", where=where if where in line else f"{where}, {line}")
