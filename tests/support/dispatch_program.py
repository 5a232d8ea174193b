"""`entrepot-core dispatch` as a process of its own, for the core of a test."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from core_under_test import TOKEN, Core


@contextmanager
def dispatch_program(
    core: Core, failpoints: str = "", before: Sequence[str] = ()
) -> Iterator[subprocess.Popen[str]]:
    """A dispatcher that is ready; `before` is a command that starts it, such as faketime."""
    environment = {
        **os.environ,
        "ENTREPOT_HOME": str(core.config.home),
        "ENTREPOT_DATABASE_URL": core.config.database_url,
        "ENTREPOT_TOKEN": TOKEN,
        "ENTREPOT_FAILPOINTS": failpoints,
    }
    program = [*before, sys.executable, "-m", "entrepot_core", "dispatch"]
    with subprocess.Popen(
        program, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready dispatcher\n"
        try:
            yield process
        finally:
            process.kill()
