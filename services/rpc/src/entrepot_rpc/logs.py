"""Structured logs: one event name per line, ids as fields, secrets never."""

from __future__ import annotations

import logging
import os
import re
import sys
from typing import TYPE_CHECKING, Any

import structlog

from entrepot_rpc import setting, tracing

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping

__all__ = ["configure", "redact", "without_secrets"]

_SECRET_KEY = re.compile(
    r"token|secret|password|authorization|credential|private_key", re.IGNORECASE
)
_SECRET_VALUE = re.compile(
    r"\b(Bearer|Attempt|Basic)\s+[A-Za-z0-9._~+/=-]+|\bent_[A-Za-z0-9_-]{16,}|(?<=://)[^/@\s]+@"
)
_LEVELS = ("debug", "info", "warning", "error")


def configure(process: str) -> None:
    """Sets up logging for this process: to stderr, as text on a terminal and as JSON elsewhere.

    And traces, if there is somewhere to send them.

    `ENTREPOT_LOG_LEVEL` (default "info") and `ENTREPOT_LOG_FORMAT` ("text" or "json") change that;
    ValueError if they are something else.
    """
    level = setting.word(os.environ, "ENTREPOT_LOG_LEVEL", _LEVELS, "info")
    form = "text" if sys.stderr.isatty() else "json"
    text = setting.word(os.environ, "ENTREPOT_LOG_FORMAT", ("text", "json"), form) == "text"
    renderer = (
        structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty() and not os.environ.get("NO_COLOR")
        )
        if text
        else structlog.processors.JSONRenderer()
    )
    processors: list[Any] = [
        _in_process(process),
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if not text:
        # Without local variables: a secret may be among them.
        tracebacks = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        processors.append(structlog.processors.ExceptionRenderer(tracebacks))
    structlog.configure(
        processors=[*processors, redact, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
        # Each line in one piece, as others write to the same pipe.
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    tracing.configure(process)


def _in_process(
    process: str,
) -> Callable[[object, str, MutableMapping[str, Any]], MutableMapping[str, Any]]:
    # Not a context variable, which threads do not inherit.
    def add(
        _logger: object, _method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        event["process"] = process
        return event

    return add


def redact(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Replaces what looks like a secret, by the name of its field or by its form."""
    return {
        key: "[redacted]" if _SECRET_KEY.search(key) else _redact_value(value)
        for key, value in event.items()
    }


def without_secrets(text: str) -> str:
    """The text without what looks like a secret by its form: a token, a password in a URL."""
    return _SECRET_VALUE.sub("[redacted]", text)


def _redact_value(value: Any) -> Any:  # noqa: ANN401  log fields are of any type
    if isinstance(value, str):
        return without_secrets(value)
    if isinstance(value, dict):
        return {key: _redact_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_redact_value(item) for item in value]
    return value
