"""A client for REST APIs on its own: credentials, paging, retries and limits as in a configuration, without Dagster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import TypeAdapter, ValidationError

from dagster_restapi.config.actions import AnyAction, ErrorRule, ResponseAction
from dagster_restapi.config.auth import AuthConfig
from dagster_restapi.config.client import ClientConfig, RetryConfig
from dagster_restapi.config.jsonpath import select
from dagster_restapi.config.paginators import parse_paginator
from dagster_restapi.errors import ConfigError, RequestError
from dagster_restapi.http.origin import named_origin
from dagster_restapi.http.session import Answer, Call, Session
from dagster_restapi.http.walk import Page, Walk

if TYPE_CHECKING:
    import threading

    from dagster_restapi.http.session import Meter

_auth: TypeAdapter[Any] = TypeAdapter(AuthConfig | None)
_actions: TypeAdapter[list[ResponseAction]] = TypeAdapter(list[AnyAction])
_error_rules: TypeAdapter[list[ErrorRule]] = TypeAdapter(list[ErrorRule])
_retry: TypeAdapter[RetryConfig | None] = TypeAdapter(RetryConfig | None)


class RestClient:
    """Talks to one API.

        with RestClient("https://api.github.com", auth={"type": "bearer", "token": "{env.GITHUB_TOKEN}"}) as github:
            for page in github.paginate("repos/dagster-io/dagster/issues", params={"per_page": 100}):
                for issue in page:
                    print(issue["title"])
            limits = github.get("rate_limit").json()

    Args:
        base_url: Where all paths begin.
        auth: As in a configuration: `{"type": "bearer", "token": "{env.TOKEN}"}`, or a `requests` auth object.
        paginator: As in a configuration: `"header_link"`, `{"type": "offset", "limit": 100}`. Default: `auto`.
        headers: Sent with every request.
        data_selector: JSONPath of the records in every answer. Default: found on the first page.
        meter: Counts requests, retries, bytes and time waited.
        stop: When it is set, every call raises `Cancelled` within a second.
        settings: Any other key of `ClientConfig`: `timeout`, `retry`, `rate_limit`, `verify`, `allowed_hosts`, …

    Raises:
        ConfigError: A setting is wrong.
    """

    def __init__(
        self,
        base_url: str = "",
        *,
        auth: Any = None,
        paginator: Any = None,
        headers: Mapping[str, Any] | None = None,
        data_selector: str | None = None,
        meter: Meter | None = None,
        stop: threading.Event | None = None,
        **settings: Any,
    ) -> None:
        given = {"base_url": base_url, "auth": auth, "paginator": paginator, "headers": dict(headers or {}), **settings}
        self._open(_checked("client", ClientConfig.model_validate, given), data_selector, meter, stop)

    @classmethod
    def from_config(
        cls,
        config: ClientConfig,
        *,
        data_selector: str | None = None,
        meter: Meter | None = None,
        stop: threading.Event | None = None,
    ) -> Self:
        """The client of a configuration."""
        client = cls.__new__(cls)
        client._open(config, data_selector, meter, stop)
        return client

    def _open(
        self, config: ClientConfig, data_selector: str | None, meter: Meter | None, stop: threading.Event | None
    ) -> None:
        self.config, self.data_selector = config, _jsonpath(data_selector)
        self.session = Session(config, meter=meter, stop=stop)

    @property
    def meter(self) -> Meter:
        """What was sent so far."""
        return self.session.meter

    def get(self, path: str = "", params: Mapping[str, Any] | None = None, **request: Any) -> Answer:
        """A GET request; see `request`."""
        return self.request(path, "GET", params=params, **request)

    def post(self, path: str = "", json: Any = None, **request: Any) -> Answer:
        """A POST request; see `request`."""
        return self.request(path, "POST", json=json, **request)

    def request(
        self,
        path: str = "",
        method: str = "GET",
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, Any] | None = None,
        json: Any = None,
        data: Any = None,
        auth: Any = None,
    ) -> Answer:
        """Sends one request until it is answered.

        Args:
            path: Below `base_url`, or a whole URL. It is sent as it is: encode what was not meant as part of a path.
            method: Any HTTP method.
            params: Query parameters; None values are left out.
            headers: They override the client's of the same name.
            json: JSON body; excludes `data`.
            data: Form fields, text or bytes.
            auth: In place of the client's.

        Raises:
            RequestError: No answer could be had, or its status is an error.
        """
        call = self._call(path, method, params, headers, json, data, auth)
        answer = self.session.send(call)
        if answer is None:
            raise RequestError("the answer was ignored, as an error rule of the client says", where=path)
        return answer

    def paginate(
        self,
        path: str = "",
        method: str = "GET",
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, Any] | None = None,
        json: Any = None,
        data: Any = None,
        auth: Any = None,
        paginator: Any = None,
        data_selector: str | None = None,
        response_actions: Sequence[Any] = (),
        error_rules: Sequence[Any] = (),
        missing_data: Literal["fail", "empty"] = "fail",
        on_short_total: Literal["warn", "fail", "ignore"] = "warn",
        retry: Any = None,
        primary_key: str | Sequence[str] = (),
        max_pages: int | None = None,
        state: dict[str, Any] | None = None,
    ) -> Iterator[Page]:
        """The pages of an endpoint, each a sequence of records.

        Args:
            path, method, params, headers, json, data, auth: As in `request`.
            paginator: In place of the client's.
            data_selector: JSONPath of the records, in place of the client's.
            response_actions, error_rules, missing_data, on_short_total, retry: As in a configuration's endpoint.
            primary_key: What tells records apart: a server that ignores the page asked for is recognised though some
                other field changes with every request.
            max_pages: Stop after so many. If more follow, the last page's `next` is not None.
            state: `Page.next` of an earlier walk with the same arguments: go on there.

        Raises:
            RequestError: A request was not answered.
            ResponseError: An answer is not what it must be.
            PagingError: The walk would not end.
            ConfigError: An argument is wrong.
        """
        return self.walk(
            path,
            method,
            params=params,
            headers=headers,
            json=json,
            data=data,
            auth=auth,
            paginator=paginator,
            data_selector=data_selector,
            response_actions=response_actions,
            error_rules=error_rules,
            missing_data=missing_data,
            on_short_total=on_short_total,
            retry=retry,
            primary_key=primary_key,
        ).pages(state, max_pages)

    def walk(
        self,
        path: str = "",
        method: str = "GET",
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, Any] | None = None,
        json: Any = None,
        data: Any = None,
        auth: Any = None,
        paginator: Any = None,
        data_selector: str | None = None,
        response_actions: Sequence[Any] = (),
        error_rules: Sequence[Any] = (),
        missing_data: Literal["fail", "empty"] = "fail",
        on_short_total: Literal["warn", "fail", "ignore"] = "warn",
        retry: Any = None,
        primary_key: str | Sequence[str] = (),
    ) -> Walk:
        """The walk over an endpoint's pages, for fetching single pages by their state. Arguments as in `paginate`."""
        call = self._call(path, method, params, headers, json, data, auth)
        own = self.config.paginator if paginator is None else _checked("paginator", parse_paginator, paginator)
        return Walk(
            self.session,
            call,
            paginator=own,
            data_selector=_jsonpath(data_selector) or self.data_selector,
            rules=[
                *_checked("response_actions", _actions.validate_python, list(response_actions)),
                *_checked("error_rules", _error_rules.validate_python, list(error_rules)),
            ],
            missing_data=missing_data,
            on_short_total=on_short_total,
            retry=_checked("retry", _retry.validate_python, retry),
            key=[primary_key] if isinstance(primary_key, str) else primary_key,
            where=path,
        )

    def _call(
        self,
        path: str,
        method: str,
        params: Mapping[str, Any] | None,
        headers: Mapping[str, Any] | None,
        json: Any,
        data: Any,
        auth: Any,
    ) -> Call:
        if json is not None and data is not None:
            raise ConfigError("json and data exclude each other", where=path)
        return Call(
            method=method.upper(),
            url=self.session.url(path),
            params=dict(params or {}),
            headers=dict(headers or {}),
            json=json,
            data=data,
            auth=_checked("auth", _auth.validate_python, auth),
            named=named_origin(path),
        )

    def close(self) -> None:
        """Closes the connections."""
        self.session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"RestClient({self.session!r})"


def _jsonpath(path: str | None) -> str | None:
    if path is not None:
        select(path)
    return path


def _checked(name: str, check: Any, value: Any) -> Any:
    """The value as its model has it.

    Raises:
        ConfigError: Each fault with its path. No input is shown, since it may be a secret.
    """
    try:
        return check(value)
    except ValidationError as error:
        faults = [
            ".".join([name, *(str(part) for part in fault["loc"])]) + f": {fault['msg']}"
            for fault in error.errors(include_url=False, include_input=False, include_context=False)
        ]
    raise ConfigError("; ".join(faults))
