"""What is generated and committed is what the .proto files say."""

import subprocess
import sys

from workspace import ROOT


def test_stubs_and_descriptors_are_fresh() -> None:
    """Generating again changes nothing."""
    command = [sys.executable, str(ROOT / "protos" / "generate.py"), "--check"]

    outcome = subprocess.run(command, check=False, capture_output=True, text=True)

    assert outcome.returncode == 0, f"run `make proto`\n{outcome.stderr}"
