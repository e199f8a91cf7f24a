"""Records on their way into the spool: plain values only, with the parent's fields, through the processing steps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

from dagster_restapi.errors import ExtractError
from dagster_restapi.http.select import as_object

if TYPE_CHECKING:
    from dagster_restapi.config.resource import ProcessingStep


def process(
    records: list[dict[str, Any]], steps: tuple[ProcessingStep, ...], include: Mapping[str, Any], where: str
) -> list[dict[str, Any]]:
    """The records of one page after the parent's fields were added and every step was applied, in order.

    A step may return anything that has a plain form (date-times, decimals, dataclasses …); it is made plain here.
    """
    if include:
        records = [{**as_object(record), **include} for record in records]
    for step in steps:
        records = list(_apply(records, step, where))
    records = [as_object(record) for record in records]
    return [plain(record, where) for record in records] if steps else records


def _apply(records: Iterable[Any], step: ProcessingStep, where: str) -> Iterator[Any]:
    for record in records:
        try:
            if step.filter is not None:
                results = [record] if step.filter(record) else []
            elif step.map is not None:
                results = [step.map(record)]
            elif step.yield_map is not None:
                results = list(step.yield_map(record))
            else:
                results = [record]
        except Exception as error:
            error.add_note(f"raised by a processing step of {where}")  # the step is the user's: keep its own error
            raise
        yield from results


def plain(value: Any, where: str) -> dict[str, Any]:
    """A row in JSON's own types.

    Raises:
        ExtractError: It is no object, or holds a value without a plain form.
    """
    fault = ""
    try:
        row = msgspec.to_builtins(_model_dump(value), str_keys=True, builtin_types=(Decimal,))
    except (TypeError, ValueError) as error:
        fault = f"a row cannot be written as JSON: {error}"
    else:
        if isinstance(row, dict):
            return row
        fault = f"a row is a {type(value).__name__}, not an object"
    raise ExtractError(fault, where=where, hint="Yield dicts, dataclasses or pydantic models of plain values.")


def _model_dump(value: Any) -> Any:
    return value.model_dump(mode="json") if hasattr(value, "model_dump") else value


def rows_of(source: Any, where: str) -> Iterator[list[dict[str, Any]]]:
    """The rows of a resource that is a list or a callable, in pages; a callable may yield rows or lists of them."""
    values = source() if callable(source) else source
    if isinstance(values, Mapping) or not isinstance(values, Iterable):
        values = [values]
    page: list[dict[str, Any]] = []
    for value in values:
        page.extend(plain(row, where) for row in (value if isinstance(value, list) else [value]))
        if len(page) >= 1000:
            yield page
            page = []
    if page:
        yield page
