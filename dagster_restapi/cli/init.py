"""`init`: a first configuration from an OpenAPI 3 description or from a base URL."""

from __future__ import annotations

import dataclasses
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import yaml

from dagster_restapi.cli.starter.base_url import starter_of
from dagster_restapi.cli.starter.openapi import Document, is_description, mapping, read_document, sequence
from dagster_restapi.cli.starter.operations import Listing, listings
from dagster_restapi.cli.starter.plan import CHANGE_ME, Starter
from dagster_restapi.cli.starter.resources import resources
from dagster_restapi.cli.starter.security import guess_auth
from dagster_restapi.cli.starter.write import write
from dagster_restapi.config.client import ClientConfig, RetryConfig
from dagster_restapi.config.mistakes import ConfigMistakes
from dagster_restapi.config.plan import plan as make_plans
from dagster_restapi.config.source import RestApiConfig
from dagster_restapi.errors import ConfigError, RequestError
from dagster_restapi.http.origin import safe_url, without_userinfo
from dagster_restapi.http.session import Answer, Call, Session


@dataclass(frozen=True, slots=True)
class Written:
    """A starter file.

    Attributes:
        text: YAML that `RestApiConfig.from_yaml` takes.
        remarks: What a person should know, one sentence each.
    """

    text: str
    remarks: tuple[str, ...]


def init(source: str, only: Sequence[str] = ()) -> Written:
    """The starter for a description (a file or a URL) or a base URL.

    Args:
        only: Patterns of the description's paths that are wanted, with the parents that they need; none: all.

    Raises:
        RestApiError: The source cannot be had, or is no description where it has to be one.
    """
    if not source.lower().startswith(("http://", "https://")):
        return _from_description(_local(Path(source)), None, only)
    answer, status, fault = _fetched(source)
    url = without_userinfo(source)[0]
    document = None
    if answer is not None and _may_be_description(answer):
        try:
            document = read_document(answer.text, safe_url(url))
        except ConfigError:
            document = None  # a page for people, or rows in a form of their own
    if document is not None and is_description(document):
        return _from_description(document, answer.url if answer else url, only)
    if only:
        raise ConfigError("this is no OpenAPI 3 description, so it has no paths to choose from", where=safe_url(url))
    remarks = [fault] if fault else []
    return _finished(starter_of(url, answer, status), remarks)


def _local(file: Path) -> Any:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        fault = error.strerror or "unreadable"
    except UnicodeDecodeError:
        fault = "it is not UTF-8"
    else:
        document = read_document(text, str(file))
        if not is_description(document):
            raise ConfigError("this is no OpenAPI 3 description", where=str(file), hint="Or give a URL: https://…")
        return document
    hint = "Give the path of an OpenAPI file, or a URL that begins with https://."
    raise ConfigError(f"the file cannot be read: {fault}", where=str(file), hint=hint)


def _fetched(url: str) -> tuple[Answer | None, int | None, str]:
    """The answer; or the status of an error, and what went wrong."""
    parts = urlsplit(url)
    config = ClientConfig(base_url=f"{parts.scheme}://{parts.netloc}", retry=RetryConfig(attempts=1, total=30))
    with Session(config) as session:
        try:
            return session.send(Call("GET", url)), None, ""
        except RequestError as error:
            return None, error.status, str(error)


def _may_be_description(answer: Answer) -> bool:
    """Not to parse megabytes of rows as YAML."""
    return b"openapi" in answer.body or b"swagger" in answer.body


def _from_description(root: Any, url: str | None, only: Sequence[str]) -> Written:
    document = Document(mapping(root))
    found, rest = listings(document)
    if only:
        found = _chosen(found, only)
        if not found:
            raise ConfigError(
                f"no GET operation that gives a list has a path like {', '.join(only)}",
                hint="Patterns are compared with whole paths; * stands for anything: --only '/repos/*'",
            )
    base_url, base_comment = _base_url(document, url)
    info = mapping(document.root.get("info"))
    title = " ".join(str(info[key]) for key in ("title", "version") if info.get(key)) or "An API"
    starter = Starter(
        title=f"{title}, from {safe_url(url) if url else 'its OpenAPI description'}",
        base_url=base_url,
        base_comment=base_comment,
        auth=guess_auth(document, base_url),
        resources=tuple(resources(document, found)),
        left_out=tuple(rest) if not only else (),
    )
    remarks = []
    if document.outside:
        remarks.append(
            f"references that lead to other files are not read ({len(document.outside)}): bundle the description first"
        )
    return _finished(starter, remarks)


def _chosen(found: Sequence[Listing], only: Sequence[str]) -> list[Listing]:
    """The operations whose paths are wanted, and those above them that may be their parents."""
    wanted = {listing.path for listing in found if any(fnmatchcase(listing.path, pattern) for pattern in only)}
    above = {path[: slot.start()] for path in wanted for slot in re.finditer(r"/\{", path)}
    return [listing for listing in found if listing.path in wanted | above]


def _base_url(document: Document, url: str | None) -> tuple[str, str]:
    """The first server's URL, its variables filled in."""
    server = mapping(next(iter(sequence(document.root.get("servers"))), None))
    address = str(server.get("url") or "/")
    for name, variable in mapping(server.get("variables")).items():
        address = address.replace(f"{{{name}}}", str(mapping(variable).get("default", CHANGE_ME)))
    if url is not None:
        address = urljoin(url, address)
    if address.lower().startswith(("http://", "https://")) and "{" not in address:
        return without_userinfo(address)[0], ""
    return "{env.API_URL}", f"the description names no address beyond {address!r}: set the variable, or write it here"


def _finished(starter: Starter, remarks: Sequence[str]) -> Written:
    """The text, without the resources that would be refused."""
    told = list(remarks)
    while True:
        text = write(starter)
        refused = _refused(text)
        if not refused:
            break
        for index, reason in refused.items():
            told.append(f"{starter.resources[index].name} is left out: {reason}")
        kept = tuple(item for index, item in enumerate(starter.resources) if index not in refused)
        starter = dataclasses.replace(starter, resources=kept)
    count, places = len(starter.resources), text.count(CHANGE_ME) - 1  # the head explains it
    told.append(f"resources: {count or 'add your own'}; places marked {CHANGE_ME}: {places}")
    return Written(text, tuple(told))


def _refused(text: str) -> dict[int, str]:
    """The resources that a configuration cannot have, with the reasons.

    Raises:
        ConfigError: Something else is wrong with it.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            make_plans(RestApiConfig.model_validate(yaml.safe_load(text)))
    except ConfigMistakes as error:
        found = {
            item.path[1]: item.what for item in error.mistakes if len(item.path) > 1 and item.path[0] == "resources"
        }
        refused = {index: what for index, what in found.items() if isinstance(index, int)}
        if not refused:
            raise
        return refused
    return {}
