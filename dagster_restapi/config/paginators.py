"""How an endpoint is paged, as a user writes it: dlt's paginators with dlt's options and defaults, and a few more."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BeforeValidator, Discriminator, Field, Tag, TypeAdapter, field_validator, model_validator

from dagster_restapi.config import jsonpath
from dagster_restapi.config.settings import Settings
from dagster_restapi.errors import ConfigError

_METHODS = ("first", "apply", "advance", "token", "ahead")  # of http.paginators.Paginator
_registered: dict[str, Callable[..., Any]] = {}


class _Paginator(Settings):
    repeated_page: Literal["fail", "allow"] = "fail"
    """What it means that a page has the same rows as the one before it: a server that does not page (`fail`), or rows
    that are alike (`allow`)."""

    @field_validator("next_url_path", "cursor_path", "total_path", "has_more_path", mode="after", check_fields=False)
    @classmethod
    def _is_jsonpath(cls, path: str | None) -> str | None:
        return jsonpath.checked(path)

    @model_validator(mode="before")
    @classmethod
    def _none_is_default(cls, value: Any) -> Any:
        """dlt types nearly every option as optional: an explicit None means the default where None means nothing."""
        if not isinstance(value, Mapping):
            return value
        fields = cls.model_fields
        return {
            key: item
            for key, item in value.items()
            if item is not None or key not in fields or type(None) in get_args(fields[key].annotation)
        }


class _Ending(Settings):
    """What else may end a walk along links or cursors. Only dlt's `cursor` knows the first two."""

    stop_after_empty_page: bool = False
    """End at a page without rows, even where it names another page."""
    has_more_path: str | None = None
    """JSONPath of a boolean: whether another page follows. Where it is false, a link or cursor is not followed."""
    total_path: str | None = None
    """JSONPath of the number of rows in all pages, compared with the rows received. It does not end the walk."""
    stop_on_repeat: bool = False
    """End where a page names itself as the next one, as Zendesk's exports do. Otherwise that is an error."""


class JSONLinkPaginator(_Paginator, _Ending):
    """The next page's URL stands in the answer's body."""

    type: Literal["json_link"] = "json_link"
    next_url_path: str = "next"
    """JSONPath of the next page's URL."""
    keep_params: bool = False
    """Send the parameters of the first request with every link that lacks them."""


class HeaderLinkPaginator(_Paginator, _Ending):
    """The next page's URL stands in the `Link` header (RFC 8288), as at GitHub."""

    type: Literal["header_link"] = "header_link"
    links_next_key: str = "next"
    """The link's `rel`."""
    keep_params: bool = False
    """Send the parameters of the first request with every link that lacks them."""


class HeaderCursorPaginator(_Paginator, _Ending):
    """The next page's cursor stands in a header of the answer."""

    type: Literal["header_cursor"] = "header_cursor"
    cursor_key: str = "next"
    """Name of the header."""
    cursor_param: str = "cursor"
    """Query parameter that takes the cursor, from the second request on."""
    empty_cursor: Literal["end", "send"] = "end"
    """What an empty cursor means: the end, or a cursor like any other."""


class JSONResponseCursorPaginator(_Paginator, _Ending):
    """The next page's cursor stands in the answer's body."""

    type: Literal["cursor"] = "cursor"
    cursor_path: str = "cursors.next"
    """JSONPath of the next page's cursor."""
    cursor_param: str | None = None
    """Query parameter that takes the cursor, from the second request on. Default: `cursor`."""
    cursor_body_path: str | None = None
    """Instead of `cursor_param`: where the cursor goes in the JSON body, names joined by dots."""
    empty_cursor: Literal["end", "send"] = "end"
    """What an empty text means: the end, or a cursor like any other. Null, 0 and false are the end."""

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        _either(self.cursor_param, self.cursor_body_path, "cursor_param", "cursor_body_path")
        return self


