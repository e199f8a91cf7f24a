"""Reads a configuration from a YAML file, and remembers on which line each part begins."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from dagster_restapi.config.mistakes import ConfigPath, Mistake, Origin, refuse
from dagster_restapi.errors import ConfigError

_MOST_REPEATED = 100_000  # values that aliases may add: a large configuration has some thousands
_DEEPEST = 64  # the deepest that is meant, a schema within a body, has about twenty
_TOO_DEEP = (
    f"it is nested more than {_DEEPEST} levels deep",
    "No setting is that deep: look for open brackets, and for aliases of aliases.",
)
_REPEATED = (
    f"its aliases repeat more than {_MOST_REPEATED:,} values",
    "An alias stands for all that its anchor holds: write out what differs, or make the configuration in Python.",
)
_UNQUOTED = re.compile(r"(resources|incremental|partition|env)\.")


def read_yaml(file: Path) -> tuple[Any, Origin]:
    """The document in plain types, and its lines.

    Raises:
        ConfigError: The file cannot be read, is no YAML, holds more than one document or a key twice, or a
            placeholder in it is not quoted.
    """
    text = _text(file)
    fault, hint, line = "", None, 0
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        fault, hint = _excess(node)
        document = loader.construct_document(node) if node and not fault else None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        fault, line = error.problem or "unreadable", mark.line + 1 if mark else 0
    except RecursionError:
        fault, hint = _TOO_DEEP
    except (yaml.YAMLError, ValueError) as error:
        fault = "a date or a number in it is none" if isinstance(error, ValueError) else "unreadable"
    if fault:
        raise ConfigError(f"no valid YAML: {fault}", where=f"{file}:{line}" if line else str(file), hint=hint)

    lines: dict[ConfigPath, int] = {}
    slips = list(_slips(node, (), frozenset(), set(), lines))
    origin = Origin(file, lines)
    refuse(slips, document, origin)
    return document, origin


def _excess(node: yaml.Node | None) -> tuple[str, str | None]:
    """What a few lines of YAML may ask for without end: aliases of aliases, and lists in lists in lists. The fault and
    what to do; an empty text where all is well."""
    known: dict[int, tuple[int, int]] = {}
    size, depth = _measured(node, known) if node else (0, 0)
    if depth > _DEEPEST:
        return _TOO_DEEP
    return _REPEATED if size - len(known) > _MOST_REPEATED else ("", None)


def _measured(node: yaml.Node, known: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """How many values a node holds, each alias counted for all that it stands for, and how deep. Looks at each once."""
    if id(node) in known:
        return known[id(node)]
    known[id(node)] = size, depth = 1, 1  # also for an alias within itself, which is told elsewhere
    parts = node.value if isinstance(node, yaml.CollectionNode) else []
    for part in itertools.chain(*parts) if isinstance(node, yaml.MappingNode) else parts:
        inner_size, inner_depth = _measured(part, known)
        size, depth = size + inner_size, max(depth, inner_depth + 1)
    known[id(node)] = size, depth
    return size, depth


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
