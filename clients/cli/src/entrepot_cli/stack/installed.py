"""The programs of Entrepot that are installed in this environment."""

import shutil
import sys
from importlib.metadata import entry_points
from pathlib import Path

from entrepot_cli.outcome import StartError


class NotInstalledError(StartError):
    """A program is missing; the message says what to install."""


def program(name: str) -> str:
    """The path of one of our programs: the one beside this Python, else the one on the PATH."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise NotInstalledError(f"{name} is not installed: pip install 'entrepot[local]'.")
    return found


def plugins() -> dict[str, tuple[str, ...]]:
    """How to start each installed plugin, by name."""
    found: dict[str, tuple[str, ...]] = {}
    for entry in sorted(entry_points(group="entrepot.plugins"), key=lambda entry: entry.name):
        try:
            found[entry.name] = (program(f"entrepot-plugin-{entry.name}"),)
        except NotInstalledError:
            found[entry.name] = (sys.executable, "-m", entry.module.removesuffix(".__main__"))
    return found
