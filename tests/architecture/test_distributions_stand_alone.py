"""A plugin is deployed alone, so every distribution must work with just what it asks for."""

import shutil
import subprocess
from pathlib import Path

import pytest

from workspace import ROOT, Distribution, distributions

UV = shutil.which("uv") or str(ROOT / ".venv/bin/uv")
IMPORT_ALL = """
import importlib, pkgutil, sys
package = importlib.import_module(sys.argv[1])
for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    if not module.name.endswith("__main__") and ".testing" not in module.name:
        importlib.import_module(module.name)
"""


def with_ours(distribution: Distribution) -> list[Distribution]:
    """The distribution and those of ours that it needs, without extras."""
    by_name = {found.name: found for found in distributions()}
    wanted = [distribution]
    for found in wanted:
        names = [line.split()[0] for line in found.project["dependencies"]]
        wanted += [by_name[n] for n in names if n in by_name and by_name[n] not in wanted]
    return wanted


@pytest.mark.parametrize("distribution", distributions(), ids=lambda found: found.name)
def test_a_distribution_installed_alone_imports_every_module(
    distribution: Distribution, tmp_path: Path
) -> None:
    """With its declared requirements only, every module of a distribution can be imported."""
    environment = tmp_path / "venv"
    lock = ROOT / "requirements/runtime.txt"
    folders = [str(found.folder) for found in with_ours(distribution)]
    commands: list[list[str | Path]] = [
        [UV, "venv", "--quiet", environment],
        [UV, "pip", "install", "--quiet", "--python", environment, "-c", lock, *folders],
        [environment / "bin/python", "-W", "error", "-c", IMPORT_ALL, distribution.package.name],
    ]
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
