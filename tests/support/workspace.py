"""What the workspace consists of: its distributions, and the files that git keeps."""

import subprocess
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Distribution:
    """One installable part of the workspace."""

    folder: Path
    project: dict[str, Any]

    @property
    def name(self) -> str:
        return str(self.project["name"])

    @property
    def version(self) -> str:
        return str(self.project["version"])

    @property
    def package(self) -> Path:
        """The folder of the package that it installs."""
        (package,) = (
            path.parent
            for root in ("src", "python")
            for path in (self.folder / root).glob("*/__init__.py")
        )
        return package

    @property
    def is_generated(self) -> bool:
        return self.package.parent.name == "python"

    def requirements(self) -> list[Requirement]:
        """Everything it declares, extras included."""
        extras: dict[str, list[str]] = self.project.get("optional-dependencies", {})
        return [
            Requirement(line)
            for line in (*self.project["dependencies"], *(r for rs in extras.values() for r in rs))
        ]


@cache
def distributions() -> list[Distribution]:
    """List the distributions of the workspace, in a stable order."""
    root = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    return [
        Distribution(path.parent, tomllib.loads(path.read_text("utf-8"))["project"])
        for pattern in root["tool"]["uv"]["workspace"]["members"]
        for path in sorted(ROOT.glob(f"{pattern}/pyproject.toml"))
    ]


@cache
def tracked_files() -> list[Path]:
    """List the files that belong to the project: those git keeps, and those it would keep."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [ROOT / name for name in names.split("\0") if name and (ROOT / name).is_file()]
