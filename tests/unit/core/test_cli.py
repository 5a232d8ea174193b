"""A core process ends as a whole, or not at all."""

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
