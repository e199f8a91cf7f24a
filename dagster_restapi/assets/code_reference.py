"""Where an asset is written: the line of its resource in a YAML file, or the line of Python that builds it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg

from dagster_restapi.config.source import RestApiConfig

_NOT_THE_USERS = (__name__.partition(".")[0], "dagster", "dagster_shared")


def code_references(config: RestApiConfig) -> Callable[[str], dict[str, Any]]:
    """Gives the metadata by which Dagster links an asset to its source, by the resource's name; empty where none is.

    Call it while the user's own code is still on the stack.
    """
    if config.origin is None:
        metadata = _metadata(*place) if (place := _caller()) else {}
        return lambda resource: metadata
    origin = config.origin
    places = {item.name: ("resources", number) for number, item in enumerate(config.resources)}
    return lambda resource: _metadata(origin.file, origin.line_of(places[resource]), f"resource {resource}")


def _metadata(file: Path, line: int, label: str | None = None) -> dict[str, Any]:
    reference = dg.LocalFileCodeReference(file_path=str(file), line_number=line, label=label)
    return {"dagster/code_references": dg.CodeReferencesMetadataValue(code_references=[reference])}


def _caller() -> tuple[Path, int] | None:
    """File and line of the nearest code that is neither this library nor Dagster; None for a console's input."""
    frame = sys._getframe(1)
    while str(frame.f_globals.get("__name__", "")).partition(".")[0] in _NOT_THE_USERS:
        if frame.f_back is None:
            return None
        frame = frame.f_back
    file = Path(frame.f_code.co_filename)
    return (file.absolute(), frame.f_lineno) if file.exists() else None
