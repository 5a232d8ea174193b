"""One attempt as the scripted core sees it: what it lends, how it fails, what it has heard."""

from __future__ import annotations

import secrets
import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from entrepot.plugin.v1.plugin_tasks_pb2 import ExecuteRequest, WorkspaceLimits
from entrepot_sdk.testing.scenario import pack

if TYPE_CHECKING:
    from datetime import datetime

    from entrepot.core.v1.workspace_service_pb2 import StageChangesRequest, StageFilesRequest
    from entrepot_sdk.testing.scenario import Scenario

__all__ = ["Attempt", "Call", "Faults"]


@dataclass
class Faults:
    """How core misbehaves towards an attempt. Rpcs are named as in the protos: "StageChanges".

    Attributes:
        lose_answers: By rpc: how many times the work is done and the answer lost.
        break_streams: By rpc: how many times the stream breaks after its first message.
        end_calls: By rpc: how many times core ends the call unanswered, as it ends itself.
        fail_storage: By rpc: how many times core's store for blobs fails.
        supersede_at: From the first call of this rpc on, another attempt owns the task.
        cancel_at: From the first answer of this rpc on, the user has asked to cancel.
        hold: By rpc: the call waits until this is set.
    """

    lose_answers: Counter[str] = field(default_factory=Counter)
    break_streams: Counter[str] = field(default_factory=Counter)
    end_calls: Counter[str] = field(default_factory=Counter)
    fail_storage: Counter[str] = field(default_factory=Counter)
    supersede_at: str = ""
    cancel_at: str = ""
    hold: dict[str, threading.Event] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Call:
    """A call of the plugin's, as it came."""

    rpc: str
    sequence: int
    request: bytes


class Attempt:
    """What core lends to one Execute call, and what comes back.

    Attributes:
        calls: Every call, in the order in which they came.
        changes: What was staged, by sequence.
        files: What was published, by sequence.
        violations: Where the plugin has broken the contract.
        withdrawn: Set when the plugin gives up a call that is held.
    """

    def __init__(self, scenario: Scenario, faults: Faults | None = None) -> None:
        self.scenario = scenario
        self.faults = faults or Faults()
        self.token = secrets.token_urlsafe(32)
        self.limits = WorkspaceLimits(
            max_units_per_batch=1000, max_batch_bytes=2 << 20, max_digests_per_lookup=10_000
        )
        self.calls: list[Call] = []
        self.changes: dict[int, StageChangesRequest] = {}
        self.files: dict[int, StageFilesRequest] = {}
        self.violations: list[str] = []
        self.withdrawn = threading.Event()
        self.readable: set[str] = set()
        self.lent = {
            digest.hex
            for units in scenario.content.values()
            for unit in units
            for artifact in unit.artifacts
            for digest in artifact.digests
        }
        self.is_superseded = False
        self.cancel_requested = False
        self._heard = threading.Condition()

    def request(
        self,
        *,
        task: str = "tasks/one",
        attempt: int = 1,
        heartbeat_seconds: float = 60,
        dry_run: bool = False,
        deadline: datetime | None = None,
    ) -> ExecuteRequest:
        """What core sends to start the attempt."""
        request = ExecuteRequest(
            task=task,
            attempt=attempt,
            attempt_token=self.token,
            task_type=self.scenario.task_type,
            parameters=pack(self.scenario.parameters),
            resources=self.scenario.resources,
            dry_run=dry_run,
            limits=self.limits,
        )
        request.heartbeat_timeout.FromMilliseconds(int(heartbeat_seconds * 1000))
        if deadline is not None:
            request.deadline.FromDatetime(deadline)
        return request

    def record(self, call: Call) -> None:
        """Keeps a call, and wakes whoever waits for it."""
        with self._heard:
            self.calls.append(call)
            self._heard.notify_all()

    def wait_for_call(self, rpc: str, seconds: float = 10) -> bool:
        """Returns True as soon as the plugin has made such a call."""
        return self.wait_for_calls(rpc, 1, seconds)

    def wait_for_calls(self, rpc: str, count: int, seconds: float = 10) -> bool:
        """Returns True as soon as the plugin has made so many of these calls."""
        with self._heard:
            return self._heard.wait_for(
                lambda: sum(call.rpc == rpc for call in self.calls) >= count, seconds
            )

    def staged(self) -> set[bytes]:
        """All that was staged, without regard to order and batches; comparable."""
        staged = set()
        for change in self.changes.values():
            role = change.repository_role.encode()
            for unit in change.adds:
                staged.add(role + b" + " + unit.SerializeToString(deterministic=True))
            for name in change.removes:
                staged.add(role + b" - %d " % change.cascade + name.encode())
            for key in change.remove_keys:
                staged.add(
                    role
                    + b" -key %d " % change.cascade
                    + key.SerializeToString(deterministic=True)
                )
        for batch in self.files.values():
            role = batch.repository_role.encode()
            for file in batch.files:
                staged.add(role + b" @ " + file.SerializeToString(deterministic=True))
        return staged
