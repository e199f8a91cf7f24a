"""SQL text from names and values that others chose: the only place that quotes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import duckdb


def quote(name: str) -> str:
    """An identifier, whatever is in it."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A string literal."""
    return "'" + text.replace("'", "''") + "'"


def listing(items: Iterable[str]) -> str:
    """Pieces of SQL with commas between."""
    return ", ".join(items)


def numbered(connection: duckdb.DuckDBPyConnection, table: str) -> str:
    """A table's rows in their order, with the number of each as `_restapi_rowid`.

    That is DuckDB's `rowid`, unless the table has a column of that name: then `rowid` means the column.
    """
    columns = connection.execute(f"SELECT * FROM {table} LIMIT 0").description or ()
    hidden = any(column[0].casefold() == "rowid" for column in columns)
    return f"(SELECT {'row_number() OVER ()' if hidden else 'rowid'} AS _restapi_rowid, * FROM {table})"


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
