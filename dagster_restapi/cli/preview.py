"""`preview`: a few pages of one resource, as requests, rows and columns. Nothing is stored."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from dagster_restapi.cli.look import Exchange, Looker, fields_of
from dagster_restapi.cli.output import Output, clean, size
from dagster_restapi.config.plan import plan as make_plans
from dagster_restapi.config.source import RestApiConfig
from dagster_restapi.errors import ConfigError
from dagster_restapi.extract.preview import named
from dagster_restapi.schema import Kind, Node, Recorder

_CELL = 40  # characters of a value that a terminal shows


def preview(
    config: RestApiConfig, name: str, *, pages: int, rows: int, output: Output, partition: str | None = None
) -> None:
    """Prints each request as it is answered, then the first rows, then the columns with the kinds of their values.

    Args:
        pages: Pages to fetch at the most. A child is asked with the rows of its parent's first page.
        rows: Rows to show at the most.
        partition: The key of a partitioned resource. Default: its newest window that is over, or its first key.

    Raises:
        RestApiError: There is no such resource or partition, or a page cannot be had.
    """
    plans = make_plans(config)
    plan = named(plans, name)
    if output.plain:
        output.cells("method", "status", "bytes", "seconds", "url")
    if partition is not None and plan.partitions is None:
        raise ConfigError(f"the resource {name!r} has no partitions", hint="Leave --partition out.")
    looker = Looker(plans, lambda exchange: _tell(exchange, output), partition)
    recorder, records, warnings, count = Recorder(), list[dict[str, Any]](), list[str](), 0
    try:
        for seen in looker.pages(plan, limit=pages):
            recorder.observe(seen.records)
            records.extend(seen.records[: max(0, rows - len(records))])
            count += len(seen.records)
            warnings.extend(seen.page.warnings if seen.page else ())
    finally:
        looker.close()
    output.line()
    _show_rows(records, output)
    if not output.plain:
        output.line(f"{count:,} rows fetched, {len(records):,} shown", "dim")
    output.line()
    output.table(("column", "values"), _columns(recorder.root))
    for warning in dict.fromkeys(warnings):
        output.note(f"{name}: {warning}", "yellow")


def _tell(exchange: Exchange, output: Output) -> None:
    status = exchange.status if exchange.outcome != "ignored" else "ignored"
    if output.plain:
        output.cells(exchange.method, status, exchange.bytes, f"{exchange.seconds:.3f}", exchange.url)
        return
    style = "red" if exchange.outcome == "failed" else ""
    line = f"{exchange.method} {status or 'no answer'}  {size(exchange.bytes):>9}  {exchange.seconds:6.2f} s  "
    output.line(line + clean(exchange.url), style)


def _show_rows(records: Sequence[dict[str, Any]], output: Output) -> None:
    """JSON lines where it is no terminal; else a table of the columns that fit."""
    if output.plain:
        for record in records:
            output.line(_json(record))
        return
    names = fields_of(records)
    cells = {name: [_cell(record.get(name)) for record in records] for name in names}
    shown, left = list[str](), output.width
    for name in names:
        left -= max(len(text) for text in (name, *cells[name])) + 2
        if left < 0 and shown:
            break
        shown.append(name)
    if shown:
        output.table(shown, zip(*(cells[name] for name in shown), strict=True))
    if len(shown) < len(names):
        output.line(f"and {len(names) - len(shown)} more columns: {', '.join(names[len(shown) :])}", "dim")


def _cell(value: Any) -> str:
    text = "" if value is None else value if isinstance(value, str) else _json(value)
    text = clean(text)
    return text if len(text) <= _CELL else text[: _CELL - 1] + "…"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _columns(root: Node) -> Iterator[tuple[str, str]]:
    """Each path with its kinds; `[]` stands for the items of a list."""
    for name, node in root.fields.items():
        yield from _paths(name, node)


def _paths(path: str, node: Node) -> Iterator[tuple[str, str]]:
    yield path, ", ".join(kind.name.lower() for kind in Kind if node.mask & kind and kind.name)
    for name, field in node.fields.items():
        yield from _paths(f"{path}.{name}", field)
    if node.items is not None:
        yield from _paths(f"{path}[]", node.items)
