"""No secret reaches a log line."""

import os
import subprocess
import sys

import pytest

from entrepot_rpc.logs import redact


@pytest.mark.parametrize(
    "event",
    [
        {"api_token": "hunter2"},
        {"authorization": "hunter2"},
        {"url": "http://user:hunter2@example.org/"},
        {"header": "Bearer hunter2"},
        {"header": ["Attempt hunter2"]},
        {"nested": {"text": "Basic hunter2"}},
    ],
)
def test_what_looks_like_a_secret_is_redacted(event: dict[str, object]) -> None:
    """A secret is left out, whether its field's name or its form gives it away."""
    assert "hunter2" not in str(redact(None, "info", event))


def test_other_fields_are_kept() -> None:
    """What is no secret stands in the log as it was given."""
    event = {"event": "attempt.lost", "task": "tasks/1", "count": 3}

    assert event == redact(None, "info", dict(event))


def test_a_traceback_has_no_local_variables(capfd: pytest.CaptureFixture[str]) -> None:
    """An error's traceback is logged without the values that the code had at hand."""
    program = """
from entrepot_rpc import logs
import structlog
logs.configure("test")
def fail(thing):
    raise ValueError("no")
try:
    fail("hunter2")
except ValueError as error:
    structlog.get_logger().error("failed", exc_info=error)
"""
    environment = {**os.environ, "ENTREPOT_LOG_FORMAT": "json"}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)

    line = capfd.readouterr().err
    assert "ValueError" in line
    assert "hunter2" not in line
