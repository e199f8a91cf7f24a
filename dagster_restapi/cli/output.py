"""What commands print: tables and colours on a terminal, tab-separated lines anywhere else, and never a secret."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dagster_restapi.secrets import redact


class Output:
    """Standard output and standard error of one command.

    Attributes:
        plain: Standard output is no terminal: no colours, no boxes, one line per row, tabs between the cells.
        width: Columns of the terminal.
    """

    def __init__(self) -> None:
        self.terminal = Console(highlight=False)
        self.messages = Console(highlight=False, stderr=True)
        self.plain = not self.terminal.is_terminal
        self.width = self.terminal.width

    def line(self, text: str = "", style: str = "") -> None:
        """A text on standard output; its line breaks stay."""
        _say(self.terminal, text, style)

    def note(self, text: str, style: str = "") -> None:
        """A text on standard error: what is not the command's result."""
        _say(self.messages, text, style)

    def cells(self, *values: object) -> None:
        """One line of values, for rows that come one after another."""
        cells = [clean(value) for value in values]
        if self.plain:
            click.echo("\t".join(cells))
        else:
            _say(self.terminal, "  ".join(cells), "")

    def table(
        self,
        columns: Sequence[str],
        rows: Iterable[Sequence[object]],
        *,
        right: Sequence[str] = (),
        styles: Mapping[str, str] | None = None,
    ) -> None:
        """A table with a head.

        Args:
            columns: Their names.
            rows: Cells in the columns' order; None is an empty cell.
            right: Columns of numbers.
            styles: Text of a cell -> its style.
        """
        if self.plain:
            self.cells(*columns)
            for row in rows:
                self.cells(*row)
            return
        drawn = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
        for name in columns:
            drawn.add_column(name, justify="right" if name in right else "left", overflow="fold")
        for row in rows:
            texts = [clean(cell) for cell in row]
            drawn.add_row(*(Text(text, (styles or {}).get(text, "")) for text in texts))
        self.terminal.print(drawn)


def _say(console: Console, text: str, style: str) -> None:
    lines = "\n".join(_printable(line) for line in redact(text).split("\n"))
    if console.is_terminal:
        console.print(Text(lines, style), soft_wrap=True)
    else:
        click.echo(lines, err=console.stderr)


def clean(value: object) -> str:
    """A value as one cell: no secret, no line break or tab, no control character that a terminal would obey."""
    text = redact("" if value is None else str(value))
    return _printable(text.replace("\n", " ").replace("\t", " "))


def _printable(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def size(count: int) -> str:
    """Bytes for people: `812 B`, `12.3 kB`, `4.0 MB`."""
    if count < 1000:
        return f"{count} B"
    return f"{count / 1000:.1f} kB" if count < 1_000_000 else f"{count / 1e6:.1f} MB"
