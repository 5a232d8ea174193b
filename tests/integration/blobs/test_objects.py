"""Rows and objects: what a bucket suffers is found, and what nothing names is collected there."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from entrepot_core.blobs.bucket import Bucket
from entrepot_core.blobs.object_store import ObjectBlobStore, key
from entrepot_core.domain.errors import StorageFailedError
from entrepot_core.downloads.keeper import Keeper
from entrepot_core.store.blob_check import check_blobs
from entrepot_core.store.blob_collection import collect_blobs
from entrepot_core.store.blob_loss import forget
from entrepot_core.store.database import Database
from entrepot_rpc.bucket_url import BucketUrl
from s3 import S3Server


@pytest.fixture
def bucket(s3: S3Server) -> str:
    """An empty bucket."""
    return s3.bucket()


@pytest.fixture
def objects(s3: S3Server, bucket: str, tmp_path: Path) -> Iterator[ObjectBlobStore]:
    """The store in it."""
    url = BucketUrl.parse(s3.url(bucket), "the store")
    assert url is not None
    store = ObjectBlobStore(Bucket(url), tmp_path / "scratch", reserve_bytes=0)
    yield store
    store.close()


def test_damage_in_a_bucket_is_found(
    database: Database, s3: S3Server, bucket: str, objects: ObjectBlobStore
) -> None:
    """Objects that are missing, short, or other than they were, and those that nothing names."""
    keeper = Keeper(database, objects)
    sound, gone, short, other = (
        keeper.write([text]) for text in (b"sound", b"gone!", b"short", b"other")
    )
    unnamed = keeper.write([b"unnamed"])
    database.fetch("DELETE FROM blob WHERE digest = %s", (unnamed.digest,))
    s3.ask("DELETE", f"{bucket}/some/prefix/{key(gone.digest)}")
    s3.ask("PUT", f"{bucket}/some/prefix/{key(short.digest)}", b"sho")
    s3.ask("PUT", f"{bucket}/some/prefix/{key(other.digest)}", b"OTHER")

    found = {finding.subject: finding.invariant for finding in check_blobs(database, objects, -60)}

    assert found == {gone.hex: "I8", short.hex: "I8", other.hex: "I8", unnamed.hex: "I9"}
    assert b"".join(objects.read(sound.digest)) == b"sound"


def test_a_damaged_object_gives_way(
    database: Database, s3: S3Server, bucket: str, objects: ObjectBlobStore
) -> None:
    """What a repair gives up as damaged is put anew when the right bytes come again."""
    keeper = Keeper(database, objects)
    blob = keeper.write([b"right"])
    s3.ask("PUT", f"{bucket}/some/prefix/{key(blob.digest)}", b"WRONG")

    assert forget(database, objects, blob, lambda: False)
    keeper.write([b"right"])

    assert b"".join(objects.read(blob.digest)) == b"right"
    assert list(check_blobs(database, objects, -60)) == []


def test_orphans_in_a_bucket_are_collected(
    database: Database, s3: S3Server, bucket: str, objects: ObjectBlobStore
) -> None:
    """The object of a blob that nothing names goes, and its row with it."""
    keeper = Keeper(database, objects)
    for number in range(3):
        keeper.write([b"orphan", bytes([number])])

    collected = collect_blobs(database, objects, 0)

    assert collected.blobs == 3
    assert s3.keys(bucket) == []
    assert database.fetch("SELECT count(*) FROM blob") == [(0,)]


def test_a_bucket_that_fails_leaves_no_row(
    database: Database, s3: S3Server, bucket: str, objects: ObjectBlobStore
) -> None:
    """A blob that could not be put is not spoken of."""
    s3.ask("DELETE", bucket)

    with pytest.raises(StorageFailedError):
        Keeper(database, objects).write([b"nowhere"])

    assert database.fetch("SELECT count(*) FROM blob") == [(0,)]
