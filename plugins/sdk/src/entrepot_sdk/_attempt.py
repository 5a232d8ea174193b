"""One attempt of one task: author code in a thread of its own, and the events it leads to.

The thread has its own event loop, so that author code may block, or compute, as long as it
likes: the server's loop goes on answering core. Whatever ends the attempt from outside cancels
the author's function where it waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import structlog

from entrepot.plugin.v1.plugin_tasks_pb2 import (
    ExecuteResponse,
    Failed,
    Heartbeat,
)
from entrepot.type.v1.unit_failure_pb2 import UnitFailure
from entrepot_rpc import correlation, memory
from entrepot_rpc.errors import Code, ServiceError, plugin_domain
from entrepot_rpc.failpoints import failpoint
from entrepot_rpc.status import to_status
from entrepot_sdk._bridge import Bridge
from entrepot_sdk._core import Core
from entrepot_sdk._progress import Throttle
from entrepot_sdk.errors import TaskFailed
from entrepot_sdk.resource import Resources
from entrepot_sdk.workspace import Workspace, _Session

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine

    import grpc.aio
    from google.protobuf.message import Message

    from entrepot.plugin.v1.plugin_tasks_pb2 import (
        Completed,
        ExecuteRequest,
    )
    from entrepot.type.v1.diagnostic_pb2 import Diagnostic
    from entrepot_sdk.plugin import Plugin, TaskType

__all__ = ["Attempt"]

log = structlog.get_logger()

T = TypeVar("T")

_USUAL_TIMEOUT_SECONDS = 60.0
_SILENCE_SHARE = 4


class Attempt:
    """Runs author code and turns what it does into events. Made and used in the server's loop.

    Args:
        plugin: Whose code it is.
        task_type: What is to be done.
        request: What core asked for.
        channel: To core.
        on_end: Called in the server's loop when author code has really ended.
    """

    def __init__(
        self,
        plugin: Plugin,
        task_type: TaskType[Any],
        request: ExecuteRequest,
        channel: grpc.aio.Channel,
        on_end: Callable[[Attempt], None],
    ) -> None:
        self._plugin = plugin
        self._task_type = task_type
        self._request = request
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[ExecuteResponse | ServiceError] = asyncio.Queue()
        self._progress = Throttle(
            self._loop, lambda one: self._emit(ExecuteResponse(progress=one))
        )
        self._core = Core(channel, request.attempt_token, self.stop)
        self._author = _Author(self._work, self._author_ended)
        self._is_stopped = False
        self._began = time.monotonic()
        self._log = log.bind(task_type=request.task_type)

    async def events(self) -> AsyncGenerator[ExecuteResponse, None]:
        """What core hears, up to the verdict.

        Raises ServiceError if the attempt ended without one.
        """
        self._log.info("attempt.started")
        self._author.start()
        try:
            while True:
                event = await self._next_event()
                if isinstance(event, ServiceError):
                    self._log.info("attempt.stopped", reason=event.reason)
                    raise event
                yield event
                verdict = event.WhichOneof("event")
                if verdict in {"completed", "failed"}:
                    self._log.info("attempt.ended", verdict=verdict)
                    return
        finally:
            self._author.cancel()

    def abandon(self) -> None:
        """Nobody listens any more: author code is cancelled."""
        self._author.cancel()

    def stop(self, error: ServiceError) -> None:
        """Ends the attempt without a verdict; author code is cancelled, the stream ends."""
        if not self._is_stopped:
            self._is_stopped = True
            self._author.cancel()
            self._events.put_nowait(error)

    async def _next_event(self) -> ExecuteResponse | ServiceError:
        """The next event, or after a while of silence a sign of life."""
        deadline = self._seconds_left()
        if deadline is not None and deadline <= 0:
            return self._deadline_exceeded()
        silence = self._longest_silence()
        try:
            async with asyncio.timeout(silence if deadline is None else min(silence, deadline)):
                return await self._events.get()
        except TimeoutError:
            return ExecuteResponse(heartbeat=Heartbeat())

    def _longest_silence(self) -> float:
        timeout = self._request.heartbeat_timeout.ToTimedelta().total_seconds()
        return (timeout or _USUAL_TIMEOUT_SECONDS) / _SILENCE_SHARE

    def _seconds_left(self) -> float | None:
        if self._request.HasField("timeout"):
            passed = time.monotonic() - self._began
            return self._request.timeout.ToMilliseconds() / 1000 - passed
        if not self._request.HasField("deadline"):
            return None
        # A core that does not say how long: then the clocks had better agree.
        return self._request.deadline.ToMilliseconds() / 1000 - time.time()

    def _deadline_exceeded(self) -> ExecuteResponse:
        self._is_stopped = True
        return self._failed(
            ServiceError.of(
                Code.DEADLINE_EXCEEDED,
                "DEADLINE_EXCEEDED",
                f"The attempt took longer than the {time.monotonic() - self._began:.0f} s that it "
                "may: see the timeout of its type of task, and attempt_timeout of "
                f"plugins/{self._plugin.name}.",
                domain=plugin_domain(self._plugin.name),
            )
        )

    def _emit(self, event: ExecuteResponse) -> None:
        if not self._is_stopped:
            self._events.put_nowait(event)

    def _end(self, verdict: ExecuteResponse | ServiceError | None) -> None:
        """Author code has ended: the last word, unless somebody else had it."""
        if verdict is not None and not self._is_stopped:
            self._progress.flush()
            self._is_stopped = True
            self._events.put_nowait(verdict)
        self._on_end(self)

    # --- in the author's thread -----------------------------------------------------------------

    async def _work(self) -> ExecuteResponse | ServiceError:
        """Runs author code to its verdict; raises nothing but cancellation."""
        try:
            verdict = ExecuteResponse(completed=await self._run_author())
            failpoint("plugin.before_verdict")
        except asyncio.CancelledError:
            if self._author.is_cancelled:
                raise
            return self._fault(None)
        except ServiceError as error:
            # Not the plugin speaking: an accident, and core deals with it as one.
            return error
        except TaskFailed as error:
            return self._task_failed(error)
        except BaseException as error:  # noqa: BLE001  core hears of it
            return self._group_failed(error)
        return verdict

    def _author_ended(self, verdict: ExecuteResponse | ServiceError | None) -> None:
        # The server's loop may be gone when a process ends in the midst of work.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._end, verdict)

    async def _run_author(self) -> Completed:
        bridge = Bridge(self._loop)
        await bridge.run(self._core.open())
        failpoint("plugin.opened")
        parameters = self._task_type.parameters()
        if not self._request.parameters.Unpack(parameters):
            raise TaskFailed(
                "PARAMETERS_MISMATCH",
                f"{self._request.task_type} takes {parameters.DESCRIPTOR.full_name}, "
                f"not {self._request.parameters.TypeName()}.",
            )
        workspace = Workspace(
            self._session(bridge),
            Resources(self._request.resources),
            dry_run=self._request.dry_run,
            keeps_going=self._request.on_failure == UnitFailure.POLICY_KEEP_GOING,
            gaps=tuple(self._request.gaps),
        )
        if self._task_type.run is None:
            raise TaskFailed("CORE_DOES_THIS", "Core does this task itself.")
        result = await self._task_type.run(parameters, workspace)
        self._check_result(result)
        return await workspace._finish(result)  # noqa: SLF001  hidden from authors, not from here

    def _session(self, bridge: Bridge) -> _Session:
        return _Session(
            bridge=bridge,
            core=self._core,
            limits=self._request.limits,
            content_types={
                one.message.DESCRIPTOR.full_name: one.name for one in self._plugin.content_types
            },
            record=self._progress.record,
            warn=self._warn,
            log=lambda line: self._say(ExecuteResponse(log=line)),
            fail=lambda failure: self._say(ExecuteResponse(unit_failure=failure)),
        )

    def _warn(self, diagnostic: Diagnostic) -> None:
        self._say(ExecuteResponse(warning=diagnostic))

    def _say(self, event: ExecuteResponse) -> None:
        self._loop.call_soon_threadsafe(self._emit, event)

    def _check_result(self, result: Message | None) -> None:
        expected = self._task_type.result
        if type(result) is not (expected or type(None)):
            raise TypeError(
                f"{self._request.task_type} returned {type(result).__name__}, "
                f"not {expected.__name__ if expected else None}"
            )

    # --- verdicts -------------------------------------------------------------------------------

    def _task_failed(self, error: TaskFailed) -> ExecuteResponse:
        return self._failed(
            error.to_error(plugin_domain(self._plugin.name)), retryable=error.retryable
        )

    def _group_failed(self, error: BaseException) -> ExecuteResponse:
        """A group of errors, as task groups raise them, fails like the first made for people."""
        if isinstance(error, BaseExceptionGroup):
            known: BaseException | None = error.subgroup(TaskFailed)
            while isinstance(known, BaseExceptionGroup):
                known = known.exceptions[0]
            if isinstance(known, TaskFailed):
                return self._task_failed(known)
        return self._fault(error)

    def _fault(self, error: BaseException | None) -> ExecuteResponse:
        self._log.error("attempt.fault", exc_info=error)
        return self._failed(
            ServiceError.of(
                Code.INTERNAL,
                "PLUGIN_FAULT",
                f"The plugin {self._plugin.name} has a fault; its log has more about the task.",
                domain=plugin_domain(self._plugin.name),
            ),
            retryable=memory.is_exhausted(error),
        )

    def _failed(self, error: ServiceError, *, retryable: bool = False) -> ExecuteResponse:
        return ExecuteResponse(failed=Failed(status=to_status(error), retryable=retryable))


class _Author(Generic[T]):
    """A thread with an event loop that runs one coroutine and can be cancelled from outside."""

    def __init__(
        self,
        work: Callable[[], Coroutine[Any, Any, T]],
        on_end: Callable[[T | None], None],
    ) -> None:
        self._work = work
        self._on_end = on_end
        self._lock = threading.Lock()
        self._task: asyncio.Task[T] | None = None
        self.is_cancelled = False

    def start(self) -> None:
        # A daemon: author code that never returns must not keep the process alive.
        target = correlation.inheriting(self._run)
        threading.Thread(target=target, name="author", daemon=True).start()

    def cancel(self) -> None:
        with self._lock:
            if self.is_cancelled:
                # Once is enough, and twice would disturb what the author does to clean up.
                return
            self.is_cancelled = True
            if self._task is not None:
                self._task.get_loop().call_soon_threadsafe(self._task.cancel)

    def _run(self) -> None:
        with asyncio.Runner() as runner:
            result = runner.run(self._main())
        self._on_end(result)

    async def _main(self) -> T | None:
        task = asyncio.create_task(self._work())
        with self._lock:
            self._task = task
            if self.is_cancelled:
                task.cancel()
        await asyncio.wait([task])
        with self._lock:
            self._task = None
        return None if task.cancelled() else task.result()
