"""Programs that are given a setting they cannot use: they end with one sentence and status 78."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CORE = ("entrepot_core", "api")
DISPATCH = ("entrepot_core", "dispatch")
GATEWAY = ("entrepot_gateway", "api")
CONTENT = ("entrepot_gateway", "content")
PLUGIN = ("entrepot_plugin_file",)


@pytest.mark.parametrize(
    ("program", "name", "value"),
    [
        (CORE, "ENTREPOT_TOKEN", "top secret"),
        (CORE, "ENTREPOT_FAILPOINTS", "commit.committed=explode"),
        (CORE, "ENTREPOT_GRPC", "dns:///core:50051"),
        (DISPATCH, "ENTREPOT_METRICS", "9464"),
        (DISPATCH, "ENTREPOT_DATABASE_URL", ""),
        (GATEWAY, "ENTREPOT_HTTP", "127.0.0.1:99999"),
        (GATEWAY, "ENTREPOT_LOG_LEVEL", "loud"),
        (CONTENT, "ENTREPOT_CONTENT_STALE_SECONDS", "nan"),
        (CONTENT, "ENTREPOT_METRICS", "0.0.0.0:9464"),
        (PLUGIN, "ENTREPOT_PLUGIN_GRACE", "soon"),
        (PLUGIN, "ENTREPOT_LOG_FORMAT", "xml"),
        (PLUGIN, "ENTREPOT_PLUGIN_LISTEN", "0.0.0.0:7443"),
        (PLUGIN, "ENTREPOT_FAILPOINTS", "plugin.opened=sleep(long)"),
    ],
)  # fmt: skip
def test_a_setting_that_cannot_be(
    program: tuple[str, ...], name: str, value: str, tmp_path: Path
) -> None:
    """The process says at its start which setting it is, in one line, and ends with EX_CONFIG."""
    kept = {key: text for key, text in os.environ.items() if "ENTREPOT" not in key}
    given = {"ENTREPOT_HOME": str(tmp_path), "ENTREPOT_DATABASE_URL": "postgresql://127.0.0.1:1/x"}

    done = subprocess.run(
        [sys.executable, "-m", *program],
        env=kept | given | {"ENTREPOT_TOKEN": "t", name: value},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert done.returncode == os.EX_CONFIG, done.stderr
    assert name in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "secret" not in done.stderr
