"""The contract suite finds what it is there to find."""

from collections.abc import Iterator

import pytest

from entrepot_sdk.testing import FakeCore, PluginProcess, Scenario, repository
from entrepot_sdk.testing.contract import PluginContract
from entrepot_sdk.testing.contract.subject import describe
from entrepot_test_graph.fixtures import start_graph_plugin
from entrepot_test_graph.graph_pb2 import Mischief


@pytest.fixture(scope="module")
def core() -> Iterator[FakeCore]:
    """Start a scripted core."""
    with FakeCore() as core:
        yield core


@pytest.fixture(scope="module")
def plugin(core: FakeCore) -> Iterator[PluginProcess]:
    """Start the plugin."""
    with start_graph_plugin(core.address) as process:
        yield process


def mischief(kind: Mischief.Kind.ValueType) -> Scenario:
    """Make a task that should complete, and does something else."""
    return Scenario(
        name="mischief",
        task_type="graph/mischiefs",
        parameters=Mischief(repository="repositories/graph/one", kind=kind),
        resources=[repository()],
    )


@pytest.mark.parametrize(
    "kind",
    [
        Mischief.KIND_TWO_VERDICTS,
        Mischief.KIND_NO_VERDICT,
        Mischief.KIND_FOREIGN_TOKEN,
        Mischief.KIND_BREAK_STREAM,
        Mischief.KIND_REFUSE,
        Mischief.KIND_BIG_BATCH,
        Mischief.KIND_REUSE_SEQUENCE,
        Mischief.KIND_FAIL,
    ],
)
def test_a_wrong_end_is_found(
    core: FakeCore, plugin: PluginProcess, kind: Mischief.Kind.ValueType
) -> None:
    """A plugin that ends as it must not fails the test of the verdict."""
    with pytest.raises(AssertionError):
        PluginContract().test_the_verdict_is_the_last_event_and_the_only_one(
            core, plugin.address, mischief(kind)
        )


def test_a_wrong_result_is_found(core: FakeCore, plugin: PluginProcess) -> None:
    """A result of a type that was not declared fails the test of results."""
    with pytest.raises(AssertionError):
        PluginContract().test_the_result_is_of_the_declared_type(
            core, plugin.address, describe(plugin.address), mischief(Mischief.KIND_WRONG_RESULT)
        )


def test_an_evil_path_is_found(core: FakeCore, plugin: PluginProcess) -> None:
    """A path that leaves the repository fails the test of files."""
    with pytest.raises(AssertionError):
        PluginContract().test_files_can_be_served(
            core, plugin.address, mischief(Mischief.KIND_EVIL_PATH)
        )


def test_a_wrong_type_is_found(core: FakeCore, plugin: PluginProcess) -> None:
    """A unit of a type that was not declared fails the test of units."""
    with pytest.raises(AssertionError):
        PluginContract().test_units_are_of_declared_types(
            core,
            plugin.address,
            describe(plugin.address),
            mischief(Mischief.KIND_WRONG_CONTENT_TYPE),
        )


def test_a_wrong_role_is_found(core: FakeCore, plugin: PluginProcess) -> None:
    """A change of what was not lent fails the test of roles."""
    with pytest.raises(AssertionError):
        PluginContract().test_only_what_was_lent_is_changed(
            core, plugin.address, mischief(Mischief.KIND_WRONG_ROLE)
        )


def test_giving_up_at_the_first_lost_answer_is_found(
    core: FakeCore, plugin: PluginProcess
) -> None:
    """A plugin that does not repeat a call whose answer was lost fails that test."""
    with pytest.raises(AssertionError):
        PluginContract().test_lost_answers_change_nothing(
            core, plugin.address, mischief(Mischief.KIND_UNSPECIFIED)
        )
