"""The client of a source: where the API is, how requests are authorised, repeated, paced and bounded."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

import requests
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    WithJsonSchema,
    field_serializer,
    field_validator,
    model_validator,
)
from pydantic.json_schema import SkipJsonSchema

from dagster_restapi.config import jsonpath
from dagster_restapi.config.actions import ErrorRule
from dagster_restapi.config.auth import AuthConfig
from dagster_restapi.config.dlt_objects import what_auth_lacks, what_session_loses
from dagster_restapi.config.paginators import PaginatorConfig
from dagster_restapi.config.settings import Settings
from dagster_restapi.config.values import Duration, Value, hidden
from dagster_restapi.secrets import Secret, conceal

ObjectParams = Literal["fail", "brackets", "json"]

_USERINFO = re.compile(r"(https?://)([^/?#]*)@", re.IGNORECASE)


class WaitConfig(Settings):
    """Where the API says how long to wait, if it is not in one of the usual headers: in another header, or the body."""

    header: str | None = None
    """Name of the header; excludes `jsonpath`."""
    jsonpath: str | None = None
    """JSONPath of the value in the body of the error, such as `$.retry_after`; excludes `header`."""
    unit: Literal["s", "ms", "epoch", "epoch_ms", "http_date"] = "s"
    """What the value is: seconds or milliseconds to go; seconds or milliseconds since 1970; or a date."""

    @field_validator("jsonpath")
    @classmethod
    def _path(cls, value: str | None) -> str | None:
        return jsonpath.checked(value)

    @model_validator(mode="after")
    def _one_place(self) -> WaitConfig:
        if (self.header is None) == (self.jsonpath is None):
            raise ValueError("give either `header` or `jsonpath`")
        return self


class RetryConfig(Settings):
    """When and how often a request is sent again: after 429, 408, 425, 5xx, timeouts and broken connections.

    A wait that the server asks for (`Retry-After`, `X-RateLimit-Reset`, `RateLimit-Reset`) is no failed attempt; it is
    bounded by `total`.
    """

    attempts: int = Field(default=5, ge=1, le=100)
    """How often a request is tried in all."""
    backoff: Duration = 1.0
    """The wait after the first failed attempt; it doubles with each one more."""
    max_delay: Duration = 300.0
    """The longest wait between two attempts that is our own choice."""
    jitter: float = Field(default=0.25, ge=0, le=1)
    """How much longer than that a wait may be by chance, as a part of it, so that workers do not return together."""
    total: Duration = 3900.0
    """How long one request may take in all, waits included. GitHub's limits reset within an hour."""
    idempotent: bool = False
    """POST and PATCH may be sent twice without harm, as a search may: they are retried like GET. Otherwise they are
    sent again only where the server cannot have acted on them: 429, a rate limit, a refused connection."""
    wait: WaitConfig | None = None
    """Where else an answer that is no success says how long to wait. Such an answer counts as a rate limit."""


class RateLimitConfig(Settings):
    """Never more than `requests` in any window of `per`, over all threads, and over all processes of this machine."""

    requests: int = Field(ge=1, le=100_000)
    """How many requests may start in one window."""
    per: Duration = 1.0
    """The length of the window."""
    name: str | None = None
    """Clients with the same name and the same limit share one budget; without it, those with the same host do."""
    shared: bool = True
    """Whether other processes of this user on this machine count too (through a small file in the temporary folder)."""

    @field_validator("per")
    @classmethod
    def _window(cls, value: float) -> float:
        if value <= 0:
            raise ValueError("the window must be longer than zero")
        return value


def _base_url(value: Any) -> Any:
    if isinstance(value, Mapping) or not isinstance(value, str) or hasattr(value, "env_var_name"):
        secret = Secret.parse(value)
        return secret.template or secret.reveal()
    return value


def _hidden_headers(value: dict[str, Any]) -> dict[str, Any]:
    return {name: hidden(name, item) for name, item in value.items()}


def _hidden_userinfo(value: dict[str, Any]) -> dict[str, Any]:
    """A proxy's URL with a literal password is a secret as a whole."""
    return {
        name: Secret(item) if isinstance(item, str) and "@" in item and "{env." not in item else item
        for name, item in value.items()
    }


def _checked_url(value: str) -> str:
    if value and not value.startswith("{env.") and not re.match(r"https?://", value, re.IGNORECASE):
        raise ValueError("a base URL starts with http:// or https:// (or {env.NAME})")
    return value


