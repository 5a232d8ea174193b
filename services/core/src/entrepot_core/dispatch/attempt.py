"""One attempt of one task, from its workspace to its end. Runs in a thread of its own."""

from __future__ import annotations

import enum
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from entrepot.type.v1.unit_failure_pb2 import UnitFailure
from entrepot_core.dispatch.assignment import Assignment
from entrepot_core.dispatch.execution import Execution
from entrepot_core.dispatch.fetching import Fetching
from entrepot_core.dispatch.observer import UNOBSERVED
from entrepot_core.dispatch.progress import AttemptProgress
from entrepot_core.dispatch.settling import canceled_error
from entrepot_core.dispatch.verdict import (
    Completion,
    check_completed,
    failure_of,
)
from entrepot_core.domain.change import Gaps
from entrepot_core.domain.errors import (
    AttemptSupersededError,
    BlobMissingError,
    Code,
    DatabaseUnavailableError,
    DigestMismatchError,
    DownloadFailedError,
    NeededUnitMissingError,
    PluginIncompatibleError,
    PluginUnavailableError,
    ServiceError,
    SizeMismatchError,
)
from entrepot_core.domain.task import Loss, LossCause, State
from entrepot_core.plugins import binding, builtin, shortened
from entrepot_core.plugins.descriptors import pack_bytes
from entrepot_core.store import (
    api_tokens,
    blobs,
    gaps,
    plans,
    plugins,
    queue,
    retry,
    tasks,
    workspaces,
)
from entrepot_rpc import correlation, memory, tracing
from entrepot_rpc.failpoints import failpoint

if TYPE_CHECKING:
    from collections.abc import Callable

    from entrepot.plugin.v1 import plugin_tasks_pb2
    from entrepot_core.dispatch.claim import Following
    from entrepot_core.dispatch.fetching import Downloads
    from entrepot_core.dispatch.observer import AttemptObserver
    from entrepot_core.dispatch.ready_made import ReadyMade
    from entrepot_core.dispatch.settling import Settler
    from entrepot_core.plugins.client import Clients
    from entrepot_core.plugins.parameters import ParameterReader, Parameters
    from entrepot_core.plugins.registry import Registry
    from entrepot_core.store.database import Cursor, Database

__all__ = ["CANCEL_GRACE_SECONDS", "Attempt", "AttemptTools", "Stop"]

log = structlog.get_logger()

CANCEL_GRACE_SECONDS = 30.0
# How often bytes are fetched again that were collected between their download and the commit.
_TAKEN_AWAY = 2


class Stop(enum.Enum):
    """Why an attempt must stop before its time."""

    CANCELED = enum.auto()
    SILENT = enum.auto()
    SUPERSEDED = enum.auto()
    UNFETCHABLE = enum.auto()
    DRAINED = enum.auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptTools:
    """What all attempts of a process work with."""

    database: Database
    registry: Registry
    clients: Clients
    reader: ParameterReader
    settler: Settler
    ready_made: ReadyMade
    # Of a workspace, by its number; with the other arguments of AttemptDownloads.
    downloads: Callable[..., Downloads]
    heartbeat_timeout_seconds: float
    # How long what was told to stop may take to do so.
    cancel_grace_seconds: float = CANCEL_GRACE_SECONDS
    observer: AttemptObserver = UNOBSERVED


