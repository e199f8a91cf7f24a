"""Jobs and schedules of one source: its assets at a cron schedule's ticks, time windows as soon as they have ended."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
from dagster import TimeWindowPartitionsDefinition
from dagster._core.definitions.partitions.schedule_type import ScheduleType
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from dagster_restapi.config.naming import normalize
from dagster_restapi.config.placeholders import nearest
from dagster_restapi.errors import ConfigError

_TICKS = {  # how often windows end -> the cron schedules that tick once for each, as text and pattern
    ScheduleType.HOURLY: ("30 * * * *", r"(?P<minute_of_hour>\d+) \* \* \* \*"),
    ScheduleType.DAILY: ("30 6 * * *", r"(?P<minute_of_hour>\d+) (?P<hour_of_day>\d+) \* \* \*"),
    ScheduleType.WEEKLY: ("30 6 * * 1", r"(?P<minute_of_hour>\d+) (?P<hour_of_day>\d+) \* \* (?P<day_of_week>\d)"),
    ScheduleType.MONTHLY: ("30 6 2 * *", r"(?P<minute_of_hour>\d+) (?P<hour_of_day>\d+) (?P<day_of_month>\d+) \* \*"),
}
_SIGNS = {"-": " to ", ",": " and ", "/": " by ", "@": ""}  # in words, no two cron schedules have one name


def build_schedules(
    assets: Mapping[str, dg.AssetsDefinition], schedules: str | Mapping[str, str] | None, *, name: str, timezone: str
) -> list[Any]:
    """A job and its schedule for the assets that tick together and are cut into the same partitions.

    Args:
        assets: By resource name.
        schedules: A cron schedule of all, or one for each of the named resources.
        name: What the names of the jobs begin with.
        timezone: Of the cron schedules; windows that end by their own time zone have that.

    Raises:
        ConfigError: There is no such resource, or a cron schedule does not tick once for each time window.
    """
    if schedules is None:
        return []
    by_resource = not isinstance(schedules, str)
    crons = dict.fromkeys(assets, schedules) if isinstance(schedules, str) else dict(schedules)
    for resource in crons:
        if resource not in assets:
            raise ConfigError(
                f"there is no asset for a resource {resource!r}",
                where="schedules",
                hint=nearest(resource, list(assets)) or f"There are {', '.join(assets)}.",
            )
    groups: list[tuple[str, dg.PartitionsDefinition[Any] | None, list[str]]] = []
    for resource, cron in crons.items():
        cron, partitions = " ".join(cron.split()), assets[resource].partitions_def
        for same_cron, same_partitions, group in groups:
            if (same_cron, same_partitions) == (cron, partitions):
                group.append(resource)
                break
        else:
            groups.append((cron, partitions, [resource]))
    names = [_name(name, cron if by_resource else "", partitions) for cron, partitions, _ in groups]
    made = []
    for short, (cron, partitions, group) in zip(names, groups, strict=True):
        job = dg.define_asset_job(
            f"{short if names.count(short) == 1 else normalize(f'{short}_{min(group)}')}_job",
            selection=dg.AssetSelection.assets(*(assets[resource].key for resource in group)),
        )
        made.append(_schedule(job, cron, partitions, timezone))
    return made


def _name(source: str, cron: str, partitions: dg.PartitionsDefinition[Any] | None) -> str:
    """What a job is called: by what it does and not by its place, so that a running schedule stays with its assets."""
    for sign, word in _SIGNS.items():
        cron = cron.replace(sign, word)
    return normalize(" ".join(filter(None, (source, cron.lower(), _kind(partitions)))))


def _kind(partitions: dg.PartitionsDefinition[Any] | None) -> str:
    match partitions:
        case None:
            return ""
        case dg.MultiPartitionsDefinition():
            return " ".join(_kind(dimension.partitions_def) for dimension in partitions.partitions_defs)
        case TimeWindowPartitionsDefinition():
            return partitions.schedule_type.value.lower() if partitions.schedule_type else "windows"
        case dg.DynamicPartitionsDefinition():
            return "dynamic"
        case _:
            return "static"


def _schedule(
    job: UnresolvedAssetJobDefinition, cron: str, partitions: dg.PartitionsDefinition[Any] | None, timezone: str
) -> Any:
    name = f"{job.name.removesuffix('_job')}_schedule"
    if partitions is None:
        return dg.ScheduleDefinition(name=name, job=job, cron_schedule=cron, execution_timezone=timezone)
    if windows := _windows(partitions):
        return dg.build_schedule_from_partitioned_job(job, name=name, **_moment(cron, windows))

    def every_key(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        store = context.instance if context.instance_ref is not None else None
        keys = partitions.get_partition_keys(dynamic_partitions_store=store)
        tick = context.scheduled_execution_time.isoformat()
        for key in keys:
            yield dg.RunRequest(run_key=f"{tick} {key}", partition_key=key)
        if not keys:
            yield dg.SkipReason("there is no partition yet")

    return dg.ScheduleDefinition(
        name=name, job=job, cron_schedule=cron, execution_timezone=timezone, execution_fn=every_key
    )


def _windows(partitions: dg.PartitionsDefinition[Any]) -> TimeWindowPartitionsDefinition | None:
    """The time windows among the dimensions."""
    if isinstance(partitions, dg.MultiPartitionsDefinition):
        found = [_windows(dimension.partitions_def) for dimension in partitions.partitions_defs]
        return next(filter(None, found), None)
    return partitions if isinstance(partitions, TimeWindowPartitionsDefinition) else None


def _moment(cron: str, windows: TimeWindowPartitionsDefinition) -> dict[str, Any]:
    """When a window that has ended is loaded, in Dagster's parts.

    Raises:
        ConfigError: The schedule ticks more often than windows end, or less.
    """
    cron = " ".join(cron.split())
    if cron == windows.cron_schedule:
        return {}
    example, pattern = _TICKS[windows.schedule_type] if windows.schedule_type else (windows.cron_schedule, "(?!)")
    match = re.fullmatch(pattern, cron)
    if match is None:
        raise ConfigError(
            f"the schedule {cron!r} does not tick once for each time window, which end by {windows.cron_schedule!r}",
            where="schedules",
            hint=f"Write it like {example!r}; give resources with other partitions a schedule of their own.",
        )
    return {part: int(number) for part, number in match.groupdict().items()}
