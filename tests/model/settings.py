"""What a sequence is configured with: a frozen description, drawn at random, that becomes a configuration."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

DAYS = ("2024-01-01", "2024-01-02", "2024-01-03")
GROUPS = ("eu", "us")
TENANT = "MODEL_TENANT"  # an environment variable that requests of some sequences are made of
STRATEGIES = ("delete-insert", "upsert", "insert-only", "scd2")


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """How one resource is loaded.

    Attributes:
        write: `append`, `replace`, or the strategy of a merge.
        missing: `on_cursor_value_missing`.
        ordered: The API sends rows in the order of the cursor, and the resource says so by `row_order`.
        cut: The resource has the partitions of the source.
    """

    write: str = "append"
    key: bool = False
    incremental: bool = False
    lag: int = 0
    missing: str = "raise"
    ordered: bool = False
    allow_empty: bool = False
    cut: bool = True

    @property
    def merges(self) -> bool:
        return self.write in STRATEGIES


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One source: `items`, and in most sequences `notes` below each of them.

    Attributes:
        partitions: `none`, `static`, `daily`.
        stored: Whether the parent has a table; else it is fetched inside the child's step.
        field: Of the parent, what the child's requests are made of: `id` or `code`.
        include: The parent's title is copied into the child's records.
        by: The API sends rows by `id` or by `cursor`.
        instants: Cursor values are ISO 8601 texts; else integers.
        ignore: A 404 means that there are no rows.
        tenant: An environment variable is a part of every request.
        size: Rows of a page.
    """

    items: Table = Table()
    notes: Table | None = None
    partitions: str = "none"
    stored: bool = True
    field: str = "id"
    include: bool = False
    on_error: str = "fail"
    paging: str = "link"
    concurrency: int = 1
    by: str = "id"
    instants: bool = True
    ignore: bool = False
    tenant: bool = False
    attempts: int = 1
    size: int = 2

    def table(self, asset: str) -> Table:
        found = self.items if asset == "items" else self.notes
        assert found is not None
        return found

    @property
    def assets(self) -> tuple[str, ...]:
        """Those that have tables, parents first."""
        return (*(("items",) if self.stored or self.notes is None else ()), *(("notes",) if self.notes else ()))

    def keys(self, asset: str) -> tuple[str | None, ...]:
        """The partitions of an asset."""
        if self.partitions == "none" or not self.table(asset).cut:
            return (None,)
        return GROUPS if self.partitions == "static" else DAYS

    def windows(self, asset: str) -> bool:
        return self.partitions == "daily" and self.table(asset).cut

    def keyed_cursor(self, asset: str) -> bool:
        """Whether the asset keeps a cursor that a later run goes on from."""
        table = self.table(asset)
        return table.incremental and not self.windows(asset)

    # ---- the configuration -------------------------------------------------------------------------------------------
    def config(self, url: str) -> dict[str, Any]:
        """The library's configuration."""
        resources = [self._items()]
        if self.notes is not None:
            resources.append(self._notes(self.notes))
        retry = {"attempts": self.attempts, "backoff": 0.005, "jitter": 0}
        return {"client": {"base_url": url, "retry": retry, "timeout": 20}, "resources": resources}

    def _items(self) -> dict[str, Any]:
        path = "{partition.key}/items" if self.partitions == "static" and self.items.cut else "items"
        resource = self._resource("items", self.items, path)
        if self.notes is not None and not self.stored:
            resource["selected"] = False
            if not self.notes.cut:
                resource.pop("partitions", None)
        return resource

    def _notes(self, table: Table) -> dict[str, Any]:
        resource = self._resource("notes", table, f"items/{{resources.items.{self.field}}}/notes")
        resource["on_error"] = self.on_error
        if self.include:
            resource["include_from_parent"] = ["title"]
        return resource

    def _resource(self, name: str, table: Table, path: str) -> dict[str, Any]:
        params: dict[str, Any] = {"limit": self.size} if self.paging != "offset" else {}
        endpoint: dict[str, Any] = {"path": path, "paginator": self._paginator(), "data_selector": "data"}
        if self.tenant:
            params["tenant"] = f"{{env.{TENANT}}}"
        if table.cut and self.partitions == "static" and name == "notes" and not self.items.cut:
            params["group"] = "{partition.key}"
        if table.cut and self.partitions == "daily" and not table.incremental:
            params["day"] = "{partition.start}"
        if table.incremental:
            endpoint["incremental"] = self._incremental(table, name)
        if self.ignore:
            endpoint["response_actions"] = [{"status_code": 404, "action": "ignore"}]
        resource = {
            "name": name,
            "endpoint": {**endpoint, "params": params},
            "concurrency": self.concurrency,
            "write_disposition": {"disposition": "merge", "strategy": table.write} if table.merges else table.write,
            "preview": "off",
        }
        if table.key:
            resource["primary_key"] = "id"
        if table.allow_empty:
            resource["allow_empty"] = True
        if table.cut and self.partitions != "none":
            resource["partitions"] = (
                {"type": "static", "keys": list(GROUPS)}
                if self.partitions == "static"
                else {"type": "daily", "start": DAYS[0], "end": "2024-01-04"}
            )
        return resource

    def _incremental(self, table: Table, name: str) -> dict[str, Any]:
        settings: dict[str, Any] = {
            "cursor_path": "updated_at",
            "start_param": "since",
            "on_cursor_value_missing": table.missing,
        }
        if table.lag:
            settings["lag"] = table.lag
        if table.ordered:
            settings["row_order"] = "asc"
        if self.windows(name):
            settings["end_param"] = "until"
        return settings

    def _paginator(self) -> dict[str, Any]:
        kinds: dict[str, dict[str, Any]] = {
            "link": {"type": "json_link", "next_url_path": "next"},
            "cursor": {"type": "cursor", "cursor_path": "next", "cursor_param": "cursor"},
            "page": {"type": "page_number", "base_page": 1, "total_path": "pages"},
            "offset": {"type": "offset", "limit": self.size, "total_path": "total"},
        }
        return {**kinds[self.paging], "repeated_page": "allow"}


