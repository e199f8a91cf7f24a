"""Sensors: runs only for what is new at the API, partitions that come and go with a listing, and no event missed."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import dagster as dg
import msgspec
from dagster import AssetRecordsFilter, DagsterInstance, DagsterRunStatus, RunsFilter
from msgspec.structs import replace

from dagster_restapi.assets.poll import Poll, Seen, can_poll
from dagster_restapi.assets.source import AnyConfig
from dagster_restapi.assets.translator import PREFIX, RestApiTranslator, RestApiTranslatorData
from dagster_restapi.config.partitions import DynamicPartitions
from dagster_restapi.config.plan import plan as make_plans
from dagster_restapi.config.source import RestApiConfig
from dagster_restapi.errors import ConfigError
from dagster_restapi.extract.cursor_order import rank
from dagster_restapi.extract.preview import named
from dagster_restapi.model import Cursor, Plan

_SENSOR, _POLL = f"{PREFIX}/sensor", f"{PREFIX}/poll"
_LONGEST = 3600.0  # seconds between two tries of what keeps failing
_BACK = 50  # events that are looked through at once for one that has a cursor
_UNFINISHED = [
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.MANAGED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
]
_FAILED = [DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED]

Target = dg.AssetKey | str | dg.AssetsDefinition


def build_rest_api_sensor(
    config: AnyConfig,
    resource: str,
    *,
    name: str | None = None,
    minimum_interval_seconds: int = 60,
    target: Sequence[Target] | None = None,
    job: dg.JobDefinition | dg.UnresolvedAssetJobDefinition | None = None,
    partitions: str | None = None,
    partition_key: str | None = None,
    remove_partitions: bool = True,
    max_runs: int = 25,
    params: Mapping[str, Any] | None = None,
    key_prefix: str | Sequence[str] | None = None,
    translator: RestApiTranslator | None = None,
    run_config: Mapping[str, Any] | None = None,
    tags: Mapping[str, str] | None = None,
    default_status: dg.DefaultSensorStatus = dg.DefaultSensorStatus.STOPPED,
    description: str | None = None,
) -> dg.SensorDefinition:
    """Polls one endpoint with one conditional request a tick, and requests runs only where there is something new.

    New is, for a resource with a cursor, a row behind the asset's cursor; otherwise a first page that is not the one of
    the last run, by its `ETag`, its `Last-Modified`, or its rows. A run that fails is requested again, after a pause
    that doubles with each failure up to an hour; nothing is requested while one is under way.

    With `partitions` the endpoint is a listing, and each of its rows stands for a dynamic partition: keys that are new
    are added, keys that are gone are removed, and every key that was never materialized gets a run.

    Args:
        config: As for `build_rest_api_assets`.
        resource: The resource whose endpoint is polled. It has no parent.
        name: Of the sensor. Default: the asset's key and `_sensor`, with `partitions` the key and `_partitions_sensor`.
        minimum_interval_seconds: Seconds between two polls, at least.
        target: Assets that a run materializes. Default: the resource's own; with `partitions` all of this configuration
            that are cut into those.
        job: A job of these assets, in place of one that Dagster makes.
        partitions: Name of dynamic partitions.
        partition_key: JSONPath of the partition's key in a row of the listing. Default: the resource's primary key.
        remove_partitions: Whether a key that is gone from a complete, not empty listing is removed; its rows stay.
        max_runs: Runs that one tick requests at the most.
        params: Query parameters of the poll that go over the resource's own, to make it cheaper: `{"per_page": 1,
            "sort": "updated", "direction": "desc"}`.
        key_prefix, translator: As for `build_rest_api_assets`.
        run_config, tags: Of the runs.
        default_status: Whether the sensor runs as soon as it is deployed.
        description: Shown in Dagster.

    Raises:
        ConfigError: The configuration is wrong, or the resource cannot be polled by one request.
    """
    plans = make_plans(RestApiConfig.parse(config), partitioned=True)
    plan = named(plans, resource)
    translate = translator or RestApiTranslator()
    prefix = (key_prefix,) if isinstance(key_prefix, str) else tuple(key_prefix or ())

    def key_of(item: Plan) -> dg.AssetKey:
        return translate.get_asset_spec(RestApiTranslatorData(item, prefix)).key

    if target is not None:
        keys = [item.key if isinstance(item, dg.AssetsDefinition) else _key(item) for item in target]
    elif partitions is None:
        keys = [key_of(plan)]
    else:
        keys = [key_of(item) for item in plans.values() if item.selected and _is_cut(item, partitions)]
    if not keys:
        raise ConfigError(
            f"no asset is cut into the dynamic partitions {partitions!r}",
            where=f"resource {resource}",
            hint="Set `target` to those that are.",
        )
    watch = _Watch(
        poll=Poll(plan, params),
        name=name or _sensor_name(key_of(plan), partitions),
        key=key_of(plan),
        keys=tuple(keys),
        interval=minimum_interval_seconds,
        request={"run_config": dict(run_config or {}), "tags": dict(tags or {})},
        max_runs=max_runs,
    )
    listing = (
        _Listing(watch, partitions, _partition_key(plan, partition_key), remove_partitions) if partitions else None
    )
    options: dict[str, Any] = {"job": job} if job else {"target": dg.AssetSelection.assets(*keys)}
    return dg.SensorDefinition(
        name=watch.name,
        evaluation_fn=listing.evaluate if listing else watch.evaluate,
        minimum_interval_seconds=minimum_interval_seconds,
        default_status=default_status,
        description=description or f"Runs {', '.join(map(_text, keys))} when `{resource}` has something new.",
        **options,
    )


def build_sensors_of(
    config: RestApiConfig,
    resources: bool | Sequence[str],
    *,
    partitions_def: dg.PartitionsDefinition[Any] | None = None,
    **options: Any,
) -> list[dg.SensorDefinition]:
    """A sensor for each of several resources.

    Args:
        resources: Their names; True: all that one request can poll, which are those without parent and partitions.
        partitions_def: What the factory cuts every asset into.
        options: As for `build_rest_api_sensor`.

    Raises:
        ConfigError: A resource that was named cannot be polled.
    """
    if resources is True:
        plans = make_plans(config, partitioned=partitions_def is not None).values()
        resources = [plan.name for plan in plans if plan.selected and partitions_def is None and can_poll(plan)]
    elif resources and partitions_def is not None:
        raise ConfigError(
            f"a run of {resources[0]!r} has to name a partition, and its sensor knows none",
            hint="Use a schedule, or `build_rest_api_sensor` with `partitions`.",
        )
    return [build_rest_api_sensor(config, resource, **options) for resource in resources or ()]


def _sensor_name(key: dg.AssetKey, partitions: str | None) -> str:
    """A name that no other asset's sensor has, as Dagster can spell it."""
    text = "__".join(key.path) + ("_partitions_sensor" if partitions else "_sensor")
    return re.sub(r"[^A-Za-z0-9_]", "_", text)


def _key(item: dg.AssetKey | str) -> dg.AssetKey:
    return dg.AssetKey.from_user_string(item) if isinstance(item, str) else item


def _text(key: dg.AssetKey) -> str:
    return key.to_user_string()


def _is_cut(plan: Plan, partitions: str) -> bool:
    return isinstance(plan.partitions, DynamicPartitions) and plan.partitions.name == partitions


def _partition_key(plan: Plan, given: str | None) -> str:
    if given is not None:
        return given
    if len(plan.table.primary_key) == 1:
        return plan.table.primary_key[0]
    raise ConfigError(
        "which field of a row names its partition?", where=f"resource {plan.name}", hint="Set `partition_key`."
    )


class _State(msgspec.Struct, frozen=True, omit_defaults=True):
    """The sensor's cursor.

    Attributes:
        seen: What the last poll saw.
        loaded: The mark of what a run has loaded.
        wanted: The mark of what a run is to load.
        reason: Tells the runs for `wanted` from those for the same answer at another time.
    """

    seen: Seen = Seen()
    loaded: str | None = None
    wanted: str | None = None
    reason: str = ""

    @classmethod
    def parse(cls, text: str | None) -> _State:
        """The state of the tick before; a fresh one at the first tick, or after another sensor of this name."""
        try:
            return msgspec.json.decode(text or b"{}", type=cls)
        except msgspec.DecodeError:
            return cls()

    @property
    def text(self) -> str:
        """The cursor."""
        return msgspec.json.encode(self).decode()


@dataclass(frozen=True)
class _Runs:
    """What became of the runs that were requested for the same reason."""

    unfinished: bool = False
    succeeded: bool = False
    failures: int = 0
    ended: float = 0.0

    def wait(self, interval: float) -> float:
        """Seconds until the next try: the pause doubles with each failure."""
        if not self.failures:
            return 0.0
        pause = min(_LONGEST, max(interval, 30.0) * 2.0 ** min(self.failures - 1, 10))
        return max(0.0, self.ended + pause - time.time())


@dataclass(frozen=True)
class _Watch:
    """A sensor that runs assets without partitions."""

    poll: Poll
    name: str
    key: dg.AssetKey
    keys: tuple[dg.AssetKey, ...]
    interval: float
    request: Mapping[str, Any]
    max_runs: int

    @property
    def identity(self) -> str:
        """Tells this sensor's runs from those of a namesake in another code location."""
        plan = self.poll.plan
        return _digest(self.name, plan.name, plan.client.base_url, *map(_text, self.keys))

    def evaluate(self, context: dg.SensorEvaluationContext) -> dg.SensorResult:
        """One tick."""
        state = _State.parse(context.cursor)
        at = newest_cursor(context.instance, self.key) if self.poll.plan.incremental else None
        seen, behind = self.poll.news(state.seen, at)
        moved = at is None or state.seen.at != seen.at
        if self.poll.plan.incremental and seen is not state.seen and not behind and moved:
            return self._nothing(_State(seen, seen.mark))  # what a later answer at this position is compared with
        if seen.mark == state.loaded:
            return self._nothing(_State(seen, seen.mark))
        state = replace(state, seen=seen)
        if seen.mark != state.wanted:
            state = replace(state, wanted=seen.mark, reason=_digest(seen.mark or "", str(time.time())))
        runs = self._runs(context.instance, state.reason)
        if runs.unfinished:
            return _skipped(state, "a run that loads it is under way")
        if runs.succeeded:
            return _skipped(_State(seen, seen.mark), "a run has loaded it")
        if wait := runs.wait(self.interval):
            failed = "a run" if runs.failures == 1 else f"{runs.failures} runs"
            return _skipped(state, f"{failed} failed; the next try is in {wait:.0f} s")
        return dg.SensorResult(run_requests=[self.run_request(state.reason)], cursor=state.text)

    def _nothing(self, state: _State) -> dg.SensorResult:
        return _skipped(state, f"{self.poll.plan.name} has nothing new")

    def run_request(self, reason: str, partition: str | None = None) -> dg.RunRequest:
        """A run. Without a run key: that would never be tried again."""
        tags = {**self.request["tags"], _SENSOR: self.identity, _POLL: reason}
        return dg.RunRequest(partition_key=partition, run_config=self.request["run_config"], tags=tags)

    def _runs(self, instance: DagsterInstance, reason: str) -> _Runs:
        records = instance.get_run_records(RunsFilter(tags={_SENSOR: self.identity, _POLL: reason}), limit=_BACK)
        failed = [record for record in records if record.dagster_run.status in _FAILED]
        return _Runs(
            unfinished=any(record.dagster_run.status in _UNFINISHED for record in records),
            succeeded=any(record.dagster_run.status == DagsterRunStatus.SUCCESS for record in records),
            failures=len(failed),
            ended=max((record.end_time or 0.0 for record in failed), default=0.0),
        )


@dataclass(frozen=True)
class _Listing:
    """A sensor whose endpoint lists the partitions of assets."""

    watch: _Watch
    partitions: str
    path: str
    remove: bool

    def evaluate(self, context: dg.SensorEvaluationContext) -> dg.SensorResult:
        """One tick."""
        state, instance = _State.parse(context.cursor), context.instance
        seen, listed, complete = self.watch.poll.keys(state.seen, self.path)
        have = list(instance.get_dynamic_partitions(self.partitions))
        keys = have if listed is None else listed
        new = [key for key in keys if key not in set(have)]
        gone = [key for key in have if key not in set(keys)]
        if gone and not (self.remove and complete and keys):
            context.log.info(f"{len(gone)} partitions are not in the listing and stay")
            gone = []
        requests: list[dg.AddDynamicPartitionsRequest | dg.DeleteDynamicPartitionsRequest] = []
        if new:
            requests.append(dg.AddDynamicPartitionsRequest(self.partitions, new))
        if gone:
            requests.append(dg.DeleteDynamicPartitionsRequest(self.partitions, gone))
        runs = self._due(instance, keys)
        told = None if runs or requests else f"{len(keys)} partitions, none of them new"
        return dg.SensorResult(
            run_requests=[self.watch.run_request(_digest(key), key) for key in runs],
            skip_reason=told,
            cursor=_State(seen).text,
            dynamic_partitions_requests=requests,
        )

    def _due(self, instance: DagsterInstance, keys: Sequence[str]) -> list[str]:
        """The partitions that were never materialized, have no run under way, and no pause after a failure."""
        done = set(keys)
        for asset in self.watch.keys:
            done &= set(instance.get_materialized_partitions(asset))
        missing = [key for key in keys if key not in done]
        if not missing:
            return []
        runs = self._runs(instance)
        due = [
            key
            for key in missing
            if key not in runs or not (runs[key].unfinished or runs[key].wait(self.watch.interval))
        ]
        return due[: self.watch.max_runs]

    def _runs(self, instance: DagsterInstance) -> dict[str, _Runs]:
        """By partition, the runs of this sensor that have not ended well."""
        tags = {_SENSOR: self.watch.identity}
        found: dict[str, _Runs] = {}
        for record in instance.get_run_records(RunsFilter(tags=tags, statuses=[*_UNFINISHED, *_FAILED]), limit=5000):
            key = record.dagster_run.tags.get("dagster/partition")
            if key is None:
                continue
            before = found.get(key, _Runs())
            failed = record.dagster_run.status in _FAILED
            found[key] = _Runs(
                unfinished=before.unfinished or not failed,
                failures=before.failures + failed,
                ended=max(before.ended, record.end_time or 0.0),
            )
        return found


def _skipped(state: _State, reason: str) -> dg.SensorResult:
    return dg.SensorResult(skip_reason=reason, cursor=state.text)


def _digest(*parts: str) -> str:
    return sha256("\0".join(parts).encode()).hexdigest()[:20]


def newest_cursor(instance: DagsterInstance, key: dg.AssetKey) -> Cursor | None:
    """The cursor of the asset's newest event that has one; events of "report materialization" have none."""
    position: str | None = None
    while True:
        found = instance.fetch_materializations(AssetRecordsFilter(asset_key=key), limit=_BACK, cursor=position)
        for record in found.records:
            metadata = record.asset_materialization.metadata if record.asset_materialization else {}
            if f"{PREFIX}/cursor" in metadata:
                value = metadata[f"{PREFIX}/cursor"].value
                kind = rank(value)
                load = metadata.get(f"{PREFIX}/load_id")
                if isinstance(value, (str, int, float)) and kind is not None:
                    return Cursor(value=value, kind=kind.kind, load_id=str(load.value) if load else "")
        if not found.has_more:
            return None
        position = found.cursor


# ---- for sensors of other assets -------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Materialized:
    """One materialization of an upstream asset.

    Attributes:
        key: The asset.
        partition: Its partition; None without partitions.
        run_id: The run.
        storage_id: Its place in Dagster's log: grows with every event.
        metadata: Names to plain values.
    """

    key: dg.AssetKey
    partition: str | None
    run_id: str
    storage_id: int
    metadata: Mapping[str, Any]

    @property
    def changed(self) -> bool:
        """Whether rows came, changed or went; an event that does not say so counts as a change."""
        counts = [self.metadata.get(f"{PREFIX}/rows_{what}") for what in ("inserted", "updated", "deleted")]
        return any(count is None or count > 0 for count in counts)


@dataclass(frozen=True, slots=True)
class NewMaterializations:
    """What happened to some assets since a sensor's last tick, oldest first.

    Attributes:
        events: Every one, one per partition.
        cursor: For `context.update_cursor`.
        more: Whether the next tick will find more at once.
    """

    events: tuple[Materialized, ...]
    cursor: str
    more: bool


def new_materializations(
    context: dg.SensorEvaluationContext,
    keys: Sequence[dg.AssetKey | str],
    *,
    limit: int = 500,
    from_now: bool = False,
) -> NewMaterializations:
    """Every materialization of these assets since the sensor's last tick, whatever number of partitions and runs.

    Dagster's own `@asset_sensor` looks at the newest event of a tick only: of twelve partitions materialized between
    two ticks it may show one.

    Args:
        context: Of a sensor whose cursor is used for nothing else.
        keys: The assets.
        limit: Events per asset that one tick takes at the most.
        from_now: Whether the first tick passes over what has happened before it.

    Example:
        @dg.sensor(job=report)
        def after_issues(context):
            news = new_materializations(context, ["tracker/issues"])
            for event in news.events:
                if event.changed:
                    yield dg.RunRequest(partition_key=event.partition)
            context.update_cursor(news.cursor)
    """
    known = _places(context.cursor)
    places, events, more = dict(known), list[Materialized](), False
    for key in map(_key, keys):
        text = _text(key)
        if text not in known and from_now:
            newest = context.instance.fetch_materializations(key, limit=1).records
            places[text] = newest[0].storage_id if newest else 0
            continue
        filter_ = AssetRecordsFilter(asset_key=key, after_storage_id=known.get(text, 0))
        found = context.instance.fetch_materializations(filter_, limit=limit, ascending=True)
        more = more or found.has_more
        for record in found.records:
            event = record.asset_materialization
            if event is not None:
                metadata = {name: value.value for name, value in event.metadata.items()}
                events.append(Materialized(key, event.partition, record.run_id, record.storage_id, metadata))
            places[text] = record.storage_id
        places.setdefault(text, 0)
    events.sort(key=lambda event: event.storage_id)
    return NewMaterializations(tuple(events), msgspec.json.encode(places, order="sorted").decode(), more)


def _places(cursor: str | None) -> dict[str, int]:
    """By asset, the place in Dagster's log up to which the sensor has come."""
    try:
        return msgspec.json.decode(cursor or b"{}", type=dict[str, int])
    except msgspec.DecodeError:
        return {}
