"""BlobService: digests, batches and streams of attempts."""

from collections.abc import Iterator

import grpc
import pytest

from entrepot.core.v1 import blob_service_pb2, blob_service_pb2_grpc
from entrepot.type.v1 import digest_pb2
from entrepot_core.api.blob_messages import decode_expected, decode_sha256, encode_blob
from entrepot_core.api.blob_service import MAX_BATCH_BYTES, MAX_DIGESTS, MAX_ITEMS, BlobService
from entrepot_core.api.workspace_service import workspace_of
from entrepot_core.blobs.directory import DirectoryBlobStore
from entrepot_core.domain.blob import CHUNK_BYTES, Blob, Expected
from entrepot_core.domain.errors import FieldInvalidError
from entrepot_core.downloads.downloader import Downloader
from entrepot_core.downloads.fetching import Fetching
from entrepot_core.downloads.keeper import Keeper
from remote_keys import remotes_of
from unconnected_core import API, ATTEMPT, Servicing, fields, no_database, refusal

Digest = digest_pb2.Digest
Write = blob_service_pb2.WriteBlobRequest
SHA256 = Digest.ALGORITHM_SHA256
HEX = "ab" * 32
OPEN = Write(open=Write.Open())


@pytest.fixture(scope="module")
def keeper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keeper]:
    """An empty store, and no rows."""
    keeper = Keeper(no_database(), DirectoryBlobStore(tmp_path_factory.mktemp("blobs")))
    yield keeper
    keeper.store.close()


@pytest.fixture(scope="module")
def servicer(keeper: Keeper) -> Iterator[BlobService]:
    """The servicer, for which every caller is the attempt with the workspace 7."""
    downloader = Downloader(allow_loopback=False)
    yield BlobService(
        keeper, Fetching(keeper, downloader), remotes_of(keeper.database), lambda _context: 7
    )
    downloader.close()


def serve(servicer: BlobService) -> Servicing:
    """Calls it."""
    return Servicing(
        blob_service_pb2.DESCRIPTOR.services_by_name["BlobService"],
        blob_service_pb2_grpc.add_BlobServiceServicer_to_server,
        servicer,
    )


@pytest.fixture(scope="module")
def servicing(servicer: BlobService) -> Servicing:
    """Calls it."""
    return serve(servicer)


@pytest.mark.parametrize(
    ("digest", "field"),
    [
        (Digest(hex=HEX), "algorithm"),
        (Digest(algorithm=Digest.ALGORITHM_SHA512, hex="ab" * 64), "algorithm"),
        (Digest(algorithm=99, hex=HEX), "algorithm"),  # type: ignore[arg-type]
        (Digest(algorithm=SHA256), "hex"),
        (Digest(algorithm=SHA256, hex=HEX.upper()), "hex"),
        (Digest(algorithm=SHA256, hex=HEX + "ab"), "hex"),
        (Digest(algorithm=SHA256, hex=HEX[1:]), "hex"),
        (Digest(algorithm=SHA256, hex="é" * 64), "hex"),
    ],
)
def test_a_blob_is_named_by_its_sha256(servicing: Servicing, digest: Digest, field: str) -> None:
    """Every other digest is refused where it stands, in a list as alone."""
    good = Digest(algorithm=SHA256, hex=HEX)
    asked = blob_service_pb2.FindMissingBlobsRequest(digests=[good, digest])
    read = blob_service_pb2.ReadBlobRequest(blob=digest)

    found = [
        fields(refusal(lambda: servicing.call("FindMissingBlobs", asked, ATTEMPT))),
        fields(refusal(lambda: servicing.read("ReadBlob", read, ATTEMPT))),
    ]

    assert [[f"digests[1].{field}"], [f"blob.{field}"]] == found


@pytest.mark.parametrize("field", ["offset", "limit"])
def test_a_part_of_a_blob_is_not_negative(servicing: Servicing, field: str) -> None:
    """Neither where it begins nor how long it is."""
    request = blob_service_pb2.ReadBlobRequest(blob=Digest(algorithm=SHA256, hex=HEX))
    setattr(request, field, -1)

    error = refusal(lambda: servicing.read("ReadBlob", request, ATTEMPT))

    assert [field] == fields(error)


def test_too_many_digests_are_refused(servicing: Servicing) -> None:
    """The limit is in the message, and says what to do."""
    request = blob_service_pb2.FindMissingBlobsRequest(digests=[Digest()] * (MAX_DIGESTS + 1))

    error = refusal(lambda: servicing.call("FindMissingBlobs", request, ATTEMPT))

    assert ("INVALID_ARGUMENT", "BATCH_TOO_LARGE") == (error.code.name, error.reason)
    assert str(MAX_DIGESTS) in error.message


def test_too_many_items_are_refused(servicing: Servicing) -> None:
    """Neither so many small blobs nor so many downloads are taken at once."""
    fetch = blob_service_pb2.FetchBlobsRequest()
    write = blob_service_pb2.BatchWriteBlobsRequest()
    for _ in range(MAX_ITEMS + 1):
        fetch.items.add()
        write.items.add()

    reasons = [
        refusal(lambda: servicing.read("FetchBlobs", fetch, ATTEMPT)).reason,
        refusal(lambda: servicing.call("BatchWriteBlobs", write, ATTEMPT)).reason,
    ]

    assert ["BATCH_TOO_LARGE", "BATCH_TOO_LARGE"] == reasons


