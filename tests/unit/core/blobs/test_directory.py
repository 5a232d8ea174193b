"""Blobs in a folder: the suite that every store passes, and what only a folder can suffer."""

import errno
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from blob_store_conformance import BlobStoreConformance, blob_of, get, put
from entrepot_core.blobs import directory_batch
from entrepot_core.blobs.blob_store import BlobStore
from entrepot_core.blobs.directory import DirectoryBlobStore
from entrepot_core.blobs.opening import open_blob_store
from entrepot_core.domain.blob import Blob
from entrepot_core.domain.errors import BlobMissingError, StorageFailedError, StorageFullError


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DirectoryBlobStore]:
    """A store in an empty folder."""
    store = DirectoryBlobStore(tmp_path / "blobs", reserve_bytes=0)
    yield store
    store.close()


class TestDirectory(BlobStoreConformance):
    """The suite, on a folder."""

    def tear(self, store: BlobStore, blob: Blob) -> None:
        """Cut the file."""
        assert isinstance(store, DirectoryBlobStore)
        store.path(blob.digest).write_bytes(b"wh")


def test_the_layout_is_the_one_that_others_read(store: DirectoryBlobStore) -> None:
    """A blob is the file sha256/ab/cd/<its digest>, readable by owner and group only."""
    (blob,) = put(store, b"hello")

    path = store.root / "sha256" / blob.hex[:2] / blob.hex[2:4] / blob.hex

    assert path.read_bytes() == b"hello"
    assert path.stat().st_mode & 0o137 == 0


def test_a_planted_link_is_not_followed(store: DirectoryBlobStore, tmp_path: Path) -> None:
    """A symbolic link under a blob's name is as good as nothing, and is replaced on writing."""
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    blob = blob_of(b"mine")
    path = store.path(blob.digest)
    path.parent.mkdir(parents=True)
    path.symlink_to(secret)

    with pytest.raises(BlobMissingError):
        store.read(blob.digest)
    assert store.size(blob.digest) is None
    put(store, b"mine")

    assert get(store, blob) == b"mine"
    assert secret.read_bytes() == b"secret"


def test_a_planted_fifo_does_not_block(store: DirectoryBlobStore) -> None:
    """A pipe under a blob's name is as good as nothing, and nobody waits for it."""
    blob = blob_of(b"mine")
    store.path(blob.digest).parent.mkdir(parents=True)
    os.mkfifo(store.path(blob.digest))

    with pytest.raises(BlobMissingError):
        store.read(blob.digest)


def test_the_reserve_stays_free(tmp_path: Path) -> None:
    """Before the disk is full, writing is refused, and the error says how much is free."""
    store = DirectoryBlobStore(tmp_path, reserve_bytes=1 << 60)

    with store.begin() as batch, pytest.raises(StorageFullError) as caught:
        batch.create()

    assert int(caught.value.metadata["free_bytes"]) > 0
    store.close()


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.ENOSPC, StorageFullError),
        (errno.EDQUOT, StorageFullError),
        (errno.EIO, StorageFailedError),
        (errno.EROFS, StorageFailedError),
    ],
)
def test_a_write_that_fails_leaves_nothing(
    store: DirectoryBlobStore,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    expected: type[Exception],
) -> None:
    """An error of the disk is named, and neither a blob nor a temporary file stays."""

    def fail(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    with store.begin() as batch:
        small, large = batch.create(), batch.create()
        large.write(bytes(100_000))
        small.write(b"small")
        small.close()
        monkeypatch.setattr(os, "write", fail)
        with pytest.raises(expected):
            large.write(b"second")
        # Its verifier has seen bytes that are not in the file.
        with pytest.raises(StorageFailedError):
            large.close()
        with pytest.raises(expected):
            batch.settle()
    monkeypatch.undo()

    assert list(store.files()) == []
    assert [path for path in (store.root / "tmp").rglob("*") if path.is_file()] == [
        *(store.root / "tmp").glob("*.lock")
    ]


@pytest.mark.parametrize("count", [1, 50])
def test_a_sync_that_fails_is_not_asked_again(
    store: DirectoryBlobStore, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """When syncing fails, the whole batch is thrown away, and nothing of it is ever named."""
    asked = []

    def fail(descriptor: int) -> None:
        asked.append(descriptor)
        raise OSError(errno.EIO, "no")

    monkeypatch.setattr(directory_batch, "sync_file", fail)
    monkeypatch.setattr(directory_batch, "sync_filesystem", fail)

    with store.begin() as batch:
        for number in range(count):
            writer = batch.create()
            writer.write(str(number).encode())
            writer.close()
        with pytest.raises(StorageFailedError):
            batch.settle()
        assert batch.settle() == []

    assert len(asked) == 1
    assert list(store.files()) == []


@pytest.mark.parametrize("size", [10, 100_000])
def test_bytes_named_by_somebody_else_and_then_taken_come_back(
    store: DirectoryBlobStore, size: int
) -> None:
    """What another writer had stored already is brought back as well, small or large."""
    (blob,) = put(store, bytes(size))

    with store.begin() as batch:
        writer = batch.create()
        writer.write(bytes(size))
        writer.close()
        batch.settle()
        store.set_aside([blob.digest])
        store.discard([blob.digest])
        batch.ensure()

    assert get(store, blob) == bytes(size)
    assert store.temporary_files() == 0
    assert not any(path.is_file() for path in (store.root / "tmp").glob("*/*"))


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """A store on a file instead of a folder fails with an error of ours."""
    (tmp_path / "file").touch()

    with pytest.raises(StorageFailedError):
        DirectoryBlobStore(tmp_path / "file")


@pytest.mark.parametrize(
    "name", ["bytes.opened", "bytes.half_written", "bytes.complete", "bytes.renamed"]
)
def test_a_writer_that_is_killed_leaves_no_torn_blob(tmp_path: Path, name: str) -> None:
    """After kill -9 at any instant a visible blob is whole, and the next process sweeps."""
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from entrepot_core.blobs.directory import DirectoryBlobStore\n"
        "from entrepot_rpc import failpoints\n"
        "failpoints.arm()\n"
        "store = DirectoryBlobStore(Path(sys.argv[1]), reserve_bytes=0)\n"
        "with store.begin() as batch:\n"
        "    writer = batch.create()\n"
        "    writer.write(b'first')\n"
        "    writer.write(bytes(100000))\n"
        "    writer.close()\n"
        "    batch.settle()\n"
    )

    killed = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        env={**os.environ, "ENTREPOT_FAILPOINTS": f"{name}=kill"},
        check=False,
    )
    store = DirectoryBlobStore(tmp_path, reserve_bytes=0)

    assert killed.returncode == -signal.SIGKILL
    assert store.temporary_files() == 1
    assert store.sweep_temporary() == 1
    assert store.temporary_files() == 0
    assert [b"first" + bytes(100_000)] * len(list(store.files())) == [
        b"".join(store.read(file.digest)) for file in store.files()
    ]
    store.close()


