"""The probe of the store for blobs."""

import threading
from pathlib import Path

import pytest

from entrepot_core.blobs import probe
from entrepot_core.blobs.directory import DirectoryBlobStore
from entrepot_core.blobs.opening import open_blob_store
from entrepot_core.blobs.probe import StoreProbe
from entrepot_core.domain.errors import StorageFailedError


def test_a_store_is_not_asked_by_everybody() -> None:
    """What the store answered is believed for a while."""
    asked: list[int] = []
    subject = StoreProbe(lambda: asked.append(1))

    assert [subject.fault() for _ in range(3)] == ["", "", ""]
    assert asked == [1]


def test_the_fault_is_told() -> None:
    """What the store says of itself is what the probe says."""

    def fails() -> None:
        raise StorageFailedError("NoSuchBucket.")

    assert StoreProbe(fails).fault() == "NoSuchBucket."


def test_a_store_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks gets an answer, and no second question is put to a store that owes one."""
    monkeypatch.setattr(probe, "PATIENCE_SECONDS", 0.01)
    monkeypatch.setattr(probe, "BELIEVED_SECONDS", 0.0)
    released = threading.Event()
    asked: list[int] = []

    def hangs() -> None:
        asked.append(1)
        released.wait()

    subject = StoreProbe(hangs)

    assert all("has not answered" in subject.fault() for _ in range(3))
    assert asked == [1]
    released.set()


def test_a_folder_is_really_written_to(tmp_path: Path) -> None:
    """A folder that has gone is a fault, and one that is there is none; nothing is left in it."""
    store = DirectoryBlobStore(tmp_path / "blobs", reserve_bytes=0)
    before = sorted(tmp_path.rglob("*"))

    store.probe()

    assert sorted(tmp_path.rglob("*")) == before
    (tmp_path / "blobs").rename(tmp_path / "elsewhere")
    with pytest.raises(StorageFailedError, match="No such file"):
        store.probe()
    store.close()


def test_a_previous_store_must_be_there(tmp_path: Path) -> None:
    """A mistyped folder of former blobs is refused by the setting's name, and not made."""
    missing = tmp_path / "misspelled"

    with pytest.raises(ValueError, match=r"ENTREPOT_BLOBS_PREVIOUS_URL: there is no folder"):
        open_blob_store(str(tmp_path / "new"), tmp_path / "scratch", str(missing))

    assert not missing.exists()