class OffsetPaginator(_Paginator):
    """Rows are asked for by offset and limit."""

    type: Literal["offset"] = "offset"
    limit: int = Field(gt=0)
    """Rows to ask for in one page."""
    offset: int = Field(default=0, ge=0)
    """Offset of the first request."""
    base_offset: int | None = Field(default=None, ge=0, le=1)
    """Offset of the API's first row: 0, or 1 as in SCIM's `startIndex`. Default: an empty page tells."""
    offset_param: str | None = None
    """Query parameter of the offset. Default: `offset`."""
    offset_body_path: str | None = None
    """Instead of `offset_param`: where the offset goes in the JSON body, names joined by dots."""
    limit_param: str | None = None
    """Query parameter of the limit. Default: `limit`."""
    limit_body_path: str | None = None
    """Instead of `limit_param`: where the limit goes in the JSON body, names joined by dots."""
    total_path: str | None = "total"
    """JSONPath of the number of rows in all pages. Where it is given it ends the walk, else an empty page does, or a
    `total` that agrees with the rows that came."""
    maximum_offset: int | None = Field(default=None, ge=0)
    """No request is made from this offset on."""
    stop_after_empty_page: bool = True
    """End at a page without rows."""
    has_more_path: str | None = None
    """JSONPath of a boolean: whether another page follows."""
    stop_on_repeat: bool = False
    """End where a page repeats the one before it, as an API does that gives its last page for every later one."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        _either(self.offset_param, self.offset_body_path, "offset_param", "offset_body_path")
        _either(self.limit_param, self.limit_body_path, "limit_param", "limit_body_path")
        _ends(self.total_path, self.maximum_offset, self.has_more_path, self.stop_after_empty_page, "maximum_offset")
        return self


class PageNumberPaginator(_Paginator):
    """Pages are asked for by number."""

    type: Literal["page_number"] = "page_number"
    base_page: int = 0
    """Number of the API's first page: most count from 0 or from 1."""
    page: int | None = None
    """Number of the first page to ask for. Default: `base_page`."""
    page_param: str | None = None
    """Query parameter of the page number. Default: `page`."""
    page_body_path: str | None = None
    """Instead of `page_param`: where the page number goes in the JSON body, names joined by dots."""
    total_path: str | None = "total"
    """JSONPath of the number of pages. Where it is given it ends the walk, else an empty page does, or a `total` that
    agrees with the rows that came."""
    maximum_page: int | None = None
    """No request is made from this page number on."""
    stop_after_empty_page: bool = True
    """End at a page without rows."""
    has_more_path: str | None = None
    """JSONPath of a boolean: whether another page follows."""
    stop_on_repeat: bool = False
    """End where a page repeats the one before it, as an API does that gives its last page for every later one."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        _either(self.page_param, self.page_body_path, "page_param", "page_body_path")
        _ends(self.total_path, self.maximum_page, self.has_more_path, self.stop_after_empty_page, "maximum_page")
        return self


class SinglePagePaginator(_Paginator):
    """There is one page."""

    type: Literal["single_page"] = "single_page"


class AutoPaginator(_Paginator):
    """The paginator is found from the first answer, and kept."""

    type: Literal["auto"] = "auto"


class CustomPaginator(Settings):
    """A paginator of one's own: a registered type with its options, or an instance."""

    type: str
    """Name under which the class was registered; of an instance, the name of its class."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Arguments of the class."""
    instance: Any = Field(default=None, exclude=True, repr=False)
    """The instance, where one was given."""

    @model_validator(mode="after")
    def _builds(self) -> Self:
        self.build()
        return self

    def build(self) -> Any:
        """The paginator itself: an `http.paginators.Paginator`.

        Raises:
            ValueError: The class does not take these options.
        """
        if self.instance is not None:
            return self.instance
        try:
            return _registered[self.type](**self.options)
        except TypeError as error:
            text = str(error)
        raise ValueError(f"the registered paginator {self.type!r} does not take these options: {text}")


_BUILT_IN: dict[str, type[_Paginator]] = {
    "json_link": JSONLinkPaginator,
    "header_link": HeaderLinkPaginator,
    "header_cursor": HeaderCursorPaginator,
    "cursor": JSONResponseCursorPaginator,
    "offset": OffsetPaginator,
    "page_number": PageNumberPaginator,
    "single_page": SinglePagePaginator,
    "auto": AutoPaginator,
}

