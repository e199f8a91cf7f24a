"""`check`: asks every endpoint for one page, and tells what answered and what was found in it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from dagster_restapi.cli.key_guess import fault_of_key, guess_key
from dagster_restapi.cli.look import Exchange, Looker, NothingToAskWith, Seen, attempt, fields_of
from dagster_restapi.cli.output import Output
from dagster_restapi.config.plan import plan as make_plans
from dagster_restapi.config.source import RestApiConfig
from dagster_restapi.errors import RestApiError
from dagster_restapi.extract.preview import named
from dagster_restapi.model import Plan

_COLUMNS = ("resource", "result", "status", "rows", "total", "paginator", "data", "key", "fields", "seconds")
_STYLES = {"ok": "green", "failed": "bold red", "empty": "yellow", "not asked": "yellow"}
_SHOWN = 5  # names of fields on a terminal


@dataclass(frozen=True, slots=True)
class Finding:
    """What a look at one resource brought.

    Attributes:
        result: `ok`; `empty`: it answers, but has no rows; `not asked`: its parent has none; `failed`.
        status: HTTP status of the last answer.
        notes: What a person should know.
    """

    plan: Plan
    result: str
    status: int | None
    seen: Seen
    seconds: float
    error: RestApiError | None = None
    notes: tuple[str, ...] = ()


def check(config: RestApiConfig, names: Sequence[str], output: Output) -> int:
    """Checks the named resources, or all; prints a table, and the errors in full; gives the exit code."""
    plans = make_plans(config)
    chosen = [named(plans, name) for name in dict.fromkeys(names)] or list(plans.values())
    exchanges: list[Exchange] = []
    looker = Looker(plans, exchanges.append)
    try:
        findings = [_look(looker, plan, exchanges) for plan in chosen]
    finally:
        looker.close()
    output.table(
        _COLUMNS,
        (_cells(finding, output) for finding in findings),
        right=("status", "rows", "total", "seconds"),
        styles=_STYLES,
    )
    for finding in findings:
        for note in finding.notes:
            output.note(f"{finding.plan.name}: {note}", "yellow")
    failed = [finding for finding in findings if finding.result == "failed"]
    for finding in failed:
        output.note(f"{finding.plan.name}: {finding.error}", "red")
    return 1 if failed else 0


def _look(looker: Looker, plan: Plan, exchanges: list[Exchange]) -> Finding:
    exchanges.clear()
    started = time.perf_counter()
    seen, error = attempt(lambda: looker.first_page(plan))
    seconds = time.perf_counter() - started
    status = exchanges[-1].status if exchanges else None
    if isinstance(error, NothingToAskWith):
        return Finding(plan, "not asked", None, seen, seconds, notes=(error.what,))
    if error is not None:
        return Finding(plan, "failed", status, seen, seconds, error)
    return Finding(plan, "ok" if seen.records else "empty", status, seen, seconds, notes=tuple(_notes(plan, seen)))


def _notes(plan: Plan, seen: Seen) -> list[str]:
    notes = [text for text in (seen.page.warnings if seen.page else ()) if not _of_one_page(text)]
    key = plan.table.primary_key
    fault = fault_of_key(seen.records, key) if key else None
    if fault:
        notes.append(f"the primary_key {', '.join(key)} does not hold on the first page: {fault}")
    return notes


def _of_one_page(warning: str) -> bool:
    return warning.startswith("the API tells of") and "rows were added" in warning


def _cells(finding: Finding, output: Output) -> list[object]:
    seen, plan = finding.seen, finding.plan
    marks = {name: " (found)" if name in seen.found else "" for name in ("paginator", "selector")}
    fields = fields_of(seen.records)
    if not output.plain and len(fields) > _SHOWN:
        fields = [*fields[:_SHOWN], f"and {len(fields) - _SHOWN} more"]
    answered = finding.result in ("ok", "empty")
    return [
        plan.name,
        finding.result,
        finding.status,
        len(seen.records) if answered else None,
        seen.page.total if seen.page else None,
        seen.paginator and seen.paginator + marks["paginator"],
        seen.selector and seen.selector + marks["selector"],
        _key(plan, seen) if answered else None,
        ", ".join(fields),
        f"{finding.seconds:.2f}",
    ]


def _key(plan: Plan, seen: Seen) -> str | None:
    """The configured key, or a guess."""
    if plan.table.primary_key:
        return ", ".join(plan.table.primary_key)
    guess = guess_key(seen.records, plan.name)
    return f"{guess} (found)" if guess else None
