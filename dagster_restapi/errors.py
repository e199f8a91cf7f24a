"""Every error that this library raises on purpose: one small tree under `RestApiError`."""

from __future__ import annotations

import copy
from typing import Self

from dagster_restapi.secrets import redact


class RestApiError(Exception):
    """What went wrong, where, and what to do about it. The text never holds a revealed secret.

    Args:
        what: One sentence that states the fault.
        where: Resource, URL, page or configuration path, joined to `what` in brackets.
        hint: One sentence that says what to do.
        transient: Where more is known of this fault than of its kind.

    Attributes:
        transient: Whether a later try of the same step may succeed, and does no harm.
        acted: Whether the server may have carried out the request that ended with it.
    """

    transient: bool = False
    acted: bool = True

    def __init__(
        self, what: str, *, where: str | None = None, hint: str | None = None, transient: bool | None = None
    ) -> None:
        self.what, self.where, self.hint = _shown(what), where and _shown(where), hint and _shown(hint)
        if transient is not None:
            self.transient = transient
        text = f"{self.what} [{self.where}]" if self.where else self.what
        super().__init__(f"{text}\n{self.hint}" if self.hint else text)

    def advised(self, hint: str) -> Self:
        """The same error with one more sentence that says what to do."""
        other = copy.copy(self)
        RestApiError.__init__(other, self.what, where=self.where, hint=" ".join(filter(None, (self.hint, hint))))
        return other


def _shown(text: str) -> str:
    """The text without secrets, and fit to be written: an answer may hold what UTF-8 cannot."""
    return redact(text).encode("utf-8", "backslashreplace").decode()


class ConfigError(RestApiError, ValueError):
    """The configuration cannot mean anything, or asks for something that is not built."""

    acted = False


class RequestError(RestApiError):
    """A request was not answered as it must be: connection, status, or a refused address."""

    status: int | None = None
    acted = False

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        hint: str | None = None,
        status: int | None = None,
        transient: bool | None = None,
    ) -> None:
        super().__init__(what, where=where, hint=hint, transient=transient)
        self.status = status


class ResponseError(RestApiError):
    """An answer came, but its body is not what the configuration says: no JSON, no data path, too large."""

    transient = True


class PagingError(RestApiError):
    """A walk over pages would not end, or cannot go on without losing rows."""


class ExtractError(RestApiError):
    """A slice cannot be fetched as asked: parent not there, cursor missing, a failed child."""


class SpoolError(RestApiError):
    """The spool on local disk is in use, damaged, or cannot be written."""

    transient = True


class TableError(RestApiError):
    """A spool cannot be brought into its tables. They are as they were before, unless the message says otherwise."""


class OutOfMemory(TableError):
    """DuckDB needs more memory than it may take."""

    transient = True


class RowsError(TableError):
    """The records themselves do not fit: a key is missing, a value is not what its hint says. Others may."""


class ContractError(RowsError):
    """The rows break the resource's `schema_contract`."""


class PartError(TableError):
    """Only a part was fetched, and it would take the place of rows that stand."""

    transient = True


class OverlapError(TableError):
    """An append cannot tell which of its records are there already: what shapes a record has changed."""


class CommitInDoubt(TableError):
    """A fault came while a load was committed: only the ledger knows whether it is in the tables.

    Attributes:
        load_id: Of the load.
        fault: What the database said.
    """

    transient = True
    load_id = ""
    fault = ""


class LockTimeout(TableError):
    """The database file stayed locked by another process for longer than `lock_timeout`."""

    transient = True


class LedgerConflict(TableError):
    """Another load of the same asset and partition was committed since this one read its cursor."""

    transient = True


class IgnoreResponse(Exception):
    """To be raised by a function of `response_actions`: the answer counts as no rows, as with `action: ignore`. It is
    no error of this library; dlt's `IgnoreResponseException` means the same."""


class Cancelled(RestApiError):
    """The run was terminated; the checkpoint is kept."""

    transient = True
    acted = False
