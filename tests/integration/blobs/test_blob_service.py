"""BlobService as plugins call it."""

import hashlib
from collections.abc import Iterator

import pytest

from byte_rows import Rows
from entrepot.core.v1 import blob_service_pb2 as pb
from entrepot.core.v1 import blob_service_pb2_grpc
from entrepot.type.v1 import content_pb2, digest_pb2
from entrepot_core.api.blob_service import BlobService
from entrepot_core.downloads.downloader import Downloader
from entrepot_core.downloads.fetching import Fetching
from entrepot_core.downloads.keeper import Keeper
from entrepot_rpc.status import from_status
from raw_upstream import RawUpstream, response
from remote_keys import remotes_of
from rpc import raises, serving
from upstream import Upstream, answers, lies, redirects

WORKSPACE = 7


def digest_of(data: bytes) -> digest_pb2.Digest:
    """The digest of some bytes."""
    return digest_pb2.Digest(
        algorithm=digest_pb2.Digest.ALGORITHM_SHA256,
        hex=hashlib.sha256(data).hexdigest(),
        size_bytes=len(data),
    )


@pytest.fixture
def stub(
    keeper: Keeper, downloader: Downloader, rows: Rows
) -> Iterator[blob_service_pb2_grpc.BlobServiceStub]:
    """A client of the service; every call is that of attempt 7, which was lent one remote."""
    rows.lend_remote(WORKSPACE, rows.remote())
    servicer = BlobService(
        keeper, Fetching(keeper, downloader), remotes_of(keeper.database), lambda _: WORKSPACE
    )
    with serving(
        "entrepot.core.v1.BlobService",
        lambda server: blob_service_pb2_grpc.add_BlobServiceServicer_to_server(servicer, server),
    ) as channel:
        yield blob_service_pb2_grpc.BlobServiceStub(channel)


def write(
    stub: blob_service_pb2_grpc.BlobServiceStub,
    *chunks: bytes,
    expected: digest_pb2.Digest | None = None,
) -> pb.WriteBlobResponse:
    """Write one blob."""
    requests = [
        pb.WriteBlobRequest(open=pb.WriteBlobRequest.Open(expected=expected)),
        *(pb.WriteBlobRequest(chunk=chunk) for chunk in chunks),
    ]
    answer: pb.WriteBlobResponse = stub.WriteBlob(iter(requests))
    return answer


def read(
    stub: blob_service_pb2_grpc.BlobServiceStub,
    digest: digest_pb2.Digest,
    offset: int = 0,
    limit: int = 0,
) -> bytes:
    """Read one blob."""
    answers_ = stub.ReadBlob(pb.ReadBlobRequest(blob=digest, offset=offset, limit=limit))
    return b"".join(answer.chunk for answer in answers_)


def fetch(
    stub: blob_service_pb2_grpc.BlobServiceStub,
    url: str,
    *expected: digest_pb2.Digest,
    max_bytes: int = 0,
) -> pb.FetchBlobsResponse:
    """Fetch one file."""
    item = pb.FetchBlobsRequest.Item(
        item_id="one",
        sources=[content_pb2.RemoteSource(remote_role="remote", url=url)],
        expected=expected,
        max_bytes=max_bytes,
    )
    (answer,) = stub.FetchBlobs(pb.FetchBlobsRequest(items=[item]))
    assert isinstance(answer, pb.FetchBlobsResponse)
    return answer


def test_what_an_attempt_writes_it_can_read(
    stub: blob_service_pb2_grpc.BlobServiceStub,
) -> None:
    """Bytes written in chunks come back, whole and in part; written again, they existed."""
    first = write(stub, b"hello ", b"world")
    again = write(stub, b"hello world", expected=digest_of(b"hello world"))

    assert digest_of(b"hello world") == first.blob
    assert (False, True) == (first.existed, again.existed)
    assert read(stub, first.blob) == b"hello world"
    assert read(stub, first.blob, 6, 3) == b"wor"


def test_wrong_bytes_are_refused(stub: blob_service_pb2_grpc.BlobServiceStub) -> None:
    """Bytes that are not what was announced are not stored."""
    with raises("DIGEST_MISMATCH"):
        write(stub, b"world", expected=digest_of(b"hello"))
    with raises("SIZE_MISMATCH"):
        write(stub, b"too long", expected=digest_of(b"hello"))


def test_a_batch_answers_for_each(stub: blob_service_pb2_grpc.BlobServiceStub) -> None:
    """Each small blob of a batch has its own outcome."""
    items = [
        pb.BatchWriteBlobsRequest.Item(data=b"one"),
        pb.BatchWriteBlobsRequest.Item(data=b"two", expected=digest_of(b"zwo")),
        pb.BatchWriteBlobsRequest.Item(data=b""),
    ]

    results = stub.BatchWriteBlobs(pb.BatchWriteBlobsRequest(items=items)).results

    assert [0, 15, 0] == [result.status.code for result in results]
    assert [digest_of(b"one"), digest_of(b"")] == [results[0].blob, results[2].blob]
    assert read(stub, results[0].blob) == b"one"


