"""Failpoints fire where, when and as often as they are told."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from entrepot_rpc import failpoints
from entrepot_rpc.errors import ServiceError
from entrepot_rpc.failpoints import arm, configure, failpoint


@pytest.fixture(autouse=True)
def _none_left() -> Iterator[None]:
    yield
    configure("")


def fires(name: str, *, reply: bool = False) -> bool:
    """Whether a failpoint that raises does so now."""
    try:
        failpoint(name, reply=reply)
    except ServiceError:
        return True
    return False


def test_nothing_fires_when_none_is_set() -> None:
    """Without a setting every failpoint does nothing."""
    assert not any(fires(name) for name in failpoints.NAMES)


@pytest.mark.parametrize(
    "text",
    [
        "no.such=kill",
        "commit.committed=explode",
        "commit.committed",
        "commit.committed=sleep(long)",
        "commit.committed=fail(errorcode)",
        "commit.committed=raise%1.2.3",
        "commit.committed=raise%2",
    ],
)
def test_a_name_or_action_there_is_not_is_refused(text: str) -> None:
    """A setting that would silently do nothing is an error."""
    with pytest.raises(ValueError, match=re.escape(text)):
        configure(text)


def test_a_note_says_who_came_by_and_when(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`note` appends a line with the time, the name and the process, and nothing else happens."""
    monkeypatch.setenv("ENTREPOT_FAILPOINT_DIR", str(tmp_path))
    configure("commit.committed=note;stage.locked=note")
    began = time.monotonic()

    failpoint("stage.locked")
    failpoint("commit.committed")

    lines = [line.split() for line in (tmp_path / "notes").read_text().splitlines()]
    assert [["stage.locked", str(os.getpid())], ["commit.committed", str(os.getpid())]] == [
        line[1:] for line in lines
    ]
    first, second = (float(line[0]) for line in lines)
    assert began - 0.001 <= first <= second <= time.monotonic()


def test_a_count_limits_how_often() -> None:
    """`raise*2` fires twice."""
    configure("commit.committed=raise*2")

    assert [True, True, False] == [fires("commit.committed") for _ in range(3)]


def test_a_start_says_from_when_on() -> None:
    """`raise@3` fires from the third time on."""
    configure("commit.committed=raise@3")

    assert [False, False, True, True] == [fires("commit.committed") for _ in range(4)]


def test_a_lost_reply_needs_a_reply() -> None:
    """`drop_reply` fires only where the work is done and the answer is not yet sent."""
    configure("stage.committed=drop_reply")

    assert (False, True) == (fires("stage.committed"), fires("stage.committed", reply=True))


def test_a_reason_is_raised_as_asked() -> None:
    """`raise(REASON)` raises an error with that reason."""
    configure("commit.committed=raise(STORAGE_FULL)")

    with pytest.raises(ServiceError) as raised:
        failpoint("commit.committed")
    assert raised.value.reason == "STORAGE_FULL"


def test_a_folder_counts_over_processes(tmp_path: Path) -> None:
    """With a folder, `kill*1` kills the first process that comes by, and no other."""
    environment = {
        **os.environ,
        "ENTREPOT_FAILPOINTS": "commit.committed=kill*1",
        "ENTREPOT_FAILPOINT_DIR": str(tmp_path),
    }
    program = (
        "from entrepot_rpc.failpoints import arm, failpoint; arm(); failpoint('commit.committed')"
    )

    ends = [
        subprocess.run([sys.executable, "-c", program], env=environment, check=False).returncode
        for _ in range(2)
    ]

    assert ends == [-signal.SIGKILL, 0]


@pytest.mark.parametrize("text", ["ask", "stage.locked=hold", "stage.locked=kill*1"])
def test_a_folder_that_is_none_is_refused(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What needs a folder is refused without one, by the name of the setting."""
    monkeypatch.setenv("ENTREPOT_FAILPOINTS", text)
    monkeypatch.setenv("ENTREPOT_FAILPOINT_DIR", str(tmp_path / "none"))

    with pytest.raises(ValueError, match=r"^ENTREPOT_FAILPOINT_DIR: "):
        arm()


def test_what_is_armed_fires_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `ask`, what is armed in the folder is done by the first to come, and only there."""
    monkeypatch.setenv("ENTREPOT_FAILPOINT_DIR", str(tmp_path))
    configure("ask")
    (tmp_path / "claim.committed.armed").write_text("raise")

    fired = [fires("claim.inserted"), fires("claim.committed"), fires("claim.committed")]

    assert fired == [False, True, False]
    assert (tmp_path / f"claim.committed.{os.getpid()}").exists()


def test_a_full_disk_can_be_played() -> None:
    """`fail` raises the error of the system that it names."""
    configure("bytes.opened=fail(ENOSPC)*1")

    with pytest.raises(OSError, match="No space left"):
        failpoint("bytes.opened")
