"""The programs as they are started: settings, the line that says ready, and the end."""

import subprocess
import sys
from pathlib import Path

import pytest

from addresses import free_addresses
from entrepot_gateway.config import Config, parse_accel
from entrepot_gateway.content.blob_folder import BlobFolder
from entrepot_gateway.content.opening import open_blobs


def test_settings_come_from_the_environment(tmp_path: Path) -> None:
    """Each role has an address and a credential of its own."""
    env = {
        "ENTREPOT_HOME": str(tmp_path),
        "ENTREPOT_HTTP": "[::1]:81",
        "ENTREPOT_CONTENT": ":82",
        "ENTREPOT_TOKEN": "one",
        "ENTREPOT_CONTENT_TOKEN": "two",
        "ENTREPOT_GRPC": "core:1",
    }

    api = Config.from_environment("api", env=env)
    content = Config.from_environment("content", env=env)

    assert (api.host, api.port, api.token, api.core) == ("::1", 81, "one", "core:1")
    assert (content.host, content.port, content.token) == ("0.0.0.0", 82, "two")  # noqa: S104
    assert content.blobs_url == str(tmp_path / "blobs")


def test_settings_have_defaults(tmp_path: Path) -> None:
    """Loopback, and the token of the first start."""
    (tmp_path / "token").write_text("secret\n")

    config = Config.from_environment("api", env={"ENTREPOT_HOME": str(tmp_path)})

    assert (config.host, config.port, config.core) == ("127.0.0.1", 8080, "127.0.0.1:50051")
    assert config.token == "secret"


def test_no_secret_is_printed(tmp_path: Path) -> None:
    """Neither at the start nor by accident."""
    env = {"ENTREPOT_HOME": str(tmp_path), "ENTREPOT_TOKEN": "hush"}

    config = Config.from_environment("api", env=env)

    assert "hush" not in str(config.redacted()) + repr(config)
    assert config.redacted()["token"] == "set"


@pytest.mark.parametrize(
    ("url", "folder"),
    [("/a/b", "/a/b"), ("file:///a%20b", "/a b"), ("file:///a?reserve_bytes=0", "/a")],
)
def test_blobs_are_in_a_folder(url: str, folder: str) -> None:
    """A path or a file URL names it."""
    blobs = open_blobs(url)

    assert isinstance(blobs, BlobFolder)
    assert blobs.path("a" * 64).startswith(f"{folder}/sha256/")


@pytest.mark.parametrize(("text", "path"), [("", ""), ("/.blobs", "/.blobs"), ("/a/b/", "/a/b")])
def test_nginx_has_the_blobs_at_a_path(text: str, path: str, tmp_path: Path) -> None:
    """With or without a slash at its end."""
    env = {"ENTREPOT_HOME": str(tmp_path), "ENTREPOT_CONTENT_ACCEL": text}

    assert Config.from_environment("content", env=env).accel == path


@pytest.mark.parametrize("text", ["/", "blobs", "//blobs", "/a b", "/a\r\nX: y", "http://x/y"])
def test_nothing_else_is_such_a_path(text: str) -> None:
    """It goes into a header field as it is."""
    with pytest.raises(ValueError, match="ENTREPOT_CONTENT_ACCEL"):
        parse_accel(text)


@pytest.mark.parametrize("role", ["api", "content"])
def test_a_process_gets_ready_and_ends(role: str, tmp_path: Path) -> None:
    """It prints one line when it serves, also without core, and SIGTERM ends it with 0."""
    (address,) = free_addresses(1)
    env = {"ENTREPOT_HOME": str(tmp_path), "ENTREPOT_GRPC": "127.0.0.1:1"}
    env |= {"ENTREPOT_HTTP": address, "ENTREPOT_CONTENT": address}
    command = [sys.executable, "-m", "entrepot_gateway", role]
    with subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline().decode()
        second = subprocess.run(command, env=env, capture_output=True, check=False, timeout=60)
        process.terminate()
        rest, errors = process.communicate(timeout=60)

    assert line == f"ready http://{address}\n"
    assert rest == b""
    assert process.returncode == 0
    assert b"Traceback" not in errors
    assert second.returncode == 1
    assert b"gateway.cannot_listen" in second.stderr
