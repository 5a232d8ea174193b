"""Clocks of hosts that differ by days: only the database's clock decides who lives."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

import clocks
from acting_plugin import acting_plugin
from core_under_test import Core, a_config, a_remote, a_repository, running_api, running_dispatch
from dispatch_program import core_program, dispatch_program
from entrepot.core.v1 import plugin_service_pb2, task_service_pb2
from entrepot.plugins.file.v1 import file_pb2
from entrepot_core.store.engine_check import check_engine
from entrepot_rpc.channel import connect
from polling import until

Task = task_service_pb2.Task
SYNC = file_pb2.Sync(repository="foo", remote="bar")


def register(core: Core, target: str) -> None:
    """Register a plugin."""
    request = plugin_service_pb2.CreatePluginRequest(
        plugin=plugin_service_pb2.Plugin(target=target)
    )
    core.plugins.CreatePlugin(request, metadata=core.metadata, timeout=60)


@pytest.mark.skipif(clocks.library() is None, reason="faketime is not installed")
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("+1d", "-1d"),
        pytest.param(
            "-1d",
            "+1d",
            marks=pytest.mark.skipif(
                "ENTREPOT_TEST_LONG" not in os.environ, reason="make test-faults runs it"
            ),
        ),
    ],
)
def test_a_day_changes_no_outcome(core_dsn: str, tmp_path: Path, ours: str, theirs: str) -> None:
    """Api and dispatcher live a day early or late, the plugin otherwise: work is done once.

    A dispatcher whose clock is right looks on, and does not take them for dead.
    """
    acts = tmp_path / "acts"
    acts.touch()
    wrong = clocks.environment(ours)
    with (
        running_api(a_config(core_dsn, tmp_path / "home")) as right,
        core_program("api", right, wrong) as (_, line),
        connect(line.split("grpc://")[1].strip()) as channel,
        acting_plugin(right.address, acts, 3, clocks.environment(theirs)) as plugin,
    ):
        core = replace(right, channel=channel)
        register(core, plugin.address)
        a_repository(core.database)
        a_remote(core.database)
        with dispatch_program(core, environment=wrong):
            first = core.create(SYNC)
            until(lambda: bool(acts.read_text()), "the attempt to start")
            with running_dispatch(core.config):
                first = core.read(first.name, wait=100)
                second = core.create(SYNC, wait=100)
        found = list(check_engine(core.database))

    assert (first.state, first.attempt) == (Task.STATE_COMPLETED, 1), first.error
    assert (second.state, second.attempt) == (Task.STATE_COMPLETED, 1), second.error
    assert acts.read_text().count("\n") == 2
    assert found == []
