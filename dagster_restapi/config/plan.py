"""From a configuration to one plan per resource, parents first; whatever does not fit together is told here."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from dagster_restapi.config.columns import key_path, longest_path
from dagster_restapi.config.fingerprint import fingerprint
from dagster_restapi.config.jsonpath import each, kept_as
from dagster_restapi.config.mistakes import Mistake, refuse
from dagster_restapi.config.naming import asset_name, normalize_path
from dagster_restapi.config.partitions import DynamicPartitions, StaticPartitions, TimePartitions, TwoDimensions
from dagster_restapi.config.placeholders import nearest
from dagster_restapi.config.resolve import Resolved, resolve, with_included_names
from dagster_restapi.config.resource import PreviewConfig, ResourceConfig
from dagster_restapi.config.table import SchemaContract, WriteDisposition
from dagster_restapi.model import Parent, Plan, TablePlan

if TYPE_CHECKING:
    from dagster_restapi.config.client import ClientConfig
    from dagster_restapi.config.resource import PartitionsConfig
    from dagster_restapi.config.source import RestApiConfig

_FIRST_VALUES = {  # placeholder -> the setting that gives it a value when there is no cursor yet
    "start_value": "initial_value",
    "initial_value": "initial_value",
    "last_value": "initial_value",
    "end_value": "end_value",
    "lag": "lag",
    "cursor_path": "cursor_path",
}


def plan(config: RestApiConfig, *, partitioned: bool = False) -> dict[str, Plan]:
    """One plan per resource, by name, parents before their children, otherwise in the configuration's order.

    Args:
        config: A configuration.
        partitioned: Whether the assets get partitions from elsewhere, so that `{partition.…}` may stand for something.

    Raises:
        ConfigError: The resources do not fit together, or ask for what is not built.
    """
    resolved = _resolve(config)
    found = [*_fit(resolved), *_ready(resolved, config.client, partitioned)]
    refuse(found, config, config.origin)
    _warn_of_child_tables(resolved)
    plans: dict[str, Plan] = {}
    for item in _parents_first(resolved):
        plans[item.name] = _plan(item, config.client, plans)
    return {name: _with_request_fields(item, plans) for name, item in plans.items()}


def mistakes_in(config: RestApiConfig) -> list[Mistake]:
    """What is wrong between the parts of a configuration whose parts are right."""
    return list(_fit(_resolve(config)))


def _resolve(config: RestApiConfig) -> list[Resolved]:
    resolved = (
        resolve(resource, index, config.resource_defaults, config.client)
        for index, resource in enumerate(config.resources)
    )
    return with_included_names(list(resolved))


# ---- do the parts fit together ---------------------------------------------------------------------------------------
def _fit(resolved: list[Resolved]) -> Iterator[Mistake]:
    yield from _names(resolved)
    names = dict.fromkeys(item.name for item in resolved)
    for item in resolved:
        yield from item.mistakes
        yield from _parents(item, names)
        yield from _incremental_values(item)
        yield from _partition_values(item)
        yield from _hints(item)
        yield from _keys(item)
    yield from _cycles(resolved)


def _names(resolved: list[Resolved]) -> Iterator[Mistake]:
    """Resources, tables and assets each have a name of their own, whatever is done to names."""
    names: dict[str, Resolved] = {}
    tables: dict[str, Resolved] = {}
    for item in resolved:
        first = names.setdefault(item.name, item)
        if first is not item:
            yield Mistake((*item.path, "name"), f"resources[{first.path[1]}] has the same name")
            continue
        if item.settings.selected is False:
            continue
        place = (*item.path, "table_name" if item.settings.table_name else "name")
        table = table_of(item.settings)
        if table.lower().startswith("_restapi"):
            yield Mistake(place, "names that begin with _restapi are the library's own")
        first = tables.setdefault(asset_name(table).lower(), item)
        if first is not item:
            meeting = table if table == table_of(first.settings) else asset_name(table)
            yield Mistake(
                place,
                f"the resources {first.name!r} and {item.name!r} meet in the name {meeting!r}",
                "Set `table_name` of one of them.",
            )


def table_of(settings: ResourceConfig) -> str:
    """The name of a resource's root table."""
    name = settings.table_name or settings.name
    return name if settings.naming == "as_is" else normalize_path(name)


