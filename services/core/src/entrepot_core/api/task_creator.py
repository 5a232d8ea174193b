"""Creating tasks: from a request to a stored row, once for each request id."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from entrepot_core.api.creation_requests import check_request_id
from entrepot_core.api.plan_reader import of_dry_run
from entrepot_core.domain.errors import DatabaseUnavailableError, ServiceError
from entrepot_core.domain.names import new_id
from entrepot_core.plugins import binding, builtin
from entrepot_core.store import api_tokens, plans, plugins, retry, tasks
from entrepot_rpc import correlation, tracing
from entrepot_rpc.failpoints import failpoint

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf import any_pb2

    from entrepot_core.api.at_once import AtOnce, Done
    from entrepot_core.plugins.parameters import ParameterReader, Parameters
    from entrepot_core.plugins.registry import Registry
    from entrepot_core.store.database import Cursor, Database

__all__ = ["Order", "Stored", "TaskCreator"]

log = structlog.get_logger()

_OUTCOME_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A request for a task."""

    parameters: any_pb2.Any
    principal: str
    request_id: str = ""
    is_dry_run: bool = False
    keeps_going: bool = False
    cloned_from: str | None = None
    # None: what the type has.
    priority: int | None = None
    # The dry run whose plan is to be committed; the parameters are its own.
    commits: str | None = None
    # A task that waits and would do the same will do.
    absorbs: bool = False
    only_failures: bool = False

    def digest(self, parameters: bytes) -> bytes:
        """Equal for equal requests, so that a request id is not taken for another one.

        `parameters` are as they came, or as they were understood, with names in full. How the
        answer is to be given, such as `absorbs`, is not looked at.
        """
        state = hashlib.sha256()
        for part in (
            self.parameters.type_url.rpartition("/")[2].encode(),
            parameters,
            b"dry" if self.is_dry_run else b"",
            (self.cloned_from or "").encode(),
            # Not there, where there is none: then it is the request of the release before.
            *([] if self.priority is None else [b"priority %d" % self.priority]),
            *((b"keep_going",) if self.keeps_going else ()),
            *((b"only_failures",) if self.only_failures else ()),
        ):
            state.update(len(part).to_bytes(8, "little") + part)
        if self.commits is not None:
            state.update(self.commits.encode())
        return state.digest()


@dataclass(frozen=True, slots=True)
class Stored:
    """The task that a request has, whether it was there and waited, and whether it is done."""

    task_id: str
    is_absorbed: bool = False
    done: Done | None = None