_OLDER_TYPES = {"json_response": "json_link"}
_OLDER_OPTIONS = {  # what dlt called them before
    "json_link": {"next_key": "next_url_path"},
    "header_link": {"next_key": "links_next_key"},
    "offset": {"initial_limit": "limit", "initial_offset": "offset"},
    "page_number": {"initial_page": "base_page"},
}


_DLT = "dlt.sources.helpers.rest_client.paginators"
_DLT_CLASSES: dict[str, tuple[str, dict[str, str]]] = {  # class -> our type, and our field -> its attribute
    "JSONLinkPaginator": ("json_link", {}),
    "JSONResponsePaginator": ("json_link", {}),
    "HeaderLinkPaginator": ("header_link", {}),
    "HeaderCursorPaginator": ("header_cursor", {}),
    "JSONResponseCursorPaginator": ("cursor", {}),
    "SinglePagePaginator": ("single_page", {}),
    "OffsetPaginator": (
        "offset",
        {
            "offset": "initial_value",
            "offset_param": "param_name",
            "offset_body_path": "param_body_path",
            "maximum_offset": "maximum_value",
        },
    ),
    "PageNumberPaginator": (
        "page_number",
        {
            "base_page": "base_index",
            "page": "initial_value",
            "page_param": "param_name",
            "page_body_path": "param_body_path",
            "maximum_page": "maximum_value",
        },
    ),
}


def _spelt(value: Any) -> Any:
    """Takes every spelling of a paginator: a type's name, options with or without `type`, an instance.

    Raises:
        ValueError: No such type, or an instance that keeps its state in itself, as dlt's do.
    """
    if isinstance(value, _Paginator | CustomPaginator):
        return value
    if isinstance(value, str):
        value = {"type": value}
    if isinstance(value, Mapping):
        return _from_options(dict(value))
    if type(value).__module__ == _DLT:
        return _from_dlt(value)
    if problem := _unfit(type(value)):
        raise ValueError(problem)
    return CustomPaginator(type=type(value).__name__, options=_plain(vars(value)), instance=value)


def _from_dlt(paginator: Any) -> Any:
    """The model of one of dlt's own paginators: its attributes are public, its position is not wanted."""
    name, renamed = _DLT_CLASSES.get(type(paginator).__name__, (None, {}))
    if name is None:
        raise ValueError(f"dlt's {type(paginator).__name__} has no counterpart here")
    found = {
        field: getattr(paginator, renamed.get(field, field))
        for field in _BUILT_IN[name].model_fields
        if field != "type" and hasattr(paginator, renamed.get(field, field))
    }
    plain = {key: str(item) if key.endswith("_path") and item is not None else item for key, item in found.items()}
    defaults = {key: known.default for key, known in _BUILT_IN[name].model_fields.items()}
    return {"type": name, **{key: item for key, item in plain.items() if item != defaults[key]}}


def _from_options(options: dict[str, Any]) -> Any:
    """The model that `options` describe. The models' own checks name the option that is wrong."""
    if not options.get("type") and options:
        raise ValueError(f"the paginator has options ({', '.join(map(str, options))}) but no `type` that takes them")
    name = str(options.pop("type", "auto"))
    name = _OLDER_TYPES.get(name, name)
    if name in _registered:
        return CustomPaginator(type=name, options=options)
    if name not in _BUILT_IN:
        known = [*_BUILT_IN, *_registered]
        near = difflib.get_close_matches(name, known, n=1)
        raise ValueError(
            f"unknown paginator type {name!r}; "
            + (f"did you mean {near[0]!r}?" if near else f"known types: {', '.join(known)}")
        )
    older = _OLDER_OPTIONS.get(name, {})
    return {"type": name, **{older.get(key, key): item for key, item in options.items()}}


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """What JSON can say of an instance's attributes: they go into the configuration's fingerprint."""
    plain = {}
    for key, value in values.items():
        try:
            json.dumps(value)
        except (TypeError, ValueError):
            continue
        plain[key] = value
    return plain


