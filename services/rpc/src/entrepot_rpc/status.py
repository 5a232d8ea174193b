"""Errors to google.rpc.Status and back: the only place that knows how details are packed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from entrepot_rpc.errors import CORE_DOMAIN, Code, Precondition, ServiceError, Violation

if TYPE_CHECKING:
    import grpc
    from google.protobuf.message import Message

__all__ = ["from_rpc_error", "from_status", "has_status", "to_grpc_status", "to_status"]

# Of numbers: an enum takes them for members from Python 3.12 on.
_CODES = frozenset(int(code) for code in Code)

# A status travels in trailing metadata, and of those a client takes 8 KiB, all fields together.
_MAX_TRAILING_BYTES = 7 * 1024
# How many characters of each text, and how many violations of each kind, are tried instead.
_CUTS = ((1024, 16), (256, 8), (64, 2))

# The one code whose name is spelled differently elsewhere.
_REASONS = {"CANCELLED": "CANCELED"}


def to_status(error: ServiceError) -> status_pb2.Status:
    """The status of an error: ErrorInfo always, other details where they apply."""
    details: list[Message] = [
        error_details_pb2.ErrorInfo(
            reason=error.reason, domain=error.domain, metadata=error.metadata
        )
    ]
    if error.violations:
        details.append(
            error_details_pb2.BadRequest(
                field_violations=[
                    error_details_pb2.BadRequest.FieldViolation(
                        field=v.field, description=v.message, reason=v.reason
                    )
                    for v in error.violations
                ]
            )
        )
    if error.preconditions:
        details.append(
            error_details_pb2.PreconditionFailure(
                violations=[
                    error_details_pb2.PreconditionFailure.Violation(
                        type=p.type, subject=p.subject, description=p.message
                    )
                    for p in error.preconditions
                ]
            )
        )
    if error.retry_after_seconds is not None:
        delay = duration_pb2.Duration()
        delay.FromMilliseconds(int(error.retry_after_seconds * 1000))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    status = status_pb2.Status(code=int(error.code), message=error.message)
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status


def to_grpc_status(error: ServiceError) -> grpc.Status:
    """The same as an object that `context.abort_with_status` takes."""
    status = to_status(error)
    for characters, violations in _CUTS:
        if _trailing_bytes(status) <= _MAX_TRAILING_BYTES:
            break
        status = to_status(_shortened(error, characters, violations))
    from grpc_status import rpc_status  # noqa: PLC0415  slow, and who has no call needs none

    return rpc_status.to_status(status)


def has_status(error: grpc.RpcError) -> bool:
    """Whether a server of ours said what is wrong, and not the transport."""
    return _status(error) is not None


def from_status(status: status_pb2.Status) -> ServiceError:
    """The error a status stands for; one without ErrorInfo gets the name of its code as reason."""
    info = error_details_pb2.ErrorInfo()
    bad_request = error_details_pb2.BadRequest()
    failure = error_details_pb2.PreconditionFailure()
    retry = error_details_pb2.RetryInfo()
    retry_after = None
    for detail in status.details:
        for message in (info, bad_request, failure):
            if detail.Is(message.DESCRIPTOR):
                detail.Unpack(message)
        if detail.Is(retry.DESCRIPTOR):
            detail.Unpack(retry)
            retry_after = retry.retry_delay.ToMilliseconds() / 1000
    code = _code(status.code)
    return ServiceError.of(
        code,
        info.reason or code.name,
        status.message,
        domain=info.domain or CORE_DOMAIN,
        metadata=dict(info.metadata),
        violations=tuple(
            Violation(v.field, v.description, v.reason or "FIELD_INVALID")
            for v in bad_request.field_violations
        ),
        preconditions=tuple(
            Precondition(p.type, p.subject, p.description) for p in failure.violations
        ),
        retry_after_seconds=retry_after,
    )


def from_rpc_error(error: grpc.RpcError) -> ServiceError:
    """The error of a failed call; one without details gets its code's name as reason."""
    call: Any = error  # the errors that calls raise are calls themselves; the type does not say so
    status = _status(error)
    if status is not None:
        return from_status(status)
    code: grpc.StatusCode | None = call.code()
    name = code.name if code is not None else Code.UNKNOWN.name
    return ServiceError.of(
        _code(code.value[0]) if code is not None else Code.UNKNOWN,
        _REASONS.get(name, name),
        call.details() or "The call failed.",
    )


def _status(error: grpc.RpcError) -> status_pb2.Status | None:
    from grpc_status import rpc_status  # noqa: PLC0415  as above

    call: Any = error
    try:
        return rpc_status.from_call(call)
    except (ValueError, DecodeError):
        # Details that contradict the code, or are none: as good as none.
        return None


def _trailing_bytes(status: status_pb2.Status) -> int:
    # The message is there twice: percent-encoded, and with the details in Base64.
    size: int = status.ByteSize()
    return len(quote(status.message)) + (size + 2) // 3 * 4


def _shortened(error: ServiceError, characters: int, violations: int) -> ServiceError:
    def cut(text: str) -> str:
        half = characters // 2
        return text if len(text) <= characters else f"{text[:half]} … {text[-half:]}"

    return ServiceError.of(
        error.code,
        error.reason,
        cut(error.message),
        domain=error.domain,
        metadata={key: cut(value) for key, value in error.metadata.items()},
        violations=tuple(
            replace(v, field=cut(v.field), message=cut(v.message))
            for v in error.violations[:violations]
        ),
        preconditions=tuple(
            replace(p, subject=cut(p.subject), message=cut(p.message))
            for p in error.preconditions[:violations]
        ),
        retry_after_seconds=error.retry_after_seconds,
    )


def _code(number: int) -> Code:
    try:
        return Code(number)
    except ValueError:
        return Code.UNKNOWN
