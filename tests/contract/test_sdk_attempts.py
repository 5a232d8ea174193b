"""What the SDK does for authors: seen from core, with the graph plugin as author."""

from collections import Counter
from collections.abc import Iterator, Sequence
from threading import Event

import pytest
from google.rpc import error_details_pb2

from entrepot.plugin.v1.plugin_tasks_pb2 import Failed
from entrepot.type.v1.content_pb2 import ContentUnit
from entrepot_rpc.errors import Code
from entrepot_sdk.testing import FakeCore, Faults, PluginProcess, Scenario, repository, unit
from entrepot_test_graph.fixtures import GRAPH_COMMAND, GRAPH_ENVIRONMENT, start_graph_plugin
from entrepot_test_graph.graph_pb2 import Growth, Leaf, Mischief, Move, Node, Wait

REPOSITORY = "repositories/graph/one"


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


def a_wait(*, blocking: bool = False, seconds: float = 0, leaves: int = 0) -> Scenario:
    """Make a task that waits."""
    return Scenario(
        name="wait",
        task_type="graph/waits",
        parameters=Wait(repository=REPOSITORY, seconds=seconds, blocking=blocking, leaves=leaves),
        resources=[repository()],
    )


def a_growth(**parts: object) -> Scenario:
    """Make a task that stages a graph."""
    return Scenario(
        name="growth",
        task_type="graph/growths",
        parameters=Growth(repository=REPOSITORY, **parts),  # type: ignore[arg-type]
        resources=[repository()],
    )


def a_move(units: Sequence[ContentUnit]) -> Scenario:
    """Make a task that moves units from one repository to another."""
    return Scenario(
        name="move",
        task_type="graph/moves",
        parameters=Move(giver=REPOSITORY, taker="repositories/graph/two"),
        resources=[repository("giver"), repository("taker", name="repositories/graph/two")],
        content={"giver": units},
    )


def reason_of(failure: Failed) -> error_details_pb2.ErrorInfo:
    """Return the reason of a failure."""
    info = error_details_pb2.ErrorInfo()
    assert any(detail.Unpack(info) for detail in failure.status.details)
    return info


def test_work_that_blocks_its_thread_is_alive(core: FakeCore, plugin: PluginProcess) -> None:
    """Author code that holds its thread does not keep the plugin from saying that it lives."""
    attempt = core.lend(a_wait(blocking=True, seconds=30))
    execution = core.start(plugin.address, attempt.request(heartbeat_seconds=0.4))

    assert execution.wait_for_events(6)
    execution.cancel()

    outcome = execution.outcome()
    assert outcome.kinds.count("heartbeat") >= 4
    assert outcome.verdict == ""


def test_work_that_blocks_its_thread_can_be_canceled(
    core: FakeCore, plugin: PluginProcess
) -> None:
    """The stream of a canceled attempt ends at once, whatever author code does."""
    attempt = core.lend(a_wait(blocking=True, seconds=30, leaves=600))
    attempt.faults.cancel_at = "StageChanges"

    outcome = core.execute(plugin.address, attempt.request(), seconds=10)

    assert outcome.error is not None
    assert outcome.error.reason == "CANCELED"


def test_a_fault_shows_no_trace(core: FakeCore, plugin: PluginProcess) -> None:
    """An error of the plugin's own is said to be one; the trace is in the log alone."""
    plant = Growth.Plant(name="a")
    relation = Growth.Relation(holder="a", target="b", kind="loves")
    attempt = core.lend(a_growth(plants=[plant], relations=[relation]))

    outcome = core.execute(plugin.address, attempt.request(task="tasks/faulty"))

    failure = outcome.events[-1].failed
    assert reason_of(failure).reason == "PLUGIN_FAULT"
    assert reason_of(failure).domain == "graph.plugins.entrepot"
    assert "KeyError" not in str(failure)
    assert any(
        "KeyError" in line and '"task": "faulty"' in line for line in plugin.logs().split("\n")
    )


def test_a_plugin_without_memory_asks_for_another_attempt(core: FakeCore) -> None:
    """What the process lacks is a fault that may pass; core repeats the task."""
    lacks = {**GRAPH_ENVIRONMENT, "ENTREPOT_FAILPOINTS": "plugin.opened=fail(ENOMEM)"}
    attempt = core.lend(a_growth())
    with PluginProcess(GRAPH_COMMAND, core.address, environment=lacks) as plugin:
        outcome = core.execute(plugin.address, attempt.request())

    failure = outcome.events[-1].failed
    assert (reason_of(failure).reason, failure.retryable) == ("PLUGIN_FAULT", True)


def test_a_unit_of_another_type_is_a_fault(core: FakeCore, plugin: PluginProcess) -> None:
    """When core yields what was not asked for, the attempt fails instead of guessing."""
    leaf = unit(Leaf(name="x"), name="content/graph/leaves/x")
    attempt = core.lend(a_move([leaf]))

    outcome = core.execute(plugin.address, attempt.request())

    assert reason_of(outcome.events[-1].failed).reason == "PLUGIN_FAULT"
    assert attempt.changes == {}


def test_a_large_read_goes_on_after_each_break(core: FakeCore, plugin: PluginProcess) -> None:
    """A read that breaks after every batch yields each unit once."""
    nodes = [
        unit(Node(name=f"n{number}"), name=f"content/graph/nodes/{number}")
        for number in range(1000)
    ]
    attempt = core.lend(a_move(nodes), Faults(break_streams=Counter({"ReadContent": 5})))

    outcome = core.execute(plugin.address, attempt.request())

    assert outcome.verdict == "completed"
    assert attempt.violations == []
    moved = [name for change in attempt.changes.values() for name in change.removes]
    assert sorted(moved) == sorted(one.name for one in nodes)
    assert sum(len(change.adds) for change in attempt.changes.values()) == 1000


