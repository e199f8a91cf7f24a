"""A starter from the answer that a base URL itself gives: a list of rows, a directory of links, or neither."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, urljoin, urlsplit, urlunsplit

from dagster_restapi.cli.key_guess import guess_key
from dagster_restapi.cli.look import plain_path
from dagster_restapi.cli.starter.paging import plain
from dagster_restapi.cli.starter.plan import Auth, Param, Resource, Starter
from dagster_restapi.cli.starter.security import prefix_of
from dagster_restapi.config.placeholders import escape
from dagster_restapi.config.values import is_sensitive
from dagster_restapi.errors import RestApiError
from dagster_restapi.http.detect import detect_paginator
from dagster_restapi.http.origin import safe_url
from dagster_restapi.http.paginators import PageFacts
from dagster_restapi.http.select import as_object, select
from dagster_restapi.http.session import Answer, Call


def starter_of(url: str, answer: Answer | None, status: int | None) -> Starter:
    """The starter of an API whose base URL was asked once.

    Args:
        url: The URL, without credentials.
        answer: What it answered; None: an error.
        status: The error's status; None: no answer at all.
    """
    title = f"{urlsplit(url).hostname}: a start from {safe_url(url)}"
    auth = _auth(url, status)
    body = _body(answer)
    if answer is not None and isinstance(body, Mapping):
        directory = tuple(_directory(body, url))
        if len(directory) > 1:
            return Starter(title=title, base_url=url, auth=auth, resources=directory)
    listed = _listed(url, answer, body) if answer is not None else None
    if listed is not None:
        return Starter(title=title, base_url=listed[0], auth=auth, resources=(listed[1],))
    return Starter(title=title, base_url=url, auth=auth)


def _body(answer: Answer | None) -> Any:
    try:
        return answer.json() if answer is not None else None
    except RestApiError:
        return None  # a page for people


def _auth(url: str, status: int | None) -> Auth:
    token = {"type": "bearer", "token": f"{{env.{prefix_of(url)}_TOKEN}}"}
    if status in (401, 403):
        return Auth(options=token, comment=f"the API answered {status}: it wants credentials; the type is a guess")
    return Auth(options=token, active=False)


def _directory(body: Mapping[str, Any], url: str) -> Iterator[Resource]:
    """A resource for each link to a list below the base URL, as Django REST framework's root view lists them."""
    links = {key: value for key, value in body.items() if isinstance(value, str) and value.startswith(("http", "/"))}
    if len(links) < len(body) * 0.8:
        return
    names = set()
    for key, value in links.items():
        target = urljoin(url, value.partition("{?")[0])
        name = re.sub(r"_?url$", "", plain(key))
        inside = urlsplit(target).netloc == urlsplit(url).netloc and target.startswith(url.rstrip("/") + "/")
        if inside and "{" not in target and name and name not in names:
            names.add(name)
            path = target[len(url.rstrip("/")) + 1 :].partition("?")[0]
            yield Resource(name=name, path=escape(path))


def _listed(url: str, answer: Answer, body: Any) -> tuple[str, Resource] | None:
    """The base URL above, and the resource, where the URL itself gives rows."""
    try:
        found = select(body, None)
    except RestApiError:
        return None
    records = [as_object(record) for record in found.records]
    if not records or found.choice is None or not (found.choice.listed or isinstance(body, list)):
        return None
    parts = urlsplit(url)
    above, _, last = parts.path.rstrip("/").rpartition("/")
    options = detect_paginator(PageFacts(answer, body, found.items), Call("GET", url), found.choice).paginator
    single = options["type"] == "single_page"
    key = guess_key(records, last or "items")
    resource = Resource(
        name=plain(last.partition(".")[0]) or "items",
        path=escape(last),
        params=tuple(_params(url)),
        paginator=None if single else {name: _spelled(value) for name, value in options.items()},
        paging_comment="auto # no way to a next page was found" if single else "found in the first answer",
        selector=plain_path(found.choice.path),
        key=(key,) if key else (),
    )
    return urlunsplit(parts._replace(path=f"{above}/", query="", fragment="")), resource


def _params(url: str) -> Iterator[Param]:
    """The parameters of a URL's query; what is named like a credential becomes an environment variable."""
    for name, value in parse_qsl(urlsplit(url).query, keep_blank_values=True):
        secret = f"{{env.{prefix_of(url)}_{plain(name).upper()}}}"
        yield Param(name, secret if is_sensitive(name) else escape(value))


def _spelled(option: Any) -> Any:
    return plain_path(option) if isinstance(option, str) else option
