"""The one shape of every error, before it becomes a gRPC status or a problem document.

Pure: knows no transport.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

__all__ = ["CORE_DOMAIN", "Code", "Precondition", "ServiceError", "Violation", "plugin_domain"]

CORE_DOMAIN = "entrepot"


def plugin_domain(plugin: str) -> str:
    """The error domain of a plugin: "file.plugins.entrepot"."""
    return f"{plugin}.plugins.{CORE_DOMAIN}"


class Code(enum.IntEnum):
    """The canonical codes of google/rpc/code.proto."""

    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


@dataclass(frozen=True, slots=True)
class Violation:
    """A field that is wrong: its path ("sources[2].url"), why, and the reason's name."""

    field: str
    message: str
    reason: str = "FIELD_INVALID"


@dataclass(frozen=True, slots=True)
class Precondition:
    """A state that does not hold: the kind of thing, its name, and what is wrong with it."""

    type: str
    subject: str
    message: str


class ServiceError(Exception):
    """An error that may be shown to whoever asked.

    Anything else that escapes a servicer is INTERNAL and a log line. Subclasses set `code` and
    `reason`; `metadata` values are strings, in the units that the reason documents.
    """

    code: Code = Code.INTERNAL
    reason: str = "INTERNAL"
    domain: str = CORE_DOMAIN

    def __init__(
        self,
        message: str,
        *,
        metadata: dict[str, str] | None = None,
        violations: tuple[Violation, ...] = (),
        preconditions: tuple[Precondition, ...] = (),
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.metadata = dict(metadata or {})
        self.violations = violations
        self.preconditions = preconditions
        self.retry_after_seconds = retry_after_seconds

    @classmethod
    def of(
        cls,
        code: Code,
        reason: str,
        message: str,
        *,
        domain: str = CORE_DOMAIN,
        metadata: dict[str, str] | None = None,
        violations: tuple[Violation, ...] = (),
        preconditions: tuple[Precondition, ...] = (),
        retry_after_seconds: float | None = None,
    ) -> ServiceError:
        """An error of a code and reason known only at run time, as when read from a status."""
        error = cls(
            message,
            metadata=metadata,
            violations=violations,
            preconditions=preconditions,
            retry_after_seconds=retry_after_seconds,
        )
        error.code, error.reason, error.domain = code, reason, domain
        return error