def test_batches_are_large_and_few_are_under_way(core: FakeCore, plugin: PluginProcess) -> None:
    """Units go to core in batches of up to 500, four of them at a time."""
    released = Event()
    attempt = core.lend(
        a_growth(plants=[Growth.Plant(name=f"{n}", is_leaf=True) for n in range(5000)]),
        Faults(hold={"StageChanges": released}),
    )
    execution = core.start(plugin.address, attempt.request())
    assert attempt.wait_for_calls("StageChanges", 4)
    under_way = sum(call.rpc == "StageChanges" for call in attempt.calls)
    released.set()

    assert execution.outcome().verdict == "completed"
    assert under_way == 4
    sizes = [len(change.adds) for _, change in sorted(attempt.changes.items())]
    assert sizes == [50, 100, 200, 400, *[500] * 8, 250]


def test_the_state_of_a_version_comes_and_goes(core: FakeCore, plugin: PluginProcess) -> None:
    """What is kept with a version is lent to the next task."""
    scenario = Scenario(
        name="growth",
        task_type="graph/growths",
        parameters=Growth(repository=REPOSITORY, state="after"),
        resources=[repository(state=b"before")],
    )

    verdict = core.execute(plugin.address, core.lend(scenario).request()).events[-1].completed

    assert verdict.states["repository"] == b"after"
    assert b"before" in verdict.result.value


def test_a_core_that_ends_is_asked_again(core: FakeCore, plugin: PluginProcess) -> None:
    """A call that core cancels as it is started anew does not end the attempt."""
    attempt = core.lend(a_growth(state="after"))
    attempt.faults.end_calls["OpenWorkspace"] = 2

    (*_, last) = core.execute(plugin.address, attempt.request()).events

    assert last.WhichOneof("event") == "completed"
    assert [call.rpc for call in attempt.calls][:3] == ["OpenWorkspace"] * 3


def test_a_store_that_fails_ends_the_attempt(core: FakeCore, plugin: PluginProcess) -> None:
    """Core has been patient with its store already: the attempt fails at once, to be repeated."""
    attempt = core.lend(a_growth(state="after"))
    attempt.faults.fail_storage["OpenWorkspace"] = 1

    (*_, last) = core.execute(plugin.address, attempt.request()).events

    assert last.failed.retryable
    assert reason_of(last.failed).reason == "STORAGE_FAILED"
    assert [call.rpc for call in attempt.calls] == ["OpenWorkspace"]


@pytest.mark.parametrize(
    ("kind", "kinds", "code"),
    [
        (Mischief.KIND_TWO_VERDICTS, ["heartbeat", "completed", "completed"], None),
        (Mischief.KIND_NO_VERDICT, ["heartbeat"], None),
        (Mischief.KIND_BREAK_STREAM, ["heartbeat"], Code.UNAVAILABLE),
        (Mischief.KIND_REFUSE, [], Code.RESOURCE_EXHAUSTED),
        (Mischief.KIND_FOREIGN_TOKEN, ["heartbeat"], Code.UNAUTHENTICATED),
        (Mischief.KIND_FAIL_RETRYABLE, ["heartbeat", "failed"], None),
        (Mischief.KIND_WRONG_RESULT, ["heartbeat", "completed"], None),
        (Mischief.KIND_REUSE_SEQUENCE, ["heartbeat"], Code.ALREADY_EXISTS),
    ],
)
def test_mischief_does_what_it_says(
    core: FakeCore,
    plugin: PluginProcess,
    kind: Mischief.Kind.ValueType,
    kinds: list[str],
    code: Code | None,
) -> None:
    """Each breach of the contract is one, so that tests of core can rely on it."""
    scenario = Scenario(
        name="mischief",
        task_type="graph/mischiefs",
        parameters=Mischief(repository=REPOSITORY, kind=kind),
        resources=[repository()],
    )

    outcome = core.execute(plugin.address, core.lend(scenario).request())

    assert outcome.kinds == kinds
    assert (outcome.error.code if outcome.error else None) == code


def test_mischief_ends_after_its_times(core: FakeCore, plugin: PluginProcess) -> None:
    """A mischief for one attempt completes in the second."""
    scenario = Scenario(
        name="mischief",
        task_type="graph/mischiefs",
        parameters=Mischief(repository=REPOSITORY, kind=Mischief.KIND_NO_VERDICT, times=1),
        resources=[repository()],
    )

    first = core.execute(plugin.address, core.lend(scenario).request(attempt=1))
    second = core.execute(plugin.address, core.lend(scenario).request(attempt=2))

    assert first.verdict == ""
    assert second.verdict == "completed"


def test_a_crash_is_a_crash(core: FakeCore) -> None:
    """The process that is told to crash is gone, and core sees a broken stream."""
    scenario = Scenario(
        name="crash",
        task_type="graph/mischiefs",
        parameters=Mischief(repository=REPOSITORY, kind=Mischief.KIND_CRASH_AFTER_STAGING),
        resources=[repository()],
    )
    with start_graph_plugin(core.address) as process:
        attempt = core.lend(scenario)
        outcome = core.execute(process.address, attempt.request())

        assert process.wait() == 1
    assert outcome.error is not None
    assert outcome.error.code == Code.UNAVAILABLE
    assert len(attempt.changes) == 1
