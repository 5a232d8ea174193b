"""The process: how much it takes on, how it ends, and what it keeps to itself."""
# ruff: noqa: S101  these are tests

from __future__ import annotations

from threading import Event
from typing import TYPE_CHECKING, Any

from grpc_health.v1 import health_pb2, health_pb2_grpc

from entrepot_rpc.channel import connect
from entrepot_rpc.errors import Code
from entrepot_sdk.testing.attempt import Faults
from entrepot_sdk.testing.contract.subject import Subject

if TYPE_CHECKING:
    from entrepot.plugin.v1.describe_pb2 import DescribeResponse
    from entrepot_sdk.testing.fake_core import FakeCore

__all__ = ["LifetimeContract"]

_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class LifetimeContract(Subject):
    """What a plugin is as a process."""

    def test_a_full_plugin_refuses_before_any_event(
        self, core: FakeCore, plugin: str, description: DescribeResponse
    ) -> None:
        """One attempt more than it said it would take is RESOURCE_EXHAUSTED, with no event."""
        released = Event()
        attempts = [
            core.lend(self.scenarios[0], Faults(hold={"OpenWorkspace": released}))
            for _ in range(description.max_concurrent_attempts)
        ]
        running = [core.start(plugin, attempt.request()) for attempt in attempts]
        assert all(attempt.wait_for_call("OpenWorkspace") for attempt in attempts)

        outcome = core.execute(plugin, core.lend(self.scenarios[0]).request())
        released.set()
        verdicts = {execution.outcome().verdict for execution in running}

        assert outcome.events == []
        assert outcome.error is not None
        assert outcome.error.code == Code.RESOURCE_EXHAUSTED
        assert verdicts == {self.scenarios[0].verdict}

    def test_sigterm_drains(self, core: FakeCore) -> None:
        """On SIGTERM the plugin refuses new attempts, ends those that run, and leaves with 0."""
        scenario = self.scenarios[0]
        released = Event()
        attempt = core.lend(scenario, Faults(hold={"OpenWorkspace": released}))
        with self.start(core) as process, connect(process.address) as channel:
            running = core.start(process.address, attempt.request())
            assert attempt.wait_for_call("OpenWorkspace")
            stub: Any = health_pb2_grpc.HealthStub(channel)
            health = stub.Watch(health_pb2.HealthCheckRequest(), timeout=30)

            process.terminate()
            assert any(answer.status == _NOT_SERVING for answer in health)
            refused = core.execute(process.address, core.lend(scenario).request())
            released.set()

            assert refused.events == []
            assert refused.error is not None
            assert refused.error.code == Code.UNAVAILABLE
            assert running.outcome().verdict == scenario.verdict
            assert process.wait() == 0

    def test_the_token_stays_secret(self, core: FakeCore) -> None:
        """The attempt's token is in no log line and no event, whatever goes wrong."""
        with self.start(core) as process:
            said = []
            for scenario in self.scenarios:
                for faults in (Faults(), Faults(supersede_at="StageChanges")):
                    attempt = core.lend(scenario, faults)
                    outcome = core.execute(process.address, attempt.request())
                    said.append((attempt.token, f"{outcome.events} {outcome.error!r}"))
            logs = process.logs()

        assert logs
        for token, events in said:
            assert token not in logs
            assert token not in events
