"""`entrepot up`: it starts everything, says when, keeps it running, and leaves nothing behind."""

import os
import signal
import socket
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from polling import until
from rest import Rest
from stack import ENTREPOT, Stack, StackFactory
from upstream import Upstream

# One copy of each program, as `up` starts them.
EVERY_ROLE = ("postgres", "api", "dispatch", "gateway", "content", "plugin")


@pytest.fixture(scope="module")
def once() -> Iterator[Stack]:
    """One installation for this file, which tests stop, kill and start."""
    with Stack() as stack:
        yield stack


@pytest.fixture
def stack(once: Stack) -> Stack:
    """The installation, running."""
    if once.has_ended():
        once.start()
    until(lambda: _works(once), "the installation to be well")
    return once


def test_ready_means_served(a_stack: StackFactory) -> None:
    """When the ready line is printed, both origins answer and the plugin is there."""
    stack = a_stack()

    assert stack.api.get("status/")["problems"] == []
    assert [plugin["name"] for plugin in stack.api.everything("plugins/")] == ["plugins/file"]
    assert stack.content.request("GET", "/").status == 200
    assert any(f"ready http://{stack.http}" in line for line in stack.lines)


def test_the_token_is_for_its_owner_only(stack: Stack) -> None:
    """The token is made on the first start, in a file that nobody else can read."""
    path = stack.home / "token"

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(stack.token) >= 32
    assert stack.token not in stack.log


def test_data_and_token_stay(stack: Stack, upstream: Upstream) -> None:
    """After a stop and a start everything is as it was, the token included."""
    repository = stack.api.a_synced_repository(upstream)
    files, token = stack.api.files(repository), stack.token

    assert stack.stop() == 0
    stack.start()

    assert token == stack.token
    assert files == stack.api.files(repository)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_clean_stop_leaves_no_child(stack: Stack, number: signal.Signals) -> None:
    """SIGINT and SIGTERM end `up` with 0, and all it has started with it."""
    assert {role: bool(stack.process(role)) for role in EVERY_ROLE}

    code = stack.stop(number)

    assert code == 0
    assert stack.processes() == []


def test_a_stop_while_a_sync_runs(stack: Stack, upstream: Upstream) -> None:
    """A stop does not wait for a sync; after the next start the sync ends as one version."""
    api = stack.api
    repository, remote = api.a_repository(), api.a_remote(upstream)
    gate = upstream.hold("files/000005.bin")
    task = api.create("file/syncs", repository=repository["name"], remote=remote["name"])
    gate.wait_entered()

    assert stack.stop() == 0
    gate.open()
    stack.start()

    assert stack.api.finished(task)["state"] == "completed"
    assert stack.api.versions(repository) == [0, 1]


def test_kill_9_leaves_no_child(stack: Stack) -> None:
    """When `up` itself is killed, its children end by themselves, and it can start again."""
    stack.kill()

    until(lambda: not stack.processes(), "the children to end")
    stack.start()
    assert stack.api.get("status/")["problems"] == []


@pytest.mark.parametrize("role", ["api", "dispatch", "gateway", "content", "plugin", "postgres"])
def test_a_child_that_crashes_is_started_again(
    stack: Stack, upstream: Upstream, role: str
) -> None:
    """Whichever program is killed: it is started again, and a sync and a download work."""
    crashed = stack.process(role)

    crashed.kill()

    until(lambda: stack.process(role).pid != crashed.pid, f"another {role}")
    until(lambda: _works(stack), "the API to work", 60)
    repository = stack.api.a_synced_repository(upstream)
    base = stack.api.a_distribution(repository)["base_path"]
    until(lambda: _serves(stack, f"/{base}/files/000001.bin"), "content to be served")


@pytest.mark.parametrize("variable", ["ENTREPOT_HTTP", "ENTREPOT_CONTENT", "ENTREPOT_GRPC"])
def test_a_port_that_is_taken(variable: str, tmp_path: Path) -> None:
    """`up` on a taken port ends at once, and says which setting names another."""
    stack = Stack(home=tmp_path / "home")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        done = _up(stack, {variable: f"127.0.0.1:{port}"})

    assert done.returncode != 0
    assert str(port) in done.stderr
    assert variable in done.stderr
    assert "Traceback" not in done.stderr
    assert stack.processes() == []


def test_a_store_that_is_refused(stack: Stack) -> None:
    """`up` says which setting of the store is wrong, and nothing of the starts before."""
    stack.stop()

    done = _up(stack, {"ENTREPOT_BLOBS_URL": "s3://bucket?color=red"})

    _, _, error = done.stderr.partition("error: ")
    assert error.splitlines()[1:2] == [line for line in error.splitlines() if "color" in line]
    assert "secret-key" not in error


def test_a_setting_that_cannot_be(tmp_path: Path) -> None:
    """When a program cannot use a setting, `up` ends at once and says which, and what it takes."""
    stack = Stack(home=tmp_path / "home")

    done = _up(stack, {"ENTREPOT_PLUGIN_GRACE": "soon"})

    _, _, error = done.stderr.partition("error: ")
    assert done.returncode == os.EX_CONFIG
    assert 'ENTREPOT_PLUGIN_GRACE: "soon" is not a number of seconds from 0 to 86400.' in error
    assert len(error.splitlines()) == 1
    assert "starts again" not in done.stderr
    assert stack.processes() == []


def test_a_second_up_on_one_home(stack: Stack) -> None:
    """A second `up` on the same home refuses, and the first one is not disturbed."""
    second = Stack(home=stack.home)

    done = _up(second, {})

    assert done.returncode != 0
    assert str(stack.home) in done.stderr
    assert stack.api.get("status/")["problems"] == []


def test_a_given_token_is_used(stack: Stack) -> None:
    """With ENTREPOT_TOKEN no other token opens the API."""
    stack.stop()
    stack.extra["ENTREPOT_TOKEN"] = "a-token-from-the-environment"
    stack.start()

    with_it = Rest(stack.api_url, "a-token-from-the-environment").request("GET", "repositories/")
    without = Rest(stack.api_url, "another").request("GET", "repositories/")

    stack.stop()
    del stack.extra["ENTREPOT_TOKEN"]
    assert (with_it.status, without.status) == (200, 401)


def _up(stack: Stack, extra: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ENTREPOT, "up"],
        env=stack.environment | extra,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def _works(stack: Stack) -> bool:
    try:
        status = stack.api.request("GET", "status/", timeout=30)
    except OSError:
        return False
    return status.status == 200 and status.json["problems"] == []


def _serves(stack: Stack, path: str) -> bool:
    try:
        return stack.content.request("GET", path, timeout=30).status == 200
    except OSError:
        return False
