"""How a step ends whatever its retry policy says: terminated by a person, or by a fault that will not pass."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
from dagster._core.errors import DagsterExecutionInterruptedError

from dagster_restapi.errors import Cancelled, RestApiError
from dagster_restapi.secrets import redact

_terminated: set[str] = set()  # runs of this process


@contextmanager
def ended_by_termination(context: dg.AssetExecutionContext) -> Iterator[None]:
    """Within it, an interruption that comes from terminating the run asks for no retry.

    Dagster's in-process executor hands an interrupted step to its retry policy: the run would go on with its next try.
    An interruption that nobody asked for, such as a machine that is taken away, stays one.

    Raises:
        dagster.Failure: The run was terminated; this step, or one before it in the same process, was under way.
    """
    run_id = context.run.run_id
    if run_id not in _terminated:
        try:
            with _interrupted_statements():
                yield
            return
        except DagsterExecutionInterruptedError:
            run = context.instance.get_run_by_id(run_id)
            if run is None or run.status is not dg.DagsterRunStatus.CANCELING:
                raise
        _terminated.add(run_id)
    raise dg.Failure(
        "The run was terminated. What was fetched is kept: executed again, the run resumes after it.",
        allow_retries=False,
    )


@contextmanager
def failed_by_own_errors(context: dg.AssetExecutionContext) -> Iterator[None]:
    """Within it, an error of this library's fails the step in its own words, and only what may pass is tried again.

    Its words say where it was made; the traceback is for whoever mends this library, and stands in the debug log.

    Raises:
        dagster.Failure: For the error, which is its cause.
    """
    try:
        yield
    except Cancelled:
        raise
    except RestApiError as error:
        context.log.debug(redact("".join(traceback.format_exception(error))))
        raise dg.Failure(str(error), allow_retries=error.transient) from error.with_traceback(None)


@contextmanager
def _interrupted_statements() -> Iterator[None]:
    """What a signal raises in the midst of a statement, DuckDB puts away: it raises an error that nobody knows.

    Raises:
        DagsterExecutionInterruptedError: A statement was interrupted.
    """
    try:
        yield
    except RuntimeError as error:
        if str(error) != "Query interrupted":
            raise
        raise DagsterExecutionInterruptedError("a statement of DuckDB's was interrupted") from error
