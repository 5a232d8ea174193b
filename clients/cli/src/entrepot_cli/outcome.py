"""How a command ends: the exit statuses scripts rely on, and errors that name the next step."""

import enum
import sys


class Status(enum.IntEnum):
    """What the exit status says."""

    # Also when there was nothing to do.
    DONE = 0
    FAILED = 1
    USAGE = 2
    DENIED = 3
    NOT_FOUND = 4
    CONFLICT = 5
    # The task goes on.
    TIMED_OUT = 6
    # The task completed, and some units are missing.
    GAPS = 7
    REFUSED_BY_POLICY = 8
    # EX_CONFIG: a setting of the environment cannot be used.
    MISCONFIGURED = 78
    INTERRUPTED = 130


class Failure(Exception):  # noqa: N818, it ends a command, it is not a fault
    """The command ends here: why, with which status, and what to type next."""

    def __init__(
        self,
        message: str,
        *,
        status: Status = Status.FAILED,
        details: tuple[str, ...] = (),
        suggestion: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.details = details
        self.suggestion = suggestion


class Unreachable(Failure):
    """The server does not answer, which may pass."""


class StartError(Failure):
    """Something on this machine does not start; the message says why and what to do."""


def tell(failure: Failure) -> int:
    """Say on stderr what is wrong, and return the exit status."""
    print(f"error: {failure.message}", file=sys.stderr)
    for detail in failure.details:
        print(f"  {detail}", file=sys.stderr)
    if failure.suggestion:
        print(f"try: {failure.suggestion}", file=sys.stderr)
    return failure.status
