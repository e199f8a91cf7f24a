"""Functions in a configuration: given in Python, or named `package.module:function` where only text can be written."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

_importing: ContextVar[bool] = ContextVar("dagster_restapi_importing", default=True)


@contextmanager
def import_paths(*, allowed: bool) -> Iterator[None]:
    """Whether a function may be named by its import path in here: to import a module is to run its code."""
    token = _importing.set(allowed and _importing.get())
    try:
        yield
    finally:
        _importing.reset(token)


def import_function(value: Any) -> Any:
    """A callable as it is, or the one that an import path names.

    Raises:
        ValueError: It is neither, the module or the function is not there, or import paths are not allowed.
    """
    if isinstance(value, str):
        if not _importing.get():
            raise ValueError("to name a function would import its module, and `allow_functions: false` forbids it")
        value = _imported(value)
    if not callable(value):
        raise ValueError('give a function, or its import path "package.module:function"')  # noqa: TRY004
    return value


def _imported(path: str) -> Any:
    module_name, separator, attribute = path.partition(":")
    if not separator or not module_name or not attribute:
        raise ValueError('a function is named by its import path "package.module:function"')
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ValueError(f"the module {module_name} cannot be imported ({error.msg})") from None
    try:
        return functools.reduce(getattr, attribute.split("."), module)
    except AttributeError:
        raise ValueError(f"the module {module_name} has no {attribute}") from None


def function_name(function: Any) -> str:
    """Module and name of a callable, the same in every process; of an object that can be called, those of its class."""
    if isinstance(function, functools.partial):
        return f"partial({function_name(function.func)})"
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}:{named.__qualname__}"


Function = Annotated[
    Callable[..., Any],
    BeforeValidator(import_function),
    PlainSerializer(function_name, return_type=str),
    WithJsonSchema({"type": "string", "description": "In YAML: the import path `package.module:function`."}),
]
"""A Python function, or its import path."""
