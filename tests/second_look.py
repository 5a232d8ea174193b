"""CI's second look at what failed, by itself and with nothing beside it.

Of thousands of tests beside each other one may fail by a chance of the machine. A few are run
again alone, and are red when they are red again; what was red once stands in the output either
way, to be mended. Many that fail are no chance, and neither is a run that did not end.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

AT_MOST = 3
"""So many failures may be chance."""

TESTS_FAILED = 1
"""The exit status of a pytest that ran to its end (https://docs.pytest.org/en/stable/reference/exit-codes.html)."""


def main(arguments: list[str]) -> int:
    """Runs pytest with the arguments; the exit status of it, or of the second look."""
    pytest = [sys.executable, "-m", "pytest"]
    with tempfile.TemporaryDirectory() as cache:
        own_cache = ["-o", f"cache_dir={cache}"]
        status = subprocess.run([*pytest, *own_cache, *arguments], check=False).returncode
        failed = _failed(Path(cache))
    if status != TESTS_FAILED or not 0 < len(failed) <= AT_MOST:
        return status
    print("\nA second look, alone, at:", *failed, sep="\n  ", flush=True)
    status = subprocess.run([*pytest, *failed], check=False).returncode
    if status == 0:
        print("Red once and not again; mend what makes it so.", flush=True)
    return status


def _failed(cache: Path) -> list[str]:
    try:
        return list(json.loads((cache / "v/cache/lastfailed").read_text()))
    except FileNotFoundError:
        return []


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
