"""Placeholders in requests: `{resources.<name>.<field>}`, `{incremental.…}`, `{partition.…}` and `{env.X}`.

In a path, a value is one segment; with a plus in front, `{+resources.<name>.<field>}`, it keeps its slashes.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import quote as url_quote
from urllib.parse import unquote

import msgspec

from dagster_restapi.config.jsonpath import select
from dagster_restapi.errors import ConfigError, RequestError
from dagster_restapi.secrets import Secret

INCREMENTAL = ("start_value", "initial_value", "last_value", "end_value", "lag", "cursor_path")
PARTITION = ("key", "start", "end", "keys")
KINDS = ("resources", "incremental", "partition", "env")

_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_RESOURCE_FIELD = re.compile(r"([^.\[\s]+)\.?((?:(?<=\.)\S|\[).*)", re.DOTALL)
_FORMATTED = re.compile(r"((?:[^\[\]'\"!:]|\[[^\]]*\]|'[^']*'|\"[^\"]*\")+)([!:].*)", re.DOTALL)
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Placeholder(NamedTuple):
    """One placeholder.

    Attributes:
        kind: resources, incremental, partition or env.
        parts: (resource, JSONPath), (value name,), (part,) or ("keys", dimension), (variable,).
        reserved: Whether its slashes part segments, where it stands in a path.
    """

    kind: str
    parts: tuple[str, ...]
    reserved: bool = False

    def __str__(self) -> str:
        plus = "+" if self.reserved else ""
        if self.kind == "resources" and self.parts[1].startswith("["):
            return f"{{{plus}resources.{self.parts[0]}{self.parts[1]}}}"
        return f"{{{plus}{'.'.join((self.kind, *self.parts))}}}"


@dataclass(frozen=True, slots=True)
class Scope:
    """What placeholders stand for in one request.

    Attributes:
        resources: Parent's name to the fields of one of its rows, by the JSONPath that the placeholder wrote.
        incremental: The names of `INCREMENTAL`; None where there is no such value.
        partition: key, start, end, and keys: dimension to key.
    """

    resources: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    incremental: Mapping[str, Any] = field(default_factory=dict)
    partition: Mapping[str, Any] = field(default_factory=dict)


def nearest(word: str, right: Iterator[str] | tuple[str, ...] | list[str], pattern: str = "{}") -> str | None:
    """`Did you mean …?` with the most similar of the right words, or None where none is similar."""
    close = difflib.get_close_matches(word, list(right), n=1, cutoff=0.6)
    return f"Did you mean {pattern.format(close[0])}?" if close else None


def unseen(resource: str, path: str, there: Sequence[str]) -> str:
    """The warning that no row of a parent has a field which a child asks with or includes."""
    near = difflib.get_close_matches(path, there, n=3, cutoff=0.5) or there[:12]
    return f"no row of {resource} has a field {path!r}; there are {', '.join(near)}"


def render(value: Any, scope: Scope) -> Any:
    """The value with every placeholder replaced, in texts, lists and dicts, keys included.

    Args:
        value: Any JSON-like value; it is not changed.
        scope: What placeholders stand for.

    Returns:
        A new value. A text that is one placeholder and nothing else takes the placeholder's own type.

    Raises:
        ConfigError: A placeholder stands for nothing: an unset environment variable, a null within a text.
    """
    if isinstance(value, str):
        return _render_text(value, scope) if "{" in value or "}" in value else value
    if isinstance(value, Mapping):
        return {render(key, scope): render(item, scope) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [render(item, scope) for item in value]
    if isinstance(value, Secret):
        return _reveal(value)
    return value


def _render_text(text: str, scope: Scope) -> Any:
    pieces = _pieces(text)
    if len(pieces) == 1 and isinstance(pieces[0], Placeholder):
        return _value(pieces[0], scope)
    return "".join(piece if isinstance(piece, str) else as_text(_inserted(piece, scope)) for piece in pieces)


def render_path(template: str, scope: Scope) -> tuple[str, tuple[Placeholder, ...]]:
    """The path with every placeholder replaced by its value, URL-encoded.

    A value is one segment. One with a plus keeps its slashes (as in RFC 6570, 3.2.3, but for all other reserved
    characters: a value is data). A whole URL at the very beginning stays as it is.

    Returns:
        The path, and the placeholders whose slashes were encoded.

    Raises:
        ConfigError: A placeholder stands for nothing.
        RequestError: A value would lead elsewhere: it is empty, `.` or `..`, an object or a list.
    """
    path, marked, encoded = "", "", []
    for number, piece in enumerate(_pieces(template)):
        if isinstance(piece, str):
            path, marked = path + piece, marked + piece
            continue
        text = _scalar(piece, scope)
        if number == 0 and _WHOLE_URL.match(text):
            path = marked = text if template == str(piece) else _without_query(text, piece)
            continue
        if piece.reserved and not path:
            text = text.lstrip("/")
        text = url_quote(text, safe="/" if piece.reserved else "")
        if "%2F" in text and "?" not in path:
            encoded.append(piece)
        path, marked = path + text, marked + _BEGINS + text.replace("/", f"/{_GOES_ON}")
    for segment in marked.partition("?")[0].split("/"):
        _check_segment(segment, template)
    return path, tuple(encoded)


_WHOLE_URL = re.compile(r"https?://[^/]", re.IGNORECASE)
_BEGINS, _GOES_ON = "\0", "\1"  # before a value, and behind each slash in it: no encoded text holds them


def _scalar(placeholder: Placeholder, scope: Scope) -> str:
    value = _inserted(placeholder, scope)
    if isinstance(value, (Mapping, list)):
        raise RequestError(
            f"{placeholder} is {'an object' if isinstance(value, Mapping) else 'a list'}, and has no place in a path",
            hint="Name a field inside it; `[*]` asks once for each element of a list.",
        )
    return as_text(value)


def _without_query(url: str, placeholder: Placeholder) -> str:
    if "?" in url or "#" in url:
        raise RequestError(
            f"{placeholder} is a URL with a query, and the path goes on behind it",
            hint="Let the placeholder be the whole path, and give further parameters in `params`.",
        )
    return url


def _check_segment(segment: str, template: str) -> None:
    """Refuses a segment by which a value changes what is asked: servers take dots away (RFC 3986, 5.2.4)."""
    plain = segment.replace(_BEGINS, "").replace(_GOES_ON, "")
    if plain == segment:
        return
    while "%" in plain and plain != unquote(plain):  # some decode twice
        plain = unquote(plain)
    if plain in (".", "..") or (not plain and _BEGINS in segment):
        raise RequestError(
            f"a value makes a segment of the path {'empty' if not plain else repr(plain)}: it would lead elsewhere",
            where=template,
            hint="Leave such rows out with a filter in the parent's `processing_steps`, or use `on_error: skip`.",
        )


def _inserted(placeholder: Placeholder, scope: Scope) -> Any:
    value = _value(placeholder, scope)
    if value is None:
        raise ConfigError(
            f"{placeholder} has no value here, and a null cannot stand within a text",
            hint="Give `initial_value`, or let the placeholder be the whole value, which is then left out.",
        )
    return value


def as_text(value: Any) -> str:
    """A value as it stands within a text: JSON's spelling, so `true` and not `True`."""
    if isinstance(value, str):
        return value
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if value is None or isinstance(value, (bool, dict, list)):
        return msgspec.json.encode(value).decode()
    return str(value)


