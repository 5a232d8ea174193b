"""A core process ends as a whole, or not at all."""

import os
import signal
import subprocess
import sys

PROGRAM = """
import threading
from entrepot_core.cli import _stop_signal

def fail():
    raise RuntimeError("the claimer met something new")

stop = _stop_signal()
threading.Thread(target=fail, name="claimer").start()
assert stop.wait(30)
"""


def test_a_process_stops_when_one_of_its_threads_dies() -> None:
    """A thread that dies of something unforeseen is logged by name, and stops its process."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0
    assert "thread.died" in done.stdout + done.stderr
    assert "claimer" in done.stdout + done.stderr


CRIPPLED = """
import threading
from entrepot_core import cli

def fail():
    raise RuntimeError("can't start new thread")

cli._DYING_SECONDS = 1
stop = cli._stop_signal()
threading.Thread(target=fail, name="server").start()
# What waits for the thread that has died.
threading.Event().wait()
"""


def test_a_process_that_cannot_stop_any_more_is_ended() -> None:
    """What is left after a thread died may wait for it for ever: the system ends the process."""
    done = subprocess.run(
        [sys.executable, "-c", CRIPPLED], capture_output=True, check=False, timeout=60
    )

    assert done.returncode == -signal.SIGALRM


def test_a_network_that_is_none_is_named() -> None:
    """A mistake in the networks to refuse ends the start, and names setting and mistake."""
    done = subprocess.run(
        [sys.executable, "-m", "entrepot_core", "api"],
        env={**os.environ, "ENTREPOT_REFUSED_NETWORKS": "fd00::/8,10.0.0.5/8"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == os.EX_CONFIG
    assert 'ENTREPOT_REFUSED_NETWORKS: "10.0.0.5/8" is not a network' in done.stderr
    assert "Traceback" not in done.stderr
