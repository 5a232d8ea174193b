"""Run records: one JSON object per injection, one line each."""

import json
import subprocess
import time
from pathlib import Path
from typing import Any

from workspace import ROOT


class Journal:
    """Appends what happened in one run to a file.

    Args:
        path: The file; it and its folder are made.
        run: The facts that all lines share: the tier, the seed, the command.
    """

    def __init__(self, path: Path, **run: object) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a")
        self._run = run | {"commit": _commit()}

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def name_run(self, **run: object) -> None:
        """Change the facts that the lines to come share."""
        self._run |= run

    def write(self, **facts: object) -> None:
        """Append one line."""
        line = self._run | {"at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())} | facts
        self._file.write(json.dumps(line, default=str) + "\n")
        self._file.flush()


def read(paths: list[Path]) -> list[dict[str, Any]]:
    """Every line of these files."""
    return [json.loads(line) for path in paths for line in path.read_text().splitlines()]


def _commit() -> str:
    told = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return told.stdout.strip()
