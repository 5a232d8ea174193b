"""Execute: one verdict, signs of life, and the same outcome whatever happens on the way."""
# ruff: noqa: S101  these are tests

from __future__ import annotations

import itertools
from collections import Counter
from datetime import UTC, datetime, timedelta
from threading import Event
from typing import TYPE_CHECKING

from google.rpc import error_details_pb2

from entrepot_sdk.testing.attempt import Faults
from entrepot_sdk.testing.contract.subject import Subject

if TYPE_CHECKING:
    from entrepot.plugin.v1.describe_pb2 import DescribeResponse
    from entrepot_sdk.testing.fake_core import FakeCore
    from entrepot_sdk.testing.scenario import Scenario

__all__ = ["ExecuteContract"]

_SOON_SECONDS = 5.0
_BEATS = 4


class ExecuteContract(Subject):
    """What a plugin does when core lets it work."""

    def test_the_verdict_is_the_last_event_and_the_only_one(
        self, core: FakeCore, plugin: str, scenario: Scenario
    ) -> None:
        """The stream ends with the verdict that was expected, and with no error."""
        attempt, outcome = self.run(core, plugin, scenario)

        assert outcome.error is None
        assert outcome.verdict == scenario.verdict, outcome.events
        assert sum(kind in {"completed", "failed"} for kind in outcome.kinds) == 1
        assert attempt.violations == []

    def test_a_failure_says_why(
        self, core: FakeCore, plugin: str, description: DescribeResponse, scenario: Scenario
    ) -> None:
        """A failure has a code, a message, and a reason in the domain of the plugin or of core."""
        _, outcome = self.run(core, plugin, scenario)
        if outcome.verdict != "failed":
            return
        status = outcome.events[-1].failed.status
        info = error_details_pb2.ErrorInfo()

        assert status.code
        assert status.message
        assert any(detail.Unpack(info) for detail in status.details)
        assert info.domain in {f"{description.name}.plugins.entrepot", "entrepot"}
        assert info.reason == (scenario.reason or info.reason)

    def test_the_first_call_asks_whether_the_attempt_is_the_current_one(
        self, core: FakeCore, plugin: str, scenario: Scenario
    ) -> None:
        """OpenWorkspace comes before everything else."""
        attempt, _ = self.run(core, plugin, scenario)

        assert attempt.calls[0].rpc == "OpenWorkspace"

    def test_signs_of_life_come_in_time(
        self, core: FakeCore, plugin: str, scenario: Scenario
    ) -> None:
        """While the plugin waits for core, core hears from it, well within the timeout."""
        released = Event()
        attempt = core.lend(scenario, Faults(hold={"OpenWorkspace": released}))
        execution = core.start(plugin, attempt.request(heartbeat_seconds=1))

        has_beaten = execution.wait_for_events(_BEATS)
        released.set()
        outcome = execution.outcome()

        assert has_beaten
        assert outcome.verdict == scenario.verdict
        gaps = [later - earlier for earlier, later in itertools.pairwise(outcome.times[:_BEATS])]
        assert max(gaps) < 1

    def test_cancelling_stops_the_work(
        self, core: FakeCore, plugin: str, scenario: Scenario
    ) -> None:
        """When core hangs up, the plugin gives up what it is doing, soon."""
        attempt = core.lend(scenario, Faults(hold={"OpenWorkspace": Event()}))
        execution = core.start(plugin, attempt.request())
        assert attempt.wait_for_call("OpenWorkspace")

        execution.cancel()

        assert attempt.withdrawn.wait(_SOON_SECONDS)
        assert execution.outcome(_SOON_SECONDS).verdict == ""
        assert [call.rpc for call in attempt.calls] == ["OpenWorkspace"]

    def test_a_superseded_attempt_does_nothing(
        self, core: FakeCore, plugin: str, scenario: Scenario
    ) -> None:
        """When another attempt owns the task from the start, no work is done and nothing said."""
        attempt, outcome = self.run(
            core, plugin, scenario, Faults(supersede_at="OpenWorkspace"), seconds=_SOON_SECONDS
        )

        assert outcome.verdict == ""
        assert outcome.error is not None
        assert [call.rpc for call in attempt.calls] == ["OpenWorkspace"]

    def test_an_attempt_that_is_superseded_midway_stops(
        self, core: FakeCore, plugin: str, scenario: Scenario
    ) -> None:
        """When another attempt takes over at any call, this one ends soon, without a verdict."""
        undisturbed, _ = self.run(core, plugin, scenario)
        for rpc in {call.rpc for call in undisturbed.calls}:
            attempt, outcome = self.run(
                core, plugin, scenario, Faults(supersede_at=rpc), seconds=_SOON_SECONDS
            )

            # One that would have failed anyway may have done so before it heard.
            may_have_failed = scenario.verdict == "failed" and outcome.verdict == "failed"
            assert outcome.verdict == "" or may_have_failed, rpc
            if scenario.stages_the_same:
                assert attempt.staged() <= undisturbed.staged()

    def test_asking_to_cancel_stops_the_work(
        self, core: FakeCore, plugin: str, scenario: Scenario
    ) -> None:
        """When the answer to a staged batch says that the user canceled, there is no verdict."""
        undisturbed, _ = self.run(core, plugin, scenario)
        for rpc in {call.rpc for call in undisturbed.calls} & {"StageChanges", "StageFiles"}:
            _, outcome = self.run(
                core, plugin, scenario, Faults(cancel_at=rpc), seconds=_SOON_SECONDS
            )

            assert outcome.verdict != "completed", rpc

    def test_an_unknown_attempt_gets_no_work(
        self, core: FakeCore, plugin: str, scenario: Scenario
    ) -> None:
        """When core does not know the attempt, the plugin claims no success."""
        request = core.lend(scenario).request()
        request.attempt_token = "unknown"  # noqa: S105  and that is the point

        outcome = core.execute(plugin, request, seconds=_SOON_SECONDS)
        core.calls_without_attempt.clear()

        assert outcome.verdict != "completed"

    def test_lost_answers_change_nothing(
        self, core: FakeCore, plugin: str, scenario: Scenario
    ) -> None:
        """When answers are lost and streams break, the same calls come again, to the same end."""
        undisturbed, _ = self.run(core, plugin, scenario)
        unary = ("OpenWorkspace", "StageChanges", "StageFiles", "BatchWriteBlobs")
        streams = ("FetchBlobs", "ReadBlob", "ReadContent")
        faults = Faults(
            lose_answers=Counter(dict.fromkeys(unary, 2)),
            break_streams=Counter(dict.fromkeys(streams, 2)),
        )

        attempt, outcome = self.run(core, plugin, scenario, faults)

        assert outcome.verdict == scenario.verdict, outcome.events
        assert attempt.violations == []
        if scenario.stages_the_same:
            assert attempt.staged() == undisturbed.staged()

    def test_small_limits_are_kept(self, core: FakeCore, plugin: str, scenario: Scenario) -> None:
        """When core takes little at a time, the plugin sends little at a time."""
        undisturbed, _ = self.run(core, plugin, scenario)
        attempt = core.lend(scenario)
        attempt.limits.max_units_per_batch = 2
        attempt.limits.max_batch_bytes = 64 * 1024

        outcome = core.execute(plugin, attempt.request())

        assert outcome.verdict == scenario.verdict
        assert attempt.violations == []
        if scenario.stages_the_same:
            assert attempt.staged() == undisturbed.staged()

    def test_two_attempts_of_one_task_do_not_disturb_each_other(
        self, core: FakeCore, plugin: str, scenario: Scenario
    ) -> None:
        """Two attempts of the same task at once stage the same, each in its own workspace."""
        released = Event()
        attempts = [
            core.lend(scenario, Faults(hold={"OpenWorkspace": released})) for _ in range(2)
        ]
        executions = [
            core.start(plugin, attempt.request(attempt=number))
            for number, attempt in enumerate(attempts, 1)
        ]
        assert all(attempt.wait_for_call("OpenWorkspace") for attempt in attempts)
        released.set()

        outcomes = [execution.outcome() for execution in executions]

        assert [outcome.verdict for outcome in outcomes] == [scenario.verdict] * 2
        assert [attempt.violations for attempt in attempts] == [[], []]
        if scenario.stages_the_same:
            assert attempts[0].staged() == attempts[1].staged()

    def test_repeating_stages_the_same(
        self, core: FakeCore, plugin: str, scenario: Scenario
    ) -> None:
        """A second attempt, and a dry run, stage what the first one staged."""
        if not scenario.stages_the_same:
            return
        first, _ = self.run(core, plugin, scenario)
        second, _ = self.run(core, plugin, scenario)
        dry = core.lend(scenario)
        core.execute(plugin, dry.request(dry_run=True))

        assert second.staged() == first.staged()
        assert dry.staged() == first.staged()

    def test_the_deadline_ends_the_work(
        self, core: FakeCore, plugin: str, scenario: Scenario
    ) -> None:
        """When the time is over, the stream ends soon, and not with success."""
        attempt = core.lend(scenario, Faults(hold={"OpenWorkspace": Event()}))
        deadline = datetime.now(UTC) + timedelta(seconds=1)

        outcome = core.execute(plugin, attempt.request(deadline=deadline), seconds=_SOON_SECONDS)

        assert outcome.verdict != "completed"
        # On a busy machine the time may be over before the plugin has begun.
        assert not attempt.calls or attempt.withdrawn.wait(_SOON_SECONDS)

    def test_an_unknown_task_type_fails(
        self, core: FakeCore, plugin: str, scenario: Scenario
    ) -> None:
        """A task type that the plugin does not have ends at once, and not with success."""
        request = core.lend(scenario).request()
        request.task_type = "no/such"

        outcome = core.execute(plugin, request, seconds=_SOON_SECONDS)

        assert outcome.verdict != "completed"