def test_limits_are_named(stub: blob_service_pb2_grpc.BlobServiceStub) -> None:
    """What is too large is refused with the limit in the message."""
    with raises("BATCH_TOO_LARGE") as caught:
        item = pb.BatchWriteBlobsRequest.Item(data=bytes(2 * 1024**2 + 1))
        stub.BatchWriteBlobs(pb.BatchWriteBlobsRequest(items=[item]))
    assert "2097152" in caught[0].message
    with raises("BATCH_TOO_LARGE"):
        write(stub, bytes(1024**2 + 1))
    with raises("BATCH_TOO_LARGE"):
        stub.FindMissingBlobs(pb.FindMissingBlobsRequest(digests=[digest_of(b"x")] * 10_001))


def test_a_url_without_a_remote_must_be_a_users(
    stub: blob_service_pb2_grpc.BlobServiceStub, upstream: Upstream
) -> None:
    """What no remote was lent for, and no parameter names, is not asked for at all."""
    upstream.files["a"] = b"a"
    item = pb.FetchBlobsRequest.Item(
        item_id="one", sources=[content_pb2.RemoteSource(url=upstream.url + "a")]
    )

    with raises("PERMISSION_DENIED") as refused:
        list(stub.FetchBlobs(pb.FetchBlobsRequest(items=[item])))

    assert upstream.url in refused[0].message
    assert upstream.count("a") == 0


def test_others_blobs_are_as_good_as_absent(
    stub: blob_service_pb2_grpc.BlobServiceStub, keeper: Keeper
) -> None:
    """A blob that is stored but not lent is missing, and unreadable in the same words."""
    keeper.write([b"secret"])
    written = write(stub, b"mine").blob

    missing = stub.FindMissingBlobs(
        pb.FindMissingBlobsRequest(digests=[digest_of(b"secret"), written, digest_of(b"absent")])
    ).missing

    assert [digest_of(b"secret"), digest_of(b"absent")] == list(missing)
    for data in (b"secret", b"absent"):
        with raises("RESOURCE_NOT_FOUND"):
            read(stub, digest_of(data))


def test_blobs_of_lent_versions_can_be_read(
    stub: blob_service_pb2_grpc.BlobServiceStub, keeper: Keeper, rows: Rows
) -> None:
    """The files of the lent version can be read, those added after it cannot."""
    repository = rows.repository(latest=2)
    for number in (1, 2):
        data = f"in version {number}".encode()
        keeper.write([data])
        rows.member(repository, rows.unit(f"f{number}", data), f"f{number}", added=number)
    rows.run(
        "INSERT INTO lent_repository VALUES (%s, 'repository', %s, 1, true)",
        (WORKSPACE, repository),
    )

    assert read(stub, digest_of(b"in version 1")) == b"in version 1"
    with raises("RESOURCE_NOT_FOUND"):
        read(stub, digest_of(b"in version 2"))


def test_a_fetched_file_can_be_read(
    stub: blob_service_pb2_grpc.BlobServiceStub, upstream: Upstream
) -> None:
    """A fetched file is a blob of the attempt, with the address it came from in the end."""
    upstream.files["list"] = b"metadata"
    upstream.behave("list", redirects())

    answer = fetch(stub, upstream.url + "list")

    assert digest_of(b"metadata") == answer.blob
    assert upstream.url + "moved/list" == answer.final_url
    assert read(stub, answer.blob) == b"metadata"


def test_an_unchanged_file_costs_a_304(
    stub: blob_service_pb2_grpc.BlobServiceStub, upstream: Upstream
) -> None:
    """The second time nothing is sent but that it has not changed, until it has."""
    upstream.files["list"] = b"metadata"

    first = fetch(stub, upstream.url + "list")
    second = fetch(stub, upstream.url + "list", digest_of(b"metadata"))
    upstream.files["list"] = b"other"
    third = fetch(stub, upstream.url + "list")

    assert (False, True, False) == (first.not_modified, second.not_modified, third.not_modified)
    assert (digest_of(b"metadata"), digest_of(b"metadata"), digest_of(b"other")) == (
        first.blob,
        second.blob,
        third.blob,
    )
    assert upstream.not_modified["list"] == 1


