"""Blobs in object stores: the suite that every store passes, in memory and on S3."""

import http.server
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

from addresses import free_addresses
from blob_store_conformance import BlobStoreConformance, blob_of, get, put
from entrepot_core.blobs.blob_store import BlobStore
from entrepot_core.blobs.bucket import Bucket
from entrepot_core.blobs.object_store import ObjectBlobStore, key
from entrepot_core.blobs.opening import open_blob_store
from entrepot_core.domain.blob import Blob
from entrepot_core.domain.errors import ServiceError, StorageFailedError, StorageFullError
from entrepot_rpc.bucket_url import BucketUrl
from s3 import KEYS, S3Server


class _Objects(BlobStoreConformance):
    def tear(self, store: BlobStore, blob: Blob) -> None:
        """Put two bytes in its place."""
        assert isinstance(store, ObjectBlobStore)
        store.bucket.delete([key(blob.digest)])
        store.bucket.put(key(blob.digest), b"wh", 2)


class TestMemory(_Objects):
    """The suite, in memory."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[BlobStore]:
        """An empty store."""
        store = open_blob_store("memory://", tmp_path / "scratch")
        yield store
        store.close()


class TestS3(_Objects):
    """The suite, on S3."""

    @pytest.fixture
    def store(self, s3: S3Server, tmp_path: Path) -> Iterator[BlobStore]:
        """An empty bucket."""
        store = open_blob_store(s3.url(s3.bucket()), tmp_path / "scratch")
        yield store
        store.close()


def test_objects_are_named_like_the_files_of_a_folder(s3: S3Server, tmp_path: Path) -> None:
    """Below the prefix, so that a folder can be copied with any tool; nothing else is there."""
    bucket = s3.bucket()
    store = open_blob_store(s3.url(bucket), tmp_path)

    small, large = put(store, b"hello", bytes(9 * 1024**2))
    store.close()

    assert s3.keys(bucket) == sorted(
        f"some/prefix/sha256/{one.hex[:2]}/{one.hex[2:4]}/{one.hex}" for one in (small, large)
    )
    assert s3.unfinished(bucket) == 0


def test_what_is_there_is_not_written_again(s3: S3Server, tmp_path: Path) -> None:
    """An object that another process has made is left as it is."""
    bucket = s3.bucket()
    store = open_blob_store(s3.url(bucket), tmp_path)
    blob = blob_of(b"twin")
    s3.ask("PUT", f"{bucket}/some/prefix/{key(blob.digest)}", b"TWIN")

    put(store, b"twin")

    assert get(store, blob) == b"TWIN"
    store.close()


def test_a_store_without_create_only_puts(s3: S3Server, tmp_path: Path) -> None:
    """Where an object cannot be put only if it is absent, it is looked for first."""
    store = open_blob_store(s3.url(s3.bucket(), "conditional_put=disabled"), tmp_path)

    put(store, b"twin")
    (blob,) = put(store, b"twin")

    assert get(store, blob) == b"twin"
    store.close()


def test_an_object_too_large_to_be_copied_there(s3: S3Server, tmp_path: Path) -> None:
    """What the store does not copy itself goes through this process, and is set aside, too."""
    url = BucketUrl.parse(s3.url(s3.bucket()), "the store")
    assert url is not None
    store = ObjectBlobStore(Bucket(url, copy_bytes=10), tmp_path)
    data = bytes(range(256)) * 50_000
    (blob,) = put(store, data)

    store.set_aside([blob.digest])
    assert store.size(blob.digest) is None
    store.restore([blob.digest])

    assert get(store, blob) == data
    store.close()


@pytest.mark.parametrize("name", ["bytes.half_written", "bytes.complete", "bytes.renamed"])
def test_a_writer_that_is_killed_leaves_no_torn_object(
    s3: S3Server, tmp_path: Path, name: str
) -> None:
    """After kill -9 at any instant a visible object is whole, and the next process sweeps."""
    url = s3.url(s3.bucket())
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from entrepot_core.blobs.opening import open_blob_store\n"
        "from entrepot_rpc import failpoints\n"
        "failpoints.arm()\n"
        "store = open_blob_store(sys.argv[1], Path(sys.argv[2]))\n"
        "with store.begin() as batch:\n"
        "    writer = batch.create()\n"
        "    writer.write(b'first')\n"
        "    writer.write(bytes(100000))\n"
        "    writer.close()\n"
        "    batch.settle()\n"
    )

    killed = subprocess.run(
        [sys.executable, "-c", program, url, str(tmp_path)],
        env={**os.environ, "ENTREPOT_FAILPOINTS": f"{name}=kill"},
        check=False,
    )
    store = open_blob_store(url, tmp_path)

    assert killed.returncode == -signal.SIGKILL
    assert [b"first" + bytes(100_000)] * (name == "bytes.renamed") == [
        b"".join(store.read(file.digest)) for file in store.files()
    ]
    assert store.temporary_files() == 1
    assert store.sweep_temporary() == 1
    assert store.temporary_files() == 0
    store.close()


def test_a_store_that_is_away_says_so(s3: S3Server, tmp_path: Path) -> None:
    """Writing, reading and listing fail with the store's name and reason, and can be repeated."""
    (nobody,) = free_addresses(1)
    away = s3.url("bucket").replace(s3.endpoint, f"http://{nobody}")
    store = open_blob_store(f"{away}&retries=0", tmp_path)
    blob = blob_of(b"x")

    for attempt in (
        lambda: put(store, b"x"),
        lambda: store.read(blob.digest),
        lambda: store.size(blob.digest),
        lambda: list(store.files()),
        lambda: store.set_aside([blob.digest]),
    ):
        with pytest.raises(StorageFailedError, match="s3://bucket/some/prefix") as caught:
            attempt()
        assert caught.value.retry_after_seconds
    store.close()