def _value(placeholder: Placeholder, scope: Scope) -> Any:
    kind, parts, _ = placeholder
    if kind == "env":
        return _reveal(Secret(env=parts[0]))
    source: Any = getattr(scope, kind)
    for part in parts:
        if not isinstance(source, Mapping) or part not in source:
            raise ConfigError(
                f"{placeholder} stands for nothing in this request",
                hint="Partition placeholders need a partitioned asset." if kind == "partition" else None,
            )
        source = source[part]
    return source


def _reveal(secret: Secret) -> str:
    try:
        return secret.reveal()
    except LookupError:
        pass
    raise ConfigError(f"the environment variable {secret.env} is not set", hint="Set it where the step runs.")


def found(value: Any) -> Iterator[Placeholder]:
    """Every placeholder in the value, in the order of use, repetitions included.

    Raises:
        ConfigError: A text holds a brace that is neither a placeholder nor doubled, or a name that no kind has.
    """
    if isinstance(value, str):
        if "{" in value or "}" in value:
            yield from (piece for piece in _pieces(value) if isinstance(piece, Placeholder))
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from found(key)
            yield from found(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from found(item)


def respelled(value: Any, resource: str, spellings: Mapping[str, str]) -> Any:
    """The template with paths into one resource spelled otherwise.

    Args:
        spellings: JSONPath as it is written to JSONPath as it is meant.
    """
    if isinstance(value, str):
        return _TOKEN.sub(lambda match: _respelled(match, resource, spellings), value)
    if isinstance(value, Mapping):
        return {
            respelled(key, resource, spellings): respelled(item, resource, spellings) for key, item in value.items()
        }
    return [respelled(item, resource, spellings) for item in value] if isinstance(value, list) else value


def _respelled(match: re.Match[str], resource: str, spellings: Mapping[str, str]) -> str:
    kind, _, rest = (match[1] or "").strip().removeprefix("+").partition(".")
    field = _RESOURCE_FIELD.fullmatch(rest)
    if kind != "resources" or field is None or field[1] != resource or field[2] not in spellings:
        return match[0]
    return str(parse(match[1])._replace(parts=(resource, spellings[field[2]])))


def bind(text: str, values: Mapping[str, str]) -> tuple[str, frozenset[str]]:
    """The template with `{name}` replaced by the template under that name, and the names that were replaced."""
    used = set()

    def replaced(match: re.Match[str]) -> str:
        name = (match[1] or "").removeprefix("+")
        if match[1] is None or name not in values:
            return match[0]
        used.add(name)
        return values[name] if name == match[1] else _TOKEN.sub(_with_plus, values[name])

    return _TOKEN.sub(replaced, text), frozenset(used)


def _with_plus(match: re.Match[str]) -> str:
    return f"{{+{match[1].strip().removeprefix('+')}}}" if match[1] else match[0]


def inner_names(text: str) -> list[str]:
    """What stands between single braces, whether it is a placeholder or not; without a plus."""
    return [match[1].removeprefix("+") for match in _TOKEN.finditer(text) if match[1] is not None]


def names(value: Any) -> frozenset[Placeholder]:
    """The distinct placeholders in the value. Raises what `found` raises."""
    return frozenset(found(value))


def escape(text: str) -> str:
    """The text as a template that renders to itself."""
    return text.replace("{", "{{").replace("}", "}}")


@lru_cache(maxsize=4096)
def _pieces(text: str) -> tuple[str | Placeholder, ...]:
    """Literal texts and placeholders, in order."""
    pieces: list[str | Placeholder] = []
    literal, end = "", 0
    for match in _TOKEN.finditer(text):
        literal += text[end : match.start()]
        end = match.end()
        token = match[0]
        if token in ("{{", "}}"):
            literal += token[0]
        elif match[1] is None:
            raise ConfigError(f"a single {token!r}", hint="Double it, {{ or }}, where it is meant as a brace.")
        else:
            if literal:
                pieces.append(literal)
            literal = ""
            pieces.append(parse(match[1]))
    literal += text[end:]
    if literal:
        pieces.append(literal)
    return tuple(pieces)


def parse(inner: str) -> Placeholder:
    """The placeholder between two braces.

    Raises:
        ConfigError: It is none; the hint names the nearest right spelling.
    """
    text = inner.strip()
    reserved = text.startswith("+")
    kind, _, rest = text.removeprefix("+").partition(".")
    formatted = _FORMATTED.fullmatch(inner) if kind in KINDS else None
    match kind:
        case "resources" if (parent := _RESOURCE_FIELD.fullmatch(rest)) and not (formatted and _is_no_path(parent[2])):
            select(parent[2])  # a bad path is an error here, not in a step
            return Placeholder(kind, (parent[1], parent[2]), reserved)
        case "incremental" if rest in INCREMENTAL:
            return Placeholder(kind, (rest,), reserved)
        case "partition" if rest in PARTITION[:-1]:
            return Placeholder(kind, (rest,), reserved)
        case "partition" if rest.startswith("keys.") and len(rest) > 5:
            return Placeholder(kind, ("keys", rest.removeprefix("keys.")), reserved)
        case "env" if _ENV_NAME.fullmatch(rest):
            return Placeholder(kind, (rest,), reserved)
    if formatted:
        raise ConfigError(
            f"{{{inner}}}: values are not formatted as Python's str.format does ({formatted[2]})",
            hint=f"Write {{{formatted[1]}}}. `convert` gives a cursor another form, a `map` in the parent's "
            "processing_steps a field; a key that holds a colon stands in ['…'].",
        )
    raise ConfigError(f"{{{inner}}} is no placeholder", hint=_hint(kind, rest))


def _is_no_path(text: str) -> bool:
    try:
        select(text)
    except ConfigError:
        return True
    return False


def _hint(kind: str, rest: str) -> str:
    braces = "Braces that are meant as such are doubled: {{ and }}."
    if kind not in KINDS:
        close = nearest(kind, KINDS, f"{{{{{{}}.{rest}}}}}" if rest else "{{{}.…}}")
        return f"{close} {braces}" if close else f"Placeholders start with {', '.join(KINDS)}. {braces}"
    right = {
        "resources": "{resources.<name>.<field>}",
        "incremental": ", ".join(f"{{incremental.{name}}}" for name in INCREMENTAL),
        "partition": "{partition.key}, {partition.start}, {partition.end}, {partition.keys.<dimension>}",
        "env": "{env.NAME}",
    }[kind]
    known = {"incremental": INCREMENTAL, "partition": PARTITION[:-1]}.get(kind, ())
    close = nearest(rest, known, f"{{{{{kind}.{{}}}}}}")
    return f"{close or f'Write {right}.'} {braces}"
