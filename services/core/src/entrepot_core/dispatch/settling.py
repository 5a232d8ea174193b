"""Ending an attempt in the database: once, or not at all if another attempt owns the task."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from entrepot_core.dispatch.observer import UNOBSERVED
from entrepot_core.dispatch.verdict import STAGED
from entrepot_core.domain.change import CommitRequest
from entrepot_core.domain.errors import CanceledError, DatabaseUnavailableError
from entrepot_core.domain.task import State
from entrepot_core.plugins import differences
from entrepot_core.store import api_tokens, queue, retry, small_change, tasks
from entrepot_core.store import commit as commits
from entrepot_core.store.plan_draft import PlanDraft
from entrepot_rpc.failpoints import failpoint
from entrepot_rpc.status import to_status

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence

    from entrepot_core.dispatch.observer import AttemptObserver
    from entrepot_core.dispatch.progress import AttemptProgress
    from entrepot_core.dispatch.verdict import Completion
    from entrepot_core.domain.change import CommitResult, Gaps
    from entrepot_core.domain.errors import ServiceError
    from entrepot_core.domain.task import Loss
    from entrepot_core.store.database import Cursor, Database
    from entrepot_core.store.small_change import SmallChange

__all__ = ["Settler", "encode_error"]

log = structlog.get_logger()

_RETRY_SECONDS = 0.5


class Settler:
    """Writes how attempts end. A database that goes away is waited for: unknown is not failed."""

    def __init__(
        self,
        database: Database,
        stopping: threading.Event,
        served_changed: Callable[[], None] = lambda: None,
        wake: Callable[[], None] = lambda: None,
        observer: AttemptObserver = UNOBSERVED,
    ) -> None:
        """`served_changed` is told after each commit that made a version or a publication.

        `wake` has those woken who wait for the end of such a task.
        """
        self._database = database
        self._served_changed = served_changed
        self._wake = wake
        self._stopping = stopping
        self._observer = observer

    def commit(
        self,
        claimed: queue.Claimed,
        completion: Completion,
        *,
        is_dry_run: bool,
        ready_made: bool,
        plan: str | None = None,
        gaps: Gaps | None = None,
    ) -> None:
        """Makes versions of what was staged and completes the task, in one transaction.

        What was staged is the plan of the dry run `plan`, if that is given.
        Raises AttemptSupersededError, PermissionDeniedError if who created the task has no rights
        any more, and ServiceError if what was staged cannot be committed.
        """
        request = CommitRequest(
            workspace_id=claimed.workspace_id,
            task_id=claimed.task_id,
            modes=completion.modes,
            # With gaps the repository is not what the plugin believes that it has become.
            states={} if gaps else completion.states,
            unchanged_reason=completion.unchanged_reason,
            dry_run=is_dry_run,
            is_ready_made=ready_made,
            plan=plan,
            gaps=gaps,
        )
        made: list[CommitResult] = []
        if is_dry_run:
            with PlanDraft(claimed.task_id) as draft:
                self._once(claimed, lambda: made.append(self._rehearse(request, draft)))
                if made:
                    self.complete(claimed, _outcome(completion, made[-1]), draft)
            return

        def write(cursor: Cursor) -> CommitResult:
            api_tokens.require_principal(cursor, claimed.principal)
            result = commits.commit(cursor, request)
            queue.finish(
                cursor, claimed.workspace_id, claimed.task_id, _outcome(completion, result)
            )
            failpoint("commit.before_commit")
            return result

        def write_prepared() -> None:
            commits.before(self._database, claimed.workspace_id)
            made.append(retry.run(self._database, write))

        self._once(claimed, write_prepared)
        self._observer.settled(claimed.workspace_id, State.COMPLETED)
        failpoint("commit.committed", reply=True)
        if made and made[0].changed:
            self._served_changed()
            commits.after(self._database, made[0])
            # Who waits for the task need not wait for what is left to do.
            self._wake()
            commits.settle(self._database, made[0])

    def change(
        self,
        changes: Sequence[tuple[queue.Claimed, SmallChange]],
        follow: Callable[[Cursor], None] = lambda _: None,
    ) -> list[bool]:
        """Makes a version of each small change and completes its task, all in one transaction.

        They come in the order of their lanes, in which locks are taken. If all can be made so,
        `follow` is called at the end of the transaction, each time that it is tried. False for
        each change that must be made the general way: nothing has been done for it.

        Raises AttemptSupersededError and PermissionDeniedError, as `commit` does; then nothing has
        been done for any.
        """
        made: list[list[small_change.Made | None]] = []

        def write(cursor: Cursor) -> list[small_change.Made | None]:
            done = [self._write_change(cursor, claimed, change) for claimed, change in changes]
            if all(done):
                follow(cursor)
            failpoint("commit.before_commit")
            return done

        # What has been committed for one has been for all.
        self._once(changes[0][0], lambda: made.append(retry.run(self._database, write)))
        if made:
            is_done = [one is not None for one in made[0]]
        else:
            is_done = [self._was_settled(claimed) for claimed, _ in changes]
        for claimed in (changes[place][0] for place, ended in enumerate(is_done) if ended):
            self._observer.settled(claimed.workspace_id, State.COMPLETED)
        failpoint("commit.committed", reply=True)
        changed = [one for done in made for one in done if one is not None and one.result.changed]
        if any(one.is_served for one in changed):
            self._served_changed()
        for one in changed:
            if not one.retains_all:
                commits.after(self._database, one.result)
        return is_done

    @staticmethod
    def _write_change(
        cursor: Cursor, claimed: queue.Claimed, change: SmallChange
    ) -> small_change.Made | None:
        api_tokens.require_principal(cursor, claimed.principal)
        done = small_change.commit(cursor, claimed.task_id, change, claimed.workspace_id)
        if done is not None:
            outcome = _outcome(STAGED, done.result)
            queue.finish(cursor, claimed.workspace_id, claimed.task_id, outcome)
        return done

    def complete(
        self, claimed: queue.Claimed, outcome: queue.Outcome, draft: PlanDraft | None = None
    ) -> None:
        """Ends the task as told, with nothing to commit but a plan.

        Raises AttemptSupersededError.
        """

        def write(cursor: Cursor) -> None:
            if draft is not None:
                queue.lock_workspace(cursor, claimed.workspace_id)
                draft.write(cursor)
            queue.finish(cursor, claimed.workspace_id, claimed.task_id, outcome)

        self._once(claimed, lambda: retry.run(self._database, write))
        self._observer.settled(claimed.workspace_id, outcome.state)

    def fail(
        self, claimed: queue.Claimed, error: ServiceError, state: State = State.FAILED
    ) -> None:
        """Ends the task with an error. Raises AttemptSupersededError."""
        self.complete(claimed, queue.Outcome(state=state, error=encode_error(error)))

    def tell(self, claimed: queue.Claimed, progress: AttemptProgress) -> None:
        """Writes what an attempt that is about to end has not said yet."""

        def write() -> None:
            with progress.turn():
                retry.run(self._database, progress.write)

        self._once(claimed, write)

    def lose(self, claimed: queue.Claimed, loss: Loss) -> None:
        """Ends the attempt, and the task with it if it is not to be repeated."""

        def write(cursor: Cursor) -> State:
            return queue.lose(
                cursor,
                claimed.task_id,
                loss,
                encode_error,
                canceled=canceled_error(),
                workspace_id=claimed.workspace_id,
            )

        self._once(claimed, lambda: retry.run(self._database, write))
        self._observer.settled(claimed.workspace_id, "lost")
        self._observer.lost(loss.cause)

    def _rehearse(self, request: CommitRequest, draft: PlanDraft) -> CommitResult:
        result: list[CommitResult] = []

        def write(cursor: Cursor) -> None:
            draft.clear()
            result.append(commits.commit(cursor, request, draft))
            raise _RollbackError

        commits.before(self._database, request.workspace_id)
        try:
            retry.run(self._database, write)
        except _RollbackError:
            return result[-1]
        raise AssertionError  # it always rolls back

    def _once(self, claimed: queue.Claimed, write: Callable[[], object]) -> None:
        # While our workspace is there, nothing has been committed, and trying again is right.
        while True:
            try:
                write()
            except DatabaseUnavailableError as error:
                log.warning("attempt.settling_interrupted", error=error.message)
                self._stopping.wait(_RETRY_SECONDS)
                if self._was_settled(claimed):
                    return
            else:
                return

    def _was_settled(self, claimed: queue.Claimed) -> bool:
        while True:
            try:
                with self._database.transaction() as cursor:
                    row = tasks.find(cursor, claimed.task_id)
            except DatabaseUnavailableError:
                if self._stopping.wait(_RETRY_SECONDS):
                    raise
            else:
                return row is None or row.is_over or row.attempt != claimed.attempt


class _RollbackError(Exception):
    """Ends a rehearsal."""


def canceled_error() -> CanceledError:
    """The error of a task that was canceled while it ran."""
    return CanceledError("The task was canceled while it ran. Nothing was changed.")


def encode_error(error: ServiceError) -> bytes:
    """An error as a task keeps it."""
    data: bytes = to_status(error).SerializeToString()
    return data


def _outcome(completion: Completion, result: CommitResult) -> queue.Outcome:
    changed = result.changed
    if not result.differences and not result.created_resource:
        # No repository had anything to do with it: it did what it was for, if it does not deny it.
        changed = not completion.unchanged_reason
    return queue.Outcome(
        state=State.COMPLETED,
        result_type=completion.result_type,
        result=completion.result,
        differences=differences.encode(result),
        created_resource=result.created_resource,
        changed=changed,
    )
