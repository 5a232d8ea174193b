"""Blobs on their way from one store to another."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from blob_store_conformance import blob_of, get, put
from entrepot_core.blobs.blob_store import BlobStore
from entrepot_core.blobs.directory import DirectoryBlobStore
from entrepot_core.blobs.migration import Migration, Moved
from entrepot_core.blobs.opening import open_blob_store
from entrepot_core.domain.blob import Blob
from entrepot_core.domain.errors import BlobMissingError, StorageFailedError
from s3 import S3Server

CONTENTS = [f"blob {number}".encode() for number in range(20)] + [bytes(200_000)]


@pytest.fixture
def previous(tmp_path: Path) -> DirectoryBlobStore:
    """A folder with blobs."""
    store = DirectoryBlobStore(tmp_path / "previous", reserve_bytes=0)
    put(store, *CONTENTS)
    return store


def blobs_of(store: BlobStore) -> list[Blob]:
    """What the rows would say."""
    return [Blob(file.digest, file.size_bytes) for file in store.files()]


def migrate(new: BlobStore, previous: BlobStore, blobs: list[Blob]) -> Moved:
    """One run, when every row stays."""
    return Migration(new, previous, lambda _blob: True).run(blobs, lambda _number: None)


def test_blobs_move_there_and_back(
    s3: S3Server, tmp_path: Path, previous: DirectoryBlobStore
) -> None:
    """To S3 and to another folder, all of them; a second run finds nothing to do."""
    bucket = open_blob_store(s3.url(s3.bucket()), tmp_path / "scratch")
    folder = DirectoryBlobStore(tmp_path / "folder", reserve_bytes=0)
    blobs = blobs_of(previous)

    planned = Migration(bucket, previous, lambda _blob: True).plan(blobs, lambda _number: None)
    moved = migrate(bucket, previous, blobs)
    back = migrate(folder, bucket, blobs)

    expected = Moved(len(CONTENTS), sum(len(data) for data in CONTENTS))
    assert planned == moved == back == expected
    assert migrate(bucket, previous, blobs) == Moved()
    assert [get(folder, blob_of(data)) for data in CONTENTS] == CONTENTS
    bucket.close()


@pytest.mark.parametrize("instant", ["bytes.complete=kill@3", "bytes.renamed=kill@2"])
def test_a_run_that_was_killed_is_done_again(
    s3: S3Server, tmp_path: Path, previous: DirectoryBlobStore, instant: str
) -> None:
    """After kill -9 the next run copies what is missing, and only that."""
    url = s3.url(s3.bucket())
    blobs = blobs_of(previous)
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from entrepot_core.blobs import migration\n"
        "from entrepot_core.blobs.opening import open_blob_store\n"
        "from entrepot_core.domain.blob import Blob\n"
        "from entrepot_rpc import failpoints\n"
        "failpoints.arm()\n"
        "migration.BATCH_BLOBS = 4\n"
        "previous = open_blob_store(sys.argv[2], Path())\n"
        "new = open_blob_store(sys.argv[1], Path(sys.argv[3]))\n"
        "blobs = [Blob(file.digest, file.size_bytes) for file in previous.files()]\n"
        "migration.Migration(new, previous, bool).run(blobs, print)\n"
    )

    killed = subprocess.run(
        [sys.executable, "-c", program, url, str(previous.root), str(tmp_path / "scratch")],
        env={**os.environ, "ENTREPOT_FAILPOINTS": instant},
        check=False,
        stdout=subprocess.DEVNULL,
    )
    new = open_blob_store(url, tmp_path / "scratch")
    before = blobs_of(new)
    moved = migrate(new, previous, blobs)

    assert killed.returncode == -signal.SIGKILL
    assert len(before) == 8
    assert moved.blobs == len(blobs) - 8
    assert blobs_of(new) == blobs
    new.close()


def test_what_cannot_be_read_is_told_and_left_out(
    tmp_path: Path, previous: DirectoryBlobStore
) -> None:
    """A missing and a damaged blob are counted and named, unless nobody misses them any more."""
    new = DirectoryBlobStore(tmp_path / "new", reserve_bytes=0)
    blobs = blobs_of(previous)
    missing, damaged, collected = blobs[1], blobs[2], blobs[3]
    previous.path(missing.digest).unlink()
    previous.path(damaged.digest).write_bytes(b"x" * damaged.size_bytes)
    previous.path(collected.digest).unlink()

    moved = Migration(new, previous, lambda blob: blob != collected).run(blobs, lambda _n: None)

    assert moved.blobs == len(blobs) - 3
    assert moved.unreadable_digests == [missing.digest, damaged.digest]
    assert moved.unreadable == 2
    assert {blob.digest for blob in blobs_of(new)}.isdisjoint(moved.unreadable_digests)
    with pytest.raises(BlobMissingError):
        new.read(damaged.digest)


def test_a_previous_store_that_fails_ends_the_run(
    s3: S3Server, tmp_path: Path, previous: DirectoryBlobStore
) -> None:
    """A store that is away is no pile of unreadable blobs."""
    away = open_blob_store(s3.url("no-such-bucket"), tmp_path / "scratch")
    new = DirectoryBlobStore(tmp_path / "new", reserve_bytes=0)

    with pytest.raises(StorageFailedError, match="NoSuchBucket"):
        migrate(new, away, blobs_of(previous))
    away.close()


def test_two_stores_look_like_one(tmp_path: Path, previous: DirectoryBlobStore) -> None:
    """While blobs move, each is found where it is, listed once, and collected from both."""
    store = open_blob_store(str(tmp_path / "new"), tmp_path, str(previous.root))
    put(store, CONTENTS[0], b"new")
    old, both, new = blob_of(CONTENTS[1]), blob_of(CONTENTS[0]), blob_of(b"new")

    assert get(store, old) == CONTENTS[1]
    assert get(store, new) == b"new"
    assert store.size(old.digest) == old.size_bytes
    assert blobs_of(store) == sorted([*blobs_of(previous), new])

    store.set_aside([old.digest, both.digest])
    assert [file.digest for file in store.set_aside_files()] == sorted([old.digest, both.digest])
    assert store.size(both.digest) is None
    store.restore([old.digest])
    store.discard([both.digest])
    assert get(store, old) == CONTENTS[1]
    with pytest.raises(BlobMissingError):
        store.read(both.digest)
    assert (store.temporary_files(), store.sweep_temporary()) == (0, 0)
    assert store.free_bytes() > 0
    store.require_room(0)
    store.close()
    shutil.rmtree(previous.root)
