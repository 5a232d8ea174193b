"""The plugin that is tried, and the core it is tried with."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar

import pytest

from entrepot.plugin.v1.describe_pb2 import DescribeRequest
from entrepot.plugin.v1.plugin_tasks_pb2_grpc import PluginTasksStub
from entrepot_rpc.channel import connect
from entrepot_sdk.testing.fake_core import FakeCore
from entrepot_sdk.testing.process import PluginProcess

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from entrepot.plugin.v1.describe_pb2 import DescribeResponse
    from entrepot_sdk.testing.attempt import Attempt, Faults
    from entrepot_sdk.testing.execution import Outcome
    from entrepot_sdk.testing.scenario import Scenario

__all__ = ["Subject", "describe"]


class Subject:
    """What every part of the suite needs.

    Attributes:
        command: Starts the plugin, see `PluginProcess`.
        environment: Variables for it.
        address: Or: where a plugin listens that was started by somebody else, and that calls
        core_address: this address, where the scripted core will be.
        scenarios: Tasks to try it with; the more kinds, the better.
    """

    command: ClassVar[Sequence[str]] = ()
    environment: ClassVar[Mapping[str, str]] = {}
    address: ClassVar[str] = ""
    core_address: ClassVar[str] = "127.0.0.1:0"
    scenarios: ClassVar[Sequence[Scenario]] = ()

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """One test for each scenario."""
        if "scenario" in metafunc.fixturenames:
            metafunc.parametrize("scenario", self.scenarios, ids=lambda one: one.name)

    @pytest.fixture(scope="class")
    @classmethod
    def core(cls) -> Iterator[FakeCore]:
        """The scripted core."""
        with FakeCore(cls.core_address) as core:
            yield core

    @pytest.fixture(scope="class")
    @classmethod
    def plugin(cls, core: FakeCore) -> Iterator[str]:
        """The address of the plugin."""
        if cls.command:
            with cls.start(core) as process:
                yield process.address
        else:
            yield cls.address

    @pytest.fixture(scope="class")
    @classmethod
    def description(cls, plugin: str) -> DescribeResponse:
        """What it says about itself."""
        return describe(plugin)

    @classmethod
    @contextmanager
    def start(cls, core: FakeCore) -> Iterator[PluginProcess]:
        """A process of the plugin for one test alone."""
        if not cls.command:
            pytest.skip("the suite did not start the plugin, so it cannot end it")
        with PluginProcess(cls.command, core.address, environment=cls.environment) as process:
            yield process

    def run(
        self,
        core: FakeCore,
        plugin: str,
        scenario: Scenario,
        faults: Faults | None = None,
        *,
        seconds: float = 60,
    ) -> tuple[Attempt, Outcome]:
        """One attempt, from start to end."""
        attempt = core.lend(scenario, faults)
        core.forget_fetches()
        return attempt, core.execute(plugin, attempt.request(), seconds=seconds)


def describe(plugin: str) -> DescribeResponse:
    """Ask a plugin what it is."""
    with connect(plugin) as channel:
        request = DescribeRequest(core_version="0.1.0")
        return PluginTasksStub(channel).Describe(request, timeout=10)
