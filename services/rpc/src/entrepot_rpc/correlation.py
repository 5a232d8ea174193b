"""The id of the request that everything is done for: in log lines, and from process to process.

It comes with a call as `x-request-id`, stays with the thread or coroutine that serves it, and goes
out with every call made meanwhile. The trace context travels with it, where there are traces.
"""

from __future__ import annotations

import contextvars
import re
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import structlog

from entrepot_rpc import tracing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = [
    "REQUEST_ID",
    "bound",
    "clear",
    "current_request_id",
    "enter",
    "incoming",
    "inheriting",
    "new_request_id",
    "outgoing",
    "sane",
]

# The key of call metadata, which is the HTTP header in lower case.
REQUEST_ID = "x-request-id"

_SANE = re.compile(r"[A-Za-z0-9._-]{1,64}")

_context = structlog.contextvars


def sane(given: str | bytes | None) -> str:
    """The id if it is one: 1 to 64 letters, digits, dots, dashes, underscores; else empty."""
    text = given.decode("latin-1") if isinstance(given, bytes) else given or ""
    return text if _SANE.fullmatch(text) else ""


def new_request_id() -> str:
    """An id for a request that came without one: 32 hexadecimal digits."""
    return uuid.uuid4().hex


def enter(request_id: str, **fields: str | int) -> None:
    """Has everything from here on, in this thread or coroutine, concern a request.

    Log lines carry its id, if there is one, and the fields.
    """
    _context.clear_contextvars()
    if request_id:
        _context.bind_contextvars(request_id=request_id, **fields)
    elif fields:
        _context.bind_contextvars(**fields)


def clear() -> None:
    """Forgets the request, for a thread that serves others after it."""
    _context.clear_contextvars()


def incoming(metadata: Iterable[tuple[str, str | bytes]] | None) -> str:
    """The request id in the metadata of a call; empty if there is no sane one."""
    for key, value in metadata or ():
        if key == REQUEST_ID:
            return sane(value)
    return ""


def current_request_id() -> str:
    """The id of the request that is being served; empty if none is."""
    return str(_context.get_contextvars().get("request_id", ""))


def outgoing() -> tuple[tuple[str, str], ...]:
    """Metadata that has the called process go on with the same request and trace."""
    request_id = current_request_id()
    own = ((REQUEST_ID, request_id),) if request_id else ()
    return own + tracing.outgoing()


@contextmanager
def bound(**fields: str | int) -> Iterator[None]:
    """Has every log line in the block, also of what it calls, carry fields; empty ones do not."""
    with _context.bound_contextvars(**{name: value for name, value in fields.items() if value}):
        yield


def inheriting(function: Callable[[], Any]) -> Callable[[], Any]:
    """The function, to be run in another thread, for the same request as here."""
    context = contextvars.copy_context()
    return lambda: context.run(function)
