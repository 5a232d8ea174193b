"""The tutorial works as it is written: its commands are run in order, in one shell."""

import re
import subprocess
from pathlib import Path

import pytest

from addresses import free_addresses
from stack import Stack
from workspace import ROOT

PAGE = ROOT / "docs" / "tutorial.md"
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.timeout(240)
def test_the_tutorial(stack: Stack, tmp_path: Path) -> None:
    """Every `sh` block of the tutorial succeeds, after those before it."""
    steps = BLOCK.findall(PAGE.read_text("utf-8"))
    script = "set -eu\n" + "\n".join(f"echo '--- step {n}'\n{s}" for n, s in enumerate(steps, 1))
    (upstream,) = free_addresses(1)
    for written, here in (
        ("127.0.0.1:8080", stack.http),
        ("127.0.0.1:8081", stack.content_address),
        ("127.0.0.1:9000", upstream),
        ("127.0.0.1 9000", upstream.replace(":", " ")),
        ("/tmp/entrepot-tutorial", str(tmp_path / "tutorial")),
    ):
        script = script.replace(written, here)
    output = tmp_path / "output.txt"

    with output.open("w") as stream:
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=ROOT,
            env=stack.environment,
            stdout=stream,
            stderr=subprocess.STDOUT,
            timeout=180,
            check=False,
        )

    text = output.read_text()
    assert done.returncode == 0, text
    assert len(steps) > 10
    for word in ("Hello, world.", "hello.txt: OK", "unchanged", "more-manners.txt", '"completed"'):
        assert word in text, f"{word} is not in:\n{text}"