def draw(chance: random.Random) -> Settings:
    """Settings at random; some of them the library refuses."""
    partitions = chance.choices(("none", "static", "daily"), (6, 2, 2))[0]
    by = chance.choice(("id", "cursor"))
    has_notes = chance.random() < 0.7
    items = _draw_table(chance, by, partitions)
    notes = _draw_table(chance, by, partitions) if has_notes else None
    stored = not has_notes or chance.random() < 0.8
    if partitions != "none" and notes is not None:
        cut = chance.choice(((True, True), (True, False), (False, True)))
        items, notes = replace(items, cut=cut[0]), replace(notes, cut=cut[1])
        if not stored:
            # Whether such a parent is asked for the child's window or for everything, no document says.
            items = replace(items, cut=False, incremental=items.incremental and partitions != "daily")
            notes = replace(notes, cut=True)
    return Settings(
        items=items,
        notes=notes,
        partitions=partitions,
        stored=stored,
        field=chance.choices(("id", "code"), (4, 1))[0],
        include=has_notes and chance.random() < 0.3,
        on_error=chance.choice(("fail", "skip")) if has_notes else "fail",
        paging=chance.choice(("link", "cursor", "page", "offset")),
        concurrency=chance.choice((1, 4)),
        by=by,
        instants=chance.random() < 0.7,
        ignore=chance.random() < 0.15,
        tenant=chance.random() < 0.2,
        attempts=chance.choices((1, 2), (4, 1))[0],
        size=chance.choice((2, 3)),
    )


def _draw_table(chance: random.Random, by: str, partitions: str) -> Table:
    write = chance.choices(("append", "replace", *STRATEGIES), (5, 2, 4, 1, 1, 2))[0]
    incremental = chance.random() < 0.6
    return Table(
        write=write,
        key=write in STRATEGIES or chance.random() < 0.4,
        incremental=incremental,
        lag=chance.choice((0, 0, 25)) if incremental else 0,
        missing=chance.choices(("raise", "include", "exclude"), (2, 2, 1))[0] if incremental else "raise",
        ordered=incremental and by == "cursor" and chance.random() < 0.3,
        allow_empty=chance.random() < 0.2,
    )


def simpler(settings: Settings) -> Iterator[Settings]:
    """Settings that are a little nearer to the plainest ones."""
    plain = Settings(items=replace(Table(), key=settings.items.key), notes=settings.notes)
    for field in fields(Settings):
        if field.name not in ("items", "notes") and getattr(settings, field.name) != getattr(plain, field.name):
            yield replace(settings, **{field.name: getattr(plain, field.name)})
    if settings.notes is not None and settings.stored:
        yield replace(settings, notes=None, include=False, on_error="fail")
    for name in ("items", "notes"):
        table = getattr(settings, name)
        if table is None:
            continue
        for field in fields(Table):
            default = field.default
            if field.name not in ("key", "cut") and getattr(table, field.name) != default:
                yield replace(settings, **{name: replace(table, **{field.name: default})})
