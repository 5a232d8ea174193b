"""UploadService: what an upload may say, where it goes on, and how it is shown."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from entrepot.core.v1 import upload_service_pb2, upload_service_pb2_grpc
from entrepot_core.api.upload_service import UploadService, upload_message
from entrepot_core.blobs.directory import DirectoryBlobStore
from entrepot_core.downloads.keeper import Keeper
from entrepot_core.downloads.receiving import Receiving
from entrepot_core.store.uploads import UploadRow, conflict
from entrepot_rpc.status import from_status, to_status
from unconnected_core import (
    API,
    ATTEMPT,
    AUTHENTICATOR,
    CONTENT,
    Servicing,
    fields,
    no_database,
    refusal,
)

Upload = upload_service_pb2.Upload
Write = upload_service_pb2.WriteUploadRequest
ID = "0199f0c2-7a51-7c3e-9d2b-5f0a4b6c7d8e"
NAME = f"uploads/{ID}"
HEX = "ab" * 32
MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LATER = datetime(2026, 1, 3, 3, 4, 5, tzinfo=UTC)


@pytest.fixture(scope="module")
def servicing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servicing]:
    """The servicer, with an empty store."""
    keeper = Keeper(no_database(), DirectoryBlobStore(tmp_path_factory.mktemp("blobs")))
    yield Servicing(
        upload_service_pb2.DESCRIPTOR.services_by_name["UploadService"],
        upload_service_pb2_grpc.add_UploadServiceServicer_to_server,
        UploadService(keeper, Receiving(keeper), AUTHENTICATOR.principal_of),
    )
    keeper.store.close()


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"size_bytes": -1}, "upload.size_bytes"),
        ({"filename": "a" * 1025}, "upload.filename"),
        ({"filename": "é" * 513}, "upload.filename"),
        ({"filename": "a\nb"}, "upload.filename"),
        ({"filename": "\0"}, "upload.filename"),
        ({"sha256": "ab"}, "upload.sha256"),
        ({"sha256": HEX.upper()}, "upload.sha256"),
        ({"sha256": f"sha256:{HEX}"}, "upload.sha256"),
        ({"sha256": HEX[:32] + "\n" + HEX[32:]}, "upload.sha256"),
    ],
)
def test_a_wrong_field_is_named(
    servicing: Servicing, given: dict[str, object], field: str
) -> None:
    """Sizes, names for people and digests are refused each under its path."""
    request = upload_service_pb2.CreateUploadRequest(
        upload=Upload(**given)  # type: ignore[arg-type]
    )

    error = refusal(lambda: servicing.call("CreateUpload", request))

    assert ("FIELD_INVALID", [field]) == (error.reason, fields(error))


def test_what_cannot_fit_is_refused_at_once(servicing: Servicing) -> None:
    """Files that are larger than the disk are not even begun."""
    request = upload_service_pb2.BatchCreateUploadsRequest(
        uploads=[Upload(size_bytes=64 * 1024**3)] * 1_000
    )

    error = refusal(lambda: servicing.call("BatchCreateUploads", request))

    assert ("RESOURCE_EXHAUSTED", "STORAGE_FULL") == (error.code.name, error.reason)


@pytest.mark.parametrize("method", ["GetUpload", "DeleteUpload"])
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "FIELD_INVALID"),
        ("http://[x", "FIELD_INVALID"),
        ("uploads/x", "RESOURCE_NOT_FOUND"),
        ("uploads/\0", "FIELD_INVALID"),
        (f"tasks/{ID}", "RESOURCE_NOT_FOUND"),
        (f"{NAME}/parts/1", "RESOURCE_NOT_FOUND"),
        (NAME, "DATABASE_UNAVAILABLE"),
        (ID, "DATABASE_UNAVAILABLE"),
        (f"http://server.test/api/v3/{NAME}/", "DATABASE_UNAVAILABLE"),
    ],
)
def test_an_upload_is_named_by_its_id(
    servicing: Servicing, method: str, name: str, reason: str
) -> None:
    """What can be no upload is not looked for; name, id and URL mean the same."""
    request = getattr(upload_service_pb2, f"{method}Request")(name=name)

    error = refusal(lambda: servicing.call(method, request))

    assert reason == error.reason


@pytest.mark.parametrize("requests", [[], [Write()], [Write(chunk=b"a")]])
def test_a_stream_says_first_what_it_writes(servicing: Servicing, requests: list[Write]) -> None:
    """Bytes of nobody knows what are refused."""
    error = refusal(lambda: servicing.send("WriteUpload", requests))

    assert ("FIELD_INVALID", ["open"]) == (error.reason, fields(error))


@pytest.mark.parametrize("authorization", [CONTENT, ATTEMPT])
def test_uploads_are_for_users(servicing: Servicing, authorization: str) -> None:
    """Attempts bring their bytes elsewhere, and the content origin brings none."""
    error = refusal(lambda: servicing.send("WriteUpload", [], authorization))

    assert error.reason == "PERMISSION_DENIED"
    assert refusal(lambda: servicing.send("WriteUpload", [], API)).reason == "FIELD_INVALID"


def a_row(**given: object) -> UploadRow:
    """An upload of which some bytes have come."""
    known: dict[str, object] = {
        "upload_id": ID,
        "size_bytes": 10,
        "sha256": None,
        "filename": "a.txt",
        "received_bytes": 4,
        "digest": None,
        "created_at": MOMENT,
        "expires_at": LATER,
    }
    return UploadRow(**{**known, **given})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("row", "offset", "text"),
    [
        (a_row(), 3, "goes on at byte 4, not at 3"),
        (a_row(), -1, "goes on at byte 4, not at -1"),
        (a_row(digest=b"\0" * 32), 4, "is complete"),
    ],
)
def test_a_wrong_offset_is_told_the_right_one(row: UploadRow, offset: int, text: str) -> None:
    """A client reads from the error where to go on."""
    error = from_status(to_status(conflict(row, offset)))

    assert ("UPLOAD_CONFLICT", "4", NAME) == (
        error.reason,
        error.metadata["offset"],
        error.metadata["resource"],
    )
    assert text in error.message


@pytest.mark.parametrize(
    ("row", "size_bytes", "sha256", "complete"),
    [
        (a_row(), 10, "", False),
        (a_row(sha256=bytes.fromhex(HEX)), 10, HEX, False),
        (a_row(size_bytes=0, digest=bytes.fromhex(HEX)), 4, HEX, True),
    ],
)
def test_a_row_is_shown_whole(
    row: UploadRow, size_bytes: int, sha256: str, complete: bool
) -> None:
    """Until it is complete, size and digest are those announced, and then those that came."""
    message = upload_message(row)

    expected = Upload(
        name=NAME,
        size_bytes=size_bytes,
        sha256=sha256,
        filename="a.txt",
        received_bytes=4,
        complete=complete,
    )
    expected.create_time.FromDatetime(MOMENT)
    expected.expire_time.FromDatetime(LATER)
    assert expected == message
