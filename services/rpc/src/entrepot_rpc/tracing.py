"""OpenTelemetry traces, for who has set OTEL_EXPORTER_OTLP_ENDPOINT; nothing for all others.

The packages are those of the extra `otel`; they are imported only when they are needed. The
environment variables are OpenTelemetry's own.
"""

from __future__ import annotations

import os
import re
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Literal

import structlog

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager

__all__ = [
    "TRACEPARENT",
    "configure",
    "continued",
    "current",
    "incoming",
    "is_on",
    "outgoing",
    "shut_down",
    "span",
]

log = structlog.get_logger()

# The key of call metadata: W3C Trace Context, section 3.2.
TRACEPARENT = "traceparent"

_PARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_SETTINGS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")

Kind = Literal["internal", "server", "client"]


class _Otel:
    """OpenTelemetry, once it is imported."""

    def __init__(self, process: str) -> None:
        from opentelemetry import trace  # noqa: PLC0415  only who has traces pays
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
            OTLPSpanExporter,
        )
        from opentelemetry.propagate import extract as read_headers  # noqa: PLC0415
        from opentelemetry.propagate import inject as write_headers  # noqa: PLC0415
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

        resource = Resource.create(
            {
                "service.namespace": "entrepot",
                "service.name": os.environ.get("OTEL_SERVICE_NAME", f"entrepot-{process}"),
            }
        )
        self.provider = TracerProvider(resource=resource)
        self.provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self.tracer = self.provider.get_tracer("entrepot")
        self.trace = trace
        self.read_headers = read_headers
        self.write_headers = write_headers
        self.kinds = {
            "internal": trace.SpanKind.INTERNAL,
            "server": trace.SpanKind.SERVER,
            "client": trace.SpanKind.CLIENT,
        }


_otel: _Otel | None = None


def configure(process: str) -> None:
    """Begins to trace this process, if an endpoint is set; a warning if the packages lack."""
    global _otel  # noqa: PLW0603  one for each process
    if _otel is not None or not any(os.environ.get(name) for name in _SETTINGS):
        return
    try:
        _otel = _Otel(process.replace(" ", "-"))
    except ImportError as error:
        log.warning("tracing.unavailable", error=str(error), needed="pip install 'entrepot[otel]'")


def shut_down() -> None:
    """Sends what is left of the spans that have ended, and traces no more."""
    global _otel
    otel, _otel = _otel, None
    if otel is not None:
        otel.provider.shutdown()


def is_on() -> bool:
    """Whether spans are made in this process."""
    return _otel is not None


def span(
    name: str, kind: Kind = "internal", parent: str = "", **attributes: str | int
) -> AbstractContextManager[Any]:
    """A span around a block; below `parent`, a traceparent, else below the one that is open.

    An exception that leaves the block marks it as failed. Attributes never hold secrets: no
    query, no user name, no token.
    """
    if _otel is None:
        return nullcontext()
    return _open(_otel, name, kind, parent, attributes)


def continued(name: str, parent: str) -> AbstractContextManager[Any]:
    """A span of a server below one of its caller's; none if the caller is not traced.

    Who is not traced begins no trace: most such calls are the processes' own.
    """
    return span(name, "server", parent) if parent else nullcontext()


@contextmanager
def _open(
    otel: _Otel, name: str, kind: Kind, parent: str, attributes: dict[str, str | int]
) -> Iterator[Any]:
    context = otel.read_headers({TRACEPARENT: parent}) if parent else None
    with otel.tracer.start_as_current_span(
        name,
        context,
        otel.kinds[kind],
        {key.replace("_", "."): value for key, value in attributes.items()},
        # What an error says may name what must not be known elsewhere: its kind will do.
        record_exception=False,
        set_status_on_exception=False,
    ) as opened:
        try:
            yield opened
        except Exception as error:
            opened.set_attribute("error.type", type(error).__name__)
            opened.set_status(otel.trace.StatusCode.ERROR)
            raise


def current() -> str:
    """The traceparent of the open span; empty if there is none."""
    if _otel is None:
        return ""
    carrier: dict[str, str] = {}
    _otel.write_headers(carrier)
    return carrier.get(TRACEPARENT, "")


def outgoing() -> tuple[tuple[str, str], ...]:
    """Metadata that names the open span; none if there is none."""
    parent = current()
    return ((TRACEPARENT, parent),) if parent else ()


def incoming(metadata: Iterable[tuple[str, str | bytes]] | None) -> str:
    """The traceparent in the metadata of a call; empty if spans are off or there is none."""
    if _otel is None:
        return ""
    for key, value in metadata or ():
        if key == TRACEPARENT and isinstance(value, str) and _PARENT.fullmatch(value):
            return value
    return ""