def test_a_bucket_that_is_not_there_is_no_missing_blob(s3: S3Server, tmp_path: Path) -> None:
    """A wrong name of a bucket is an error of the store, not an absent blob."""
    store = open_blob_store(s3.url("no-such-bucket"), tmp_path)

    with pytest.raises(StorageFailedError, match="NoSuchBucket"):
        store.read(blob_of(b"x").digest)
    with pytest.raises(StorageFailedError, match="NoSuchBucket"):
        put(store, b"x")
    store.close()


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (507, "XMinioStorageFull", StorageFullError),
        (403, "QuotaExceeded", StorageFullError),
        (403, "AccessDenied", StorageFailedError),
    ],
)
def test_a_refusal_is_told_in_the_stores_words(
    s3: S3Server, tmp_path: Path, status: int, code: str, expected: type[ServiceError]
) -> None:
    """A full store is full, any other refusal a failure; neither error knows a key."""
    with _Refusing(status, code) as refusing:
        url = s3.url("bucket", "retries=0").replace(s3.endpoint, refusing.endpoint)
        store = open_blob_store(url, tmp_path)
        with pytest.raises(expected, match=f"{code}: The reason") as caught:
            put(store, b"x")
        store.close()

    said = f"{caught.value!r} {caught.value.message} {caught.value.metadata}"
    assert "Signature" not in said
    assert not any(secret in said for secret in KEYS.values())
    assert list((tmp_path).rglob("*/0")) == []


def test_a_failure_leaves_nothing_of_the_batch_to_be_recorded(
    s3: S3Server, tmp_path: Path
) -> None:
    """After a settle that failed the batch is empty, and the store goes on when it can."""
    bucket = s3.bucket()
    store = open_blob_store(s3.url(bucket), tmp_path)
    s3.ask("DELETE", bucket)

    with store.begin() as batch:
        batch.create().close()
        with pytest.raises(StorageFailedError):
            batch.settle()
        assert batch.settle() == []
    s3.ask("PUT", bucket)
    (blob,) = put(store, b"again")

    assert get(store, blob) == b"again"
    store.close()


class _Refusing:
    """A server that answers every request with one error of S3."""

    def __init__(self, status: int, code: str) -> None:
        body = (
            f"<Error><Code>{code}</Code><Message>The reason</Message>"
            f"<Resource>/x?X-Amz-Signature=1</Resource></Error>"
        ).encode()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
