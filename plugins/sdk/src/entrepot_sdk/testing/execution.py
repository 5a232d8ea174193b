"""An Execute call under way, watched by a test as core would watch it."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc

from entrepot.plugin.v1.plugin_tasks_pb2_grpc import PluginTasksStub
from entrepot_rpc.channel import connect
from entrepot_rpc.status import from_rpc_error

if TYPE_CHECKING:
    from entrepot.plugin.v1.plugin_tasks_pb2 import ExecuteRequest, ExecuteResponse
    from entrepot_rpc.errors import ServiceError

__all__ = ["Execution", "Outcome"]

_VERDICTS = frozenset({"completed", "failed"})


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an Execute call went: its events, when they came, and the error it ended with."""

    events: list[ExecuteResponse]
    times: list[float]
    error: ServiceError | None

    @property
    def kinds(self) -> list[str]:
        """The kind of each event."""
        return [str(event.WhichOneof("event")) for event in self.events]

    @property
    def verdict(self) -> str:
        """The last event, "completed" or "failed"; empty if it is neither."""
        kind = self.kinds[-1] if self.events else ""
        return kind if kind in _VERDICTS else ""


class Execution:
    """One Execute call, read in a thread of its own.

    Args:
        plugin: Address of the plugin.
        request: What core asks for.
        seconds: The deadline of the call.
    """

    def __init__(self, plugin: str, request: ExecuteRequest, seconds: float = 60) -> None:
        self._events: list[ExecuteResponse] = []
        self._times: list[float] = []
        self._error: ServiceError | None = None
        self._heard = threading.Condition()
        self._channel = connect(plugin)
        self._stream = PluginTasksStub(self._channel).Execute(request, timeout=seconds)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def wait_for_events(self, count: int, seconds: float = 20) -> bool:
        """Returns True as soon as so many events have come."""
        with self._heard:
            return self._heard.wait_for(lambda: len(self._events) >= count, seconds)

    def cancel(self) -> None:
        """Hangs up, as core does when the user cancels."""
        self._stream.cancel()

    def outcome(self, seconds: float = 60) -> Outcome:
        """How it went, as soon as the stream has ended. TimeoutError if it does not."""
        self._thread.join(seconds)
        if self._thread.is_alive():
            self._stream.cancel()
            raise TimeoutError(f"the attempt did not end within {seconds} seconds")
        return Outcome(self._events, self._times, self._error)

    def _read(self) -> None:
        try:
            for event in self._stream:
                with self._heard:
                    self._events.append(event)
                    self._times.append(time.monotonic())
                    self._heard.notify_all()
        except grpc.RpcError as failure:
            self._error = from_rpc_error(failure)
        finally:
            self._channel.close()
