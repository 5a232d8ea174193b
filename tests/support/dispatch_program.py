"""`entrepot-core` as a process of its own, beside the core of a test."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from core_under_test import TOKEN, Core


@contextmanager
def dispatch_program(
    core: Core, failpoints: str = "", environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """A dispatcher that is ready."""
    with core_program("dispatch", core, environment, failpoints) as (process, line):
        assert line == "ready dispatcher\n"
        yield process


def log_of(core: Core, role: str = "dispatch") -> Path:
    """Where the last program of a role logs."""
    return core.config.home / f"{role}.log"


@contextmanager
def core_program(
    role: str,
    core: Core,
    environment: Mapping[str, str] | None = None,
    failpoints: str = "",
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`entrepot-core` in a role, and what it said when it was ready."""
    given = {
        **os.environ,
        **(environment or {}),
        "ENTREPOT_GRPC": "127.0.0.1:0",
        "ENTREPOT_HOME": str(core.config.home),
        "ENTREPOT_DATABASE_URL": core.config.database_url,
        "ENTREPOT_TOKEN": TOKEN,
        "ENTREPOT_FAILPOINTS": failpoints,
    }
    program = [sys.executable, "-m", "entrepot_core", role]
    with (
        log_of(core, role).open("a") as log,
        subprocess.Popen(
            program, env=given, stdout=subprocess.PIPE, stderr=log, text=True
        ) as process,
    ):
        assert process.stdout is not None
        line = process.stdout.readline()
        try:
            yield process, line
        finally:
            process.kill()