def test_too_many_bytes_are_refused(servicing: Servicing) -> None:
    """All items together count, and nothing of them is kept."""
    request = blob_service_pb2.BatchWriteBlobsRequest()
    request.items.add(data=b"a" * MAX_BATCH_BYTES)
    request.items.add(data=b"b")

    error = refusal(lambda: servicing.call("BatchWriteBlobs", request, ATTEMPT))

    assert error.reason == "BATCH_TOO_LARGE"


@pytest.mark.parametrize(
    ("requests", "reason", "field"),
    [
        ([], "FIELD_INVALID", ["open"]),
        ([Write()], "FIELD_INVALID", ["open"]),
        ([Write(chunk=b"a")], "FIELD_INVALID", ["open"]),
        ([OPEN, OPEN], "FIELD_INVALID", ["open"]),
        ([OPEN, Write()], "FIELD_INVALID", ["open"]),
        ([OPEN, Write(chunk=b"a" * (CHUNK_BYTES + 1))], "BATCH_TOO_LARGE", []),
        (
            [Write(open=Write.Open(expected=Digest(algorithm=SHA256, hex="x")))],
            "FIELD_INVALID",
            ["open.expected[0].hex"],
        ),
        (
            [
                Write(open=Write.Open(expected=Digest(algorithm=SHA256, hex=HEX))),
                Write(chunk=b"other"),
            ],
            "DIGEST_MISMATCH",
            [],
        ),
        ([OPEN, Write(chunk=b"a" * CHUNK_BYTES)], "DATABASE_UNAVAILABLE", []),
    ],
)
def test_a_stream_is_checked_while_it_comes(
    servicing: Servicing, keeper: Keeper, requests: list[Write], reason: str, field: list[str]
) -> None:
    """What is wrong is refused where it stands, and leaves nothing behind."""
    error = refusal(lambda: servicing.send("WriteBlob", requests, ATTEMPT))

    assert (reason, field) == (error.reason, fields(error))
    assert 0 == keeper.store.temporary_files()


def test_blobs_are_for_attempts(keeper: Keeper, servicer: BlobService) -> None:
    """A user's token is not that of an attempt, though the service lets it in."""

    def workspace(context: grpc.ServicerContext) -> int:
        return workspace_of(keeper.database, context).workspace_id

    strict = BlobService(keeper, servicer._fetching, remotes_of(keeper.database), workspace)
    request = blob_service_pb2.FindMissingBlobsRequest()

    reasons = [
        refusal(lambda: serve(strict).call("FindMissingBlobs", request, API)).reason,
        refusal(lambda: serve(strict).call("FindMissingBlobs", request, ATTEMPT)).reason,
    ]

    assert ["UNAUTHENTICATED", "DATABASE_UNAVAILABLE"] == reasons


def test_a_blob_is_its_digest_and_size() -> None:
    """What is encoded is decoded as the same address."""
    blob = Blob(bytes.fromhex(HEX), 3)

    message = encode_blob(blob)

    assert Digest(algorithm=SHA256, hex=HEX, size_bytes=3) == message
    assert blob.digest == decode_sha256(message, "blob")


def test_all_digests_are_expected() -> None:
    """Several algorithms and one size are taken together, and what is said twice counts once."""
    md5 = Digest(algorithm=Digest.ALGORITHM_MD5, hex="cd" * 16, size_bytes=3)
    sha256 = Digest(algorithm=SHA256, hex=HEX)

    expected = decode_expected([md5, sha256, md5], "digests")

    digests = (("md5", bytes.fromhex("cd" * 16)), ("sha256", bytes.fromhex(HEX)))
    assert Expected(digests, 3) == expected


def test_nothing_may_be_expected() -> None:
    """Without digests, any bytes will do."""
    assert Expected() == decode_expected([], "digests")


@pytest.mark.parametrize(
    ("digests", "field"),
    [
        ([Digest(hex=HEX)], "digests[0].algorithm"),
        ([Digest(algorithm=99, hex=HEX)], "digests[0].algorithm"),  # type: ignore[arg-type]
        (
            [Digest(algorithm=SHA256, hex=HEX), Digest(algorithm=SHA256, hex="cd" * 32)],
            "digests[1]",
        ),
        ([Digest(algorithm=SHA256, hex=HEX, size_bytes=-1)], "digests"),
        (
            [
                Digest(algorithm=SHA256, hex=HEX, size_bytes=1),
                Digest(algorithm=Digest.ALGORITHM_MD5, hex="cd" * 16, size_bytes=2),
            ],
            "digests",
        ),
    ],
)
def test_what_contradicts_itself_is_refused(digests: list[Digest], field: str) -> None:
    """No bytes have two digests of one kind, or two sizes."""
    with pytest.raises(FieldInvalidError) as refused:
        decode_expected(digests, "digests")

    assert [field] == fields(refused.value)