def test_what_is_remembered_but_wrong_is_asked_for_anew(
    stub: blob_service_pb2_grpc.BlobServiceStub, upstream: Upstream
) -> None:
    """With another expected digest, the upstream is asked unconditionally."""
    upstream.files["list"] = b"metadata"
    fetch(stub, upstream.url + "list")

    answer = fetch(stub, upstream.url + "list", digest_of(b"expected!"))

    assert from_status(answer.status).reason == "SIZE_MISMATCH"
    assert upstream.not_modified["list"] == 0


def test_what_was_collected_is_fetched_again(
    stub: blob_service_pb2_grpc.BlobServiceStub, upstream: Upstream, rows: Rows
) -> None:
    """A remembered answer whose blob has gone does not count."""
    upstream.files["list"] = b"metadata"
    fetch(stub, upstream.url + "list")
    rows.run("DELETE FROM blob")

    answer = fetch(stub, upstream.url + "list")

    assert not answer.not_modified
    assert digest_of(b"metadata") == answer.blob


def test_unverified_bytes_are_not_remembered(
    stub: blob_service_pb2_grpc.BlobServiceStub, upstream: Upstream, rows: Rows
) -> None:
    """After a wrong answer nothing is remembered, and nothing stored."""
    upstream.files["list"] = b"metadata"
    upstream.behave("list", lies())

    answer = fetch(stub, upstream.url + "list", digest_of(b"metadata"))

    assert from_status(answer.status).reason == "DIGEST_MISMATCH"
    assert rows.database.fetch("SELECT count(*) FROM fetch_cache") == [(0,)]
    assert rows.database.fetch("SELECT count(*) FROM blob") == [(0,)]


def test_what_came_before_can_be_read(
    stub: blob_service_pb2_grpc.BlobServiceStub, upstream: Upstream, rows: Rows
) -> None:
    """Of a file that has changed, the attempt is lent what it was the last time."""
    upstream.files["list"] = b"old"
    first = fetch(stub, upstream.url + "list")
    unchanged = fetch(stub, upstream.url + "list")
    upstream.files["list"] = b"new"
    rows.run("DELETE FROM attempt_blob")

    answer = fetch(stub, upstream.url + "list")

    assert not first.HasField("previous")
    assert unchanged.not_modified
    assert not unchanged.HasField("previous")
    assert answer.previous == first.blob
    assert read(stub, answer.previous) == b"old"
    assert read(stub, answer.blob) == b"new"


def test_what_was_collected_is_no_previous(
    stub: blob_service_pb2_grpc.BlobServiceStub, upstream: Upstream, rows: Rows
) -> None:
    """Bytes of the last time that are gone are not spoken of."""
    upstream.files["list"] = b"old"
    first = fetch(stub, upstream.url + "list")
    upstream.files["list"] = b"new"
    rows.run("DELETE FROM blob WHERE digest = %s", (bytes.fromhex(first.blob.hex),))

    answer = fetch(stub, upstream.url + "list")

    assert not answer.HasField("previous")
    assert read(stub, answer.blob) == b"new"


def test_every_item_has_its_own_outcome(
    stub: blob_service_pb2_grpc.BlobServiceStub, upstream: Upstream
) -> None:
    """One file that is missing does not keep the others from coming."""
    upstream.fill(20)
    upstream.behave("files/000003.bin", answers(404))
    items = [
        pb.FetchBlobsRequest.Item(
            item_id=path,
            sources=[content_pb2.RemoteSource(remote_role="remote", url=upstream.url + path)],
        )
        for path in upstream.files
    ]

    outcomes = {a.item_id: a for a in stub.FetchBlobs(pb.FetchBlobsRequest(items=items))}

    assert set(outcomes) == set(upstream.files)
    failed = outcomes.pop("files/000003.bin")
    error = from_status(failed.status)
    assert ("DOWNLOAD_FAILED", "404") == (error.reason, error.metadata["http_status"])
    assert all(outcome.blob.hex for outcome in outcomes.values())


def test_the_size_can_be_limited(stub: blob_service_pb2_grpc.BlobServiceStub) -> None:
    """More bytes than asked for are refused."""
    with RawUpstream() as raw:
        raw.answers["/x"] = response("200 OK", bytes(11))

        answer = fetch(stub, raw.url("/x"), max_bytes=10)

    assert from_status(answer.status).reason == "SIZE_MISMATCH"


def test_only_lent_remotes_are_asked(stub: blob_service_pb2_grpc.BlobServiceStub) -> None:
    """A role that was not lent is refused, naming the field."""
    item = pb.FetchBlobsRequest.Item(
        item_id="one",
        sources=[content_pb2.RemoteSource(remote_role="other", url="http://127.0.0.1/")],
    )

    with raises("PERMISSION_DENIED") as caught:
        list(stub.FetchBlobs(pb.FetchBlobsRequest(items=[item])))

    assert "items[0].sources[0].remote_role" in caught[0].message