def test_files_of_a_living_process_are_not_swept(store: DirectoryBlobStore) -> None:
    """Another process, or store, does not sweep what is being written."""
    other = DirectoryBlobStore(store.root, reserve_bytes=0)

    with store.begin() as batch:
        writer = batch.create()
        writer.write(b"going on")
        assert other.sweep_temporary() == 0
        blob = writer.close()
        batch.settle()

    assert get(store, blob) == b"going on"


_LIMITED = """
import resource, sys
from pathlib import Path
from entrepot_core.blobs.opening import open_blob_store
from entrepot_core.domain.errors import StorageFullError

resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000))
store = open_blob_store(sys.argv[1], Path(sys.argv[2]))
with store.begin() as batch:
    small, large = batch.create(), batch.create()
    small.write(b"small")
    small.close()
    try:
        for _ in range(3):
            large.write(bytes(100_000))
    except StorageFullError as error:
        print(error.message)
    large.abort()
    print(len(batch.settle()))
"""


def test_a_full_disk_is_survived(tmp_path: Path) -> None:
    """A write that the system cuts off says that it is full; what fits is stored, nothing torn.

    The system refuses to make any file longer than a limit, as a full disk would.
    """
    done = subprocess.run(
        [sys.executable, "-c", _LIMITED, f"file://{tmp_path}?reserve_bytes=0", str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    store = DirectoryBlobStore(tmp_path, reserve_bytes=0)

    said, settled = done.stdout.splitlines()
    assert said.startswith("The disk of the blob store is full: ")
    assert settled == "1"
    assert [file.digest for file in store.files()] == [blob_of(b"small").digest]
    assert store.temporary_files() == 0
    store.close()


@pytest.fixture
def _nobody() -> Iterator[None]:
    """A user who is bound by permissions, which root is not."""
    was = os.geteuid()
    if was == 0:
        os.seteuid(65534)
    yield
    os.seteuid(was)


@pytest.mark.usefixtures("_nobody")
def test_a_folder_that_may_only_be_read() -> None:
    """Reading goes on, writing says why it cannot, and works again when it may."""
    with tempfile.TemporaryDirectory() as root:
        store = DirectoryBlobStore(Path(root), reserve_bytes=0)
        (blob,) = put(store, b"there")
        folders = [Path(root), *(path for path in Path(root).rglob("*") if path.is_dir())]
        for folder in folders:
            folder.chmod(0o500)

        assert get(store, blob) == b"there"
        for data in (b"small", bytes(100_000)):
            with pytest.raises(StorageFailedError, match="Permission denied"):
                put(store, data)
        assert [file.digest for file in store.files()] == [blob.digest]

        for folder in folders:
            folder.chmod(0o700)
        put(store, b"small")
        store.close()


def test_addresses_of_stores(tmp_path: Path) -> None:
    """A path and a file: URL name a folder; the URL may say how much stays free."""
    plain = open_blob_store(str(tmp_path / "a"), tmp_path)
    store = open_blob_store(f"file://{tmp_path}/b%20c?reserve_bytes=7", tmp_path)

    assert isinstance(plain, DirectoryBlobStore)
    assert isinstance(store, DirectoryBlobStore)
    assert (tmp_path / "b c").is_dir()
    assert store.disk.room()[1] == 7
    assert store.free_bytes() == store.disk.room()[0] - 7


@pytest.mark.parametrize("url", ["ftp://bucket", "file:///tmp/x?color=red"])
def test_other_addresses_are_refused(url: str, tmp_path: Path) -> None:
    """What is not known is an error at start, naming the setting."""
    with pytest.raises(ValueError, match="ENTREPOT_BLOBS_URL"):
        open_blob_store(url, tmp_path)
