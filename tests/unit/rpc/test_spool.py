"""Bytes on their way, in a file without a name."""

from pathlib import Path

import pytest

from entrepot_rpc import spool
from entrepot_rpc.errors import ServiceError
from entrepot_rpc.spool import Spool


def test_what_is_written_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In any order, as far as it is written; and no name is left in TMPDIR."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    one = Spool()
    one.write(b"0123")
    one.write(memoryview(b"4567"))

    assert (one.read(2, 4), one.read(6, 100), one.read(8, 1)) == (b"2345", b"67", b"")
    one.truncate(5)
    assert one.read(0, 100) == b"01234"
    assert list(tmp_path.iterdir()) == []
    one.close()


def test_what_is_closed_takes_and_gives_nothing() -> None:
    """Its number may be another file's by then."""
    one = Spool()
    one.write(b"0123")
    one.close()
    one.close()

    one.write(b"4567")

    assert one.read(0, 8) == b""


def test_a_disk_that_fills_is_said_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """The room that others need is left, and nothing is written."""
    monkeypatch.setattr(spool, "RESERVE_SHARE", 1.0)
    monkeypatch.setattr(spool, "RESERVE_BYTES", 2**62)
    one = Spool()

    with pytest.raises(ServiceError) as caught:
        one.write(b"0123")

    assert (caught.value.reason, one.size_bytes) == ("STORAGE_FULL", 0)
    one.close()
