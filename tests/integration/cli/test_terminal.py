"""The command line on a terminal: bars, and what Ctrl-C does the first and the second time."""

import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest

from entrepot.core.v1 import task_service_pb2
from entrepot.type.v1 import progress_pb2
from polling import until
from scripted_core import FakeCore, a_task
from terminal import CONTROL_C, Terminal

Task = task_service_pb2.Task
ENTREPOT = [
    sys.executable,
    "-c",
    "import sys; from entrepot_cli.app import main; sys.exit(main())",
]
SYNC = [*ENTREPOT, "run", "file/syncs", "--repository", "foo", "--remote", "bar"]


class LongTask:
    """A task that counts to half, and goes on when a test says so."""

    def __init__(self, core: FakeCore) -> None:
        self.goes_on = threading.Event()
        self._canceled = threading.Event()
        waiting = task_service_pb2.CreateTaskResponse(task=a_task(state=Task.STATE_WAITING))
        core.answers |= {
            "CreateTask": lambda _: waiting,
            "WatchTask": self.watch,
            "CancelTask": self.cancel,
        }
        self._core = core

    def watch(self, _: Any) -> Iterator[Any]:  # noqa: ANN401
        """Half, then the end."""
        progress = progress_pb2.Progress(
            code="sync.download", message="Downloading [x]", done=5, total=10
        )
        running = a_task(state=Task.STATE_RUNNING, progress=[progress])
        yield task_service_pb2.WatchTaskResponse(task=running, sequence=1)
        self.goes_on.wait(30)
        state = Task.STATE_CANCELED if self._canceled.is_set() else Task.STATE_COMPLETED
        yield task_service_pb2.WatchTaskResponse(task=a_task(state=state), sequence=2)

    def cancel(self, _: Any) -> Any:  # noqa: ANN401
        """End it."""
        self._canceled.set()
        self.goes_on.set()
        return task_service_pb2.CancelTaskResponse(task=a_task(state=Task.STATE_RUNNING))

    @property
    def cancels(self) -> int:
        """How often somebody asked it to stop."""
        return len(self._core.asked(task_service_pb2.CancelTaskRequest))


@pytest.fixture
def core() -> FakeCore:
    """A scripted core."""
    return FakeCore()


@pytest.fixture
def task(core: FakeCore) -> LongTask:
    """A task that takes its time."""
    return LongTask(core)


@pytest.fixture
def environment(core: FakeCore, task: LongTask) -> Iterator[Mapping[str, str]]:
    """The environment of a command that talks to it."""
    home = Path(tempfile.mkdtemp(prefix="entrepot-"))
    with futures.ThreadPoolExecutor(max_workers=8) as pool:
        server = grpc.server(pool, handlers=[core])
        server.add_insecure_port(f"unix://{home}/core.sock")
        server.start()
        kept = {name: value for name, value in os.environ.items() if "ENTREPOT" not in name}
        yield {
            **kept,
            "ENTREPOT_HOME": str(home),
            "ENTREPOT_GRPC": f"unix://{home}/core.sock",
            "XDG_CACHE_HOME": str(home),
        }
        task.goes_on.set()
        server.stop(0).wait()
    shutil.rmtree(home)


def test_a_bar_shows_how_far_it_is(environment: Mapping[str, str], task: LongTask) -> None:
    """On a terminal a phase has a bar with its count, and text in it is only text."""
    with Terminal(SYNC, environment) as terminal:
        terminal.expect("Downloading [x]")
        terminal.expect("5 of 10")
        task.goes_on.set()

        assert terminal.end() == 0


def test_control_c_lets_go(environment: Mapping[str, str], task: LongTask) -> None:
    """The first Ctrl-C ends the command and not the task, and says how to come back."""
    with Terminal(SYNC, environment) as terminal:
        terminal.expect("5 of 10")
        terminal.press(CONTROL_C)
        terminal.expect("entrepot task watch 0190")

        assert terminal.end() == 130
        assert "Traceback" not in terminal.shown
    assert task.cancels == 0


def test_control_c_twice_cancels(environment: Mapping[str, str], task: LongTask) -> None:
    """A second Ctrl-C asks the task to stop, and waits for its end."""
    with Terminal(SYNC, environment) as terminal:
        terminal.expect("5 of 10")
        terminal.press(CONTROL_C)
        terminal.expect("once more")
        terminal.press(CONTROL_C)

        assert terminal.end() == 1
        assert "canceled" in terminal.shown
    until(lambda: task.cancels == 1, "the request to cancel")


def test_no_colour_when_it_is_not_wanted(environment: Mapping[str, str], task: LongTask) -> None:
    """NO_COLOR holds on a terminal too."""
    with Terminal(SYNC, {**environment, "NO_COLOR": "1"}) as terminal:
        terminal.expect("5 of 10")
        task.goes_on.set()
        terminal.end()

    assert "\x1b[3" not in terminal.shown
