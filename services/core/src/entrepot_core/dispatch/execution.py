"""One call of Execute: what the plugin is asked, what it says, and that it says something."""

from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING, Any

import grpc

from entrepot.plugin.v1 import plugin_tasks_pb2
from entrepot.type.v1.unit_failure_pb2 import UnitFailure
from entrepot_core.dispatch.verdict import StreamReader, loss_of
from entrepot_core.domain.errors import (
    PluginUnavailableError,
    ResourceNotFoundError,
    ServiceError,
)
from entrepot_core.plugins import binding
from entrepot_core.store import plugins, queue, retry, task_failures
from entrepot_rpc.failpoints import failpoint

if TYPE_CHECKING:
    from entrepot_core.dispatch.attempt import AttemptTools
    from entrepot_core.dispatch.progress import AttemptProgress
    from entrepot_core.domain.task import Loss
    from entrepot_core.plugins.parameters import Parameters
    from entrepot_core.store import tasks

__all__ = ["Execution"]

# Added to the deadline that the plugin is told, so that its own end of time comes first.
_DEADLINE_SLACK_SECONDS = 5.0
_MAX_UNITS = 1_000
_MAX_BATCH_BYTES = 2 * 1024 * 1024
_MAX_DIGESTS = 10_000


class Execution:
    """Calls the plugin of an attempt, once. `cancel` may be called from any thread, any time."""

    def __init__(
        self, tools: AttemptTools, claimed: queue.Claimed, token: str, progress: AttemptProgress
    ) -> None:
        """What the plugin tells goes to `progress`."""
        self._tools = tools
        self._claimed = claimed
        self._token = token
        self._progress = progress
        self._lock = threading.Lock()
        self._call: Any = None
        self._is_canceled = False
        self._heard = time.monotonic()
        self._is_streaming = False
        self.has_begun = False
        """Whether the plugin was called: from then on it may have acted."""

    @property
    def silent_seconds(self) -> float:
        """How long the plugin has said nothing; zero while it is not expected to."""
        return time.monotonic() - self._heard if self._is_streaming else 0.0

    def cancel(self) -> None:
        """Ends the stream, or has it end as soon as it begins."""
        with self._lock:
            self._is_canceled = True
            call = self._call
        if call is not None:
            call.cancel()

    def run(
        self, row: tasks.TaskRow, parameters: Parameters, bounds: list[binding.Bound]
    ) -> plugin_tasks_pb2.ExecuteResponse | Loss | ServiceError:
        """What the plugin ends with; or how the attempt was lost, or which promise was broken."""
        plugin = parameters.view.plugin
        reader = StreamReader(plugin)
        registered = self._registered(plugin)
        timeout = min(
            parameters.view.timeout_seconds, registered.attempt_timeout_seconds or math.inf
        )
        client = self._tools.clients.at(registered.target)
        request = self._request(row, parameters, bounds, timeout)
        if not (row.is_repeatable and parameters.view.declared.repeatable):
            retry.run(
                self._tools.database,
                lambda cursor: queue.note_execution(
                    cursor, self._claimed.workspace_id, self._claimed.task_id
                ),
            )
        failpoint("execute.noted")
        call = client.execute(request, timeout + _DEADLINE_SLACK_SECONDS)
        self.has_begun = True
        failpoint("execute.started")
        with self._lock:
            self._call = call
            self._heard = time.monotonic()
            self._is_streaming = True
            if self._is_canceled:
                call.cancel()
        try:
            for event in call:
                if not reader.has_begun:
                    failpoint("execute.first_event")
                self._heard = time.monotonic()
                reader.take(event)
                self._note(event)
        except grpc.RpcError as error:
            # The plugin has spoken: how the stream ends after that does not matter.
            if reader.final is not None:
                return reader.final
            return loss_of(error, plugin, timeout, has_begun=reader.has_begun)
        except ServiceError as error:
            call.cancel()
            return error
        finally:
            self._is_streaming = False
        return reader.end()

    def _request(
        self,
        row: tasks.TaskRow,
        parameters: Parameters,
        bounds: list[binding.Bound],
        timeout: float,
    ) -> plugin_tasks_pb2.ExecuteRequest:
        request = plugin_tasks_pb2.ExecuteRequest(
            task=row.name,
            attempt=self._claimed.attempt,
            attempt_token=self._token,
            task_type=parameters.view.name,
            parameters=parameters.pack(),
            resources=binding.to_resources(parameters.declaration, bounds),
            dry_run=row.is_dry_run,
            limits=plugin_tasks_pb2.WorkspaceLimits(
                max_units_per_batch=_MAX_UNITS,
                max_batch_bytes=_MAX_BATCH_BYTES,
                max_digests_per_lookup=_MAX_DIGESTS,
            ),
        )
        request.on_failure = (
            UnitFailure.POLICY_KEEP_GOING if row.keeps_going else UnitFailure.POLICY_STRICT
        )
        request.gaps.extend(self._gaps_to_fill(row))
        request.deadline.FromNanoseconds(int((time.time() + timeout) * 1e9))
        request.timeout.FromNanoseconds(int(timeout * 1e9))
        request.heartbeat_timeout.FromNanoseconds(int(self._tools.heartbeat_timeout_seconds * 1e9))
        return request

    def _gaps_to_fill(self, row: tasks.TaskRow) -> list[UnitFailure]:
        if not row.only_failures:
            return []
        with self._tools.database.transaction() as cursor:
            found = task_failures.kept(cursor, row.cloned_from or row.task_id)
        if not found:
            raise ResourceNotFoundError(
                "The task whose failures were to be done again has been forgotten, and they with "
                "it. Create the task again, without only_failures.",
                metadata={"resource": f"tasks/{row.cloned_from}"},
            )
        failures = map(UnitFailure.FromString, found)
        return [UnitFailure(unit=one.unit, relative_path=one.relative_path) for one in failures]

    def _registered(self, plugin: str) -> plugins.PluginRow:
        with self._tools.database.transaction() as cursor:
            row = plugins.find(cursor, plugin)
        if row is None:
            raise PluginUnavailableError(
                f"The plugin {plugin} was removed.", metadata={"plugin": plugin}
            )
        return row

    def _note(self, event: plugin_tasks_pb2.ExecuteResponse) -> None:
        kind = event.WhichOneof("event")
        if kind == "progress":
            self._progress.count(event.progress)
        elif kind == "warning":
            self._progress.warn(event.warning)
        elif kind == "log":
            self._progress.log(event.log)
        elif kind == "unit_failure":
            self._progress.fail(event.unit_failure)
