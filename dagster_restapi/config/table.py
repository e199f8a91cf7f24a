"""What a user may say about a resource's tables: disposition, column hints, and what a load may change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from dagster_restapi.config.settings import Settings
from dagster_restapi.model import Contract, ContractMode, Disposition, MergeStrategy

DataType = Literal["text", "double", "bool", "timestamp", "bigint", "binary", "json", "decimal", "wei", "date", "time"]


class WriteDisposition(Settings):
    """How the rows of a load replace older ones. A text alone is its `disposition`."""

    disposition: Disposition = "append"
    """`append`: add to what is there. `replace`: take its place. `merge`: by key."""
    strategy: MergeStrategy | None = None
    """How `merge` goes about it: `delete-insert` (default), `upsert`, `insert-only`, or `scd2`, which keeps history."""
    validity_column_names: tuple[str, str] | None = None
    """Of `scd2`: names of the columns that say from when and until when a row held.
    Default: `_restapi_valid_from`, `_restapi_valid_to`."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.strategy and self.disposition != "merge":
            raise ValueError(f"`strategy` belongs to merge; {self.disposition} has none")
        if self.validity_column_names:
            if self.strategy != "scd2":
                raise ValueError("`validity_column_names` belongs to the strategy scd2")
            if len(set(self.validity_column_names)) == 1:
                raise ValueError("the two `validity_column_names` are the same")
        return self


class SchemaContract(Settings):
    """What a load may change in tables that exist (dlt's `schema_contract`). A text alone holds for all three."""

    tables: ContractMode = "evolve"
    """New child tables: `evolve` makes them, `freeze` is an error, the others leave their rows or values out."""
    columns: ContractMode = "evolve"
    """New columns: `evolve` adds them, `freeze` is an error, `discard_row` drops the row, `discard_value` the value."""
    data_type: ContractMode = "evolve"
    """Values that do not fit their column's type: `evolve` widens it, and the rest as for `columns`."""

    @property
    def contract(self) -> Contract:
        """The contract as the tables' room takes it."""
        return Contract(tables=self.tables, columns=self.columns, data_type=self.data_type)


def _data_type(value: Any) -> Any:
    return "json" if value == "complex" else value  # dlt's older word


class ColumnHint(Settings):
    """What is known of one column beforehand (dlt's `columns`)."""

    data_type: Annotated[DataType, BeforeValidator(_data_type)] | None = None
    """Type of the column, whatever the values look like."""
    nullable: bool | None = None
    """`false`: a row without a value is an error."""
    precision: int | None = Field(default=None, ge=0)
    """Digits of a decimal, bits of an integer; of a time stamp 6, the digits of a second's fraction."""
    scale: int | None = Field(default=None, ge=0)
    """Digits of a decimal behind the point."""
    timezone: bool | None = None
    """Whether a time stamp has a zone (default)."""
    primary_key: bool | None = None
    """The column is a part of the primary key."""
    merge_key: bool | None = None
    """The column is a part of the merge key."""
    hard_delete: bool | None = None
    """A merge deletes the rows of which this column is true, or not null where it is no boolean."""
    dedup_sort: Literal["asc", "desc"] | None = None
    """Of rows with the same key in one load, the first in this order stays."""
    description: str | None = None
    """What the column means, for the column schema in Dagster."""

    @property
    def exact(self) -> bool:
        """Whether numbers are wanted digit by digit."""
        return self.data_type in ("decimal", "wei")

    def faults(self) -> Iterator[str]:
        """What a column of DuckDB cannot be told: such a hint would do nothing."""
        kind, digits = self.data_type, self.precision
        if digits is not None and not self.exact and kind not in ("bigint", "timestamp", "time"):
            yield "`precision` belongs to data_type decimal, wei or bigint"
        elif digits is not None and kind in ("timestamp", "time") and digits != 6:
            yield f"a {kind} has 6 digits of a second's fraction here: `precision` {digits} is not built"
        elif digits is not None and kind == "bigint" and not 1 <= digits <= 128:
            yield "`precision` of a bigint is its bits, from 1 to 128"
        elif digits is not None and self.exact and not 1 <= digits <= 38:
            yield f"`precision` of a {kind} is from 1 to 38"
        elif self.exact and (self.scale if self.scale is not None else 9 * (kind == "decimal")) > (digits or 38):
            yield "more digits behind the point (`scale`, by default 9) than there are digits (`precision`)"
        if self.scale is not None and not self.exact:
            yield "`scale` belongs to data_type decimal or wei"
        if self.timezone is not None and kind != "timestamp":
            yield "`timezone` belongs to data_type timestamp"


def disposition_from(value: Any) -> Any:
    """A disposition in any spelling: a text is its name."""
    return {"disposition": value} if isinstance(value, str) else value


def contract_from(value: Any) -> Any:
    """A contract in any spelling: a text holds for tables, columns and data types."""
    return dict.fromkeys(("tables", "columns", "data_type"), value) if isinstance(value, str) else value


def columns_from(value: Any) -> Any:
    """Hints by column, from a mapping or from a list of mappings with a `name` each.

    Raises:
        ValueError: A name is missing, twice there, or not the one that the mapping's key says.
    """
    if isinstance(value, (list, tuple)):
        named = [(hint.get("name") if isinstance(hint, Mapping) else None, hint) for hint in value]
        names = [name for name, _ in named]
        if not all(isinstance(name, str) for name in names):
            raise ValueError("every column of a list needs a `name`")
        if len(set(names)) < len(names):
            raise ValueError("two hints have the same column name")
        value = dict(named)
    if not isinstance(value, Mapping):
        return value
    return {name: _unnamed(name, hint) for name, hint in value.items()}


def _unnamed(name: Any, hint: Any) -> Any:
    if not isinstance(hint, Mapping) or "name" not in hint:
        return hint
    if hint["name"] != name:
        raise ValueError(f"the hint of column {name!r} has another name in it")
    return {key: item for key, item in hint.items() if key != "name"}
