"""SQL text from names and values that others chose: the only place that quotes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


def quote(name: str) -> str:
    """An identifier, whatever is in it."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A string literal."""
    return "'" + text.replace("'", "''") + "'"


def listing(items: Iterable[str]) -> str:
    """Pieces of SQL with commas between."""
    return ", ".join(items)


@dataclass(frozen=True, slots=True)
class Space:
    """A schema of an attached database. Tables are always named in full: a catalog may be called like a schema."""

    catalog: str
    schema: str

    def table(self, name: str) -> str:
        """A table's full name, quoted."""
        return f"{quote(self.catalog)}.{quote(self.schema)}.{quote(name)}"

    @property
    def text(self) -> str:
        """The schema's full name, quoted."""
        return f"{quote(self.catalog)}.{quote(self.schema)}"
