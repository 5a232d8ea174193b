"""Nothing in the project points to the machine it was written on, or to one registry."""

import re
from pathlib import Path

import pytest

from workspace import ROOT, tracked_files

MACHINE_PATH = re.compile(r"(?<![\w.$}~>/-])/(?:work|root|home/[\w-]+)/")
ADDRESS = re.compile(r"\w+://|--(?:extra-)?index-url|--find-links")

LOCKS = sorted((ROOT / "requirements").iterdir())


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.name)
def test_lock_names_no_registry(path: Path) -> None:
    """The lock says what to install, and leaves it to the installer from where."""
    lines = [line for line in path.read_text("utf-8").splitlines() if ADDRESS.search(line)]

    assert lines == []


def test_no_file_names_a_path_of_one_machine() -> None:
    """No tracked file holds an absolute path into somebody's home or working directory."""
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in tracked_files()
        for number, line in enumerate(path.read_bytes().decode("utf-8", "replace").splitlines(), 1)
        if MACHINE_PATH.search(line)
    ]

    assert found == []
