"""One request and its answer, as the rest of the library sees them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from dagster_restapi.config.client import ObjectParams
from dagster_restapi.http.decode import decode
from dagster_restapi.http.links import links_of
from dagster_restapi.http.origin import Origin, safe_url
from dagster_restapi.secrets import Secret, redact


@dataclass(frozen=True)
class Call:
    """One request, rendered: no placeholder is left in it.

    Attributes:
        method: GET, POST, …
        url: Absolute.
        params: Query parameters, added to those in the URL; a None is left out, a list is repeated.
        headers: They override the client's of the same name.
        json: JSON body; excludes `data`.
        data: Form fields, text or bytes.
        auth: An auth model in place of the client's; None: the client's.
        named: The host of `url` where a person wrote it as a whole URL. It may be asked though it is not the API's own,
            as long as the request holds no credential; and so may the links on its pages that lead to it.
        object_params: How objects in `params` and form fields are sent; None: as the client says.
        remark: What a 404 may come from that only the maker of the call knows, for errors and warnings.
    """

    method: str
    url: str
    params: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, Any] = field(default_factory=dict)
    json: Any = None
    data: Any = None
    auth: Any = None
    named: Origin | None = None
    object_params: ObjectParams | None = None
    remark: str = ""

    @property
    def secret_params(self) -> dict[str, Any]:
        """The parameters that hold a known secret: a link is kept without them, and gets them again when it is sent."""
        return {k: v for k, v in (self.params or {}).items() if isinstance(v, Secret) or redact(str(v)) != str(v)}

    def __repr__(self) -> str:
        return f"Call({self.method} {safe_url(self.url)})"


@dataclass(frozen=True)
class Answer:
    """A whole answer.

    Attributes:
        status: HTTP status.
        headers: Without regard to case.
        url: Where it came from in the end, without what `auth` put into it.
        body: Decompressed.
        empty: A rule says that this answer is a page without rows.
    """

    status: int
    headers: Mapping[str, str]
    url: str
    body: bytes
    exact_decimals: bool = False
    empty: bool = False

    @cached_property
    def _value(self) -> Any:
        return decode(
            self.body,
            content_type=self.headers.get("content-type", ""),
            exact_decimals=self.exact_decimals,
            where=self.safe_url,
        )

    def json(self) -> Any:
        """The value of the body, decoded once; None for an empty body.

        Raises:
            ResponseError: It is no JSON.
        """
        return self._value

    @property
    def text(self) -> str:
        """The body as text, whatever it is."""
        return self.body.decode("utf-8", "replace")

    @cached_property
    def links(self) -> dict[str, dict[str, str]]:
        """The `Link` header (RFC 8288): relation in lower case → `{"url": …, "rel": …}`."""
        targets = links_of(self.headers.get("link", ""))
        return {relation: {"url": target, "rel": relation} for relation, target in targets.items()}

    @cached_property
    def safe_url(self) -> str:
        """The URL for messages."""
        return safe_url(self.url)

    def __repr__(self) -> str:
        return f"Answer({self.status}, {self.safe_url}, {len(self.body)} bytes)"
