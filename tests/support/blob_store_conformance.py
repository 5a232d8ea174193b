"""What every blob store must do. A backend's test inherits this and gives a fixture `store`."""

import hashlib
import threading

import pytest

from entrepot_core.blobs.blob_store import BlobStore
from entrepot_core.domain.blob import CHUNK_BYTES, Blob, Expected, Verifier
from entrepot_core.domain.errors import BlobMissingError, DigestMismatchError, SizeMismatchError


def blob_of(data: bytes) -> Blob:
    """The blob that some bytes are."""
    return Blob(hashlib.sha256(data).digest(), len(data))


def put(store: BlobStore, *contents: bytes) -> list[Blob]:
    """Store some bytes in one batch."""
    with store.begin() as batch:
        for data in contents:
            writer = batch.create()
            for start in range(0, len(data), CHUNK_BYTES):
                writer.write(data[start : start + CHUNK_BYTES])
            writer.close()
        return batch.settle()


def get(store: BlobStore, blob: Blob) -> bytes:
    """All bytes of a blob."""
    return b"".join(store.read(blob.digest))


class BlobStoreConformance:
    """The suite."""

    def test_what_was_written_can_be_read(self, store: BlobStore) -> None:
        """Settled bytes are there under their digest, also empty ones."""
        blobs = put(store, b"hello", b"")

        assert [blob_of(b"hello"), blob_of(b"")] == blobs
        assert b"hello" == get(store, blobs[0])
        assert b"" == get(store, blobs[1])
        assert store.size(blobs[0].digest) == 5

    def test_nothing_is_visible_before_it_is_settled(self, store: BlobStore) -> None:
        """A closed writer's bytes cannot be read until the batch is settled."""
        with store.begin() as batch:
            writer = batch.create()
            writer.write(b"early")
            blob = writer.close()
            assert store.size(blob.digest) is None
        assert store.size(blob.digest) is None

    def test_a_large_batch_is_settled_as_a_small_one(self, store: BlobStore) -> None:
        """A hundred files in one batch are all there afterwards."""
        contents = [f"file {number}".encode() for number in range(100)]

        blobs = put(store, *contents)

        assert contents == [get(store, blob) for blob in blobs]

    def test_the_same_bytes_twice_are_one_blob(self, store: BlobStore) -> None:
        """Writing what is there already changes nothing, within one batch and later."""
        first, second = put(store, b"twin", b"twin")
        (third,) = put(store, b"twin")

        assert first == second == third
        assert [first.digest] == [file.digest for file in store.files()]

    def test_reading_a_part(self, store: BlobStore) -> None:
        """Offset and limit select bytes; beyond the end there are none."""
        (blob,) = put(store, b"0123456789")

        assert b"345" == b"".join(store.read(blob.digest, 3, 3))
        assert b"89" == b"".join(store.read(blob.digest, 8))
        assert b"" == b"".join(store.read(blob.digest, 10))
        assert b"" == b"".join(store.read(blob.digest, 2**63 - 1, 2**63 - 1))
        assert b"" == b"".join(store.read(blob.digest, 0, 0))

    def test_chunks_are_bounded(self, store: BlobStore) -> None:
        """A blob of more than a mebibyte comes in chunks of at most that."""
        data = bytes(2 * CHUNK_BYTES + 1)
        (blob,) = put(store, data)

        assert [CHUNK_BYTES, CHUNK_BYTES, 1] == [len(c) for c in store.read(blob.digest)]

    def test_an_absent_blob_is_missing(self, store: BlobStore) -> None:
        """Reading what is not there fails before the first chunk, naming the digest."""
        absent = blob_of(b"absent")

        with pytest.raises(BlobMissingError, match=absent.hex):
            store.read(absent.digest)
        assert store.size(absent.digest) is None

    def test_a_wrong_digest_is_refused(self, store: BlobStore) -> None:
        """Bytes that do not have the digest they should are not stored."""
        expected = Expected(digests=(("md5", bytes(16)),))

        with store.begin() as batch:
            writer = batch.create(Verifier(expected))
            writer.write(b"other")
            with pytest.raises(DigestMismatchError):
                writer.close()
            assert [] == batch.settle()
        assert [] == list(store.files())

    def test_a_wrong_size_is_refused(self, store: BlobStore) -> None:
        """Too many bytes are refused when they come, too few at the end."""
        with store.begin() as batch:
            writer = batch.create(Verifier(Expected(size_bytes=3)))
            with pytest.raises(SizeMismatchError):
                writer.write(b"four")
            writer.abort()
            writer = batch.create(Verifier(Expected(size_bytes=3)))
            writer.write(b"12")
            with pytest.raises(SizeMismatchError):
                writer.close()
            assert [] == batch.settle()

    def test_an_aborted_writer_leaves_nothing(self, store: BlobStore) -> None:
        """Neither an abort nor the end of a batch with an open writer leaves bytes."""
        with store.begin() as batch:
            writer = batch.create()
            writer.write(b"half")
            writer.abort()
            batch.create().write(b"open")

        assert [] == list(store.files())
        assert store.temporary_files() == 0

    def test_set_aside_and_restored(self, store: BlobStore) -> None:
        """What was set aside is out of sight, and comes back when restored."""
        (blob,) = put(store, b"condemned")

        store.set_aside([blob.digest])
        assert store.size(blob.digest) is None
        assert [blob.digest] == [file.digest for file in store.set_aside_files()]
        store.restore([blob.digest])
        assert b"condemned" == get(store, blob)
        assert [] == list(store.set_aside_files())

    def test_set_aside_and_discarded(self, store: BlobStore) -> None:
        """What was discarded is gone, and doing so twice is no error."""
        (blob,) = put(store, b"condemned")

        store.set_aside([blob.digest])
        store.discard([blob.digest])
        store.discard([blob.digest])
        store.restore([blob.digest])

        assert store.size(blob.digest) is None

    def test_ensure_brings_back_what_was_taken(self, store: BlobStore) -> None:
        """Bytes that a collector takes between settling and recording are there after `ensure`."""
        with store.begin() as batch:
            writer = batch.create()
            writer.write(b"contested")
            blob = writer.close()
            batch.settle()
            store.set_aside([blob.digest])
            batch.ensure()
        store.discard([blob.digest])

        assert b"contested" == get(store, blob)

    def test_writers_of_one_batch_may_work_in_several_threads(self, store: BlobStore) -> None:
        """Eight threads writing into one batch all get their bytes stored."""
        with store.begin() as batch:

            def write(number: int) -> None:
                for piece in range(10):
                    writer = batch.create()
                    writer.write(f"{number} {piece}".encode())
                    writer.close()

            threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            settled = batch.settle()

        assert {blob_of(f"{n} {p}".encode()) for n in range(8) for p in range(10)} == set(settled)

    def test_a_large_blob_is_whole(self, store: BlobStore) -> None:
        """A blob of many parts comes back as it was, and any stretch of it."""
        data = b"".join(number.to_bytes(4) for number in range(9 * 1024**2 // 4)) + b"end"
        (blob,) = put(store, data)

        assert blob == blob_of(data)
        assert get(store, blob) == data
        assert b"".join(store.read(blob.digest, len(data) - 3)) == b"end"
        middle = 8 * 1024**2 - 5
        assert b"".join(store.read(blob.digest, middle, 10)) == data[middle : middle + 10]

    def test_a_large_wrong_one_leaves_nothing(self, store: BlobStore) -> None:
        """Nothing of a blob of many parts stays if its last byte is wrong."""
        with store.begin() as batch:
            writer = batch.create(Verifier(Expected(digests=(("sha256", bytes(32)),))))
            for _ in range(9):
                writer.write(bytes(CHUNK_BYTES))
            with pytest.raises(DigestMismatchError):
                writer.close()
            assert [] == batch.settle()

        assert [] == list(store.files())
        assert store.temporary_files() == 0

    def test_several_may_store_the_same_at_once(self, store: BlobStore) -> None:
        """Batches with the same bytes that settle at once are all told the same, one blob."""
        barrier = threading.Barrier(4)
        told: list[list[Blob]] = []

        def work() -> None:
            with store.begin() as batch:
                for data in (b"contested", bytes(200_000)):
                    writer = batch.create()
                    writer.write(data)
                    writer.close()
                barrier.wait()
                told.append(batch.settle())

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert [[blob_of(b"contested"), blob_of(bytes(200_000))]] * 4 == told
        assert len(list(store.files())) == 2
        assert get(store, blob_of(bytes(200_000))) == bytes(200_000)

    def test_a_torn_blob_is_replaced(self, store: BlobStore) -> None:
        """What lies under a blob's name with another length gives way to the right bytes."""
        (blob,) = put(store, b"whole")
        self.tear(store, blob)
        assert store.size(blob.digest) == 2

        put(store, b"whole")

        assert get(store, blob) == b"whole"

    def test_a_blob_set_aside_may_be_written_again(self, store: BlobStore) -> None:
        """Restoring what has come again since leaves one blob, and nothing aside."""
        (blob,) = put(store, b"condemned")
        store.set_aside([blob.digest])
        put(store, b"condemned")

        store.restore([blob.digest])

        assert get(store, blob) == b"condemned"
        assert [] == list(store.set_aside_files())

    def test_what_is_not_there_is_not_set_aside(self, store: BlobStore) -> None:
        """Neither setting aside, restoring nor discarding what is not there is an error."""
        absent = blob_of(b"absent").digest

        store.set_aside([absent])
        store.restore([absent])
        store.discard([absent])

        assert [] == list(store.set_aside_files())

    def tear(self, store: BlobStore, blob: Blob) -> None:
        """Leave only two bytes of a blob; how is the backend's business."""
        raise NotImplementedError

    def test_files_are_listed_in_order(self, store: BlobStore) -> None:
        """Everything there is comes in order of digest, with its size."""
        blobs = put(store, *(str(number).encode() for number in range(20)))

        listed = list(store.files())

        assert sorted((b.digest, b.size_bytes) for b in blobs) == [
            (file.digest, file.size_bytes) for file in listed
        ]
