"""The content origin in front of an object store: through this process, or by a link."""

import asyncio
import hashlib
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from addresses import free_addresses
from entrepot.core.v1 import serving_service_pb2
from entrepot.core.v1.serving_service_pb2 import StoredFile, StreamFileResponse
from entrepot_gateway.config import Config
from entrepot_gateway.content.answer import BrokenConnectionError
from entrepot_gateway.content.app import Content
from entrepot_gateway.content.blob_bucket import BlobBucket
from entrepot_gateway.content.opening import open_blobs
from entrepot_gateway.core import Core
from entrepot_rpc.bucket_url import BucketUrl
from gateway_client import Client
from gateway_core import TOKEN, FakeCore
from s3 import S3Server, signed_seconds
from served import DATA, DATE, SHA256, Resolved, a_file, store

KEY = f"some/prefix/sha256/{SHA256[:2]}/{SHA256[2:4]}/{SHA256}"


@pytest.fixture
def bucket(s3: S3Server) -> str:
    """A bucket with the blob in it."""
    name = s3.bucket()
    s3.ask("PUT", f"{name}/{KEY}", DATA)
    return name


@pytest.fixture
def _stored(files: dict[str, Resolved]) -> None:
    """Core says that the file is stored."""
    files["a/x.txt"] = a_file(media_type="text/plain")


def got(url: str) -> bytes:
    """Some bytes that anybody gets at a URL."""
    request = urllib.request.Request(url, headers={"range": "bytes=5-9"})  # noqa: S310
    with urllib.request.urlopen(request) as answer:  # noqa: S310
        return bytes(answer.read())


@asynccontextmanager
async def serving(core: FakeCore, url: str, previous: str = "") -> AsyncIterator[Client]:
    """A client of a content origin with such stores."""
    application = Content(Core(core.address, TOKEN), open_blobs(url, previous))
    await application.start()
    application.pointers.receive(serving_service_pb2.WatchPointersResponse(all=True))
    yield Client(application, {})
    await application.stop()


@pytest.mark.usefixtures("_stored")
async def test_an_object_is_served_like_a_file(core: FakeCore, s3: S3Server, bucket: str) -> None:
    """Whole, in parts, its fields alone, or not at all if the client has it."""
    async with serving(core, s3.url(bucket)) as client:
        whole = await client.request("GET", "/dev/a/x.txt")
        head = await client.request("HEAD", "/dev/a/x.txt")
        part = await client.request("GET", "/dev/a/x.txt", headers={"range": "bytes=100-199"})
        parts = await client.request(
            "GET", "/dev/a/x.txt", headers={"range": "bytes=0-3,100-103,-4"}
        )
        known = await client.request(
            "GET", "/dev/a/x.txt", headers={"if-none-match": f'"{SHA256}"'}
        )
        beyond = await client.request("GET", "/dev/a/x.txt", headers={"range": "bytes=9999-"})

    assert (whole.status, whole.body, whole.complete) == (200, DATA, True)
    assert whole.headers["etag"] == f'"{SHA256}"'
    assert whole.headers["last-modified"] == DATE
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", "2560")
    assert (part.status, part.body) == (206, DATA[100:200])
    assert (parts.status, len(parts.body)) == (206, int(parts.headers["content-length"]))
    assert all(piece in parts.body for piece in (DATA[:4], DATA[100:104], DATA[-4:]))
    assert (known.status, beyond.status) == (304, 416)


@pytest.mark.usefixtures("_stored")
async def test_a_client_is_sent_to_a_link(core: FakeCore, s3: S3Server, bucket: str) -> None:
    """With `redirect`, GET leads to a link for a short time; the rest is answered here."""
    url = s3.url(bucket, "redirect=true", "redirect_seconds=60")
    async with serving(core, url) as client:
        answer = await client.request("GET", "/dev/a/x.txt")
        head = await client.request("HEAD", "/dev/a/x.txt")
        known = await client.request(
            "GET", "/dev/a/x.txt", headers={"if-none-match": f'"{SHA256}"'}
        )

    assert (answer.status, answer.body, head.status, known.status) == (307, b"", 200, 304)
    assert answer.headers["cache-control"] == "no-store"
    location = answer.headers["location"]
    assert signed_seconds(location) == 60
    assert await asyncio.to_thread(got, location) == DATA[5:10]
    with pytest.raises(urllib.error.HTTPError, match="403"):
        await asyncio.to_thread(got, location.partition("?")[0])