def _parents(item: Resolved, names: Mapping[str, None]) -> Iterator[Mistake]:
    for use in item.uses:
        if use.placeholder.kind == "resources" and use.placeholder.parts[0] not in names:
            missing = use.placeholder.parts[0]
            near = nearest(missing, [name for name in names if name != item.name], "`{}`")
            yield Mistake(use.place, f"there is no resource {missing!r}", near or f"There are {', '.join(names)}.")
    if len(item.parents) > 1 and all(name in names for name in item.parents):
        yield Mistake(
            (*item.path, "endpoint"),
            f"placeholders speak of {len(item.parents)} parents, {', '.join(item.parents)}; a resource has one",
            "Bring the other's fields along with `include_from_parent` on the way.",
        )
    through = {many.elements: path for path in item.parent_fields if (many := each(path))}
    if len(item.parents) == 1 and len(through) > 1:
        yield Mistake(
            (*item.path, "endpoint"),
            f"{' and '.join(through.values())} go through different lists, and only the elements of one are asked for",
            "Name fields of the same elements: `labels[*].id` and `labels[*].name`.",
        )
    if item.settings.include_from_parent and not item.parents:
        yield Mistake(
            (*item.path, "include_from_parent"),
            "the resource has no parent",
            "A parent is named by a placeholder in the endpoint: {resources.<name>.<field>}.",
        )


def _cycles(resolved: list[Resolved]) -> Iterator[Mistake]:
    """Each circle once."""
    items = {item.name: item for item in resolved}
    done: set[str] = set()
    for item in resolved:
        chain: dict[str, None] = {}
        name: str | None = item.name
        while name in items and name not in chain and name not in done:
            chain[name] = None
            name = next(iter(items[name].parents), None)
        if name in chain:
            names = list(chain)
            circle = " → ".join([*names[names.index(name) :], name])
            yield Mistake((*items[name].path, "endpoint"), f"the resource waits for itself: {circle}")
        done.update(chain)


def _incremental_values(item: Resolved) -> Iterator[Mistake]:
    settings = item.endpoint.incremental if item.endpoint else None
    for use in item.uses:
        if use.placeholder.kind != "incremental":
            continue
        if settings is None:
            window = isinstance(item.settings.partitions, TimePartitions)
            yield Mistake(
                use.place,
                f"{use.placeholder} needs the endpoint's `incremental`, and there is none",
                "A partition's window is {partition.start} and {partition.end}." if window else None,
            )
            continue
        source = _FIRST_VALUES[use.placeholder.parts[0]]
        given = getattr(settings, source) is not None or (source != "lag" and item.settings.partitions is not None)
        if not use.alone and not given:
            yield Mistake(
                use.place,
                f"{use.placeholder} stands within a text and has no value on the first run",
                f"Give `{source}` in `incremental`.",
            )


def _partition_values(item: Resolved) -> Iterator[Mistake]:
    partitions = item.settings.partitions
    if partitions is None:
        return
    there = _partition_parts(partitions)
    for use in item.uses:
        if use.placeholder.kind == "partition" and use.placeholder.parts not in there:
            spelled = ", ".join("{partition." + ".".join(parts) + "}" for parts in there)
            yield Mistake(use.place, f"the resource's partitions have no {use.placeholder}", f"There are {spelled}.")


def _partition_parts(partitions: PartitionsConfig) -> list[tuple[str, ...]]:
    match partitions:
        case TimePartitions():
            return [("key",), ("start",), ("end",)]
        case StaticPartitions() | DynamicPartitions():
            return [("key",)]
        case TwoDimensions():
            window = any(isinstance(part, TimePartitions) for part in partitions.dimensions.values())
            keys = [("keys", name) for name in partitions.dimensions]
            return [("key",), *keys, *([("start",), ("end",)] if window else [])]


