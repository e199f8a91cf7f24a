"""One resource with its defaults merged and its request brought into the one form that the other rooms know."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from dagster_restapi.config.client import ClientConfig
from dagster_restapi.config.columns import keys_of
from dagster_restapi.config.defaults import merge
from dagster_restapi.config.endpoint import EndpointConfig
from dagster_restapi.config.mistakes import ConfigPath, Mistake
from dagster_restapi.config.naming import normalize_path
from dagster_restapi.config.paginators import AutoPaginator, SinglePagePaginator
from dagster_restapi.config.placeholders import (
    Placeholder,
    as_text,
    bind,
    escape,
    found,
    inner_names,
    nearest,
    respelled,
)
from dagster_restapi.config.resource import ResourceConfig, ResourceDefaults
from dagster_restapi.config.values import LISTS, is_nested
from dagster_restapi.errors import ConfigError
from dagster_restapi.secrets import Secret

_PARTS = ("path", "params", "headers", "json_body", "data")  # in the order in which parent keys are named


@dataclass(frozen=True, slots=True)
class Use:
    """One use of a placeholder, and whether it is the whole text that it stands in."""

    place: ConfigPath
    placeholder: Placeholder
    alone: bool


@dataclass(frozen=True, slots=True)
class Resolved:
    """One resource, merged and resolved.

    Attributes:
        path: Where the resource stands in the configuration.
        settings: The resource with the defaults filled in.
        endpoint: The request with static parameters in the path, `start_param` and `end_param` among the parameters,
            and paginator and selector chosen; None where the resource has rows of its own.
        uses: Every placeholder in the request, in order.
        mistakes: What is wrong with the request by itself.
    """

    path: ConfigPath
    settings: ResourceConfig
    endpoint: EndpointConfig | None
    uses: tuple[Use, ...]
    mistakes: tuple[Mistake, ...]

    @property
    def name(self) -> str:
        return self.settings.name

    @property
    def parents(self) -> tuple[str, ...]:
        """Names of the resources that placeholders speak of, in order of use."""
        names = (use.placeholder.parts[0] for use in self.uses if use.placeholder.kind == "resources")
        return tuple(dict.fromkeys(names))

    @property
    def parent_fields(self) -> tuple[str, ...]:
        """JSONPaths of what placeholders take from the parents' rows, in order of use."""
        paths = (use.placeholder.parts[1] for use in self.uses if use.placeholder.kind == "resources")
        return tuple(dict.fromkeys(paths))


def resolve(resource: ResourceConfig, index: int, defaults: ResourceDefaults | None, client: ClientConfig) -> Resolved:
    """Merges and resolves one resource. Mistakes are collected, not raised."""
    path: ConfigPath = ("resources", index)
    settings = merge(resource, defaults)
    if settings.rows is not None:
        return Resolved(path, settings, None, (), ())
    mistakes: list[Mistake] = []
    endpoint = settings.endpoint or EndpointConfig()
    endpoint = endpoint.model_copy(
        update={
            "path": settings.name if endpoint.path is None else endpoint.path,
            "missing_data": endpoint.missing_data or settings.missing_data or "fail",
            "on_short_total": endpoint.on_short_total or settings.on_short_total or "warn",
            "object_params": endpoint.object_params or client.object_params,
        }
    )
    if endpoint.json_body is not None and endpoint.data is not None:
        mistakes.append(Mistake((*path, "endpoint"), "`json` and `data` exclude each other"))
    single = _single_entity(endpoint)
    endpoint = _with_cursor_params(endpoint, path, mistakes)
    places = _Places(path, resource.endpoint, resource.model_fields_set)
    endpoint = _with_path_params(endpoint, places, mistakes)
    mistakes += _without_spelling(endpoint, places)
    uses = tuple(_uses(endpoint, places, mistakes))
    paginator = endpoint.paginator or (SinglePagePaginator() if single else client.paginator or AutoPaginator())
    selector = "$" if single else endpoint.data_selector
    endpoint = endpoint.model_copy(update={"paginator": paginator, "data_selector": selector})
    return Resolved(path, settings, endpoint, uses, tuple(mistakes))


def with_included_names(resolved: list[Resolved]) -> list[Resolved]:
    """Placeholders for what a parent includes of its own parent, by the key that it has in the parent's records.

    `include_from_parent: [owner.login]` makes a key with a dot in it, `_repos_owner.login`; placeholders may name it
    so, or by its column: `_repos_owner_login`, `_repos_owner__login`.
    """
    spellings = {item.name: _included_names(item) for item in resolved}
    return [_with_names(item, spellings) for item in resolved]


def _included_names(item: Resolved) -> dict[str, str]:
    names: dict[str, str] = {}
    for path in item.settings.include_from_parent or () if len(item.parents) == 1 else ():
        start = f"_{item.parents[0]}_"
        key = f"{start}{path}"
        if key.replace("_", "").isalnum():
            continue
        meant = f'["{key}"]' if "'" in key else f"['{key}']"
        by_path = start + "__".join(map(str, keys_of(path) or (path,)))
        names |= dict.fromkeys((key, by_path, normalize_path(key), normalize_path(by_path)), meant)
    return names


def _with_names(item: Resolved, spellings: Mapping[str, Mapping[str, str]]) -> Resolved:
    names = spellings.get(item.parents[0], {}) if len(item.parents) == 1 else {}
    if item.endpoint is None or not any(path in names for path in item.parent_fields):
        return item
    parts = {part: respelled(getattr(item.endpoint, part), item.parents[0], names) for part in _PARTS}
    uses = (_renamed(use, names) for use in item.uses)
    return replace(item, endpoint=item.endpoint.model_copy(update=parts), uses=tuple(uses))


