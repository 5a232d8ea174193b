"""Files are made so that a power cut leaves them whole; `tests/faults/power.py` cuts it."""

import os
import stat
from pathlib import Path

import pytest

from entrepot_rpc.durable import create_private


def test_bytes_are_synced_before_the_name_and_the_name_before_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file has its bytes on the disk when it gets its name, and then the folder has that."""
    path = tmp_path / "key"
    synced = []
    sync = os.fsync

    def watched(descriptor: int) -> None:
        synced.append((Path(f"/proc/self/fd/{descriptor}").readlink().parent, path.exists()))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)

    assert create_private(path, b"secret")

    assert [(tmp_path, False), (tmp_path.parent, True)] == synced
    assert path.read_bytes() == b"secret"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [path] == list(tmp_path.iterdir())


def test_what_is_there_stays(tmp_path: Path) -> None:
    """A file that somebody else has made is not replaced."""
    path = tmp_path / "key"
    path.write_bytes(b"theirs")

    assert not create_private(path, b"ours")

    assert path.read_bytes() == b"theirs"


def test_who_is_faster_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that somebody else makes at the same moment is not replaced."""
    path = tmp_path / "key"
    sync = os.fsync

    def slow(descriptor: int) -> None:
        sync(descriptor)
        path.write_bytes(b"theirs")

    monkeypatch.setattr(os, "fsync", slow)

    assert not create_private(path, b"ours")

    assert path.read_bytes() == b"theirs"
    assert [path] == list(tmp_path.iterdir())
