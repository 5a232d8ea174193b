"""UploadService as users call it."""

import hashlib
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import grpc
import pytest

from byte_rows import Rows
from entrepot.core.v1 import upload_service_pb2 as pb
from entrepot.core.v1 import upload_service_pb2_grpc
from entrepot_core.api.upload_service import UploadService
from entrepot_core.blobs.opening import open_blob_store
from entrepot_core.downloads.keeper import Keeper
from entrepot_core.downloads.receiving import Receiving
from entrepot_core.store import uploads
from entrepot_core.store.blob_collection import collect_blobs
from entrepot_core.store.database import Database
from entrepot_rpc import failpoints
from entrepot_rpc.errors import Code
from polling import until
from rpc import raises, serving


class Client:
    """A user with bytes."""

    def __init__(
        self, stub: upload_service_pb2_grpc.UploadServiceStub, keeper: Keeper, folder: Path
    ) -> None:
        self.stub = stub
        self.keeper = keeper
        self._folder = folder

    def create(self, **fields: object) -> pb.Upload:
        """A new upload."""
        request = pb.CreateUploadRequest(upload=pb.Upload(**fields))  # type: ignore[arg-type]
        upload = self.stub.CreateUpload(request).upload
        assert isinstance(upload, pb.Upload)
        return upload

    def get(self, upload: pb.Upload) -> pb.Upload:
        """The upload as it is."""
        found = self.stub.GetUpload(pb.GetUploadRequest(name=upload.name)).upload
        assert isinstance(found, pb.Upload)
        return found

    def write(
        self,
        upload: pb.Upload,
        offset: int,
        *chunks: bytes,
        last: bool = False,
        size_bytes: int = 0,
    ) -> pb.Upload:
        """Append bytes."""
        start = pb.WriteUploadRequest.Open(
            name=upload.name, offset=offset, last=last, size_bytes=size_bytes
        )
        requests = [
            pb.WriteUploadRequest(open=start),
            *(pb.WriteUploadRequest(chunk=chunk) for chunk in chunks),
        ]
        found = self.stub.WriteUpload(iter(requests)).upload
        assert isinstance(found, pb.Upload)
        return found

    def temporary_bytes(self) -> int:
        """How much has been written of files that are under way."""
        files = (path for path in self._folder.rglob("*") if "sha256" not in path.parts)
        return sum(path.stat().st_size for path in files if path.is_file())

    def bytes_of(self, upload: pb.Upload) -> bytes:
        """What was uploaded."""
        return b"".join(self.keeper.store.read(bytes.fromhex(upload.sha256)))


@pytest.fixture(params=["directory", "objects"])
def keeper(request: pytest.FixtureRequest, database: Database, tmp_path: Path) -> Iterator[Keeper]:
    """Rows, and bytes in a folder or in an object store."""
    url = (
        f"file://{tmp_path}/blobs?reserve_bytes=0" if request.param == "directory" else "memory://"
    )
    store = open_blob_store(url, tmp_path / "blobs")
    yield Keeper(database, store)
    store.close()


@pytest.fixture
def client(keeper: Keeper, tmp_path: Path) -> Iterator[Client]:
    """A user of the service."""
    servicer = UploadService(keeper, Receiving(keeper), lambda _: "admin")
    with serving(
        "entrepot.core.v1.UploadService",
        lambda server: upload_service_pb2_grpc.add_UploadServiceServicer_to_server(
            servicer, server
        ),
    ) as channel:
        stub = upload_service_pb2_grpc.UploadServiceStub(channel)
        yield Client(stub, keeper, tmp_path / "blobs")


