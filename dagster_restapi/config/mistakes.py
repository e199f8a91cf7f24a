"""From what is wrong with a configuration to one error: per mistake its full path and the nearest right key."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import AliasChoices, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from dagster_restapi.config.foreign import FOREIGN
from dagster_restapi.config.placeholders import nearest
from dagster_restapi.config.settings import Settings
from dagster_restapi.errors import ConfigError

Key = str | int
ConfigPath = tuple[Key, ...]


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing that is wrong with a configuration. No part of it quotes a value: that may be a secret.

    Attributes:
        path: Keys and list indexes from the top to the wrong place.
        what: What is wrong there.
        hint: What to do about it.
    """

    path: ConfigPath
    what: str
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class Origin:
    """The file that a configuration comes from, and the line on which each part begins."""

    file: Path
    lines: Mapping[ConfigPath, int]

    def line_of(self, path: ConfigPath) -> int:
        """The line of the deepest part of a path that the file has."""
        return next((self.lines[path[:end]] for end in range(len(path), -1, -1) if path[:end] in self.lines), 1)


class ConfigMistakes(ConfigError):
    """All that is wrong with one configuration."""

    def __init__(self, mistakes: Sequence[Mistake], config: Any = None, origin: Origin | None = None) -> None:
        self.mistakes = tuple(mistakes)
        told = [(_told(mistake), _where(mistake, config, origin), mistake.hint) for mistake in self.mistakes]
        if len(told) == 1:
            what, where, hint = told[0]
            super().__init__(what, where=where, hint=hint)
            return
        lines = [
            f"  - {what}{f' [{where}]' if where else ''}{f'. {hint}' if hint else ''}" for what, where, hint in told
        ]
        super().__init__("\n".join([f"the configuration has {len(told)} mistakes:", *lines]))


def refuse(mistakes: Iterable[Mistake], config: Any = None, origin: Origin | None = None) -> None:
    """Raises all mistakes as one error, if there are any; the same mistake is told once.

    Args:
        config: The configuration, raw or validated: names the resource that a mistake is in.
        origin: Where the configuration comes from, for line numbers.

    Raises:
        ConfigMistakes: There is at least one.
    """
    distinct = list(dict.fromkeys(mistakes))
    if distinct:
        raise ConfigMistakes(distinct, config, origin)


def spell(path: ConfigPath) -> str:
    """A path as people write it: `resources[1].endpoint.params['odd key']`."""
    text = ""
    for key in path:
        if isinstance(key, int):
            text += f"[{key}]"
        elif key.replace("-", "_").isidentifier():
            text += f".{key}" if text else key
        else:
            text += f"[{key!r}]"
    return text


def _told(mistake: Mistake) -> str:
    return f"{spell(mistake.path)}: {mistake.what}" if mistake.path else mistake.what


def _where(mistake: Mistake, config: Any, origin: Origin | None) -> str | None:
    parts = []
    name = resource_name(config, mistake.path)
    if name:
        parts.append(f"resource {name}")
    if origin:
        parts.append(f"{origin.file}:{origin.line_of(mistake.path)}")
    return ", ".join(parts) or None


def resource_name(config: Any, path: ConfigPath) -> str | None:
    """The name of the resource that a path leads into, as far as it can be read."""
    if len(path) < 2 or path[0] != "resources" or not isinstance(path[1], int):
        return None
    resources = config.get("resources") if isinstance(config, Mapping) else getattr(config, "resources", None)
    if not isinstance(resources, (list, tuple)) or path[1] >= len(resources):
        return None
    entry = resources[path[1]]
    name = entry.get("name") if isinstance(entry, Mapping) else getattr(entry, "name", entry)
    return name if isinstance(name, str) else None


