"""Reads a configuration from a YAML file, and remembers on which line each part begins."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from dagster_restapi.config.mistakes import ConfigPath, Mistake, Origin, refuse
from dagster_restapi.errors import ConfigError

_UNQUOTED = re.compile(r"(resources|incremental|partition|env)\.")


def read_yaml(file: Path) -> tuple[Any, Origin]:
    """The document in plain types, and its lines.

    Raises:
        ConfigError: The file cannot be read, is no YAML, holds more than one document or a key twice, or a
            placeholder in it is not quoted.
    """
    text = _text(file)
    fault, line = "", 0
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        document = loader.construct_document(node) if node else None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        fault, line = error.problem or "unreadable", mark.line + 1 if mark else 0
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        fault = str(error).splitlines()[0] if isinstance(error, ValueError) else "unreadable"
    if fault:
        raise ConfigError(f"no valid YAML: {fault}", where=f"{file}:{line}" if line else str(file))

    def line_of(path: ConfigPath) -> int:
        return _line(node, path)

    origin = Origin(file, line_of)
    refuse(_slips(node, ()), document, origin)
    return document, origin


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except OSError as error:
        fault = error.strerror or "unreadable"
    except UnicodeDecodeError:
        fault = "it is not UTF-8"
    raise ConfigError(f"the configuration file cannot be read: {fault}", where=str(file))


def _line(node: yaml.Node | None, path: ConfigPath) -> int:
    """The line of the deepest part of the path that the document has; of a mapping's entry, that of its key."""
    line = node.start_mark.line + 1 if node else 1
    for key in path:
        if isinstance(node, yaml.MappingNode):
            entry = next(((name, value) for name, value in node.value if name.value == str(key)), None)
            if entry is None:
                return line
            line, node = entry[0].start_mark.line + 1, entry[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
            node = node.value[key]
            line = node.start_mark.line + 1
        else:
            return line
    return line


def _slips(node: yaml.Node | None, path: ConfigPath) -> list[Mistake]:
    """What YAML accepts silently and nobody means: a key twice, and `{env.X}` without quotes, which is a mapping."""
    found = []
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for name, value in node.value:
            key = str(name.value)
            if key in seen:
                found.append(Mistake((*path, key), "the key stands there twice"))
            seen.add(key)
            if node.flow_style and _UNQUOTED.match(key) and value.value == "":
                found.append(Mistake(path, "a placeholder without quotes is a mapping in YAML", f'Write "{{{key}}}".'))
                continue
            found += _slips(value, (*path, key))
    elif isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            found += _slips(item, (*path, number))
    return found
