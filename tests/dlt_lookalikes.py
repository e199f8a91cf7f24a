"""dlt's own objects as a configuration may hold them, for an environment without dlt: same names, same behaviour."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, MutableMapping
from types import SimpleNamespace
from typing import Any

import requests
from requests.auth import AuthBase


class Incremental(MutableMapping[str, Any]):
    """`dlt.sources.incremental`: a mapping of its fields, among which `last_value_func` and `primary_key` are not."""

    __module__ = "dlt.extract.incremental"
    _fields = (
        "cursor_path",
        "initial_value",
        "end_value",
        "row_order",
        "allow_external_schedulers",
        "on_cursor_value_missing",
        "lag",
        "range_start",
        "range_end",
    )

    def __init__(
        self,
        cursor_path: str | None = None,
        initial_value: Any = None,
        last_value_func: Any = max,
        primary_key: Any = None,
        end_value: Any = None,
        row_order: str | None = None,
        allow_external_schedulers: bool | None = None,
        on_cursor_value_missing: str = "raise",
        lag: float | None = None,
        range_start: str = "closed",
        range_end: str = "open",
    ) -> None:
        self.cursor_path, self.initial_value, self.end_value = cursor_path, initial_value, end_value
        self.last_value_func = {"max": max, "min": min}.get(last_value_func, last_value_func)
        self._primary_key, self.row_order, self.lag = primary_key, row_order, lag
        self.allow_external_schedulers = allow_external_schedulers
        self.on_cursor_value_missing = on_cursor_value_missing
        self.range_start, self.range_end = range_start, range_end

    @property
    def primary_key(self) -> Any:
        return self._primary_key

    def __getitem__(self, name: str) -> Any:
        if name not in self._fields:
            raise KeyError(name)
        return getattr(self, name)

    def __setitem__(self, name: str, value: Any) -> None:
        setattr(self, name, value)

    def __delitem__(self, name: str) -> None:
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)


class IgnoreResponseException(Exception):  # dlt's name
    __module__ = "dlt.sources.helpers.rest_client.exceptions"


class BearerTokenAuth(AuthBase):
    __module__ = "dlt.sources.helpers.rest_client.auth"

    def __init__(self, token: Any = None) -> None:
        self.token = token

    def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
        r.headers["Authorization"] = f"Bearer {self.token}"
        return r


class APIKeyAuth(AuthBase):
    __module__ = "dlt.sources.helpers.rest_client.auth"

    def __init__(self, name: str = "Authorization", api_key: Any = None, location: str = "header") -> None:
        self.name, self.api_key, self.location = name, api_key, location

    def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
        r.headers[self.name] = self.api_key
        return r


class HttpBasicAuth(AuthBase):
    __module__ = "dlt.sources.helpers.rest_client.auth"

    def __init__(self, username: Any = None, password: Any = None) -> None:
        self.username, self.password = username, password

    def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
        return requests.auth.HTTPBasicAuth(self.username, self.password)(r)


class retry_if_predicate:  # noqa: N801  # dlt's name
    __module__ = "dlt.sources.helpers.requests.retry"

    def __init__(self, predicate: Callable[..., bool]) -> None:
        self.predicate = predicate


class Session(requests.Session):
    """The session of dlt's `requests.Client`: an error status raises in `request`, not in `send`."""

    __module__ = "dlt.sources.helpers.requests.session"

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        kwargs.setdefault("timeout", 60)
        return super().send(request, **kwargs)


def client_session(attempts: int = 5, retry_condition: Callable[..., bool] | None = None) -> Session:
    """`dlt.sources.helpers.requests.Client(…).session`: its `send` tries again, wrapped as tenacity does it."""
    session = Session()
    original = session.send

    @functools.wraps(original)
    def wrapped(request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        for _ in range(attempts):
            response = original(request, **kwargs)
            if response.status_code < 500 and response.status_code != 429:
                break
        return response

    conditions = [object(), *([retry_if_predicate(retry_condition)] if retry_condition else [])]
    wrapped.retry = SimpleNamespace(retry=SimpleNamespace(retries=conditions))  # type: ignore[attr-defined]
    session.send = wrapped  # type: ignore[method-assign]
    return session