# ---- from pydantic's errors ------------------------------------------------------------------------------------------
def mistakes_of(error: ValidationError, raw: Any, model: type[Settings]) -> list[Mistake]:
    """pydantic's errors as mistakes: paths as the user wrote them, one per place, nothing of a union's other members.

    Args:
        raw: What was validated.
        model: The model that it was validated against.
    """
    places = [_Place.of(details, raw, model) for details in error.errors(include_url=False)]
    telling = [place for place in places if not any(_hides(other, place) for other in places)]
    grouped: dict[ConfigPath, list[_Place]] = {}
    for place in telling:
        grouped.setdefault(place.path, []).append(place)
    return [_joined(path, group) for path, group in grouped.items()]


@dataclass(frozen=True, slots=True)
class _Place:
    path: ConfigPath
    union: bool  # pydantic tried members of a union one after another
    details: ErrorDetails
    models: tuple[tuple[type[Settings], ...], ...]  # what may stand at each step of the path, from the top

    @classmethod
    def of(cls, details: ErrorDetails, raw: Any, model: type[Settings]) -> _Place:
        path: list[Key] = []
        stack: list[tuple[type[Settings], ...]] = [(model,)]
        union = False
        location = details["loc"]
        for number, key in enumerate(location):
            if raw is not None and not isinstance(raw, (Mapping, list, tuple, Settings)):
                break  # a short form, such as a text for its mapping: the user wrote nothing below
            asked = number == len(location) - 1 and details["type"] in ("missing", "extra_forbidden")
            chosen = tuple(item for item in stack[-1] if key in _tags(item))
            key_here = _index(raw, key)
            if chosen and len(stack[-1]) > 1 and not asked:
                stack[-1] = chosen
            elif _holds(raw, key_here) or key in _keys(stack[-1]) or asked:
                path.append(key_here)
                raw = _under(raw, key_here)
                stack.append(_below(stack[-1], key) if isinstance(key, str) else stack[-1])
            else:
                union = True
        return cls(tuple(path), union, details, tuple(stack))


def _index(raw: Any, key: Key) -> Key:
    """The key itself; for a name within a list of named mappings (column hints), that mapping's index."""
    if isinstance(key, str) and isinstance(raw, (list, tuple)):
        for number, item in enumerate(raw):
            if isinstance(item, Mapping) and item.get("name") == key:
                return number
    return key


def _holds(raw: Any, key: Key) -> bool:
    if isinstance(key, int) and not isinstance(raw, Mapping):
        return isinstance(raw, (list, tuple)) and key < len(raw)
    return isinstance(raw, Mapping) and key in raw


def _under(raw: Any, key: Key) -> Any:
    if _holds(raw, key):
        return raw[key]
    return getattr(raw, str(key), None) if isinstance(raw, Settings) else None


def _hides(other: _Place, place: _Place) -> bool:
    """Whether another error says more than this one: a deeper one within another member of the same union, or a
    misspelt key beside the key that is missing."""
    if place.details["type"] == "missing" and other.details["type"] == "extra_forbidden":
        known = _keys(other.models[-2])
        close = difflib.get_close_matches(str(other.path[-1]), known, n=1)
        return other.path[:-1] == place.path[:-1] and close == [place.path[-1]]
    return place.union and other.union and len(other.path) > len(place.path) == _common(other.path, place.path)


def _common(one: ConfigPath, two: ConfigPath) -> int:
    return next((n for n, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), min(len(one), len(two)))


def _joined(path: ConfigPath, group: list[_Place]) -> Mistake:
    wanted = [_KINDS[place.details["type"]] for place in group if place.details["type"] in _KINDS]
    if wanted and len(wanted) == len(group):
        return Mistake(path, f"must be {' or '.join(dict.fromkeys(wanted))}")
    return _mistake(path, next(place for place in group if place.details["type"] not in _KINDS))


