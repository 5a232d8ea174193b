"""`entrepot up` with programs that only pretend: what it starts, tells, hides and leaves."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from polling import until
from process import Process, processes_of

PROGRAMS = Path(__file__).with_name("programs.py")


class Up:
    """A run of `up`, with its own home, on ports that are free."""

    def __init__(self, home: Path, *words: str, **environment: str) -> None:
        self.home = home
        kept = {name: value for name, value in os.environ.items() if "ENTREPOT" not in name}
        ports = dict.fromkeys(
            ("ENTREPOT_HTTP", "ENTREPOT_CONTENT", "ENTREPOT_GRPC"), "127.0.0.1:0"
        )
        self.process = subprocess.Popen(
            [sys.executable, PROGRAMS, *words],
            env={**kept, **ports, "ENTREPOT_HOME": str(home), **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def ready(self) -> str:
        """The ready line."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """Send a signal, and return the exit status and what was said on stderr."""
        self.process.send_signal(number)
        _, said = self.process.communicate(timeout=30)
        return self.process.returncode, said

    def facts(self, role: str) -> list[dict[str, Any]]:
        """What the programs of a role have told about themselves."""
        try:
            lines = (self.home / "facts.jsonl").read_text().splitlines()
        except FileNotFoundError:
            return []
        return [fact for line in lines if (fact := json.loads(line))["role"] == role]

    def children(self) -> list[Process]:
        """What runs of it."""
        return [one for one in processes_of(self.home) if one.pid != self.process.pid]


@pytest.fixture
def home() -> Iterator[Path]:
    """A home with a short path, because of the socket in it."""
    with tempfile.TemporaryDirectory(prefix="entrepot-") as folder:
        yield Path(folder) / "home"


@pytest.fixture
def up(home: Path) -> Iterator[Up]:
    """A run that is ready, without a database, which the programs do not need."""
    yield from running(Up(home, ENTREPOT_DATABASE_URL="postgresql://elsewhere/entrepot"))


@pytest.fixture
def whole(home: Path) -> Iterator[Up]:
    """A run that is ready, with its own PostgreSQL."""
    yield from running(Up(home))


def running(up: Up) -> Iterator[Up]:
    """Wait until it is ready, and end it after the test."""
    assert up.ready().startswith("ready http://127.0.0.1:")
    yield up
    if up.process.poll() is None:
        up.stop()
    for stream in (up.process.stdout, up.process.stderr):
        assert stream is not None
        stream.close()


def test_the_plugin_is_registered_when_it_is_ready(up: Up) -> None:
    """The ready line comes after the plugin is registered, at the address it has said."""
    plugin, created = up.facts("plugin")[0], up.facts("created")[0]

    assert created["target"] == f"127.0.0.1:{plugin['pid']}"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_everything(whole: Up, number: signal.Signals) -> None:
    """SIGINT and SIGTERM end it with 0, and nothing of it runs any more."""
    code, said = whole.stop(number)

    assert (code, whole.children()) == (0, [])
    assert "Traceback" not in said


def test_kill_9_ends_everything(whole: Up) -> None:
    """When it is killed itself, the kernel ends its children, and the next start succeeds."""
    whole.process.kill()
    whole.process.wait()

    until(lambda: not whole.children(), "the end of the children", 20)
    again = Up(whole.home)
    assert again.ready().startswith("ready ")
    assert again.stop()[0] == 0


def test_a_plugin_that_crashes_comes_back_elsewhere(up: Up) -> None:
    """A plugin that is killed is started again, and core is told its new address."""
    first = up.facts("plugin")[0]["pid"]

    os.kill(first, signal.SIGKILL)

    updated = until(lambda: next(iter(up.facts("updated")), None), "the new address")
    assert updated["target"] != f"127.0.0.1:{first}"


def test_core_that_crashes_comes_back(up: Up) -> None:
    """Core that is killed is started again."""
    os.kill(up.facts("api")[0]["pid"], signal.SIGKILL)

    until(lambda: len(up.facts("api")) == 2, "another core")


def test_secrets_are_only_where_they_are_needed(up: Up) -> None:
    """No command line has the token, and a plugin's environment has no key at all."""
    token = (up.home / "token").read_text().strip()
    commands = [one.text for one in processes_of(up.home)]
    plugin = up.facts("plugin")[0]["environment"]
    core = up.facts("dispatch")[0]["environment"]

    assert not any(token in command for command in commands)
    assert not {"ENTREPOT_TOKEN", "ENTREPOT_CONTENT_TOKEN", "ENTREPOT_DATABASE_URL"} & set(plugin)
    assert core["ENTREPOT_TOKEN"] == token
    assert core["ENTREPOT_CONTENT_TOKEN"] == up.facts("content")[0]["environment"].get(
        "ENTREPOT_CONTENT_TOKEN"
    )


def test_no_log_has_the_token(up: Up) -> None:
    """Neither the terminal nor the files show the token."""
    token = (up.home / "token").read_text().strip()
    _, said = up.stop()

    logs = [path.read_text() for path in (up.home / "logs").iterdir()]
    assert not any(token in text for text in [said, *logs])


def test_every_program_has_a_log(whole: Up) -> None:
    """What each program says is in a file of its own."""
    expected = {
        "core-api",
        "dispatch",
        "gateway-api",
        "gateway-content",
        "plugin-fake",
        "postgres",
    }

    assert expected <= {path.stem for path in (whole.home / "logs").iterdir()}


def test_a_second_one_on_the_same_home_refuses(up: Up) -> None:
    """A second `up` says who has the home, and the first goes on."""
    second = Up(up.home)
    _, said = second.process.communicate(timeout=30)

    assert second.process.returncode == 1
    assert f"{up.home} already, as process {up.process.pid}" in said
    assert up.process.poll() is None


def test_a_port_that_is_taken_is_named_before_anything_starts(home: Path) -> None:
    """The error names the address and the setting, and no data folder was made."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"

        up = Up(home, ENTREPOT_CONTENT=address)
        _, said = up.process.communicate(timeout=30)

    assert up.process.returncode == 1
    assert said.startswith(f"error: {address} is taken")
    assert "ENTREPOT_CONTENT" in said
    assert not (home / "postgres").exists()


def test_several_dispatchers(home: Path) -> None:
    """--dispatchers starts as many."""
    up = Up(home, "--dispatchers", "2", ENTREPOT_DATABASE_URL="postgresql://elsewhere/entrepot")
    up.ready()

    assert len(up.facts("dispatch")) == 2
    up.stop()


def test_another_database_needs_no_server_of_ours(up: Up) -> None:
    """With ENTREPOT_DATABASE_URL no PostgreSQL is started, and core gets the URL."""
    given = up.facts("dispatch")[0]["environment"]["ENTREPOT_DATABASE_URL"]

    assert given == "postgresql://elsewhere/entrepot"
    assert not (up.home / "postgres").exists()
