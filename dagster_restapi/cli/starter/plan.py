"""What a starter file is to say, before it is text."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

CHANGE_ME = "CHANGE-ME"
"""Stands where only a person knows the value."""


@dataclass(frozen=True, slots=True)
class Param:
    """One query parameter, header or path parameter.

    Attributes:
        value: As it is written.
        comment: What is known of it.
        active: False: it is written as a comment.
    """

    name: str
    value: Any
    comment: str = ""
    active: bool = True


@dataclass(frozen=True, slots=True)
class CursorHint:
    """An `incremental` that may fit; it is written as a comment."""

    cursor_path: str
    initial_value: str | int
    start_param: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One resource of a starter.

    Attributes:
        path: With placeholders.
        summary: What the API's description says of it.
        paginator: As in a configuration; None: not known.
        paging_comment: What led to the paginator, or why there is none.
        selector: JSONPath of the rows; None: left to detection.
        key: Columns of the primary key; none: not known.
    """

    name: str
    path: str
    summary: str = ""
    params: tuple[Param, ...] = ()
    headers: tuple[Param, ...] = ()
    paginator: dict[str, Any] | None = None
    paging_comment: str = ""
    selector: str | None = None
    key: tuple[str, ...] = ()
    include_from_parent: tuple[str, ...] = ()
    cursor: CursorHint | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Auth:
    """Credentials of a starter: `options` as in a configuration, all secrets names of environment variables."""

    options: dict[str, Any] | None = None
    comment: str = ""
    active: bool = True
    headers: tuple[Param, ...] = ()
    others: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Starter:
    """A whole starter file.

    Attributes:
        title: What the file is about, one line.
        left_out: What the description has beside, one line each.
    """

    title: str
    base_url: str
    base_comment: str = ""
    auth: Auth = field(default_factory=Auth)
    resources: tuple[Resource, ...] = ()
    left_out: tuple[str, ...] = ()