_KINDS = {
    **dict.fromkeys(("string_type", "string_sub_type"), "a text"),
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float", "int_parsing_size"), "a whole number"),
    **dict.fromkeys(("float_type", "float_parsing", "decimal_type", "decimal_parsing"), "a number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "true or false"),
    **dict.fromkeys(("dict_type", "mapping_type", "model_type", "model_attributes_type"), "a mapping"),
    **dict.fromkeys(("list_type", "tuple_type", "iterable_type"), "a list"),
    "callable_type": "a function",
    "none_required": "null",
}


def _mistake(path: ConfigPath, place: _Place) -> Mistake:
    details = place.details
    context = details.get("ctx", {})
    match details["type"]:
        case "extra_forbidden":
            return Mistake(path, "unknown key", _key_hint(str(path[-1]), place))
        case "missing":
            return Mistake(path, "is missing")
        case "literal_error":
            options = [option.strip("'") for option in context["expected"].replace(" or ", ", ").split(", ")]
            given = details["input"]
            near = nearest(given, options) if isinstance(given, str) else None
            reason = FOREIGN.get(f"{details['loc'][-1]}={given}") if isinstance(given, str) else None
            return Mistake(path, f"must be one of {', '.join(options)}", reason or near)
        case "value_error":
            fault = context["error"]
            if isinstance(fault, ConfigError):
                return Mistake(path, fault.what, fault.hint)
            return Mistake(path, str(fault))
        case _:
            return Mistake(path, details["msg"].replace("Input should ", "must "))


def _key_hint(key: str, place: _Place) -> str | None:
    """Why a key is not there, where it belongs, the nearest right one, or the few that there are; in this order."""
    here = place.models[-2] if len(place.models) > 1 else place.models[-1]
    for model in here:
        if reason := FOREIGN.get(f"{model.__name__}.{key}") or FOREIGN.get(f"{model.__mro__[1].__name__}.{key}"):
            return reason
    elsewhere = _elsewhere(key, place)
    if elsewhere:
        return elsewhere
    known = sorted(_keys(here))
    return nearest(key, known, "`{}`") or (f"The keys here are {', '.join(known)}." if len(known) <= 12 else None)


def _elsewhere(key: str, place: _Place) -> str | None:
    """Where a key belongs that is right, but not here: above, or one level below this or what is above."""
    for depth in range(len(place.path) - 1, -1, -1):
        models, above = place.models[depth], spell(place.path[:depth])
        if depth < len(place.path) - 1 and key in _keys(models):
            return f"It belongs in {above or 'the top level'}."
        below = [name for name in _keys(models) if key in _keys(_below(models, name))]
        if len(below) == 1 and key not in ("name", "type"):
            return f"It belongs in {spell((*place.path[:depth], below[0]))}."
    return None


# ---- what may stand where --------------------------------------------------------------------------------------------
def _key(name: str, field: FieldInfo) -> str:
    """How a user writes a field."""
    alias = field.validation_alias
    if isinstance(alias, AliasChoices):
        alias = str(alias.choices[0])
    return alias if isinstance(alias, str) else name


def _keys(models: Iterable[type[Settings]]) -> dict[str, None]:
    return {_key(name, field): None for model in models for name, field in model.model_fields.items()}


def _below(models: Iterable[type[Settings]], key: Key) -> tuple[type[Settings], ...]:
    """The models that may stand under a key."""
    found = [
        below
        for model in models
        for name, field in model.model_fields.items()
        if key == _key(name, field)
        for below in _models_in(field.annotation)
    ]
    if found or key in _keys(models):
        return tuple(found)
    return tuple(models)  # a key of the user's own, as of a column


def _models_in(annotation: Any) -> Iterator[type[Settings]]:
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        yield annotation
    elif get_origin(annotation) is Annotated:
        yield from _models_in(get_args(annotation)[0])
    elif get_origin(annotation) in (Union, types.UnionType, list, tuple, dict):
        for part in get_args(annotation):
            yield from _models_in(part)


def _tags(model: type[Settings]) -> tuple[Any, ...]:
    """The discriminator's values that choose a model of a union."""
    field = model.model_fields.get("type")
    return get_args(field.annotation) if field else ()