class Attempt:
    """Runs one attempt. `stop` may be called from any thread, at any time."""

    def __init__(
        self,
        tools: AttemptTools,
        claimed: queue.Claimed,
        token: str,
        follow: Following,
    ) -> None:
        """`follow` is called at the end of a transaction that completes the task the short way."""
        self.claimed = claimed
        self.follow = follow
        self.progress = AttemptProgress(claimed.task_id, claimed.attempt)
        self._keeps_going = False
        self._tools = tools
        self._stop: Stop | None = None
        self._stopped_at = 0.0
        self._thread = 0
        self._lock = threading.Lock()
        self._execution = Execution(tools, claimed, token, self.progress)
        self._fetching = Fetching(
            tools.downloads,
            claimed.workspace_id,
            self.progress,
            failed=lambda: self.stop(Stop.UNFETCHABLE),
        )
        self._log = log.bind(task=claimed.task_id, attempt=claimed.attempt)

    @property
    def silent_seconds(self) -> float:
        """How long the plugin has said nothing; zero while it is not expected to."""
        return self._execution.silent_seconds

    @property
    def is_overdue(self) -> bool:
        """Whether it was to stop so long ago that nobody waits for it any more."""
        if self._stop is None:
            return False
        return time.monotonic() - self._stopped_at > self._tools.cancel_grace_seconds

    @property
    def stop_reason(self) -> Stop | None:
        """Why it was told to stop, if it was."""
        return self._stop

    def stop(self, why: Stop) -> None:
        """Ends the stream and the downloads; `run` then settles the attempt and returns."""
        with self._lock:
            if self._stop is not None:
                return
            self._stop, self._stopped_at = why, time.monotonic()
        self._log.info("attempt.stopping", why=why.name)
        self._execution.cancel()
        self._fetching.stop()

    def cut(self) -> None:
        """Ends in the database what was told to stop and does not.

        Whoever still works on it finds that the attempt is superseded, at the next step.
        """
        self._log.warning("attempt.cut", why=self._stop.name if self._stop else "")
        self._tools.database.interrupt(self._thread)
        if self._stop != Stop.CANCELED:
            return
        try:
            self._tools.settler.fail(self.claimed, canceled_error(), State.CANCELED)
        except AttemptSupersededError:
            self._log.info("attempt.ended_itself")
        except DatabaseUnavailableError as error:
            self._log.warning("attempt.unsettled", error=error.message)

    def run(self) -> None:
        """Runs the attempt and settles it, whatever happens."""
        self._thread = threading.get_ident()
        with correlation.bound(task=self.claimed.task_id, attempt=self.claimed.attempt):
            self._run()

    def _run(self) -> None:
        try:
            try:
                self._work()
            except AttemptSupersededError:
                raise
            except ServiceError as error:
                self._settle_error(error)
            except Exception as error:  # noqa: BLE001  logged, and the task says so
                self._log.exception("attempt.broken")
                self._settle_broken(error)
        except AttemptSupersededError:
            self._log.warning("attempt.superseded")
        except DatabaseUnavailableError as error:
            self._log.warning("attempt.unsettled", error=error.message)
        finally:
            self._fetching.end()
            self._tools.observer.ended(self.claimed.workspace_id)

    def _work(self) -> None:
        claimed = self.claimed
        with (
            correlation.bound(request_id=claimed.origin_request),
            tracing.span(
                f"attempt {claimed.task_type}",
                parent=claimed.traceparent,
                entrepot_task=claimed.task_id,
                entrepot_attempt=claimed.attempt,
            ),
        ):
            self._log.info("attempt.started", task_type=claimed.task_type)
            self._tools.observer.started(claimed)
            if claimed.principal != api_tokens.ADMIN:
                with self._tools.database.transaction() as cursor:
                    api_tokens.require_principal(cursor, claimed.principal)
            parameters = self._parameters()
            if not self._do_small(parameters):
                with self._tools.database.statements() as cursor:
                    row = tasks.get(cursor, claimed.task_id)
                self._work_on(row, parameters)

    def _do_small(self, parameters: Parameters) -> bool:
        """Does the work in one transaction, if it is no more than a small change."""
        if self.claimed.is_dry_run or self.claimed.commits is not None:
            return False
        change = shortened.small_change(self._tools.registry.catalog(), parameters)
        if change is None:
            return False
        failpoint("commit.downloaded")
        if self._stop is not None:
            self._settle_stop()
            return True
        if not all(self._tools.settler.change([(self.claimed, change)], self.follow)):
            return False
        self._log.info("attempt.completed")
        return True

    def _work_on(self, row: tasks.TaskRow, parameters: Parameters) -> None:
        bounds = retry.run(self._tools.database, lambda cursor: self._lend(cursor, parameters))
        if self.claimed.commits is not None and parameters.view.plugin != builtin.NAME:
            self._commit_plan(row, self.claimed.commits, bounds)
        elif parameters.view.is_core_work:
            self._do_ready_made(row, parameters, bounds)
        else:
            self._execute(row, parameters, bounds)

    def _parameters(self) -> Parameters:
        reader, claimed = self._tools.reader, self.claimed
        parameters = reader.decode(pack_bytes(claimed.parameters_type, claimed.parameters))
        declared = self._tools.registry.declaration_id(parameters.view.plugin)
        if claimed.declaration_id != declared and claimed.commits is None:
            # The plugin was upgraded while the task waited.
            parameters = reader.validate(parameters, reader.resolve(parameters))
            self._require_locks(parameters)
        return parameters

    def _require_locks(self, parameters: Parameters) -> None:
        """Raises PluginIncompatibleError if the type now needs more than the task has locked."""
        with self._tools.database.statements() as cursor:
            held = queue.locks(cursor, self.claimed.task_id)
        for name, is_exclusive in binding.locks(parameters.references).items():
            if name not in held or is_exclusive > held[name]:
                how = "alone" if is_exclusive else "in common with others"
                had = "in common with others" if name in held else "not at all"
                view = parameters.view
                raise PluginIncompatibleError(
                    f"The plugin {view.plugin} was replaced while the task waited: {view.name} "
                    f"now needs {name} {how}, and the task has it {had}. Clone the task to do it "
                    "as the plugin does it now.",
                    metadata={"plugin": view.plugin, "resource": name},
                )

    def _lend(self, cursor: Cursor, parameters: Parameters) -> list[binding.Bound]:
        queue.lock_workspace(cursor, self.claimed.workspace_id)
        workspaces.share_fate(cursor)
        bounds = binding.resolve(cursor, self._tools.registry.catalog(), parameters.references)
        binding.lend(cursor, self.claimed.workspace_id, bounds)
        return bounds

    def _do_ready_made(
        self, row: tasks.TaskRow, parameters: Parameters, bounds: list[binding.Bound]
    ) -> None:
        assignment = Assignment(
            claimed=self.claimed,
            parameters=parameters,
            bounds=bounds,
            is_dry_run=row.is_dry_run,
            plan=self.claimed.commits,
            report=self.progress.count,
            warn=self.progress.warn,
            is_stopped=lambda: self._stop is not None,
        )
        completion = self._tools.ready_made.run(assignment)
        self._commit(row, completion, ready_made=True)

    def _commit_plan(self, row: tasks.TaskRow, plan: str, bounds: list[binding.Bound]) -> None:
        """Commits what a dry run has planned: nobody is asked again what to change."""
        database = self._tools.database

        def stage(cursor: Cursor) -> tuple[tasks.TaskRow, dict[int, bytes]]:
            workspaces.share_fate(cursor)
            plans.stage(cursor, self.claimed.workspace_id, plan)
            return tasks.get(cursor, plan), plans.hints(cursor, plan)

        planned, hints = retry.run(database, stage)
        self._fetching.begin()
        states = {
            bound.reference.role: hints[bound.repository_id]
            for bound in bounds
            if bound.repository_id in hints
        }
        completion = Completion(planned.result_type, planned.result, {}, states, "")
        self._commit(row, completion, ready_made=True)

    def _execute(
        self, row: tasks.TaskRow, parameters: Parameters, bounds: list[binding.Bound]
    ) -> None:
        plugin = parameters.view.plugin
        self._keeps_going = row.keeps_going
        if not row.is_dry_run:
            self._fetching.begin(keeps_going=row.keeps_going)
        ended = self._execution.run(row, parameters, bounds)
        if self._stop is not None:
            self._settle_stop()
        elif isinstance(ended, Loss):
            self._lose(plugin, ended)
        elif isinstance(ended, ServiceError):
            self._tools.settler.fail(self.claimed, ended)
        elif ended.WhichOneof("event") == "failed":
            self._settle_failed(plugin, ended.failed)
        else:
            failpoint("execute.completed_received")
            roles = {
                bound.reference.role
                for bound in bounds
                if bound.repository_id and bound.reference.is_exclusive
            }
            completion = check_completed(
                ended.completed, parameters.view, parameters.declaration, roles
            )
            self._commit(row, completion, ready_made=False)

    def _commit(self, row: tasks.TaskRow, completion: Completion, *, ready_made: bool) -> None:
        """Commits once all bytes are here, and again if a collector took some away meanwhile."""
        for left in range(_TAKEN_AWAY, -1, -1):
            self._fetching.finish()
            failpoint("commit.downloaded")
            if self._stop is not None:
                self._settle_stop()
                return
            try:
                self._commit_now(row, completion, ready_made=ready_made)
            except BlobMissingError:
                if not left or self.progress.failures.count:
                    raise
                retry.run(self._tools.database, self._revive)
                if not row.is_dry_run:
                    self._fetching.begin(keeps_going=self._keeps_going)
            else:
                self._log.info("attempt.completed")
                return

    def _revive(self, cursor: Cursor) -> None:
        blobs.revive_staged(cursor, self.claimed.workspace_id)

    def _commit_now(self, row: tasks.TaskRow, completion: Completion, *, ready_made: bool) -> None:
        left_out = self._gaps()
        if completion.unchanged_reason and not completion.modes and not completion.states:
            self.progress.unchanged(completion.unchanged_reason)
        # What is left out is known before it is.
        self._tell()
        self._tools.settler.commit(
            self.claimed,
            completion,
            is_dry_run=row.is_dry_run,
            ready_made=ready_made,
            plan=self.claimed.commits,
            gaps=left_out,
        )

    def _gaps(self) -> Gaps | None:
        """What the commit leaves out; what hangs on it fails with it."""
        failures = self.progress.failures
        if not failures.count:
            return None
        error = failures.error()
        if not self._keeps_going:
            # The plugin has told of failures and completed all the same.
            raise error
        missing = self._fetching.left_out
        with self._tools.database.transaction() as cursor:
            along = gaps.dependents(cursor, self.claimed.workspace_id, missing)
        for one in along:
            self.progress.fail(
                UnitFailure(
                    unit=one.unit,
                    relative_path=one.label,
                    reason=NeededUnitMissingError.reason,
                    message=f"{one.label} is left out, as it needs {one.needs}, which failed.",
                )
            )
        return Gaps((*missing, *(one.content_id for one in along)), error)

    def _settle_failed(self, plugin: str, failed: plugin_tasks_pb2.Failed) -> None:
        error = failure_of(failed, plugin)
        if failed.retryable:
            loss = Loss(
                error.message,
                is_counted=True,
                error=error,
                delay_seconds=error.retry_after_seconds,
            )
            self._fetching.end()
            self._tell()
            self._tools.settler.lose(self.claimed, loss)
            return
        self._tell()
        outcome = queue.Outcome(state=State.FAILED, error=failed.status.SerializeToString())
        self._tools.settler.complete(self.claimed, outcome)
        self._log.info("attempt.failed", reason=error.reason, error=error.message)

    def _lose(self, plugin: str, loss: Loss) -> None:
        self._log.warning("attempt.lost", reason=loss.reason)
        self._fetching.end()
        self._tell()
        self._tools.settler.lose(self.claimed, loss)
        if loss.is_peer_gone:
            # Nobody claims for it until the poller has seen it again.
            with self._tools.database.transaction() as cursor:
                plugins.mark_down(cursor, plugin, loss.reason)

    def _settle_broken(self, error: Exception) -> None:
        fault = ServiceError.of(
            Code.INTERNAL,
            "INTERNAL",
            "Something went wrong inside Entrepot while the task ran "
            f"({type(error).__name__}). The log has more under the task's name.",
        )
        if self._stop is None and memory.is_exhausted(error):
            self._fetching.end()
            self._tools.settler.lose(
                self.claimed,
                Loss(
                    "The dispatcher had no memory left for it.",
                    is_counted=True,
                    error=fault,
                    never_ran=not self._execution.has_begun,
                ),
            )
        else:
            self._settle_error(fault)

    def _settle_error(self, error: ServiceError) -> None:
        failures = self.progress.failures
        if isinstance(error, DownloadFailedError | DigestMismatchError | SizeMismatchError):
            error = failures.error() if failures.count > 1 and not self._keeps_going else error
        if self._stop not in (None, Stop.UNFETCHABLE):
            self._settle_stop()
        elif getattr(error, "retryable", False):
            self._fetching.end()
            self._tell()
            self._tools.settler.lose(
                self.claimed, Loss(error.message, is_counted=True, error=error)
            )
        elif isinstance(error, DatabaseUnavailableError | PluginUnavailableError):
            self._fetching.end()
            self._tools.settler.lose(
                self.claimed,
                Loss(
                    error.message,
                    is_counted=False,
                    delay_seconds=2,
                    never_ran=not self._execution.has_begun,
                    cause=LossCause.DATABASE
                    if isinstance(error, DatabaseUnavailableError)
                    else LossCause.PLUGIN_UNREACHABLE,
                ),
            )
        else:
            self._log.info("attempt.failed", reason=error.reason, error=error.message)
            self._tell()
            self._tools.settler.fail(self.claimed, error)

    def _settle_stop(self) -> None:
        if self._stop == Stop.UNFETCHABLE:
            self._fetching.raise_failure()
        self._fetching.end()
        settler = self._tools.settler
        if self._stop != Stop.SUPERSEDED:
            self._tell()
        if self._stop == Stop.CANCELED:
            settler.fail(self.claimed, canceled_error(), State.CANCELED)
        elif self._stop == Stop.SILENT:
            seconds = self._tools.heartbeat_timeout_seconds
            settler.lose(
                self.claimed,
                Loss(
                    f"The plugin said nothing for {seconds:g} s.",
                    is_counted=True,
                    cause=LossCause.PLUGIN_SILENT,
                ),
            )
        elif self._stop == Stop.DRAINED:
            settler.lose(
                self.claimed,
                Loss(
                    "The dispatcher was stopped.",
                    is_counted=False,
                    delay_seconds=0,
                    cause=LossCause.DISPATCHER_STOPPED,
                ),
            )

    def _tell(self) -> None:
        """Has what was said of the attempt be there before its end is."""
        self._tools.settler.tell(self.claimed, self.progress)
