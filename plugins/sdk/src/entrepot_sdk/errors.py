"""How the work of a task fails: raised by authors, or by the workspace on core's behalf.

TaskFailed
├── FetchFailed     upstream did not deliver
└── Refused         core did not accept what was staged
"""

from __future__ import annotations

from entrepot_rpc.errors import CORE_DOMAIN, Code, ServiceError, Violation

__all__ = ["DeclarationError", "FetchFailed", "Refused", "TaskFailed"]

_RETRYABLE = frozenset({Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED})


class DeclarationError(ValueError):
    """What a plugin declares contradicts itself or its protos."""


class TaskFailed(Exception):  # noqa: N818  a verdict, and reads as one where it is raised
    """The task cannot succeed; the message says why, to a person, and what to do.

    Args:
        reason: UPPER_SNAKE_CASE, the same for the same cause, documented by the plugin.
        message: One or two sentences.
        field: The field of the parameters that caused it, such as "sources[2].url".
        retryable: The same request may succeed later, as when upstream is down.
        metadata: Facts for machines, as the reason documents.
    """

    def __init__(
        self,
        reason: str,
        message: str,
        *,
        field: str = "",
        retryable: bool = False,
        metadata: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.field = field
        self.retryable = retryable
        self.metadata = dict(metadata or {})

    def to_error(self, domain: str) -> ServiceError:
        """What becomes the task's error."""
        violations = (Violation(self.field, self.message, self.reason),) if self.field else ()
        return ServiceError.of(
            self._code(),
            self.reason,
            self.message,
            domain=domain,
            metadata=self.metadata,
            violations=violations,
        )

    def _code(self) -> Code:
        if self.field:
            return Code.INVALID_ARGUMENT
        return Code.UNAVAILABLE if self.retryable else Code.FAILED_PRECONDITION


class Refused(TaskFailed):
    """Core did not accept a change, or could not be reached; its own words are kept."""

    def __init__(self, error: ServiceError) -> None:
        super().__init__(
            error.reason,
            error.message,
            retryable=error.code in _RETRYABLE,
            metadata=error.metadata,
        )
        self._error = error

    def to_error(self, domain: str) -> ServiceError:
        """Core's error, unchanged."""
        return self._error if self._error.domain == CORE_DOMAIN else super().to_error(domain)


class FetchFailed(Refused):
    """Core could not get a file from upstream."""

    def __init__(self, error: ServiceError, url: str) -> None:
        super().__init__(error)
        self.url = url

    @property
    def http_status(self) -> int | None:
        """What upstream answered, if it did."""
        status = self.metadata.get("http_status", "")
        return int(status) if status.isdigit() else None