class TaskCreator:
    """Checks and stores tasks, and wakes the dispatchers; what it can, it does at once."""

    def __init__(
        self,
        database: Database,
        registry: Registry,
        reader: ParameterReader,
        wake: Callable[[], None],
        at_once: AtOnce,
    ) -> None:
        self._database = database
        self._registry = registry
        self._reader = reader
        self._wake = wake
        self._at_once = at_once

    def check(self, order: Order) -> Parameters:
        """Everything but storing: the parameters as a task would have them."""
        check_request_id(order.request_id)
        parameters = self._reader.decode(order.parameters)
        self._require_own(order, parameters)
        return self._reader.validate(parameters, self._reader.resolve(parameters))

    def _require_own(self, order: Order, parameters: Parameters) -> None:
        if order.principal != api_tokens.ADMIN:
            with self._database.statements() as cursor:
                binding.require_own(cursor, order.principal, parameters.references)

    def create(self, order: Order) -> Stored:
        """The new task, or the one that the same request made before, or one that absorbs it."""
        check_request_id(order.request_id)
        earlier = self._earlier(order)
        # As it came: then it is the same even if its plugin is gone meanwhile.
        if earlier is not None and earlier.digest == order.digest(order.parameters.value):
            return Stored(earlier.task_id, is_absorbed=earlier.is_absorbed)
        if earlier is None and order.commits is not None:
            # The dry run was checked, and what it planned is committed without its plugin.
            with self._database.transaction() as cursor:
                of_dry_run(cursor, order.commits)
        parameters = self._reader.decode(order.parameters)
        # As it was understood: one reference may be written in several ways.
        digest = order.digest(parameters.data) if order.request_id else b""
        if earlier is not None:
            earlier.check(digest)
            return Stored(earlier.task_id, is_absorbed=earlier.is_absorbed)
        self._require_own(order, parameters)
        failpoint("create.decoded")
        is_checked = order.commits is not None
        if not is_checked and self._reader.needs_plugin(parameters.view):
            parameters = self._reader.validate(parameters, self._reader.resolve(parameters))
            is_checked = True
        failpoint("create.validated")
        stored = Stored(new_id())
        began = time.monotonic()
        try:
            row = self._row(order, parameters, stored.task_id, digest)
            done = self._done_at_once(order, parameters, row)
            if done is None and not is_checked:
                self._reader.require(parameters)
            stored = done or self._store(order, parameters, row)
        except DatabaseUnavailableError:
            if not self._is_stored(stored.task_id):
                raise
        failpoint("create.committed", reply=True)
        log.debug("task.created", task=stored.task_id)
        if stored.done is None:
            self._wake()
        else:
            self._at_once.tell(stored.done, began)
        return stored

    def _done_at_once(
        self, order: Order, parameters: Parameters, row: tasks.NewTask
    ) -> Stored | None:
        if order.is_dry_run or order.commits is not None or row.priority >= tasks.BACKGROUND:
            return None
        change = self._at_once.change(parameters)
        if change is None:
            return None

        def write(cursor: Cursor) -> Stored | None:
            if order.absorbs and (found := _absorbing(cursor, row)) is not None:
                return found
            done = self._at_once.write(cursor, row, change)
            return None if done is None else Stored(row.task_id, done=done)

        try:
            with self._at_once.turn(change):
                return retry.run(self._database, write)
        except ServiceError:
            raise
        except Exception as error:  # noqa: BLE001  whatever it was, its task can say it
            log.warning("task.not_done_at_once", error=str(error))
            return None

    def _store(self, order: Order, parameters: Parameters, row: tasks.NewTask) -> Stored:
        def write(cursor: Cursor) -> Stored:
            if order.absorbs and (found := _absorbing(cursor, row)) is not None:
                return found
            stored = tasks.create(cursor, row)
            if stored == row.task_id:
                if order.commits is not None:
                    plans.approve(cursor, order.commits, stored)
                failpoint("create.inserted")
            return Stored(stored)

        try:
            return retry.run(self._database, write)
        except tasks.ResourceMissingError as error:
            raise binding.absent(parameters.references, error.name) from error

    def _row(
        self, order: Order, parameters: Parameters, task_id: str, digest: bytes
    ) -> tasks.NewTask:
        view = parameters.view
        wanted = binding.locks(parameters.references)
        if view.plugin == builtin.NAME:
            # Core's own tasks have no resources of their own, and one of a kind runs at a time.
            wanted[view.name] = True
        is_core_work = view.is_core_work or order.commits is not None
        return tasks.NewTask(
            task_id=task_id,
            task_type=view.name,
            executor=plugins.CORE if is_core_work else view.plugin,
            principal=order.principal,
            parameters_type=view.parameters_message,
            parameters=parameters.data,
            locks=wanted,
            # The locks protect these: what is there then cannot be deleted under the task.
            needed=binding.locked_names(parameters.references),
            is_repeatable=view.declared.repeatable or is_core_work,
            is_dry_run=order.is_dry_run,
            declaration_id=self._registry.declaration_id(view.plugin),
            request_id=order.request_id,
            request_digest=digest,
            cloned_from=order.cloned_from,
            priority=_priority(order, view.plugin),
            keeps_going=order.keeps_going,
            only_failures=order.only_failures,
            origin_request=correlation.current_request_id(),
            traceparent=tracing.current(),
            warnings=[one.SerializeToString() for one in parameters.warnings],
        )

    def _earlier(self, order: Order) -> tasks.EarlierRequest | None:
        if not order.request_id:
            return None
        with self._database.statements() as cursor:
            return tasks.find_request(cursor, order.principal, order.request_id)

    def _is_stored(self, task_id: str) -> bool:
        # COMMIT was sent and its answer lost: unknown is not failed, so look.
        deadline = time.monotonic() + _OUTCOME_SECONDS
        while True:
            try:
                with self._database.statements() as cursor:
                    return tasks.find(cursor, task_id) is not None
            except DatabaseUnavailableError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)


def _absorbing(cursor: Cursor, row: tasks.NewTask) -> Stored | None:
    """The task that waits and would do the same, or that answered the same request before."""
    found = tasks.absorb(cursor, row)
    if found is None:
        return None
    if found.is_new:
        return Stored(found.task_id, is_absorbed=True)
    earlier = tasks.find_request(cursor, row.principal, row.request_id)
    return Stored(found.task_id, is_absorbed=earlier is not None and earlier.is_absorbed)


def _priority(order: Order, plugin: str) -> int:
    if order.priority is not None:
        return order.priority
    # Nobody waits for core's own housekeeping.
    return tasks.BACKGROUND if plugin == builtin.NAME else tasks.NORMAL
