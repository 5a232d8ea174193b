"""What CI makes of tests that fail: chance is looked at twice, and a fault stays one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

SECOND_LOOK = Path(__file__).parents[1] / "second_look.py"


@pytest.mark.parametrize(
    ("body", "status", "looks"),
    [
        pytest.param("assert True", 0, 0, id="green"),
        pytest.param("assert look() > 1", 0, 2, id="red once"),
        pytest.param("assert not look()", 1, 2, id="red twice"),
        pytest.param("import os; look(); os._exit(9)", 9, 1, id="a run that did not end"),
    ],
)
def test_one_failure_is_looked_at_twice(
    tmp_path: Path, body: str, status: int, looks: int
) -> None:
    """Red is what is red both times; a run that broke off is not saved by a second."""
    assert _run(tmp_path, body, count=1) == (status, looks)


def test_many_failures_are_no_chance(tmp_path: Path) -> None:
    """Four that fail are looked at once, although they would be green the second time."""
    assert _run(tmp_path, "assert look() > 4", count=4) == (1, 4)


def _run(folder: Path, body: str, *, count: int) -> tuple[int, int]:
    """The exit status, and how often the tests looked."""
    source = dedent(
        """
        import pathlib

        def look():
            with open(pathlib.Path(__file__).parent / "looks", "a+") as looks:
                looks.write("x")
                return looks.tell()
        """
    )
    tests = "".join(f"\n\ndef test_{number}():\n    {body}\n" for number in range(count))
    (folder / "test_it.py").write_text(source + tests)
    (folder / "pytest.ini").write_text("[pytest]\n")
    done = subprocess.run(
        [sys.executable, SECOND_LOOK, "-q", "test_it.py"],
        cwd=folder,
        check=False,
        capture_output=True,
        text=True,
    )
    looks = folder / "looks"
    return done.returncode, len(looks.read_text()) if looks.exists() else 0