def _hints(item: Resolved) -> Iterator[Mistake]:
    """A hint that would do nothing is a mistake."""
    hints, disposition = item.settings.columns or {}, item.settings.write_disposition or WriteDisposition()
    for name, hint in hints.items():
        for fault in hint.faults():
            yield Mistake((*item.path, "columns", name), fault)
        yield from _inside(item, name)
    for kind in ("hard_delete", "dedup_sort"):
        marked = [name for name, hint in hints.items() if getattr(hint, kind)]
        if len(marked) > 1:
            yield Mistake((*item.path, "columns"), f"{', '.join(marked)} have `{kind}`; one column can have it")
        elif marked and disposition.disposition != "merge":
            yield Mistake((*item.path, "columns", marked[0]), f"`{kind}` belongs to a merge, and the resource has none")
        elif marked and kind == "hard_delete" and disposition.strategy in ("scd2", "insert-only"):
            yield Mistake(
                (*item.path, "columns", marked[0]), f"{disposition.strategy} deletes nothing by `hard_delete`"
            )
        elif marked and kind == "dedup_sort" and not _key(item.settings, "primary_key"):
            yield Mistake((*item.path, "columns", marked[0]), "`dedup_sort` chooses by a `primary_key`: there is none")


def _inside(item: Resolved, name: str) -> Iterator[Mistake]:
    """A hint for what has no column of its own."""
    settings, path = item.settings, key_path(name)
    typed = {key_path(other) for other, hint in (settings.columns or {}).items() if hint.data_type}
    longest = longest_path(settings.nested, settings.max_table_nesting) or len(path)
    longest = next((keys for keys in range(1, longest) if path[:keys] in typed), longest)
    if len(path) > longest:
        outer = ".".join(path[:longest])
        yield Mistake(
            (*item.path, "columns", name),
            f"{outer!r} is one column here, and a hint cannot reach into it",
            "Objects get columns with `nested: tables`, down to `max_table_nesting`, unless a hint sets their type.",
        )


def _keys(item: Resolved) -> Iterator[Mistake]:
    """A merge needs something to merge by (dlt would append without a word)."""
    disposition = item.settings.write_disposition or WriteDisposition()
    if disposition.disposition != "merge" or disposition.strategy == "scd2":
        return
    place = (*item.path, "write_disposition")
    if _key(item.settings, "primary_key"):
        return
    if disposition.strategy in ("upsert", "insert-only"):
        yield Mistake(place, f"the strategy {disposition.strategy} needs a `primary_key`")
    elif not _key(item.settings, "merge_key"):
        yield Mistake(place, "merge needs a `primary_key` or a `merge_key`", "Or use `append`.")


# ---- can it be run as it is ------------------------------------------------------------------------------------------
def _ready(resolved: list[Resolved], client: ClientConfig, partitioned: bool) -> Iterator[Mistake]:
    for item in resolved:
        if not partitioned and item.settings.partitions is None:
            for use in item.uses:
                if use.placeholder.kind == "partition":
                    yield Mistake(use.place, f"{use.placeholder} needs `partitions`, and the resource has none")
        if item.endpoint and not client.base_url and not _absolute(item.endpoint.path or ""):
            yield Mistake(("client", "base_url"), "is missing", "Where do the paths begin? https://api.example.com/")


def _absolute(path: str) -> bool:
    return path.lower().startswith(("http:", "https:", "{env.", "{resources."))


def _warn_of_child_tables(resolved: list[Resolved]) -> None:
    """Tells of tables that might be taken for a list of another resource; whether they meet depends on the data."""
    roots = {table_of(item.settings): item for item in resolved if item.settings.selected is not False}
    for table, item in roots.items():
        parts = table.split("__")
        parent = next((roots[root] for n in range(1, len(parts)) if (root := "__".join(parts[:n])) in roots), None)
        if parent and parent.settings.nested in (None, "tables") and parent.settings.max_table_nesting != 0:
            warnings.warn(
                f"the table {table!r} of resource {item.name!r} has the name that a list in {parent.name!r} would get; "
                "a load that brings such a list will fail. Set `table_name` of one of them.",
                stacklevel=3,
            )


