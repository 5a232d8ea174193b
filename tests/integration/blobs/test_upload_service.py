"""UploadService as users call it."""

import hashlib
import threading
from collections.abc import Iterator

import grpc
import pytest

from byte_rows import Rows
from entrepot.core.v1 import upload_service_pb2 as pb
from entrepot.core.v1 import upload_service_pb2_grpc
from entrepot_core.api.upload_service import UploadService
from entrepot_core.downloads.keeper import Keeper
from entrepot_core.downloads.receiving import Receiving
from entrepot_core.store import uploads
from entrepot_rpc.errors import Code
from rpc import raises, serving


class Client:
    """A user with bytes."""

    def __init__(self, stub: upload_service_pb2_grpc.UploadServiceStub, keeper: Keeper) -> None:
        self.stub = stub
        self.keeper = keeper

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
        self, upload: pb.Upload, offset: int, *chunks: bytes, last: bool = False
    ) -> pb.Upload:
        """Append bytes."""
        start = pb.WriteUploadRequest.Open(name=upload.name, offset=offset, last=last)
        requests = [
            pb.WriteUploadRequest(open=start),
            *(pb.WriteUploadRequest(chunk=chunk) for chunk in chunks),
        ]
        found = self.stub.WriteUpload(iter(requests)).upload
        assert isinstance(found, pb.Upload)
        return found

    def bytes_of(self, upload: pb.Upload) -> bytes:
        """What was uploaded."""
        return b"".join(self.keeper.store.read(bytes.fromhex(upload.sha256)))


@pytest.fixture
def client(keeper: Keeper) -> Iterator[Client]:
    """A user of a service that keeps stretches of four bytes."""
    servicer = UploadService(keeper, Receiving(keeper, stretch_bytes=4), lambda _: "admin")
    with serving(
        "entrepot.core.v1.UploadService",
        lambda server: upload_service_pb2_grpc.add_UploadServiceServicer_to_server(
            servicer, server
        ),
    ) as channel:
        yield Client(upload_service_pb2_grpc.UploadServiceStub(channel), keeper)


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


def test_a_wrong_size_starts_over(client: Client) -> None:
    """Too few bytes that are said to be all, and too many, are the client's fault."""
    upload = client.create(size_bytes=3)

    with raises("SIZE_MISMATCH") as too_few:
        client.write(upload, 0, b"ab", last=True)
    with raises("SIZE_MISMATCH") as too_many:
        client.write(upload, 0, b"abcd")

    assert [one.code for one in too_few + too_many] == [Code.INVALID_ARGUMENT] * 2
    assert client.write(upload, 0, b"abc").complete


def test_what_came_before_a_break_is_kept(client: Client, rows: Rows) -> None:
    """After a connection that broke, the upload goes on where the last byte came."""
    upload = client.create(size_bytes=8)
    sent = threading.Event()

    def requests() -> Iterator[pb.WriteUploadRequest]:
        yield pb.WriteUploadRequest(open=pb.WriteUploadRequest.Open(name=upload.name))
        yield pb.WriteUploadRequest(chunk=b"abcdef")
        while client.get(upload).received_bytes < 6:
            pass
        yield pb.WriteUploadRequest(chunk=b"g")
        sent.wait()

    call = client.stub.WriteUpload.future(requests())
    while client.get(upload).received_bytes < 6:
        pass
    call.cancel()
    sent.set()
    with pytest.raises((grpc.RpcError, grpc.FutureCancelledError)):
        call.result()
    while True:
        received = client.get(upload).received_bytes
        try:
            done = client.write(upload, received, b"abcdefgh"[received:])
        except grpc.RpcError:
            # What came before the break was just being kept.
            continue
        break

    assert client.bytes_of(done) == b"abcdefgh"


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
    """A day after the last byte an upload is gone, and is swept."""
    upload = client.create()
    rows.run("UPDATE upload SET expires_at = now()")

    with raises("RESOURCE_NOT_FOUND"):
        client.get(upload)
    with rows.database.transaction() as cursor:
        assert uploads.sweep_expired(cursor) == 1


@pytest.mark.parametrize(
    "fields", [{"size_bytes": -1}, {"sha256": "abc"}, {"sha256": "A" * 64}, {"filename": "a\nb"}]
)
def test_malformed_fields_are_named(client: Client, fields: dict[str, object]) -> None:
    """What cannot be is refused with the field named."""
    with raises("FIELD_INVALID") as caught:
        client.create(**fields)

    assert caught[0].violations[0].field.startswith(f"upload.{next(iter(fields))}")