def _renamed(use: Use, names: Mapping[str, str]) -> Use:
    if use.placeholder.kind != "resources":
        return use
    parent, path = use.placeholder.parts
    return replace(use, placeholder=use.placeholder._replace(parts=(parent, names.get(path, path))))


@dataclass(frozen=True, slots=True)
class _Places:
    """Whether a part of the merged request was written at the resource or in the defaults."""

    resource: ConfigPath
    own: EndpointConfig | None
    own_settings: set[str]

    def of(self, part: str, keys: ConfigPath = ()) -> ConfigPath:
        own = getattr(self.own, part, None)
        mine = self.own is not None and part in self.own.model_fields_set
        if mine and keys and part in ("params", "json_body") and isinstance(own, Mapping):
            mine = keys[0] in own
        top = self.resource if mine or part == "path" else ("resource_defaults",)
        return (*top, "endpoint", "json" if part == "json_body" else part, *keys)


def _single_entity(endpoint: EndpointConfig) -> bool:
    """dlt's rule: a placeholder in the last segment of the path names one thing, unless the user says otherwise.

    The bounds of a time window and environment variables name no single thing. Of the names that `params` fill, only
    those count whose letters OpenAPI allows, as in dlt: `{user id}` pages on.
    """
    assert endpoint.path is not None
    last = endpoint.path.split("?")[0].rstrip("/").rpartition("/")[2]
    names = [name for name in inner_names(last) if not name.startswith(("env.", "partition.start", "partition.end"))]
    names = [name for name in names if name.startswith("resources.") or re.fullmatch(r"[A-Za-z0-9._-]+", name)]
    return bool(names) and endpoint.paginator is None and endpoint.data_selector is None


def _with_cursor_params(endpoint: EndpointConfig, path: ConfigPath, mistakes: list[Mistake]) -> EndpointConfig:
    """`start_param` and `end_param` as the parameters that they are short for."""
    incremental = endpoint.incremental
    if incremental is None:
        return endpoint
    params = dict(endpoint.params or {})
    for option, value in (("start_param", "start_value"), ("end_param", "end_value")):
        name = getattr(incremental, option)
        text = f"{{incremental.{value}}}"
        if name is not None and params.setdefault(name, text) != text:
            place = (*path, "endpoint", "incremental", option)
            mistakes.append(Mistake(place, f"`params` has a {name!r} too", "Leave one of the two out."))
    plain = incremental.model_copy(update={"start_param": None, "end_param": None})
    return endpoint.model_copy(update={"params": params, "incremental": plain})


def _with_path_params(endpoint: EndpointConfig, places: _Places, mistakes: list[Mistake]) -> EndpointConfig:
    """Parameters whose name stands in the path as `{name}` go there, and nowhere else."""
    assert endpoint.path is not None
    params = endpoint.params or {}
    in_path = [name for name in dict.fromkeys(inner_names(endpoint.path)) if name in params]
    for name in in_path:
        if params[name] is None:
            mistakes.append(Mistake(places.of("params", (name,)), "stands in the path and cannot be null"))
        elif isinstance(params[name], (Mapping, *LISTS)):
            kind = "an object" if isinstance(params[name], Mapping) else "a list"
            mistakes.append(Mistake(places.of("params", (name,)), f"stands in the path and cannot be {kind}"))
    path, _ = bind(endpoint.path, {name: _path_text(params[name]) for name in in_path})
    rest = {name: value for name, value in params.items() if name not in in_path}
    return endpoint.model_copy(update={"path": path, "params": rest})


def _without_spelling(endpoint: EndpointConfig, places: _Places) -> Iterator[Mistake]:
    """Literal parameters and form fields that have no plain form."""
    for part in ("params", "data"):
        fields = getattr(endpoint, part)
        if isinstance(fields, list):
            yield Mistake(places.of(part), "is a list, and a form has named fields", "A list goes in `json`.")
        if not isinstance(fields, Mapping) or endpoint.object_params in ("brackets", "json"):
            continue
        for name, value in fields.items():
            if is_nested(value):
                yield Mistake(
                    places.of(part, (name,)),
                    "is an object, and how it is sent is not said",
                    "`object_params: brackets` sends name[key]=value, `object_params: json` one JSON text.",
                )


def _path_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, Secret):
        return value.template or escape(value.reveal())
    return escape(as_text(value))


def _uses(endpoint: EndpointConfig, places: _Places, mistakes: list[Mistake]) -> Iterator[Use]:
    for part in _PARTS:
        for keys, text in _texts(getattr(endpoint, part), ()):
            place = places.of(part, keys)
            try:
                uses = list(found(text))
            except ConfigError as error:
                mistakes.append(Mistake(place, error.what, _path_hint(part, text, places) or error.hint))
                continue
            for placeholder in uses:
                if placeholder.reserved and part != "path":
                    mistakes.append(Mistake(place, f"{placeholder}: a plus has a meaning in the path only"))
                yield Use(place, placeholder, alone=part != "path" and text.strip() == str(placeholder))


def _texts(value: Any, keys: ConfigPath) -> Iterator[tuple[ConfigPath, str]]:
    if isinstance(value, str):
        yield keys, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if isinstance(key, str):
                yield (*keys, key), key
            yield from _texts(item, (*keys, key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _texts(item, (*keys, number))


def _path_hint(part: str, text: str, places: _Places) -> str | None:
    """The parameter that a wrong name in the path may have meant."""
    if part != "path" or places.own is None or not places.own.params:
        return None
    names = list(places.own.params)
    return next((near for inner in inner_names(text) if (near := nearest(inner, names, "{{{}}}"))), None)
