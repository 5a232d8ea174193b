"""What an Execute stream means: exactly one final event, and what it may contain. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc

from entrepot.plugin.v1 import plugin_tasks_pb2
from entrepot_core.domain.change import CommitMode
from entrepot_core.domain.errors import (
    DeadlineExceededError,
    PluginContractViolationError,
    ServiceError,
)
from entrepot_core.domain.task import Loss, LossCause
from entrepot_rpc.channel import MAX_MESSAGE_BYTES
from entrepot_rpc.errors import Code
from entrepot_rpc.status import from_rpc_error, from_status

if TYPE_CHECKING:
    from collections.abc import Collection

    from entrepot_core.plugins.descriptors import Declaration, TaskTypeView

__all__ = [
    "MAX_STATE_BYTES",
    "STAGED",
    "Completion",
    "StreamReader",
    "check_completed",
    "loss_of",
]

MAX_STATE_BYTES = 4096

_ERROR_CODES = frozenset(int(code) for code in Code)
_FULL_SECONDS = 5.0
_UNREACHABLE_SECONDS = 2.0
# What grpc says of a message that is longer than it takes.
_TOO_LARGE = "larger than max"
_NEVER_CONNECTED = ("failed to connect", "connection refused", "dns resolution failed")


@dataclass(frozen=True, slots=True)
class Completion:
    """A Completed event that keeps the contract."""

    result_type: str
    result: bytes
    modes: dict[str, CommitMode]
    states: dict[str, bytes]
    unchanged_reason: str


STAGED = Completion("", b"", {}, {}, "")
"""All there is to say is in the workspace, or in the version."""


class StreamReader:
    """Collects the events of one stream and says in the end what it was."""

    def __init__(self, plugin: str) -> None:
        self._plugin = plugin
        self.has_begun = False
        self.final: plugin_tasks_pb2.ExecuteResponse | None = None

    def take(self, event: plugin_tasks_pb2.ExecuteResponse) -> None:
        """Takes an event. Raises PluginContractViolationError for a second final one."""
        self.has_begun = True
        if event.WhichOneof("event") in {"completed", "failed"}:
            if self.final is not None:
                raise violation(self._plugin, "it sent two final events in one attempt.")
            self.final = event

    def end(self) -> plugin_tasks_pb2.ExecuteResponse | Loss:
        """The final event; or, of a stream that ended well without one, the loss."""
        if self.final is not None:
            return self.final
        text = "the stream of an attempt ended without a final event."
        error = violation(self._plugin, text)
        return Loss(error.message, is_counted=True, error=error, cause=LossCause.CONTRACT_BROKEN)


def violation(plugin: str, text: str) -> PluginContractViolationError:
    """The error of a plugin that broke the contract."""
    return PluginContractViolationError(
        f"The plugin {plugin} broke the contract: {text}", metadata={"plugin": plugin}
    )


def loss_of(
    error: grpc.RpcError, plugin: str, timeout_seconds: float, *, has_begun: bool
) -> Loss | ServiceError:
    """What the failure of a stream means: an attempt lost, or, after its time, the end."""
    known = from_rpc_error(error)
    details = (error.details() or "").rstrip(".")
    if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
        return DeadlineExceededError(
            f"The attempt took longer than the {timeout_seconds:g} s that it may: see the timeout "
            f"of its type of task, and attempt_timeout of plugins/{plugin}."
        )
    if error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED and _TOO_LARGE in details.lower():
        # It is not full, and would send the same again.
        return violation(plugin, f"it sent an event of more than {MAX_MESSAGE_BYTES:,} bytes.")
    if not has_begun and error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED:
        delay = known.retry_after_seconds or _FULL_SECONDS
        return Loss(
            f"The plugin {plugin} was full.",
            is_counted=False,
            delay_seconds=delay,
            never_ran=True,
            cause=LossCause.PLUGIN_FULL,
        )
    if not has_begun and error.code() == grpc.StatusCode.UNAVAILABLE:
        return Loss(
            f"The plugin {plugin} did not answer: {details}.",
            is_counted=False,
            delay_seconds=known.retry_after_seconds or _UNREACHABLE_SECONDS,
            never_ran=any(text in details.lower() for text in _NEVER_CONNECTED)
            or known.reason == "PLUGIN_DRAINING",
            is_peer_gone=True,
            cause=LossCause.PLUGIN_UNREACHABLE,
        )
    name = error.code().name if error.code() is not None else "UNKNOWN"
    return Loss(
        f"The plugin {plugin} was lost: {name}, {details}.",
        is_counted=True,
        is_peer_gone=error.code() == grpc.StatusCode.UNAVAILABLE,
        cause=LossCause.PLUGIN_GONE,
    )


def failure_of(event: plugin_tasks_pb2.Failed, plugin: str) -> ServiceError:
    """The error in a Failed event. Raises PluginContractViolationError if there is none."""
    if event.status.code not in _ERROR_CODES:
        raise violation(plugin, f"it failed with the code {event.status.code}, which is no error.")
    return from_status(event.status)


def check_completed(
    event: plugin_tasks_pb2.Completed,
    view: TaskTypeView,
    declaration: Declaration,
    writable_roles: Collection[str],
) -> Completion:
    """What a Completed event says. Raises PluginContractViolationError for nonsense."""
    expected = view.declared.result_message
    result = b""
    if event.result.type_url or event.result.value:
        if not expected:
            raise violation(view.plugin, f"{view.name} has no result, and it sent one.")
        try:
            message = declaration.unpack_strict(event.result, expected, "result")
        except ServiceError as error:
            raise violation(view.plugin, f"its result is wrong: {error.message}") from error
        result = message.SerializeToString(deterministic=True)
    modes = {}
    for role, mode in event.commit_modes.items():
        if role not in writable_roles:
            raise violation(view.plugin, f"{role} is no repository that {view.name} may change.")
        if mode not in _MODES:
            raise violation(view.plugin, f"{mode} is no way to commit.")
        modes[role] = _MODES[mode]
    for role, state in event.states.items():
        if role not in writable_roles:
            raise violation(view.plugin, f"{role} is no repository that {view.name} may change.")
        if len(state) > MAX_STATE_BYTES:
            raise violation(
                view.plugin,
                f"the state of {role} is {len(state)} bytes; at most {MAX_STATE_BYTES} are kept.",
            )
    return Completion(
        expected if event.result.type_url else "",
        result,
        modes,
        dict(event.states),
        event.unchanged_reason[:1000],
    )


_MODES = {
    plugin_tasks_pb2.Completed.COMMIT_MODE_UNSPECIFIED: CommitMode.ADDITIVE,
    plugin_tasks_pb2.Completed.COMMIT_MODE_ADDITIVE: CommitMode.ADDITIVE,
    plugin_tasks_pb2.Completed.COMMIT_MODE_REPLACE: CommitMode.REPLACE,
}
