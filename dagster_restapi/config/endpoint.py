"""One endpoint: the request, how it is paged, where its rows are, and the cursor that makes it incremental."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal, Self

import pendulum
from pydantic import BeforeValidator, Field, ValidationInfo, WithJsonSchema, field_validator, model_validator

from dagster_restapi.config import jsonpath
from dagster_restapi.config.actions import AnyAction, ErrorRule, Rule
from dagster_restapi.config.auth import AuthConfig
from dagster_restapi.config.client import ObjectParams, RetryConfig
from dagster_restapi.config.dlt_objects import is_dlt, is_incremental, settings_of
from dagster_restapi.config.functions import Function
from dagster_restapi.config.paginators import PaginatorConfig
from dagster_restapi.config.settings import Settings
from dagster_restapi.config.time_format import TimeFormat, is_of_no_order
from dagster_restapi.config.values import Value, fill_plain
from dagster_restapi.secrets import Secret, check_references

CursorValue = str | int | float


def iso(moment: date | datetime) -> str:
    """A date or date-time as ISO 8601; UTC is written `Z`, which every API reads."""
    return re.sub(r"\+00:00$", "Z", moment.isoformat())


def _cursor_value(value: Any) -> Any:
    if isinstance(name := getattr(value, "env_var_name", None), str):  # dg.EnvVar, which is a str of its own name
        return f"{{env.{name}}}"
    if isinstance(value, str):
        return check_references(value)
    if isinstance(value, date):
        return iso(value)
    if isinstance(value, bool) or (isinstance(value, float) and not math.isfinite(value)):
        raise ValueError("a cursor value is a text, a number, a date or a date-time")
    if isinstance(value, Decimal):
        return str(value)
    return value


def _lag(value: Any) -> Any:
    return value.total_seconds() if isinstance(value, timedelta) else value


def _builtin_name(value: Any) -> Any:
    return {max: "max", min: "min"}.get(value, value) if callable(value) else value


_CursorValue = Annotated[
    CursorValue,
    BeforeValidator(_cursor_value),
    WithJsonSchema({"type": ["string", "number"], "examples": ["2024-01-01T00:00:00Z", 0]}),
]


class IncrementalConfig(Settings):
    """The cursor of an endpoint: only rows from the last position on are asked for and kept (dlt's `incremental`)."""

    cursor_path: str
    """JSONPath of the cursor's value in a record: `updated_at`, `meta.modified`."""
    initial_value: _CursorValue | None = None
    """Where the first load starts; `{env.NAME}` may stand in it. Without it, the first load takes everything."""
    end_value: _CursorValue | None = None
    """Where the rows end, exclusive. With it, the range is fixed and no cursor is kept. Needs `initial_value`.
    `now`: at the start of the run, for an API that wants both bounds; the cursor is kept."""
    cursor_format: str | None = None
    """How the records spell the cursor, where it is not ISO 8601 or a number that sorts: a strptime pattern
    (`%d-%m-%Y`), `epoch`, `epoch_ms`, `http_date`; or `text`, for texts that sort though they look like dates."""
    param_format: str | None = None
    """How requests spell the cursor, where they want it otherwise: a strptime pattern, `epoch`, `epoch_ms`,
    `http_date`. A start is rounded down to it, an end up."""
    convert: Function | None = None
    """Turns a cursor value into what the API wants to see in the request."""
    lag: Annotated[float, BeforeValidator(_lag)] | None = Field(default=None, ge=0)
    """How far before the cursor each load starts: seconds for date-times, days for dates, units for numbers."""
    row_order: Literal["asc", "desc"] | None = None
    """The order in which the API gives its rows by the cursor: paging stops once the rest is out of range."""
    on_cursor_value_missing: Literal["raise", "include", "exclude"] = "raise"
    """What to do with a record whose cursor value is null or not there."""
    range_start: Literal["closed", "open"] = "closed"
    """Whether rows at the very start value belong to the range (`closed`)."""
    range_end: Literal["open", "closed"] = "open"
    """Whether rows at the very `end_value` belong to the range (`closed`)."""
    last_value_func: Annotated[Literal["max", "min"], BeforeValidator(_builtin_name)] = "max"
    """Whether the cursor moves up (`max`) or down (`min`). Python's own max and min are taken too."""
    start_param: str | None = None
    """Query parameter that takes the start value. Short for `params: {<name>: "{incremental.start_value}"}`."""
    end_param: str | None = None
    """Query parameter that takes the end value. Short for `params: {<name>: "{incremental.end_value}"}`."""

    @model_validator(mode="before")
    @classmethod
    def _from_dlt(cls, value: Any) -> Any:
        """dlt's object, its older word `transform`, and a switch of its own that is off."""
        if is_incremental(value):
            value = settings_of(value)
        if not isinstance(value, Mapping):
            return value
        if value.get("allow_external_schedulers") in (None, False):
            value = {key: item for key, item in value.items() if key != "allow_external_schedulers"}
        if "transform" not in value:
            return value
        if "convert" in value:
            raise ValueError("`transform` is the older word for `convert`: leave one of the two out")
        return {"convert" if key == "transform" else key: item for key, item in value.items()}

    @field_validator("cursor_path")
    @classmethod
    def _is_path(cls, value: str) -> str:
        jsonpath.checked(value)
        return value

    @field_validator("cursor_format", "param_format")
    @classmethod
    def _is_format(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and not (value == "text" and info.field_name == "cursor_format"):
            TimeFormat.of(value)
        return value

    @field_validator("convert", mode="before")
    @classmethod
    def _is_function(cls, value: Any) -> Any:
        if isinstance(value, str) and ("%" in value or value in ("epoch", "epoch_ms", "http_date")):
            raise ValueError(f"{value!r} is a format, which goes into `param_format`")
        return value

    @model_validator(mode="after")
    def _formats(self) -> Self:
        if self.convert is not None and self.param_format is not None:
            raise ValueError("`convert` and `param_format` both shape requests: leave one of the two out")
        for name in ("initial_value", "end_value"):
            value = getattr(self, name)
            if value is None or _is_open(value) or (name == "end_value" and self.ends_now):
                continue
            fault = self._fault_of(value)
            if fault:
                raise ValueError(f"`{name}` {fault}")
            if self.param_format is not None and _instant(value, self.cursor_format) is None:
                raise ValueError(f"`param_format` spells moments, and `{name}` {value!r} is none: set `cursor_format`")
        if self.param_format is not None and self.cursor_format == "text":
            raise ValueError("`param_format` spells moments, and texts are none")
        if self.lag and self.cursor_format == "text":
            raise ValueError("`lag` has no distance to go back among texts")
        if (
            self.lag
            and self.cursor_format is None
            and isinstance(self.initial_value, str)
            and not _is_open(self.initial_value)
            and _is_text(self.initial_value)
        ):
            raise ValueError(
                f"`lag` cannot be taken from {self.initial_value!r}: say by `cursor_format` what it spells"
            )
        return self

    def _fault_of(self, value: CursorValue) -> str:
        """What is wrong with the spelling of a value that is compared with the records'; "" where nothing is."""
        if self.cursor_format is None:
            looks = isinstance(value, str) and is_of_no_order(value)
            return f"{value!r} does not sort by time: say by `cursor_format` how it is spelled" if looks else ""
        if self.cursor_format == "text" or _instant(value, self.cursor_format) is not None:
            return ""
        return f"{value!r} is neither of `cursor_format` {self.cursor_format!r} nor ISO 8601"

    @model_validator(mode="after")
    def _range(self) -> Self:
        if self.ends_now and self.last_value_func == "min":
            raise ValueError("a cursor that moves down (`min`) does not end at `now`: leave `end_value` out")
        if self.fixed_end is None:
            return self
        if self.initial_value is None:
            raise ValueError("`end_value` needs `initial_value`")
        first, last = _comparable(self.initial_value), _comparable(self.fixed_end)
        if self.cursor_format not in (None, "text"):
            first, last = (_instant(value, self.cursor_format) for value in (self.initial_value, self.fixed_end))
        if type(first) is type(last) and first is not None:
            empty = first >= last if self.last_value_func == "max" else first <= last
            if empty and (self.range_end == "open" or first != last):
                raise ValueError("`initial_value` and `end_value` leave no range between them")
        return self

    def filled(self) -> Self:
        """With the environment variables in its bounds filled in. They are no secrets: nothing is concealed.

        Raises:
            ConfigError: A variable is not set.
        """
        bounds = {"initial_value": self.initial_value, "end_value": self.end_value}
        named = {name: value for name, value in bounds.items() if isinstance(value, str) and "{env." in value}
        update = {name: fill_plain(value, f"incremental.{name}") for name, value in named.items()}
        return self.model_copy(update=update) if update else self

    @property
    def ends_now(self) -> bool:
        """Whether each load ends at the start of its run."""
        return self.end_value == "now"

    @property
    def fixed_end(self) -> CursorValue | None:
        """Where the rows end for ever, so that no cursor is kept."""
        return None if self.ends_now else self.end_value

    @property
    def in_order(self) -> bool:
        """Whether the API sends its rows in the order in which the cursor moves."""
        return self.row_order == ("desc" if self.last_value_func == "min" else "asc")


def _comparable(value: CursorValue) -> Any:
    """A number, or the instant that a text spells; None where the order is not plain."""
    if not isinstance(value, str):
        return Decimal(str(value))
    try:
        parsed = pendulum.parse(value, strict=True)
    except (ValueError, OverflowError):
        return None
    return parsed if isinstance(parsed, pendulum.DateTime) else None


def _instant(value: CursorValue, format_: str | None) -> datetime | None:
    """The moment of a value in a format, or in ISO 8601; None of any other."""
    if format_ is not None and format_ != "text":
        with suppress(ValueError):
            return TimeFormat.of(format_).moment(value)
    try:
        moment = datetime.fromisoformat(value if isinstance(value, str) else "")
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _is_open(value: CursorValue) -> bool:
    """Whether only the environment of a run says what a value is."""
    return isinstance(value, str) and "{env." in value


def _is_text(value: str) -> bool:
    """Whether a text is neither a number nor a date of ISO 8601."""
    try:
        Decimal(value)
    except ArithmeticError:
        return _comparable(value) is None
    return False


def template(value: Any, *, references: bool = False) -> Any:
    """A value of a request in plain types: containers are new, dates are ISO texts, references to secrets are `Secret`.

    Args:
        references: Whether `{"env": "X"}` is a reference too; in a JSON body it may be the API's own.

    Raises:
        ValueError: The value has no place in a request.
    """
    if isinstance(value, Secret) or hasattr(value, "env_var_name") or hasattr(value, "get_secret_value"):
        return Secret.parse(value)
    if isinstance(value, Mapping):
        if is_dlt(value):  # such an object is a mapping of its own fields
            place = "; it stands in `params` by itself, or as `incremental`" if is_incremental(value) else ""
            raise ValueError(f"a {type(value).__name__} of dlt's cannot be sent{place}")
        if references and set(value) == {"env"} and isinstance(value["env"], str):
            return Secret.parse(dict(value))
        return {template(key): template(item, references=references) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [template(item, references=references) for item in value]
    if isinstance(value, (date, datetime)):
        return iso(value)
    if isinstance(value, (Decimal, time)):
        return str(value)
    if value is None or isinstance(value, (str, int, float, bytes)):
        return value
    raise ValueError(f"a {type(value).__name__} cannot be sent; give texts, numbers, booleans, lists or mappings")


_REQUEST_JSON = {"type": ["object", "array", "string", "number", "boolean", "null"]}


def endpoint_from(value: Any) -> Any:
    """An endpoint in any spelling: a text is its path."""
    return {"path": value} if isinstance(value, str) else value


class EndpointConfig(Settings):
    """One endpoint. Texts in path, params, headers, json and data may hold placeholders:
    `{resources.<name>.<field>}`, `{incremental.start_value}`, `{partition.key}`, `{env.NAME}`; `{{` is a brace. In the
    path, a value is one segment; with a plus in front, `{+resources.<name>.<field>}`, it keeps its slashes.
    """

    path: str | None = None
    """Path below the client's `base_url`, or a whole URL. Default: the resource's name."""
    method: str = "GET"
    """HTTP method, any that the API knows."""
    params: Annotated[dict[str, Any], BeforeValidator(lambda value: _mapping(value, references=True))] | None = None
    """Query parameters. One whose name stands in the path as `{name}` goes there; null ones are left out."""
    json_body: Annotated[Any, BeforeValidator(template), WithJsonSchema(_REQUEST_JSON)] = Field(
        default=None, alias="json"
    )
    """JSON body. A text that is one placeholder and nothing else takes that value's own type."""
    data: Annotated[Any, BeforeValidator(template), WithJsonSchema(_REQUEST_JSON)] = None
    """Form body (a mapping), or a text or number that is sent as it is. Excludes `json`."""
    object_params: ObjectParams | None = None
    """How an object in `params` or a form is sent, instead of the client's `object_params`."""
    headers: dict[str, Value | None] | None = None
    """Headers of this endpoint; they go over the client's of the same name."""
    auth: AuthConfig | None = None
    """Credentials of this endpoint instead of the client's."""
    paginator: PaginatorConfig | None = None
    """How pages follow each other. Default: the client's, else `auto`."""
    data_selector: str | None = None
    """JSONPath of the rows in an answer. Default: the list that looks most like data; see the reference."""
    incremental: IncrementalConfig | None = None
    """The cursor, for loading only what is new."""
    response_actions: list[AnyAction] | None = None
    """What answers of a status or content mean (dlt); checked in order. A function alone is for every answer."""
    error_rules: list[ErrorRule] | None = None
    """How this endpoint tells of faults in its own way; checked after `response_actions`, before the client's."""
    missing_data: Literal["fail", "empty"] | None = None
    """Whether an answer without anything at `data_selector` is an error (default) or an empty page."""
    on_short_total: Literal["warn", "fail", "ignore"] | None = None
    """What it means that an answer tells of more than came, by its total, a flag or a link: an incomplete load with a
    warning (`warn`, the default), an error (`fail`), or nothing (`ignore`)."""
    retry: RetryConfig | None = None
    """When and how often a request is sent again, instead of the client's settings."""

    @model_validator(mode="before")
    @classmethod
    def _legacy_incremental(cls, value: Any) -> Any:
        """dlt's older spellings of a cursor: a parameter `{"type": "incremental", …}`, or `incremental(…)`."""
        params = value.get("params") if isinstance(value, Mapping) else None
        if not isinstance(params, Mapping):
            return value
        found = {name: item for name, item in params.items() if _typed(item, "incremental") or is_incremental(item)}
        if not found:
            return value
        if len(found) > 1 or value.get("incremental") is not None:
            raise ValueError(f"one cursor only: {', '.join([*found, *(['incremental'] * ('incremental' in value))])}")
        ((name, item),) = found.items()
        settings = settings_of(item) if is_incremental(item) else item
        incremental = {key: part for key, part in settings.items() if key != "type"}
        rest = {key: part for key, part in params.items() if key != name}
        return {**value, "params": rest, "incremental": {"start_param": name, **incremental}}

    @field_validator("method")
    @classmethod
    def _is_method(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z][A-Za-z-]*", value):
            raise ValueError("a method is one word, such as GET or POST")
        return value.upper()

    @field_validator("data_selector")
    @classmethod
    def _is_path(cls, value: str | None) -> str | None:
        return jsonpath.checked(value)

    @property
    def rules(self) -> tuple[Rule, ...]:
        """`response_actions` and then `error_rules`, in order, as the one thing that they both are."""
        return tuple(entry.rule for entry in (*(self.response_actions or ()), *(self.error_rules or ())))


def _typed(value: Any, kind: str) -> bool:
    return isinstance(value, Mapping) and value.get("type") == kind


def _mapping(value: Any, *, references: bool) -> Any:
    """Parameters in plain types; dlt's `{"type": "resolve", …}` becomes the placeholder that it stands for."""
    if not isinstance(value, Mapping):
        return value
    return {key: _resolved(key, item, references) for key, item in value.items()}


def _resolved(name: Any, value: Any, references: bool) -> Any:
    if not _typed(value, "resolve"):
        if isinstance(value, Mapping) and "type" in value and not is_dlt(value):
            raise ValueError(
                f"the parameter {name!r} has an unknown `type`: there are incremental and resolve; "
                f'where the API itself wants one, write "{name}[type]" with its value'
            )
        return template(value, references=references)
    if set(value) != {"type", "resource", "field"} or not all(isinstance(part, str) for part in value.values()):
        raise ValueError(f"the parameter {name!r} of type resolve needs `resource` and `field`, and nothing else")
    field = value["field"]
    return f"{{resources.{value['resource']}{field if field.startswith('[') else f'.{field}'}}}"