def hex_of(data: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def test_a_file_in_one_go(client: Client) -> None:
    """A file of known size is complete when its last byte has come."""
    upload = client.create(size_bytes=3, filename="a.txt")

    done = client.write(upload, 0, b"a", b"bc")

    assert done.complete
    assert (done.sha256, done.size_bytes, done.filename) == (hex_of(b"abc"), 3, "a.txt")
    assert client.bytes_of(done) == b"abc"
    assert client.get(upload) == done


def test_a_file_in_pieces(client: Client) -> None:
    """Pieces are put together in order, and the whole is verified."""
    data = b"0123456789abcdef"
    upload = client.create(sha256=hex_of(data))

    first = client.write(upload, 0, data[:3], data[3:9])
    second = client.write(upload, 9, data[9:11])
    done = client.write(upload, 11, data[11:], last=True)

    assert [first.received_bytes, second.received_bytes] == [9, 11]
    assert not first.complete
    assert done.complete
    assert client.bytes_of(done) == data


def test_an_empty_file(client: Client) -> None:
    """An empty file is complete at once if its digest says so, else when told that it is over."""
    known = client.create(sha256=hex_of(b""))
    unknown = client.write(client.create(), 0, last=True)

    assert known.complete
    assert unknown.complete
    assert client.bytes_of(unknown) == b""


def test_the_offset_must_fit(client: Client) -> None:
    """Bytes that do not begin where the last ended are refused, saying where to go on."""
    upload = client.create(size_bytes=10)
    client.write(upload, 0, b"abc")

    for offset in (0, 2, 4):
        with raises("UPLOAD_CONFLICT") as caught:
            client.write(upload, offset, b"x")
        assert caught[0].metadata["offset"] == "3"
    assert client.get(upload).received_bytes == 3


def test_what_is_complete_stays_so(client: Client) -> None:
    """Nothing can be added to a complete upload."""
    upload = client.create(size_bytes=1)
    client.write(upload, 0, b"a")

    with raises("UPLOAD_CONFLICT"):
        client.write(upload, 1, b"b")


@pytest.mark.parametrize("pieces", [(b"abX",), (b"abc", b"deX")])
def test_a_wrong_digest_starts_over(client: Client, pieces: tuple[bytes, ...]) -> None:
    """When the whole is wrong, which is the client's fault, it is empty again, and can succeed."""
    right = b"".join(pieces).replace(b"X", b"!")
    upload = client.create(sha256=hex_of(right))

    with raises("DIGEST_MISMATCH") as refused:
        client.write(upload, 0, *pieces, last=True)

    assert refused[0].code == Code.INVALID_ARGUMENT
    assert client.get(upload).received_bytes == 0
    assert client.write(upload, 0, right, last=True).complete


def test_a_wrong_size_loses_nothing(client: Client) -> None:
    """Too few bytes that are said to be all are kept, and too many are not taken."""
    upload = client.create(size_bytes=4)

    with raises("SIZE_MISMATCH") as too_few:
        client.write(upload, 0, b"ab", last=True)
    with raises("SIZE_MISMATCH") as too_many:
        client.write(upload, 2, b"c", b"de")

    assert [one.code for one in too_few + too_many] == [Code.INVALID_ARGUMENT] * 2
    assert [
        f"{upload.name} would have 2 bytes, not the 4 declared; it goes on at byte 2.",
        f"{upload.name} would have 5 bytes or more, not the 4 declared; it goes on at byte 2.",
    ] == [one.message for one in too_few + too_many]
    assert client.bytes_of(client.write(upload, 2, b"cd")) == b"abcd"


def test_the_size_is_what_was_said_first(client: Client) -> None:
    """A piece that speaks of a file of another length is refused before its bytes are taken."""
    declared = client.create(size_bytes=4)
    open_ = client.create()
    client.write(open_, 0, b"ab", size_bytes=4)

    for upload, offset, size in ((declared, 0, 2), (open_, 2, 5)):
        with raises("SIZE_MISMATCH") as refused:
            client.write(upload, offset, b"cd", last=True, size_bytes=size)
        assert refused[0].metadata["offset"] == str(offset)
        assert client.get(upload).received_bytes == offset
    assert client.bytes_of(client.write(open_, 2, b"cd", size_bytes=4)) == b"abcd"


def test_a_file_that_is_here_needs_no_bytes(client: Client) -> None:
    """An upload of a digest that is stored is complete at once, unless its length cannot be."""
    client.write(client.create(size_bytes=3), 0, b"abc")

    known = client.create(sha256=hex_of(b"abc"), size_bytes=3)
    unsized = client.create(sha256=hex_of(b"abc"))
    wrong = client.create(sha256=hex_of(b"abc"), size_bytes=4)
    absent = client.create(sha256=hex_of(b"abcd"), size_bytes=4)

    assert [True, True, False, False] == [u.complete for u in (known, unsized, wrong, absent)]
    assert client.bytes_of(unsized) == b"abc"
    assert (known.received_bytes, unsized.size_bytes) == (3, 3)


@pytest.mark.parametrize("size", [-1, 64 * 1024**3 + 1])
def test_no_file_has_such_a_size(client: Client, size: int) -> None:
    """What could never be written is not begun, and the field is named."""
    with raises("FIELD_INVALID") as refused:
        client.create(size_bytes=size)

    assert refused[0].violations[0].field == "upload.size_bytes"


def test_many_are_opened_at_once(client: Client) -> None:
    """A batch is answered in its order; one wrong field refuses all of it, by its index."""
    client.write(client.create(size_bytes=1), 0, b"a")
    good = [pb.Upload(sha256=hex_of(data), size_bytes=1) for data in (b"b", b"a")]

    opened = client.stub.BatchCreateUploads(pb.BatchCreateUploadsRequest(uploads=good)).uploads
    with raises("FIELD_INVALID") as refused:
        client.stub.BatchCreateUploads(
            pb.BatchCreateUploadsRequest(uploads=[*good, pb.Upload(size_bytes=-1)])
        )
    with raises("BATCH_TOO_LARGE"):
        client.stub.BatchCreateUploads(pb.BatchCreateUploadsRequest(uploads=[pb.Upload()] * 1_001))

    assert [False, True] == [one.complete for one in opened]
    assert client.write(opened[0], 0, b"b").complete
    assert refused[0].violations[0].field == "uploads[2].size_bytes"


def test_many_small_files_are_written_at_once(client: Client) -> None:
    """All of them are complete, or none is taken: the error names the upload that is wrong."""

    def write(*files: tuple[pb.Upload, bytes]) -> list[pb.Upload]:
        items = [pb.BatchWriteUploadsRequest.Item(name=one.name, data=data) for one, data in files]
        return list(
            client.stub.BatchWriteUploads(pb.BatchWriteUploadsRequest(items=items)).uploads
        )

    first, second, third = (
        client.create(size_bytes=1, sha256=hex_of(d)) for d in (b"x", b"y", b"z")
    )
    for data, reason in ((b"?", "DIGEST_MISMATCH"), (b"yy", "SIZE_MISMATCH")):
        with raises(reason) as refused:
            write((first, b"x"), (second, data))
        assert second.name in refused[0].message
        assert refused[0].code == Code.INVALID_ARGUMENT
    assert not client.get(first).complete

    done = write((first, b"x"), (second, b"y"))
    with raises("UPLOAD_CONFLICT"):
        write((third, b"z"), (first, b"x"))
    with raises("BATCH_TOO_LARGE"):
        write((third, bytes(2 * 1024**2 + 1)))

    assert [client.bytes_of(one) for one in done] == [b"x", b"y"]
    assert client.get(second) == done[1]
    assert not client.get(third).complete


def test_the_same_file_may_come_again(client: Client) -> None:
    """To a complete upload its bytes can be sent again, as whoever missed the answer does."""
    done = client.write(client.create(), 0, b"abc", last=True)

    assert client.write(done, 0, b"ab", b"c", last=True) == done
    for other in (b"abx", b"abcd", b"ab"):
        with raises("UPLOAD_CONFLICT"):
            client.write(done, 0, other, last=True)
    assert client.get(done) == done


def test_what_came_before_a_break_is_kept(client: Client) -> None:
    """After a connection that broke, the upload goes on where the last byte came."""
    data = bytes(range(256)) * 1024
    upload = client.create(size_bytes=len(data))
    is_over = threading.Event()

    def requests() -> Iterator[pb.WriteUploadRequest]:
        yield pb.WriteUploadRequest(open=pb.WriteUploadRequest.Open(name=upload.name))
        yield pb.WriteUploadRequest(chunk=data[:200_000])
        is_over.wait()

    call = client.stub.WriteUpload.future(requests())
    until(lambda: client.temporary_bytes() == 200_000, "the first bytes")
    call.cancel()
    is_over.set()
    until(lambda: client.get(upload).received_bytes == 200_000, "the end of the break")

    assert client.bytes_of(client.write(upload, 200_000, data[200_000:])) == data


def test_a_stream_without_its_end_completes_nothing(client: Client) -> None:
    """Of a file of unknown length nothing but its end tells a part from all of it."""
    upload = client.create()
    start = pb.WriteUploadRequest.Open(name=upload.name, last=True, ends=True)
    requests = [pb.WriteUploadRequest(open=start), pb.WriteUploadRequest(chunk=b"abc")]

    with raises("FIELD_INVALID"):
        client.stub.WriteUpload(iter(requests))

    assert (client.get(upload).received_bytes, client.get(upload).complete) == (3, False)
    start.offset = 3
    end = pb.WriteUploadRequest(end=pb.WriteUploadRequest.End())
    requests = [pb.WriteUploadRequest(open=start), pb.WriteUploadRequest(chunk=b"def"), end]
    assert client.bytes_of(client.stub.WriteUpload(iter(requests)).upload) == b"abcdef"


def test_a_file_in_one_request_is_written_once(client: Client, rows: Rows) -> None:
    """The stretch that came is the file: no second blob is made of it."""
    client.write(client.create(), 0, b"abc", b"def", last=True)

    assert rows.one("SELECT count(*) FROM blob") == 1


def test_of_two_writers_one_wins(client: Client) -> None:
    """Two that write at one offset do not mix: one is refused."""
    upload = client.create(size_bytes=4)
    outcomes: list[str] = []

    def write(data: bytes) -> None:
        try:
            outcomes.append(client.write(upload, 0, data).sha256)
        except grpc.RpcError:
            outcomes.append("refused")

    threads = [threading.Thread(target=write, args=(data,)) for data in (b"aaaa", b"bbbb")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert "refused" in outcomes
    assert client.get(upload).sha256 in {hex_of(b"aaaa"), hex_of(b"bbbb")}


def test_given_up(client: Client) -> None:
    """A deleted upload is gone; deleting it again says so."""
    upload = client.create()

    client.stub.DeleteUpload(pb.DeleteUploadRequest(name=upload.name))

    with raises("RESOURCE_NOT_FOUND"):
        client.get(upload)
    with raises("RESOURCE_NOT_FOUND"):
        client.stub.DeleteUpload(pb.DeleteUploadRequest(name=upload.name))


def test_names_are_taken_as_people_write_them(client: Client) -> None:
    """The full name, the id alone and the href all mean the upload; nonsense means none."""
    upload = client.create()
    upload_id = upload.name.removeprefix("uploads/")

    for name in (upload.name, upload_id, f"/api/v3/uploads/{upload_id}/"):
        assert client.get(pb.Upload(name=name)).name == upload.name
    with raises("RESOURCE_NOT_FOUND"):
        client.get(pb.Upload(name="uploads/nonsense"))


def test_abandoned_uploads_expire(client: Client, rows: Rows) -> None:
    """A day after the last byte an upload is gone, is swept, and so are its bytes."""
    upload = client.create(size_bytes=4)
    client.write(upload, 0, b"ab")
    blob = hashlib.sha256(b"ab").digest()
    collect_blobs(rows.database, client.keeper.store, 0)
    assert client.keeper.store.size(blob) == 2
    rows.run("UPDATE upload SET expires_at = now()")

    with raises("RESOURCE_NOT_FOUND"):
        client.get(upload)
    with rows.database.transaction() as cursor:
        assert uploads.sweep_expired(cursor) == 1
    collect_blobs(rows.database, client.keeper.store, 0)

    assert client.keeper.store.size(blob) is None


def test_activity_extends_the_life(client: Client, rows: Rows) -> None:
    """The day begins anew with every byte."""
    upload = client.create(size_bytes=4)
    rows.run("UPDATE upload SET expires_at = now() + interval '1 hour'")
    soon = client.get(upload).expire_time.ToDatetime()

    client.write(upload, 0, b"ab")

    assert client.get(upload).expire_time.ToDatetime() - soon > timedelta(hours=22)


@pytest.mark.parametrize(
    "fields", [{"size_bytes": -1}, {"sha256": "abc"}, {"sha256": "A" * 64}, {"filename": "a\nb"}]
)
def test_malformed_fields_are_named(client: Client, fields: dict[str, object]) -> None:
    """What cannot be is refused with the field named."""
    with raises("FIELD_INVALID") as caught:
        client.create(**fields)

    assert caught[0].violations[0].field.startswith(f"upload.{next(iter(fields))}")


@pytest.mark.parametrize("instant", ["bytes.opened", "bytes.half_written"])
def test_a_full_disk_keeps_no_bytes_that_are_not_there(client: Client, instant: str) -> None:
    """What a full disk did not take is not counted as received, and can be sent again."""
    data = bytes(range(256)) * 1_000
    upload = client.create(size_bytes=len(data), sha256=hex_of(data))
    failpoints.configure(f"{instant}=fail(ENOSPC)*1")

    try:
        with raises("STORAGE_FULL"):
            client.write(upload, 0, data)
    finally:
        failpoints.configure("")

    assert client.get(upload).received_bytes == 0
    client.write(upload, 0, data)
    assert client.bytes_of(upload) == data