class ClientConfig(Settings):
    """One API: its address, its credentials, and the rules for talking to it."""

    base_url: Annotated[
        str,
        BeforeValidator(_base_url),
        AfterValidator(_checked_url),
        WithJsonSchema({"type": "string", "examples": ["https://api.github.com/"]}),
    ] = ""
    """Where all paths begin. `{env.NAME}` stands for an environment variable."""
    headers: Annotated[dict[str, Value | None], AfterValidator(_hidden_headers)] = Field(default_factory=dict)
    """Headers of every request. Values may hold `{env.NAME}`. They go to the API's host and `allowed_hosts` only."""
    auth: AuthConfig | None = None
    """The credentials of every request that has none of its own."""
    paginator: PaginatorConfig | None = None
    """The paginator of every endpoint that has none of its own."""
    session: SkipJsonSchema[Annotated[Any, Field(exclude=True)]] = Field(default=None, repr=False)
    """A `requests.Session` to send with, for adapters, cookies or headers of your own (Python only). `stop` then takes
    effect between requests only, and headers that come in drops are not cut off by `retry: {total}`."""
    retry: RetryConfig = RetryConfig()
    """When and how often a request is sent again."""
    rate_limit: RateLimitConfig | None = None
    """How many requests may be sent, whatever the API allows."""
    object_params: ObjectParams | None = None
    """How an object among query parameters or form fields is sent: `brackets` as `page[size]=2`, `json` as one JSON
    text. Default: `fail`, it is refused."""
    timeout: Duration | tuple[Duration, Duration] = 60.0
    """How long to wait for the server to send something, or [to connect, to send]. Connecting alone waits 10 s at most
    where it is not given. Headers, once they begin, must be whole within it; a body has the whole `retry: {total}`."""
    verify: bool | str = True
    """Whether the server's TLS certificate is checked, or the path of the authorities to check it with."""
    cert: str | tuple[str, str] | None = None
    """The client's TLS certificate: a file with certificate and key, or one file for each."""
    proxies: Annotated[dict[str, Value], AfterValidator(_hidden_userinfo)] = Field(default_factory=dict)
    """Proxy per scheme, as requests has it: `{https: "http://proxy:3128"}`. Without it, the environment's proxies."""
    allowed_hosts: list[str] = Field(default_factory=list)
    """Other hosts that may get the credentials, because the API's links lead there: `files.example.com`,
    `example.com:8443`, `*.example.com`."""
    link_origin: Literal["as_given", "base_url"] | None = None
    """Where the links to next pages lead: `as_given` (the default), or `base_url`: to its scheme, host and port,
    whatever an API behind a proxy writes into them; path and query stay. Those by http instead of https on the same
    host lead to base_url anyway."""
    max_redirects: int = Field(default=10, ge=0, le=30)
    """How many redirects one request follows."""
    max_response_bytes: int = Field(default=256 * 2**20, ge=1)
    """The largest body that is accepted, before and after decompression."""
    error_rules: list[ErrorRule] = Field(default_factory=list)
    """How this API tells of faults in its own way; checked after those of the endpoint, in order."""

    @model_validator(mode="after")
    def _conceal_userinfo(self) -> ClientConfig:
        match = _USERINFO.match(self.base_url)
        if match and "{env." not in match[2]:
            conceal(match[2], match[2].partition(":")[2])
        return self

    @field_serializer("base_url")
    def _without_userinfo(self, value: str) -> str:
        return _USERINFO.sub(r"\1", value)

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        for name, value in super().__repr_args__():
            yield name, _USERINFO.sub(r"\1***@", value) if name == "base_url" else value

    @field_validator("session")
    @classmethod
    def _session(cls, value: Any) -> Any:
        if value is not None and not isinstance(value, requests.Session):
            raise ValueError("give a requests.Session")
        if value is not None and (fault := what_session_loses(value) or what_auth_lacks(value.auth)):
            raise ValueError(fault)
        return value

    @field_validator("allowed_hosts")
    @classmethod
    def _hosts(cls, value: list[str]) -> list[str]:
        for host in value:
            if not re.fullmatch(r"(?:https?://)?(?:\*\.)?(?:[^\s/*:@]+|\[[0-9a-fA-F:.]+\])(?::\d+)?/?", host):
                raise ValueError('give host names such as "files.example.com", "example.com:8443" or "*.example.com"')
        return value
