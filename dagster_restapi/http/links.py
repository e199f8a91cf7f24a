"""The `Link` header (RFC 8288, section 3 and appendix B): relations to targets, however it is written."""

from __future__ import annotations

import re

_LINK = re.compile(r"<([^>]*)>")
_PARAMETER = re.compile(
    r"\s*;\s*(?:([^\s\"(),/:;<=>?@\[\\\]{}]+)\s*(?:=\s*(?:\"((?:[^\"\\]|\\.)*)\"|([^\s\",;]*)))?)?", re.DOTALL
)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


def links_of(header: str) -> dict[str, str]:
    """Relation in lower case → target as it was written; of several with one relation, the first.

    A link that speaks of another context than the answer (`anchor`) is none of its own. What has none of the forms is
    passed over, so that it hides no link behind it; single quotes, which are no quotes there, are taken for some.
    """
    found: dict[str, str] = {}
    at = 0
    while match := _LINK.search(header, at):
        parameters, at = _parameters(header, match.end())
        if "anchor" not in parameters:
            for relation in parameters.get("rel", "").lower().split():
                found.setdefault(relation, match[1].strip())
    return found


def _parameters(header: str, at: int) -> tuple[dict[str, str], int]:
    """The parameters of one link, names in lower case, and where they end. Of a name that comes twice, the first."""
    found: dict[str, str] = {}
    while match := _PARAMETER.match(header, at):
        name, quoted, token = match[1], match[2], match[3]
        if name:
            value = _ESCAPED.sub(r"\1", quoted) if quoted is not None else (token or "").strip("'")
            found.setdefault(name.lower(), value)
        at = match.end()
    return found, at