def _unfit(candidate: Any) -> str | None:
    """Why this class cannot page, or None."""
    name = getattr(candidate, "__name__", repr(candidate))
    if hasattr(candidate, "update_state") or hasattr(candidate, "update_request"):
        return (
            f"{name} is a paginator that keeps its position in itself, as dlt's do, so a walk could neither resume nor "
            "share it; write the built-in type with its options instead, or derive the class from "
            "dagster_restapi.http.paginators.Paginator: first, apply and advance take a state and return one"
        )
    missing = [method for method in _METHODS if not callable(getattr(candidate, method, None))]
    if missing:
        return f"{name} has no {', '.join(missing)}: derive it from dagster_restapi.http.paginators.Paginator"
    return None


def register_paginator(name: str, paginator_class: type) -> None:
    """Makes `{"type": name, ...}` build `paginator_class(...)` with the other keys as arguments.

    Args:
        name: The new type's name. A built-in name is refused; one's own may be registered again.
        paginator_class: A subclass of `http.paginators.Paginator`.

    Raises:
        ConfigError: The name is taken, or the class keeps its position in itself, as dlt's paginators do.
    """
    if name in _BUILT_IN or name in _OLDER_TYPES:
        raise ConfigError(f"the paginator type {name!r} is built in", hint="Register the class under another name.")
    if not isinstance(paginator_class, type):
        raise ConfigError(
            f"{paginator_class!r} is no class", hint="Register a class; options come from the configuration."
        )
    if problem := _unfit(paginator_class):
        raise ConfigError(problem)
    _registered[name] = paginator_class


def _either(param: str | None, body_path: str | None, param_name: str, body_name: str) -> None:
    """Empty names mean nothing; both places at once contradict each other. Neither means the default parameter."""
    if param and body_path:
        raise ValueError(f"give {param_name} or {body_name}, not both")
    if param == "" or body_path == "":
        raise ValueError(f"{param_name} and {body_name} cannot be empty")


def _ends(total: str | None, maximum: int | None, has_more: str | None, empty: bool, maximum_name: str) -> None:
    if total is None and maximum is None and has_more is None and not empty:
        raise ValueError(
            f"nothing would end the walk: give one of total_path, {maximum_name}, has_more_path, stop_after_empty_page"
        )


_BuiltIn = (
    Annotated[JSONLinkPaginator, Tag("json_link")]
    | Annotated[HeaderLinkPaginator, Tag("header_link")]
    | Annotated[HeaderCursorPaginator, Tag("header_cursor")]
    | Annotated[JSONResponseCursorPaginator, Tag("cursor")]
    | Annotated[OffsetPaginator, Tag("offset")]
    | Annotated[PageNumberPaginator, Tag("page_number")]
    | Annotated[SinglePagePaginator, Tag("single_page")]
    | Annotated[AutoPaginator, Tag("auto")]
)


def _tag(value: Any) -> str:
    """Which model is meant, so that an error speaks of that one only."""
    if isinstance(value, CustomPaginator):
        return "custom"
    return str(value["type"] if isinstance(value, Mapping) else value.type)


PaginatorConfig = Annotated[
    Annotated[_BuiltIn | Annotated[CustomPaginator, Tag("custom")], Discriminator(_tag)],
    BeforeValidator(
        _spelt,
        json_schema_input_type=Annotated[str, Field(description="The type alone, for one that needs no options.")]
        | Annotated[_BuiltIn, Field(discriminator="type")]
        | Annotated[dict[str, Any], Field(description="`type` and options of a registered paginator.")],
    ),
]
"""A paginator in any spelling; validates to one of the classes above."""

_adapter: TypeAdapter[Any] = TypeAdapter(PaginatorConfig)


def parse_paginator(value: Any) -> Any:
    """A paginator in any spelling, checked: one of the classes above.

    Raises:
        ValueError: What is wrong with it, as pydantic tells it.
    """
    return _adapter.validate_python(value)
