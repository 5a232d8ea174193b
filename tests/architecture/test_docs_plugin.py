"""The plugin that docs/how-to/write-a-plugin.md builds is one: its code runs as it is printed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from workspace import ROOT

PAGE = (ROOT / "docs" / "how-to" / "write-a-plugin.md").read_text("utf-8")
# A block that is a file has its path after the language.
FILE = re.compile(r"^```\w+ (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TRANSCRIPT = re.compile(r"^```console\n\$ (.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the page's files, each block with a path for its title."""
    for title, text in FILE.findall(PAGE):
        path = tmp_path / title
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return tmp_path


def run(script: str, folder: Path) -> None:
    """Run a block of the page there, as its reader would."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "ENTREPOT": str(ROOT)}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=environment,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout


def test_the_plugin_of_the_page_keeps_the_contract(folder: Path) -> None:
    """The messages compile, the plugin starts, and the contract suite passes."""
    transcripts = TRANSCRIPT.findall(PAGE)
    (generate,) = [one for one in transcripts if "grpc_tools.protoc" in one]
    (suite,) = [one for one in transcripts if "pytest" in one]

    run(generate, folder)
    run(suite, folder)