@pytest.mark.usefixtures("_stored")
@pytest.mark.parametrize("redirect", ["false", "true"])
@pytest.mark.parametrize("body", [None, DATA[:-1], DATA + b"x", b""])
async def test_a_missing_or_torn_object_is_not_served(
    core: FakeCore, s3: S3Server, bucket: str, redirect: str, body: bytes | None
) -> None:
    """Nor is a client sent to it: 503, as for a file, if core believes that it is stored."""
    said = StreamFileResponse(stored=StoredFile(sha256=SHA256, size_bytes=len(DATA)))

    async def stored(_: object) -> AsyncIterator[StreamFileResponse]:
        yield said

    core.on("StreamFile", stored)
    s3.ask("DELETE", f"{bucket}/{KEY}")
    if body is not None:
        s3.ask("PUT", f"{bucket}/{KEY}", body)

    async with serving(core, s3.url(bucket, f"redirect={redirect}")) as client:
        answer = await client.request("GET", "/dev/a/x.txt")
        part = await client.request("GET", "/dev/a/x.txt", headers={"range": "bytes=2500-2559"})

    assert (answer.status, part.status) == (503, 503)
    assert "location" not in answer.headers


async def test_an_empty_object(core: FakeCore, s3: S3Server, files: dict[str, Resolved]) -> None:
    """A blob without bytes is served."""
    sha256 = hashlib.sha256(b"").hexdigest()
    files["a/x.txt"] = Resolved(kind=Resolved.KIND_STORED, sha256=sha256)
    bucket = s3.bucket()
    s3.ask("PUT", f"{bucket}/some/prefix/sha256/{sha256[:2]}/{sha256[2:4]}/{sha256}", b"")

    async with serving(core, s3.url(bucket)) as client:
        answer = await client.request("GET", "/dev/a/x.txt")

    assert (answer.status, answer.body) == (200, b"")


@pytest.mark.usefixtures("_stored")
async def test_a_store_that_is_away(core: FakeCore, s3: S3Server, bucket: str) -> None:
    """503 with a time to try again; the store's address is not told."""
    (nobody,) = free_addresses(1)
    url = s3.url(bucket, "retries=0").replace(s3.endpoint, f"http://{nobody}")

    async with serving(core, url) as client:
        answer = await client.request("GET", "/dev/a/x.txt")

    assert answer.status == 503
    assert answer.headers["retry-after"]
    assert nobody not in answer.body.decode()


async def test_an_object_that_goes_on_the_way_breaks_the_connection(
    s3: S3Server, bucket: str
) -> None:
    """What cannot be completed does not look as if it were."""
    url = BucketUrl.parse(s3.url(bucket), "the store")
    assert url is not None
    blob = await BlobBucket(url).open(SHA256, None)
    assert blob is not None
    s3.ask("DELETE", f"{bucket}/{KEY}")

    async def send(_: object) -> None:
        pytest.fail("nothing is there to be sent")

    with pytest.raises(BrokenConnectionError):
        await blob.send(send, 0, len(DATA) - 1)
    blob.close()


async def test_a_name_that_is_no_digest_is_no_object(s3: S3Server, bucket: str) -> None:
    """What core says is checked before it becomes a name."""
    blobs = open_blobs(s3.url(bucket))

    with pytest.raises(ValueError, match="not a SHA-256"):
        await blobs.open(f"../{SHA256}", None)


@pytest.mark.usefixtures("_stored")
async def test_what_has_not_moved_yet_is_served_from_where_it_was(
    core: FakeCore, s3: S3Server, bucket: str, tmp_path: Path
) -> None:
    """While blobs move, each is read where it is, in either direction."""
    store(tmp_path)
    folder, empty = str(tmp_path / "blobs"), s3.url(s3.bucket())

    async with serving(core, empty, folder) as client:
        assert (await client.request("GET", "/dev/a/x.txt")).status == 200
    async with serving(core, str(tmp_path / "none"), s3.url(bucket)) as client:
        assert (await client.request("GET", "/dev/a/x.txt")).body == DATA


@pytest.mark.parametrize("setting", ["ENTREPOT_BLOBS_URL", "ENTREPOT_BLOBS_PREVIOUS_URL"])
def test_a_url_that_means_no_store_ends_the_program(setting: str) -> None:
    """With the setting's name, and without the secret that was in it."""
    with pytest.raises(ValueError, match=setting) as caught:
        Config.from_environment("content", env={setting: "s3://bucket?secret_access_key=canary"})

    assert "canary" not in str(caught.value)
