"""Units that fail in an attempt: how many, the first of them, and what the task says of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from entrepot.type.v1 import unit_failure_pb2
from entrepot_core.domain.errors import Code, DownloadFailedError
from entrepot_core.downloads.url import printable, shown
from entrepot_core.store.task_failures import MAX_KEPT
from entrepot_rpc.logs import without_secrets

if TYPE_CHECKING:
    from entrepot.type.v1.unit_failure_pb2 import UnitFailure
    from entrepot_core.domain.errors import ServiceError

__all__ = ["UnitFailures", "failure_of_file"]

_NAMED = 5
_LONGEST_TEXT = 1_000


class UnitFailures:
    """The failures of one attempt."""

    def __init__(self) -> None:
        self.count = 0
        self._first: UnitFailure | None = None
        self._error: ServiceError | None = None
        self._paths: list[str] = []
        self._seen: set[int] = set()
        self._may_pass = True
        self._new: list[bytes] = []
        self._taken = 0

    def add(self, failure: UnitFailure, error: ServiceError | None = None) -> None:
        """Takes a failure, and the error that it was; of very many, the first are kept.

        The same again, after the downloads were interrupted, is the same.
        """
        key = hash((failure.unit, failure.relative_path))
        if key in self._seen:
            return
        if self.count < MAX_KEPT:
            self._seen.add(key)
        self._error = self._error or error
        self.count += 1
        self._may_pass = self._may_pass and failure.retryable
        if self.count > MAX_KEPT:
            return
        kept = unit_failure_pb2.UnitFailure(
            unit=printable(failure.unit, _LONGEST_TEXT),
            relative_path=printable(failure.relative_path, _LONGEST_TEXT),
            url=without_secrets(shown(failure.url)),
            reason=printable(failure.reason, 100),
            message=without_secrets(printable(failure.message)),
            retryable=failure.retryable,
        )
        self._first = self._first or kept
        if len(self._paths) < _NAMED:
            self._paths.append(kept.relative_path or kept.unit or kept.url)
        self._new.append(kept.SerializeToString())

    def take(self) -> tuple[int, list[bytes]]:
        """What is kept since the last time, and the number of the first of it."""
        new, self._new = self._new, []
        first = self._taken + 1
        self._taken += len(new)
        return first, new

    def put_back(self, failures: list[bytes]) -> None:
        """Has failures that were taken be taken again."""
        self._new = failures + self._new
        self._taken -= len(failures)

    def error(self) -> ServiceError:
        """What a task fails with in which these units failed; it names some of them."""
        if self.count == 1 and self._error is not None:
            return self._error
        first = self._first or unit_failure_pb2.UnitFailure()
        metadata = {"url": first.url, "unit": first.relative_path, "failures": str(self.count)}
        error = DownloadFailedError(
            f"{first.message} {self.in_words()}".rstrip(),
            metadata={key: value for key, value in metadata.items() if value},
        )
        error.reason = first.reason or error.reason
        error.retryable = self._may_pass
        if not self._may_pass:
            error.code = Code.FAILED_PRECONDITION
        return error

    def in_words(self) -> str:
        """How many there are and which, for the end of a message; empty of fewer than two."""
        if self.count < 2:  # noqa: PLR2004  one has been told of
            return ""
        more = f" and {self.count - _NAMED:,} more" if self.count > _NAMED else ""
        return f"In all, {self.count:,} units failed: {', '.join(self._paths)}{more}."


def failure_of_file(
    unit: str, relative_path: str, url: str, error: ServiceError
) -> unit_failure_pb2.UnitFailure:
    """A file that could not be downloaded, as a failure of its unit."""
    return unit_failure_pb2.UnitFailure(
        unit=unit,
        relative_path=relative_path,
        url=error.metadata.get("url", url),
        reason=error.reason,
        message=error.message,
        retryable=bool(getattr(error, "retryable", False)),
    )
