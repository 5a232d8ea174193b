"""The command line with a scripted core behind it, and a home of its own."""

import shutil
import tempfile
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path

import grpc
import pytest

from scripted_core import Cli, FakeCore


@pytest.fixture
def core() -> FakeCore:
    """A core without answers, but with a plugin."""
    return FakeCore()


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An ENTREPOT_HOME with a token, and a cache of its own."""
    # A socket's path must be short, which those of tmp_path are not always.
    path = Path(tempfile.mkdtemp(prefix="entrepot-"))
    (path / "token").write_text("ent_test\n")
    for name in ("ENTREPOT_TOKEN", "ENTREPOT_HTTP", "ENTREPOT_CONTENT", "ENTREPOT_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ENTREPOT_HOME", str(path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(path / "cache"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def cli(
    core: FakeCore,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Cli]:
    """The command line, with the fake behind it."""
    with futures.ThreadPoolExecutor(max_workers=4) as pool:
        server = grpc.server(pool, handlers=[core])
        target = f"unix://{home}/core.sock"
        server.add_insecure_port(target)
        server.start()
        monkeypatch.setenv("ENTREPOT_GRPC", target)
        cli = Cli(core, home, capsys)
        yield cli
        cli.stopped.set()
        server.stop(0).wait()
