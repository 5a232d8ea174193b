"""What an Execute stream means."""

from collections.abc import Callable

import grpc
import pytest
from google.rpc import status_pb2

from core_streams import FailedCall
from declarations import file_plugin
from entrepot.plugin.v1 import plugin_tasks_pb2
from entrepot_core.dispatch.verdict import (
    MAX_STATE_BYTES,
    StreamReader,
    check_completed,
    failure_of,
    loss_of,
)
from entrepot_core.domain.change import CommitMode
from entrepot_core.domain.errors import DeadlineExceededError, PluginContractViolationError
from entrepot_core.domain.task import Loss
from entrepot_core.plugins.descriptors import Declaration

DECLARATION = Declaration(file_plugin())
SYNC = DECLARATION.task_types[0]
Completed = plugin_tasks_pb2.Completed
Event = plugin_tasks_pb2.ExecuteResponse


def test_one_final_event_is_the_verdict() -> None:
    """Whatever comes besides, the one final event counts."""
    reader = StreamReader("file")
    final = Event(completed=Completed())
    for event in (
        Event(heartbeat=plugin_tasks_pb2.Heartbeat()),
        final,
        Event(heartbeat=plugin_tasks_pb2.Heartbeat()),
    ):
        reader.take(event)

    assert final == reader.end()


def test_two_final_events_break_the_contract() -> None:
    """A plugin cannot change its mind."""
    reader = StreamReader("file")
    reader.take(Event(completed=Completed()))

    with pytest.raises(PluginContractViolationError, match="two final events"):
        reader.take(Event(failed=plugin_tasks_pb2.Failed()))


def test_no_final_event_is_a_counted_loss() -> None:
    """A stream that just ends is an accident."""
    ended = StreamReader("file").end()

    assert isinstance(ended, Loss)
    assert ended.is_counted


@pytest.mark.parametrize(
    ("code", "details", "has_begun", "counted", "never_ran"),
    [
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "full", False, False, True),
        (grpc.StatusCode.UNAVAILABLE, "Failed to connect to remote host", False, False, True),
        (grpc.StatusCode.UNAVAILABLE, "Socket closed", False, False, False),
        (grpc.StatusCode.UNAVAILABLE, "Socket closed", True, True, False),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "message too large", True, True, False),
        (grpc.StatusCode.INTERNAL, "oops", False, True, False),
    ],
)
def test_broken_streams(
    code: grpc.StatusCode,
    details: str,
    has_begun: bool,
    counted: bool,
    never_ran: bool,
) -> None:
    """A plugin that is full or away before it began costs no attempt; all else does."""
    loss = loss_of(FailedCall(code, details), "file", 9, has_begun=has_begun)

    assert isinstance(loss, Loss)
    assert (counted, never_ran) == (loss.is_counted, loss.never_ran)


def test_the_deadline_ends_the_task() -> None:
    """An attempt that takes longer than its type allows is not repeated."""
    error = FailedCall(grpc.StatusCode.DEADLINE_EXCEEDED, "")

    assert isinstance(loss_of(error, "file", 9, has_begun=True), DeadlineExceededError)


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c.commit_modes.update({"remote": Completed.COMMIT_MODE_REPLACE}),
        lambda c: c.commit_modes.update({"repository": 99}),
        lambda c: c.states.update({"remote": b"x"}),
        lambda c: c.states.update({"repository": bytes(MAX_STATE_BYTES + 1)}),
        lambda c: c.result.Pack(Completed()),
    ],
)
def test_nonsense_in_completed_breaks_the_contract(
    change: Callable[[Completed], object],
) -> None:
    """Roles that are not writable, huge states and foreign results are refused."""
    completed = Completed()
    change(completed)

    with pytest.raises(PluginContractViolationError):
        check_completed(completed, SYNC, DECLARATION, {"repository"})


def test_completed_is_read() -> None:
    """Modes, states and the reason for doing nothing are what the plugin said."""
    completed = Completed(
        commit_modes={"repository": Completed.COMMIT_MODE_REPLACE},
        states={"repository": b"etag"},
        unchanged_reason="Nothing new.",
    )

    completion = check_completed(completed, SYNC, DECLARATION, {"repository"})

    assert completion.modes == {"repository": CommitMode.REPLACE}
    assert completion.states == {"repository": b"etag"}
    assert completion.unchanged_reason == "Nothing new."


@pytest.mark.parametrize("code", [0, 17, 99])
def test_a_failure_needs_an_error(code: int) -> None:
    """OK, or a code there is not, is no way to fail."""
    failed = plugin_tasks_pb2.Failed(status=status_pb2.Status(code=code))

    with pytest.raises(PluginContractViolationError):
        failure_of(failed, "file")
