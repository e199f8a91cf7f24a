"""Values that JSON cannot hold as they are, or not digit by digit."""

from __future__ import annotations

from decimal import Decimal
from math import isfinite
from typing import TYPE_CHECKING, Any

from dagster_restapi.config.columns import Hints, Path
from dagster_restapi.http.decode import exact_float

if TYPE_CHECKING:
    from dagster_restapi.model import Plan

_INNER = frozenset({Decimal, float, dict, list, tuple})


class Decimals:
    """Keeps the `Decimal`s of columns with a `decimal` or `wei` hint.

    Where a plan has such a hint, all numbers with a fraction come as Decimals; steps and rows of Python's may make some
    as well. The others become what the same number is without a hint: a float, or text where no float holds it. So do
    Python's NaN and infinities become texts, which they are in an answer; and tuples are lists.
    """

    def __init__(self, plan: Plan) -> None:
        self._hints = Hints(plan.table)
        self._kept: dict[Path, bool] = {}
        self._needed = plan.table.exact or bool(plan.steps) or plan.endpoint is None

    def settled(self, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The records as they go into the spool; the given ones are not changed."""
        if not self._needed:
            return records
        try:
            return [self._object(record, ()) for record in records]
        except RecursionError:  # the spool takes none of such depth, and says so
            return records

    def _object(self, record: dict[str, Any], path: Path | None) -> dict[str, Any]:
        return {
            key: self._value(value, None if path is None else (*path, key)) if type(value) in _INNER else value
            for key, value in record.items()
        }

    def _value(self, value: Any, path: Path | None) -> Any:
        """A value at a path; None: below a list, where no hint reaches."""
        if isinstance(value, dict):
            return self._object(value, path)
        if isinstance(value, list | tuple):
            return [self._value(item, None) if type(item) in _INNER else item for item in value]
        if isinstance(value, float):
            return value if isfinite(value) else str(Decimal(value))
        if path is not None and self._keeps(path):
            return value
        return exact_float(str(value)) if value.is_finite() else str(value)

    def _keeps(self, path: Path) -> bool:
        kept = self._kept.get(path)
        if kept is None:
            hint = self._hints.of(path)
            kept = self._kept[path] = hint is not None and hint.exact
        return kept
