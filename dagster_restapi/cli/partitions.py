"""In which turns a run loads its resources: those without partitions together, of each other one what is due."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg
from dagster import TimeWindowPartitionsDefinition

from dagster_restapi.errors import ConfigError

Definition = dg.PartitionsDefinition[Any]


@dataclass(frozen=True, slots=True)
class Turn:
    """One Dagster run.

    Attributes:
        names: Its resources.
        keys: Partitions that follow each other, of its only resource; empty without partitions.
    """

    names: tuple[str, ...]
    keys: tuple[str, ...] = ()

    @property
    def options(self) -> dict[str, Any]:
        """What Dagster has to know of the partitions."""
        if not self.keys:
            return {}
        if isinstance(self.keys[0], dg.MultiPartitionKey):
            return {"partition_key": self.keys[0]}
        ends = {"start": self.keys[0], "end": self.keys[-1]}
        return {"tags": {f"dagster/asset_partition_range_{end}": key for end, key in ends.items()}}


def turns(names: Sequence[str], due: Mapping[str, Sequence[Sequence[str]] | None]) -> Iterator[Turn]:
    """The runs, parents first.

    Args:
        names: The resources, parents first.
        due: Of each its stretches of partitions; None without partitions.
    """
    together: list[str] = []
    for name in names:
        stretches = due[name]
        if stretches is None:
            together.append(name)
            continue
        if together:
            yield Turn(tuple(together))
            together = []
        for keys in stretches:
            yield Turn((name,), tuple(keys))
    if together:
        yield Turn(tuple(together))


def due_partitions(
    definition: Definition,
    wanted: str | None,
    instance: dg.DagsterInstance,
    loaded: Collection[str | None],
    where: str,
) -> list[list[str]]:
    """Stretches of keys that a run has to load.

    Args:
        wanted: A key, or `FROM...TO`. None: of time windows those that were never loaded, of other keys all.
        loaded: The keys that the ledger knows.
        where: For the error.

    Raises:
        ConfigError: There is no such partition.
    """
    if wanted and isinstance(definition, dg.DynamicPartitionsDefinition) and "..." not in wanted:
        instance.add_dynamic_partitions(str(definition.name), [wanted])
    keys = list(definition.get_partition_keys(dynamic_partitions_store=instance))
    if wanted:
        first, _, last = wanted.partition("...")
        missing = next((key for key in (first, last or first) if key not in keys), None)
        if missing is not None:
            some = f"There are {keys[0]} to {keys[-1]}." if keys else "There are none yet."
            raise ConfigError(f"there is no partition {missing!r}", where=where, hint=some)
        chosen = set(keys[keys.index(first) : keys.index(last or first) + 1])
    else:
        chosen = set(keys) - set(loaded if _by_time(definition) else ())
    return _stretches(keys, chosen, alone=isinstance(definition, dg.MultiPartitionsDefinition))


def _by_time(definition: Definition) -> bool:
    if isinstance(definition, dg.MultiPartitionsDefinition):
        return any(_by_time(dimension.partitions_def) for dimension in definition.partitions_defs)
    return isinstance(definition, TimeWindowPartitionsDefinition)


def _stretches(keys: Sequence[str], chosen: set[str], *, alone: bool) -> list[list[str]]:
    """The chosen keys in their order, cut where another one lies between."""
    found: list[list[str]] = []
    before = False
    for key in keys:
        if key in chosen:
            if before and not alone:
                found[-1].append(key)
            else:
                found.append([key])
        before = key in chosen
    return found
