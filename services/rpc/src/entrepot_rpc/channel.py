"""Channels to other services, threaded or async, with the options every one of ours needs."""

from __future__ import annotations

import re

import grpc
import grpc.aio

__all__ = ["MAX_MESSAGE_BYTES", "connect", "connect_async", "metadata", "reason_of_silence"]

# Batches stay under 2 MiB; a plugin's declaration with its proto files may be larger.
MAX_MESSAGE_BYTES = 16 * 1024 * 1024

# Around what the system said, gRPC says in its own terms which of its parts heard it.
_SYSTEM = re.compile(r"(?:Failed to connect to remote host: |hostname lookup error:)([^;\]]+)")

_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 0),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    # This is how long one attempt to connect may take, whatever its name says: on a busy machine
    # it takes a while until a server answers at all. Attempts begin by the other two.
    ("grpc.min_reconnect_backoff_ms", 5_000),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # Replicas behind one name need balancing on our side: one HTTP/2 connection pins to one.
    ("grpc.service_config", '{"loadBalancingConfig": [{"round_robin": {}}]}'),
    # Services of one machine must not go through a proxy meant for the outside.
    ("grpc.enable_http_proxy", 0),
)


def connect(target: str) -> grpc.Channel:
    """A channel for threads. Nothing is sent until the first call."""
    return grpc.insecure_channel(target, options=_OPTIONS)


def connect_async(target: str) -> grpc.aio.Channel:
    """A channel for an event loop. Nothing is sent until the first call."""
    return grpc.aio.insecure_channel(target, options=_OPTIONS)


def metadata(token: str | None, scheme: str = "Bearer") -> tuple[tuple[str, str], ...]:
    """Call metadata that carries a token; none if there is none."""
    return (("authorization", f"{scheme} {token}"),) if token else ()


def reason_of_silence(details: str | None) -> str:
    """Why nothing answers, in the system's words ("Connection refused") if they are in there."""
    found = _SYSTEM.findall(details or "")
    return found[-1].strip() if found else (details or "")