# ---- plans -----------------------------------------------------------------------------------------------------------
def _parents_first(resolved: list[Resolved]) -> list[Resolved]:
    items = {item.name: item for item in resolved}
    order: dict[str, Resolved] = {}
    for item in resolved:
        line = [item]  # from the resource up to its first ancestor
        while line[-1].parents:
            line.append(items[line[-1].parents[0]])
        for ancestor in reversed(line):
            order.setdefault(ancestor.name, ancestor)
    return list(order.values())


def _plan(item: Resolved, client: ClientConfig, plans: Mapping[str, Plan]) -> Plan:
    settings = item.settings
    table, parent = _table(item), _parent(item, plans)
    walked = plans[parent.resource].fingerprint if parent and not parent.stored else None
    steps = tuple(settings.processing_steps or ())
    return Plan(
        name=item.name,
        client=client,
        endpoint=item.endpoint,
        rows=settings.rows,
        table=table,
        parent=parent,
        selected=settings.selected is not False,
        steps=steps,
        concurrency=settings.concurrency or (1 if settings.parallelized is False else 8),
        on_error=settings.on_error or "fail",
        partitions=settings.partitions,
        preview=settings.preview or PreviewConfig(),
        description=settings.description,
        group_name=settings.group_name,
        owners=tuple(settings.owners or ()),
        tags=dict(settings.tags or {}),
        automation=settings.automation,
        freshness=settings.freshness,
        fingerprint=fingerprint(
            item.name,
            [client.base_url, client.headers, client.auth, client.error_rules],
            item.endpoint.model_copy(update={"retry": None}) if item.endpoint else settings.rows,
            [table, parent, walked, steps, settings.partitions],
        ),
    )


def _with_request_fields(item: Plan, plans: Mapping[str, Plan]) -> Plan:
    """The plan with what its stored rows have to keep for its children."""
    parents = (other.parent for other in plans.values())
    ours = [parent for parent in parents if parent and parent.stored and parent.resource == item.name]
    paths = {kept_as(path, parent.elements) for parent in ours for path in (*parent.fields, *parent.include)}
    return replace(item, table=replace(item.table, request_fields=tuple(sorted(paths)))) if paths else item


def _parent(item: Resolved, plans: Mapping[str, Plan]) -> Parent | None:
    if not item.parents:
        return None
    name = item.parents[0]
    fields = item.parent_fields
    return Parent(
        resource=name,
        fields=fields,
        include=tuple(dict.fromkeys(item.settings.include_from_parent or ())),
        stored=plans[name].selected,
        elements=next((many.elements for path in fields if (many := each(path))), None),
    )


def _table(item: Resolved) -> TablePlan:
    settings = item.settings
    disposition = settings.write_disposition or WriteDisposition()
    defaults = TablePlan(resource=item.name, table=table_of(settings))
    valid_from, valid_to = disposition.validity_column_names or (defaults.valid_from, defaults.valid_to)
    incremental = item.endpoint.incremental if item.endpoint else None
    return TablePlan(
        resource=item.name,
        table=defaults.table,
        disposition=disposition.disposition,
        strategy=disposition.strategy or defaults.strategy,
        primary_key=_key(settings, "primary_key"),
        merge_key=_key(settings, "merge_key"),
        hints=dict(settings.columns or {}),
        contract=(settings.schema_contract or SchemaContract()).contract,
        max_nesting=settings.max_table_nesting,
        nested=settings.nested or defaults.nested,
        naming=settings.naming or defaults.naming,
        allow_empty=bool(settings.allow_empty),
        cursor_path=incremental.cursor_path if incremental else None,
        valid_from=valid_from,
        valid_to=valid_to,
    )


def _key(settings: ResourceConfig, kind: str) -> tuple[str, ...]:
    """The columns of a key: those that the resource names, then those that hints mark; each once."""
    hinted = [name for name, hint in (settings.columns or {}).items() if getattr(hint, kind)]
    spelled: dict[str, str] = {}
    for name in (*(getattr(settings, kind) or ()), *hinted):
        spelled.setdefault(name if settings.naming == "as_is" else normalize_path(name), name)
    return tuple(spelled.values())
