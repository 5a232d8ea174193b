"""The bytes of uploads."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from entrepot.core.v1 import upload_service_pb2
from entrepot_rpc.errors import Code, ServiceError
from gateway_client import Client
from gateway_core import FakeCore

PATH = "/api/v3/uploads/01/"


class Received:
    """An upload at the other end."""

    def __init__(self) -> None:
        self.opening = upload_service_pb2.WriteUploadRequest.Open()
        self.data = b""
        self.largest = 0
        self.is_complete = False

    async def __call__(
        self, requests: AsyncIterator[upload_service_pb2.WriteUploadRequest]
    ) -> upload_service_pb2.WriteUploadResponse:
        """Take what comes."""
        async for request in requests:
            if request.WhichOneof("part") == "open":
                self.opening = request.open
            self.data += request.chunk
            self.largest = max(self.largest, len(request.chunk))
            # That no more requests come says nothing: they may have been canceled.
            self.is_complete = request.WhichOneof("part") == "end"
        upload = upload_service_pb2.Upload(name="uploads/01", received_bytes=len(self.data))
        return upload_service_pb2.WriteUploadResponse(upload=upload)


@pytest.fixture
def received(core: FakeCore) -> Received:
    """What core gets."""
    sink = Received()
    core.on("WriteUpload", sink)
    return sink


async def test_a_whole_file_is_passed_on(client: Client, received: Received) -> None:
    """In messages that fit, whatever pieces it came in, and marked as the last."""
    pieces = [b"a" * 1_500_000, b"b", b"c" * 100]

    answer = await client.request("PUT", PATH, body=pieces)

    assert answer.status == 200
    assert answer.json["received_bytes"] == 1_500_101
    assert received.data == b"".join(pieces)
    assert received.largest <= 1024 * 1024
    assert (received.opening.name, received.opening.offset, received.opening.last) == (
        "uploads/01", 0, True
    )  # fmt: skip


@pytest.mark.parametrize(
    ("header", "offset", "last"),
    [("bytes 0-3/10", 0, False), ("bytes 6-9/10", 6, True), ("bytes 4-7/*", 4, False)],
)
async def test_a_part_says_where_it_belongs(
    client: Client, received: Received, header: str, offset: int, last: bool
) -> None:
    """Content-Range is the offset, and says whether anything follows."""
    answer = await client.request("PUT", PATH, headers={"content-range": header}, body=[b"abcd"])

    assert answer.status == 200
    assert (received.opening.offset, received.opening.last) == (offset, last)


@pytest.mark.parametrize(
    "header",
    [
        "bytes 3-0/10",
        "bytes 0-10/10",
        "bytes */10",
        "bytes */*",
        "bytes -4/10",
        "bytes 0-3,4-7/10",
        "bytes 0-99999999999999999999/*",
        "items 0-3/4",
        "bytes 0-3",
        "bytes 0-2/10",
        "bytes 0-9/10",
        "bytes 0-3/0",
        "",
    ],
)
async def test_a_wrong_range_is_refused(client: Client, received: Received, header: str) -> None:
    """Also one that is not as long as the body; core never sees such a part as complete."""
    answer = await client.request("PUT", PATH, headers={"content-range": header}, body=[b"abcd"])

    assert answer.status == 400
    assert answer.pointers == ["#/Content-Range"]
    assert not received.is_complete


async def test_the_size_in_the_range_is_passed_on(client: Client, received: Received) -> None:
    """What follows the slash is for core to compare; with no bytes it says that all have come."""
    await client.request("PUT", PATH, headers={"content-range": "bytes 0-3/10"}, body=[b"abcd"])
    assert received.opening.size_bytes == 10

    await client.request("PUT", PATH, headers={"content-range": "bytes */10"}, body=[])

    opening = received.opening
    assert (opening.offset, opening.last, opening.size_bytes) == (10, True, 10)


async def test_a_client_that_leaves_completes_nothing(client: Client, received: Received) -> None:
    """A body that breaks off is not taken for its end."""
    async with client.open("PUT", PATH, body=[b"abcd"], stays=False) as exchange:
        await exchange.finish()

    assert not received.is_complete


@pytest.mark.parametrize("size", [10, 3_000_000])
async def test_cores_refusal_is_the_answer(client: Client, core: FakeCore, size: int) -> None:
    """Even if it comes while the body is still being sent."""
    refusal = ServiceError.of(
        Code.ABORTED, "UPLOAD_CONFLICT", "Go on at 7.", metadata={"offset": "7"}
    )
    core.on("WriteUpload", refusal)

    answer = await client.request("PUT", PATH, body=[b"x" * size])

    assert answer.status == 409
    assert answer.json["metadata"] == {"offset": "7"}


async def test_an_upload_is_opened(client: Client, core: FakeCore) -> None:
    """POST, then the address to put bytes at."""
    response: Any = upload_service_pb2.CreateUploadResponse(
        upload=upload_service_pb2.Upload(name="uploads/01")
    )
    core.on("CreateUpload", response)

    answer = await client.request("POST", "/api/v3/uploads/", {"filename": "a", "size_bytes": 3})

    assert answer.status == 201
    assert answer.headers["location"] == PATH
    assert core.last("CreateUpload").upload.size_bytes == 3
