"""What passes between the rooms: frozen, and importing nothing of ours at run time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:  # the shapes of settings that one room validates and another obeys
    from dagster_restapi.config.client import ClientConfig
    from dagster_restapi.config.endpoint import EndpointConfig, IncrementalConfig
    from dagster_restapi.config.resource import PartitionsConfig, PreviewConfig, ProcessingStep
    from dagster_restapi.config.table import ColumnHint

JsonScalar = str | int | float | bool | None
Disposition = Literal["append", "replace", "merge"]
MergeStrategy = Literal["delete-insert", "upsert", "insert-only", "scd2"]
ContractMode = Literal["evolve", "freeze", "discard_row", "discard_value"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """What a load may change in tables that exist (dlt's `schema_contract`)."""

    tables: ContractMode = "evolve"
    columns: ContractMode = "evolve"
    data_type: ContractMode = "evolve"


@dataclass(frozen=True, slots=True, kw_only=True)
class TablePlan:
    """What `tables` has to know of a resource: where its rows go and how they replace older ones."""

    resource: str
    table: str  # normalised name of the root table
    disposition: Disposition = "append"
    strategy: MergeStrategy = "delete-insert"
    primary_key: tuple[str, ...] = ()  # column names as the record spells them
    merge_key: tuple[str, ...] = ()
    hints: Mapping[str, ColumnHint] = field(default_factory=dict)  # by the record's spelling
    contract: Contract = Contract()
    max_nesting: int | None = None  # None: every level becomes tables
    nested: Literal["tables", "native", "json"] = "tables"
    naming: Literal["snake_case", "as_is"] = "snake_case"
    allow_empty: bool = False
    cursor_path: str | None = None  # of the resource's `incremental`; rows at the very cursor are compared by content
    valid_from: str = "_restapi_valid_from"  # scd2
    valid_to: str = "_restapi_valid_to"
    # JSONPaths whose values each row keeps as the API spelled them, for the requests of resources whose parent this is.
    # They change neither requests nor columns nor the content of a row: the resource's fingerprint is without them.
    request_fields: tuple[str, ...] = field(default=(), metadata={"fingerprint": False})

    @property
    def exact(self) -> bool:
        """Whether a column's numbers are wanted digit by digit."""
        return any(hint.exact for hint in self.hints.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Parent:
    """The parent of a resource, and what the child needs of each of its rows."""

    resource: str
    fields: tuple[str, ...]  # JSONPaths that requests are made of: together they are the parent key
    include: tuple[str, ...] = ()  # JSONPaths that are copied into the child's records as `_<parent>_<field>`
    stored: bool = True  # False: the parent is `selected: False`, so it is walked inside the child's step
    elements: str | None = None  # JSONPath of the elements that `fields` go through: each makes a key of its own


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One resource, ready to run: the configuration with defaults merged, names resolved, and nothing left to check."""

    name: str
    client: ClientConfig
    endpoint: EndpointConfig | None  # None: the resource is `rows`
    rows: Callable[[], Iterable[Any]] | Iterable[Any] | None = None
    table: TablePlan
    parent: Parent | None = None
    selected: bool = True
    steps: tuple[ProcessingStep, ...] = ()
    concurrency: int = 8
    on_error: Literal["fail", "skip"] = "fail"
    partitions: PartitionsConfig | None = None
    preview: PreviewConfig | None = None
    description: str | None = None
    group_name: str | None = None
    owners: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    automation: Any = None
    freshness: Any = None
    fingerprint: str  # sha256 over everything above that changes requests or tables, secrets by name only

    @property
    def incremental(self) -> IncrementalConfig | None:
        """The resource's cursor settings, if it has any."""
        return self.endpoint.incremental if self.endpoint else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """The position up to which a slice is loaded.

    Attributes:
        value: As the API spelled it; instants and dates are text.
        kind: How two values compare: instants as instants whatever their zone or spelling, numbers as numbers.
        load_id: The load that brought the tables to this position. Two cursors are the same by load, not by value.
    """

    value: str | int | float
    kind: Literal["instant", "date", "number", "text"]
    load_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A time window [start, end) of a partition: zoned ISO 8601 texts."""

    start: str
    end: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """What one run asks of a resource."""

    asset: str  # the asset key, its parts joined by "/"
    partition: str | None = None
    partition_keys: Mapping[str, str] = field(default_factory=dict)  # dimension -> key, of two-dimensional partitions
    window: Window | None = None
    scope: str | None = None  # of a window beside a key: how all partitions with that key begin or end
    stretch: tuple[tuple[str, Window], ...] = ()  # partitions that one request range brings; `window` spans all of them
    layout: str | None = None  # how the asset is cut into partitions; the rows of one layout are not those of another
    cursor: Cursor | None = None  # where to go on from; None: start at `initial_value`
    start_value: str | None = None  # a window given by hand leaves the cursor alone
    end_value: str | None = None
    full_refresh: bool = False
    max_pages: int | None = None
    parents: Literal["all", "changed"] | None = None  # None: changed where the parent is incremental, else all
    run_id: str = ""
    root_run_id: str = ""
    wipe: str | None = None  # the newest wipe of the asset that the run knows of; the ledger keeps it

    @property
    def by_hand(self) -> bool:
        """Whether the run names its own window."""
        return self.start_value is not None or self.end_value is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """What extraction tells of a slice that lies complete in its spool. All of it survives a crash with the spool."""

    load_id: str
    rows: int = 0
    pages: int = 0
    requests: int = 0
    retries: int = 0
    waited_seconds: float = 0.0
    bytes: int = 0
    seconds: float = 0.0
    cursor_value: str | int | float | None = None  # where the cursor moves to; None: it stays
    cursor_kind: Literal["instant", "date", "number", "text"] | None = None
    complete: bool = True  # False: the tables may take the rows, the cursor must not move
    whole: bool = True  # whether all there is was asked for, so that a row that did not come is gone
    out_of_range: int = 0  # rows that an inclusive API sent from outside the window
    without_cursor: int = 0  # rows kept or dropped by `on_cursor_value_missing`
    parents: int | None = None  # distinct parent keys asked
    failed_parents: tuple[Mapping[str, JsonScalar], ...] = ()
    owed_parents: tuple[Mapping[str, JsonScalar], ...] = ()  # owed before, asked again, and still not all there
    settled_parents: tuple[Mapping[str, JsonScalar], ...] = ()  # owed before, and all there now
    parents_complete: bool = True  # False: the walk of a parent without a table was cut, and did not name all its rows
    held_back: bool = False  # the cursor moves less far than rows came
    skipped_parents: int = 0  # rows of the parent, or elements in them, without a key
    parent_load_id: str | None = None  # the parent's newest load when its keys were frozen
    warnings: tuple[str, ...] = ()
    url: str | None = None  # of the first page, without parameters and secrets; None where every parent has its own


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of a table as it stands in DuckDB after a load."""

    name: str
    type: str
    nullable: bool = True
    description: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What a load was made under. JSON in the ledger; what an older version did not note is the default.

    Attributes:
        settings: Fingerprint of all that changes requests, tables, or what is shown of them.
        tables: Of what is said of the tables: records of the same content may fill other columns under another one.
        records: Of what shapes a record: the same row of the API may have another content under another one.
        parent: The parent, and the fields of it that requests are made of.
        cursor_path: Of which values the cursor is one; the last known where there is none now.
        cursor_direction: Whether the cursor is the greatest of them (`max`) or the least (`min`).
        cursor_format: How they are spelled, and so compare; None: in a way that needs no setting.
        hash_by_parent: Rows of the same content are told apart by the parent that they belong to.
        beyond_cursor: Rows may be there that lie beyond the cursor.
        partial_loads: The loads since the newest complete one, of which a complete one brings the rows again.
    """

    settings: str = ""
    tables: str | None = None
    records: str | None = None
    parent: str | None = None
    cursor_path: str | None = None
    cursor_direction: str | None = None
    cursor_format: str | None = None
    hash_by_parent: bool = False
    beyond_cursor: bool = False
    partial_loads: tuple[str, ...] = ()


NO_CONDITIONS = Conditions()  # of what was never loaded, or by a version that noted none


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerRow:
    """One row of `_restapi_loads`: the proof that a load is in the tables."""

    load_id: str
    asset: str
    partition: str | None
    run_id: str
    sequence: int  # grows by one with every load of the schema: the order of loads, without a clock
    rows: int
    cursor_before: Cursor | None
    cursor: Cursor | None
    parent_load_id: str | None
    failed_parents: tuple[Mapping[str, JsonScalar], ...]  # those that are owed: of this load and of earlier ones
    tables: tuple[str, ...]
    tell: Mapping[str, Any]  # the numbers of LoadResult and Fetched, for an event that a crash kept from being written
    format_version: int
    committed_at: str  # ISO 8601, UTC
    root_run_id: str = ""  # of the slice
    wipe: str | None = None  # all wipes that the load answers, by spaces: one that is none of them asks for a rebuild
    data_version: str = ""  # the newest load of this slice, up to this one, that changed a row
    layout: str | None = None  # of the slice
    conditions: Conditions = NO_CONDITIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadResult:
    """What a load did to the tables. Row counts of the root table, unless they say otherwise."""

    load_id: str
    already_loaded: bool = False  # the ledger had this load: nothing was written, all of this was read back
    rows_loaded: int = 0  # rows of the spool that changed the tables: new, or of new content
    rows_inserted: int = 0
    rows_updated: int = 0
    rows_deleted: int = 0
    rows_unchanged: int = 0
    row_count: int = 0  # of the whole table, afterwards
    partition_row_count: int | None = None
    row_count_before: int = 0
    tables: Mapping[str, int] = field(default_factory=dict)  # child tables: rows of this load
    columns: tuple[Column, ...] = ()
    schema_changes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    cursor: Cursor | None = None
    cursor_before: Cursor | None = None
    data_version: str = ""  # the newest load of this slice, up to this one, that changed a row
    stage_seconds: float = 0.0  # before the target was opened, beside the fetch or behind it
    wait_seconds: float = 0.0  # for the target's lock
    locked_seconds: float = 0.0  # with the target open for writing
