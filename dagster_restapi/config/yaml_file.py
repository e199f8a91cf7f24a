"""Reads a configuration from a YAML file, and remembers on which line each part begins."""

from __future__ import annotations

import re
from collections.abc import Iterator
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
        fault = "a date or a number in it is none" if isinstance(error, ValueError) else "unreadable"
    if fault:
        raise ConfigError(f"no valid YAML: {fault}", where=f"{file}:{line}" if line else str(file))

    lines: dict[ConfigPath, int] = {}
    slips = list(_slips(node, (), frozenset(), set(), lines))
    origin = Origin(file, lines)
    refuse(slips, document, origin)
    return document, origin


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except OSError as error:
        fault = error.strerror or "unreadable"
    except UnicodeDecodeError:
        fault = "it is not UTF-8"
    raise ConfigError(f"the configuration file cannot be read: {fault}", where=str(file))


def _slips(
    node: yaml.Node | None, path: ConfigPath, above: frozenset[int], seen: set[int], lines: dict[ConfigPath, int]
) -> Iterator[Mistake]:
    """What YAML accepts silently and nobody means: a key twice, an alias within itself, and `{env.X}` without quotes,
    which is a mapping. Fills `lines`. Each node is looked at once, however many aliases lead to it."""
    if id(node) in above:
        yield Mistake(path, "an alias leads back to what it stands in")
    if node is None or id(node) in seen:
        return
    seen.add(id(node))
    lines.setdefault(path, node.start_mark.line + 1)
    above |= {id(node)}
    if isinstance(node, yaml.MappingNode):
        keys = set()
        for name, value in node.value:
            key = str(name.value)
            if key in keys:
                yield Mistake((*path, key), "the key stands there twice")
            keys.add(key)
            lines[(*path, key)] = name.start_mark.line + 1
            if node.flow_style and _UNQUOTED.match(key) and value.value == "":
                yield Mistake(path, "a placeholder without quotes is a mapping in YAML", f'Write "{{{key}}}".')
            else:
                yield from _slips(value, (*path, key), above, seen, lines)
    elif isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            yield from _slips(item, (*path, number), above, seen, lines)
