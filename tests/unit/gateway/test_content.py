"""The content origin: files, folders, what is fetched on demand, what is believed how long."""

import asyncio
import os
from collections.abc import AsyncIterator, MutableMapping
from pathlib import Path
from typing import Any

import pytest

from entrepot.core.v1 import serving_service_pb2
from entrepot_gateway.content.answer import BrokenConnectionError
from entrepot_gateway.content.app import Content
from entrepot_gateway.content.blob_folder import BlobFolder
from entrepot_gateway.content.media_type import media_type
from entrepot_gateway.content.pointers import Pointers
from entrepot_gateway.core import Core
from entrepot_rpc.errors import Code, ServiceError
from gateway_client import Client
from gateway_core import TOKEN, FakeCore
from served import DATA, DATE, SHA256, Entry, Resolved, a_file, content_of, list_folder, store


def now_stored(folder: Path) -> serving_service_pb2.StreamFileResponse:
    """What core says when a file is stored, which it then is."""
    stored = serving_service_pb2.StoredFile(sha256=store(folder), size_bytes=len(DATA))
    return serving_service_pb2.StreamFileResponse(stored=stored)


@pytest.fixture
def client(content: Content) -> Client:
    """A client of the content origin, without any credential."""
    return Client(content, {})


async def test_a_file_is_sent_by_the_server(client: Client, stored: str) -> None:
    """With its length, its digest as strong tag, its time and its type."""
    answer = await client.request("GET", "/dev/a/x.txt")

    assert answer.status == 200
    assert content_of(answer.path) == DATA
    assert answer.headers == {
        "cache-control": "no-cache",
        "x-content-type-options": "nosniff",
        "content-security-policy": "sandbox; default-src 'none'",
        "content-type": "text/plain",
        "etag": f'"{stored}"',
        "last-modified": DATE,
        "accept-ranges": "bytes",
        "content-length": "2560",
    }


async def test_what_is_known_is_not_asked_again(
    client: Client, core: FakeCore, stored: str
) -> None:
    """A hit, and a path that holds nothing, are answered without core."""
    for _ in range(3):
        assert (await client.request("GET", "/dev/a/x.txt")).status == 200
        assert (await client.request("GET", "/dev/a/y.txt")).status == 404
        assert (await client.request("GET", "/nothing/here")).status == 404

    assert core.count("ResolvePath") == 2
    assert core.count("ResolvePointer") == 2


async def test_head_has_the_same_fields(client: Client, stored: str) -> None:
    """And no body."""
    answer = await client.request("HEAD", "/dev/a/x.txt")

    assert (answer.status, answer.path, answer.body) == (200, "", b"")
    assert answer.headers["content-length"] == "2560"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"if-none-match": f'"{SHA256}"'}, 304),
        ({"if-none-match": f'"x", W/"{SHA256}"'}, 304),
        ({"if-none-match": "*"}, 304),
        ({"if-none-match": '"x"'}, 200),
        ({"if-modified-since": DATE}, 304),
        ({"if-none-match": f'"a,b",  "{SHA256}" ,'}, 304),
        ({"if-none-match": SHA256}, 200),
        ({"if-modified-since": "Tuesday, 14-Nov-23 22:13:20 GMT"}, 304),
        ({"if-modified-since": "Tue Nov 14 22:13:20 2023"}, 304),
        ({"if-modified-since": "Mon, 01 Jan 2024 00:00:00 GMT"}, 200),
        ({"if-modified-since": "Mon, 01 Jan 2001 00:00:00 GMT"}, 200),
        ({"if-modified-since": "yesterday"}, 200),
        ({"if-none-match": '"x"', "if-modified-since": DATE}, 200),
        ({"if-match": f'"x", "{SHA256}"'}, 200),
        ({"if-match": "*"}, 200),
        ({"if-match": '"x"'}, 412),
        ({"if-match": f'W/"{SHA256}"'}, 412),
        ({"if-match": '"x"', "range": "bytes=0-9"}, 412),
        ({"if-unmodified-since": DATE}, 200),
        ({"if-unmodified-since": "Mon, 01 Jan 2001 00:00:00 GMT"}, 412),
        ({"if-unmodified-since": "yesterday"}, 200),
    ],
)
async def test_a_file_that_has_not_changed(
    client: Client, stored: str, headers: dict[str, str], status: int
) -> None:
    """The entity tag decides, without one the date; who wants another file gets none."""
    answer = await client.request("GET", "/dev/a/x.txt", headers=headers)

    assert answer.status == status
    assert answer.headers["etag"] == f'"{stored}"'


@pytest.mark.parametrize(
    ("headers", "status", "body", "content_range"),
    [
        ({"range": "bytes=0-9"}, 206, DATA[:10], "bytes 0-9/2560"),
        ({"range": "bytes=-6"}, 206, DATA[-6:], "bytes 2554-2559/2560"),
        ({"range": "bytes=2500-9999"}, 206, DATA[2500:], "bytes 2500-2559/2560"),
        ({"range": "bytes=0-4,5-9"}, 206, DATA[:10], "bytes 0-9/2560"),
        ({"range": "bytes=2560-"}, 416, b"", "bytes */2560"),
        ({"range": "bytes=0-9", "if-range": f'"{SHA256}"'}, 206, DATA[:10], "bytes 0-9/2560"),
        ({"range": "bytes=0-9", "if-range": DATE}, 206, DATA[:10], "bytes 0-9/2560"),
        ({"range": "bytes=0-9", "if-range": '"x"'}, 200, b"", None),
        ({"range": "bytes=0-9", "if-range": f'W/"{SHA256}"'}, 200, b"", None),
        ({"range": "lines=0-9"}, 200, b"", None),
    ],
)
async def test_a_part_of_a_file(
    client: Client,
    stored: str,
    headers: dict[str, str],
    status: int,
    body: bytes,
    content_range: str | None,
) -> None:
    """One range is sent as it is; If-Range says whether it is still the same file."""
    answer = await client.request("GET", "/dev/a/x.txt", headers=headers)

    assert answer.status == status
    assert answer.body == body
    assert answer.headers.get("content-range") == content_range
    if status != 200:
        assert answer.headers["content-length"] == str(len(body))


async def test_parts_of_a_file(client: Client, stored: str) -> None:
    """Several ranges are a multipart answer, of the length that it declares."""
    answer = await client.request("GET", "/dev/a/x.txt", headers={"range": "bytes=0-3,100-103"})

    kind, _, boundary = answer.headers["content-type"].partition("; boundary=")
    assert kind == "multipart/byteranges"
    assert len(answer.body) == int(answer.headers["content-length"])
    parts = answer.body.split(f"--{boundary}".encode())
    assert [part.partition(b"\r\n\r\n")[2] for part in parts[1:3]] == [
        DATA[:4] + b"\r\n",
        DATA[100:104] + b"\r\n",
    ]


async def test_a_condition_may_come_in_several_lines(content: Content, stored: str) -> None:
    """They are one list, as if they stood in one line."""
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    lines = [(b"if-none-match", f'"{stored}"'.encode()), (b"if-none-match", b'"x"')]
    scope = {"type": "http", "method": "GET", "path": "/dev/a/x.txt", "headers": lines}
    await content(scope | {"raw_path": b"/dev/a/x.txt"}, receive, send)

    assert sent[0]["status"] == 304
    assert {name for name, _ in sent[0]["headers"]} == {
        b"cache-control",
        b"etag",
        b"last-modified",
    }


@pytest.mark.parametrize("kind", [Resolved.KIND_FETCHABLE, Resolved.KIND_STREAMED])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"if-match": '"x"'}, 412),
        ({"if-none-match": f'"{SHA256}"'}, 304),
        ({"if-none-match": "*"}, 304),
        ({"if-modified-since": DATE}, 304),
    ],
)
async def test_a_condition_is_judged_before_anything_is_fetched(
    client: Client,
    core: FakeCore,
    files: dict[str, Resolved],
    kind: Any,  # noqa: ANN401
    headers: dict[str, str],
    status: int,
) -> None:
    """What the answer does not need is not asked of any upstream."""
    files["far"] = a_file(kind)

    answer = await client.request("GET", "/dev/far", headers=headers)

    assert (answer.status, answer.body) == (status, b"")
    assert core.count("StreamFile") == 0


@pytest.mark.parametrize("path", ["/dev/a/", "/dev/far"])
async def test_a_client_that_leaves_ends_the_work(
    client: Client, core: FakeCore, files: dict[str, Resolved], path: str
) -> None:
    """Core is told at once that nobody reads the rest, and no error is made of it."""
    files["far"] = a_file(Resolved.KIND_STREAMED, size_bytes=-1)
    ended = asyncio.Event()

    async def for_ever(message: Any) -> AsyncIterator[Any]:  # noqa: ANN401
        try:
            yield message
            await asyncio.Event().wait()
        finally:
            ended.set()

    batch = serving_service_pb2.ListFolderResponse(entries=[Entry(name="first")])
    core.on("ListFolder", lambda _: for_ever(batch))
    core.on(
        "StreamFile", lambda _: for_ever(serving_service_pb2.StreamFileResponse(chunk=b"first"))
    )

    async with client.open("GET", path) as exchange:
        await exchange.until("first")
        await exchange.leave()

    async with asyncio.timeout(20):
        await ended.wait()
    assert not exchange.answer.complete


async def test_a_client_that_leaves_ends_the_reading(
    content: Content, files: dict[str, Resolved], tmp_path: Path
) -> None:
    """The rest of a large part is not read for a server that would drop it."""
    data = os.urandom(3_000_000)
    files["big"] = a_file(sha256=store(tmp_path, data), size_bytes=len(data))
    has_left = asyncio.Event()
    sizes: list[int] = []

    async def receive() -> MutableMapping[str, Any]:
        await has_left.wait()
        return {"type": "http.disconnect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        if message.get("body"):
            sizes.append(len(message["body"]))
            has_left.set()

    scope = {"type": "http", "method": "GET", "path": "/dev/big", "raw_path": b"/dev/big"}
    await content(scope | {"headers": [(b"range", b"bytes=1-")]}, receive, send)

    assert 0 < sum(sizes) < len(data) - 1


async def test_a_large_part_comes_in_pieces(
    client: Client, files: dict[str, Resolved], tmp_path: Path
) -> None:
    """Memory is bounded, whatever is asked for."""
    data = os.urandom(3_000_000)
    files["big"] = a_file(sha256=store(tmp_path, data), size_bytes=len(data))

    answer = await client.request("GET", "/dev/big", headers={"range": "bytes=1-"})

    assert answer.body == data[1:]


async def test_an_empty_file_is_one(
    client: Client, files: dict[str, Resolved], tmp_path: Path
) -> None:
    """Of length zero."""
    files["empty"] = a_file(sha256=store(tmp_path, b""), size_bytes=0)

    answer = await client.request("GET", "/dev/empty")

    assert (answer.status, answer.body, answer.headers["content-length"]) == (200, b"", "0")
    assert answer.complete


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"])
async def test_only_reading_is_known(client: Client, method: str) -> None:
    """405 with the methods there are."""
    answer = await client.request(method, "/dev/a/x.txt")

    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("/dev", "./dev/"),
        ("/dev/a", "./a/"),
        ("/dev/a?x=%0d%0ay&z", "./a/?x=%0d%0ay&z"),
    ],
)
async def test_a_folder_has_a_slash(client: Client, stored: str, path: str, location: str) -> None:
    """301, relative, so that it holds behind any proxy."""
    answer = await client.request("GET", path)

    assert (answer.status, answer.headers["location"]) == (301, location)


async def test_a_location_is_no_way_out(client: Client, files: dict[str, Resolved]) -> None:
    """A folder named like a scheme or with a line break stays a path."""
    for name in ("javascript:x", "é", "a b"):
        files[name] = Resolved(kind=Resolved.KIND_FOLDER)

    locations = [
        (await client.request("GET", f"/dev/{name}")).headers["location"]
        for name in ("javascript:x", "%C3%A9", "a%20b")
    ]

    assert locations == ["./javascript%3Ax/", "./%C3%A9/", "./a%20b/"]


async def test_a_file_is_no_folder(client: Client, stored: str) -> None:
    """With a slash at its end nothing is there."""
    assert (await client.request("GET", "/dev/a/x.txt/")).status == 404


async def test_a_folder_is_listed_for_people(
    client: Client, core: FakeCore, files: dict[str, Resolved]
) -> None:
    """Names are escaped in text and in links, and no script could run."""
    list_folder(
        core,
        Entry(name='<script>alert("1")</script>.txt', size_bytes=2048),
        Entry(name="javascript:alert(1)", is_folder=True),
        Entry(name='"onmouseover="x', size_bytes=-1),
    )

    answer = await client.request("GET", "/dev/a/", headers={"accept": "text/html,*/*"})

    text = answer.body.decode()
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
    assert "<script" not in text
    assert 'href="./javascript%3Aalert%281%29/"' in text
    assert '"on' not in text
    assert "2.0 KiB" in text
    assert core.last("ListFolder").path == "a"


async def test_a_folder_is_listed_for_programs(
    client: Client, core: FakeCore, files: dict[str, Resolved]
) -> None:
    """As JSON, if they ask for it."""
    list_folder(
        core, Entry(name="a.txt", size_bytes=5, sha256="ab"), Entry(name="b", is_folder=True)
    )

    answer = await client.request("GET", "/dev/", headers={"accept": "application/json"})

    assert answer.json == {
        "path": "dev",
        "entries": [
            {"name": "a.txt", "is_folder": False, "size_bytes": 5, "sha256": "ab"},
            {"name": "b", "is_folder": True},
        ],
    }


async def test_the_root_lists_distributions(client: Client, core: FakeCore) -> None:
    """By their base paths."""
    core.on("ListBasePaths", serving_service_pb2.ListBasePathsResponse(base_paths=["a/b", "dev"]))

    answer = await client.request("GET", "/", headers={"accept": "application/json"})

    assert [entry["name"] for entry in answer.json["entries"]] == ["a/b", "dev"]


async def test_a_listing_that_breaks_is_not_complete(
    client: Client, core: FakeCore, files: dict[str, Resolved]
) -> None:
    """A list that ends early must not look whole."""

    async def answer(_: object) -> AsyncIterator[serving_service_pb2.ListFolderResponse]:
        yield serving_service_pb2.ListFolderResponse(entries=[Entry(name="a")])
        raise ServiceError.of(Code.UNAVAILABLE, "DATABASE_UNAVAILABLE", "Gone.")

    core.on("ListFolder", answer)

    async with client.open("GET", "/dev/") as exchange:
        with pytest.raises(BrokenConnectionError):
            await exchange.finish()

    assert not exchange.answer.complete


async def test_a_file_is_fetched_once_for_all(
    client: Client, core: FakeCore, files: dict[str, Resolved], tmp_path: Path
) -> None:
    """Clients that ask at once wait for one download; afterwards it is a stored file."""
    files["f"] = a_file(Resolved.KIND_FETCHABLE)
    release = asyncio.Event()
    asked = asyncio.Event()

    async def fetch(_: object) -> AsyncIterator[serving_service_pb2.StreamFileResponse]:
        asked.set()
        await release.wait()
        yield now_stored(tmp_path)

    core.on("StreamFile", fetch)
    async with client.open("GET", "/dev/f") as leaves:
        waiting = [asyncio.ensure_future(client.request("GET", "/dev/f")) for _ in range(5)]
        await asked.wait()
        leaves._task.cancel()
    release.set()
    answers = await asyncio.gather(*waiting)
    after = await client.request("GET", "/dev/f", headers={"range": "bytes=0-1"})

    assert [content_of(answer.path) for answer in answers] == [DATA] * 5
    assert after.body == DATA[:2]
    assert core.count("StreamFile") == 1


async def test_a_file_is_sent_to_all_as_it_comes(
    client: Client, core: FakeCore, files: dict[str, Resolved], tmp_path: Path
) -> None:
    """From its start, also to who comes late, and parts of it; then it is a stored file."""
    files["f"] = a_file(Resolved.KIND_FETCHABLE)
    release = asyncio.Event()

    async def stream(_: object) -> AsyncIterator[serving_service_pb2.StreamFileResponse]:
        yield serving_service_pb2.StreamFileResponse(chunk=DATA[:100])
        await release.wait()
        yield serving_service_pb2.StreamFileResponse(chunk=DATA[100:])
        yield now_stored(tmp_path)

    core.on("StreamFile", stream)
    first = asyncio.ensure_future(client.request("GET", "/dev/f"))
    part = await client.request("GET", "/dev/f", headers={"range": "bytes=5-9"})
    late = asyncio.ensure_future(client.request("GET", "/dev/f"))
    parts = asyncio.ensure_future(
        client.request("GET", "/dev/f", headers={"range": "bytes=0-1,-2"})
    )
    release.set()
    answers = await asyncio.gather(first, late, parts)
    while not (after := await client.request("GET", "/dev/f")).path:
        # Core's word that it is stored is still on its way.
        assert after.body == DATA

    assert (part.status, part.body) == (206, DATA[5:10])
    assert [answer.body for answer in answers[:2]] == [DATA] * 2
    assert DATA[-2:] in answers[2].body
    assert content_of(after.path) == DATA
    assert core.count("StreamFile") == 1


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [("HEAD", {}, 200), ("GET", {"if-none-match": f'"{SHA256}"'}, 304)],
)
async def test_a_question_fetches_nothing(
    client: Client,
    core: FakeCore,
    files: dict[str, Resolved],
    method: str,
    headers: dict[str, str],
    status: int,
) -> None:
    """What is known of a file is told without a download."""
    files["f"] = a_file(Resolved.KIND_FETCHABLE)

    answer = await client.request(method, "/dev/f", headers=headers)

    assert answer.status == status
    assert core.count("StreamFile") == 0


async def test_an_upstream_that_fails_is_named(
    client: Client, core: FakeCore, files: dict[str, Resolved]
) -> None:
    """502 with host and status, and neither path nor credentials."""
    files["f"] = a_file(Resolved.KIND_FETCHABLE)
    core.on(
        "StreamFile",
        ServiceError.of(
            Code.UNAVAILABLE,
            "DOWNLOAD_FAILED",
            "No.",
            metadata={"url": "https://user:pass@up.test/secret/f", "http_status": "404"},
        ),
    )

    answer = await client.request("GET", "/dev/f")

    assert answer.status == 502
    assert answer.body == b"/dev/f: up.test answered 404 (DOWNLOAD_FAILED).\n"


async def test_a_streamed_file_is_passed_through(
    client: Client, core: FakeCore, files: dict[str, Resolved]
) -> None:
    """Each time anew; with its length and its parts, if the length is known."""
    files["s"] = a_file(Resolved.KIND_STREAMED)
    files["unknown"] = a_file(Resolved.KIND_STREAMED, size_bytes=-1, sha256="")

    async def stream(_: object) -> AsyncIterator[serving_service_pb2.StreamFileResponse]:
        yield serving_service_pb2.StreamFileResponse(chunk=DATA[:100])
        yield serving_service_pb2.StreamFileResponse(chunk=DATA[100:])

    core.on("StreamFile", stream)

    whole = await client.request("GET", "/dev/s")
    part = await client.request("GET", "/dev/s", headers={"range": "bytes=0-1"})
    unknown = await client.request("GET", "/dev/unknown", headers={"range": "bytes=0-1"})

    assert (whole.status, whole.body, part.status, part.body) == (200, DATA, 206, DATA[:2])
    assert whole.headers["content-length"] == str(len(DATA))
    assert (unknown.status, unknown.body) == (200, DATA)
    assert unknown.headers["accept-ranges"] == "none"
    assert core.count("StreamFile") == 3


@pytest.mark.parametrize("is_late", [True, False])
async def test_a_stream_that_fails_breaks_the_connection(
    client: Client, core: FakeCore, files: dict[str, Resolved], is_late: bool
) -> None:
    """Before the first byte it is a 502; after it there is no clean end."""
    files["s"] = a_file(Resolved.KIND_STREAMED, size_bytes=-1)

    async def stream(_: object) -> AsyncIterator[serving_service_pb2.StreamFileResponse]:
        if is_late:
            yield serving_service_pb2.StreamFileResponse(chunk=DATA)
        raise ServiceError.of(Code.ABORTED, "DIGEST_MISMATCH", "Other bytes.")

    core.on("StreamFile", stream)

    async with client.open("GET", "/dev/s") as exchange:
        if is_late:
            with pytest.raises(BrokenConnectionError):
                await exchange.finish()
        else:
            await exchange.finish()

    assert exchange.answer.complete is not is_late
    assert exchange.answer.status == (200 if is_late else 502)


@pytest.mark.parametrize("chunk", [DATA[:-1], DATA + b"x", b""])
async def test_a_stream_of_another_length_breaks_the_connection(
    client: Client, core: FakeCore, files: dict[str, Resolved], chunk: bytes
) -> None:
    """Too short and too long are both not the file."""
    files["s"] = a_file(Resolved.KIND_STREAMED)

    async def stream(_: object) -> AsyncIterator[serving_service_pb2.StreamFileResponse]:
        yield serving_service_pb2.StreamFileResponse(chunk=chunk)

    core.on("StreamFile", stream)

    async with client.open("GET", "/dev/s") as exchange:
        with pytest.raises(BrokenConnectionError):
            await exchange.finish()

    assert not exchange.answer.complete


async def test_a_blob_that_was_reclaimed_is_fetched_again(
    client: Client, core: FakeCore, files: dict[str, Resolved], tmp_path: Path, stored: str
) -> None:
    """What was cached as stored is asked about once more."""
    assert (await client.request("GET", "/dev/a/x.txt")).status == 200
    for path in (tmp_path / "blobs").rglob(stored):
        path.unlink()
    files["a/x.txt"] = a_file(Resolved.KIND_FETCHABLE)

    async def fetch(_: object) -> AsyncIterator[serving_service_pb2.StreamFileResponse]:
        yield now_stored(tmp_path)

    core.on("StreamFile", fetch)

    assert (await client.request("GET", "/dev/a/x.txt")).status == 200


@pytest.mark.parametrize("damage", ["gone", "short", "link", "fifo", "folder"])
async def test_a_blob_that_is_none_is_not_served(
    client: Client,
    core: FakeCore,
    files: dict[str, Resolved],
    tmp_path: Path,
    stored: str,
    damage: str,
) -> None:
    """503, whatever stands in its place, and whatever core says of it."""
    said = serving_service_pb2.StoredFile(sha256=stored, size_bytes=len(DATA))

    async def insist(_: object) -> AsyncIterator[serving_service_pb2.StreamFileResponse]:
        yield serving_service_pb2.StreamFileResponse(stored=said)

    core.on("StreamFile", insist)
    (path,) = (tmp_path / "blobs").rglob(stored)
    path.unlink()
    other = tmp_path / "secret"
    other.write_bytes(DATA)
    match damage:
        case "short":
            path.write_bytes(DATA[:-1])
        case "link":
            path.symlink_to(other)
        case "fifo":
            os.mkfifo(path)
        case "folder":
            path.mkdir()

    answer = await client.request("GET", "/dev/a/x.txt")

    assert (answer.status, answer.path) == (503, "")


async def test_a_folder_that_is_a_link_leads_nowhere(tmp_path: Path) -> None:
    """The root may be a link, as an administrator likes; nothing below it may."""
    sha256 = store(tmp_path)
    (tmp_path / "linked").symlink_to(tmp_path / "blobs")
    blob = await BlobFolder(tmp_path / "linked").open(sha256)
    assert blob is not None
    assert blob.size == len(DATA)
    blob.close()

    inner = tmp_path / "blobs" / "sha256" / sha256[:2]
    inner.rename(tmp_path / "elsewhere")
    inner.symlink_to(tmp_path / "elsewhere")

    assert await BlobFolder(tmp_path / "blobs").open(sha256) is None


@pytest.mark.parametrize(
    "name", ["", "../x", "A" * 64, "a" * 63, "a" * 65, "a" * 63 + "/", "é" * 64]
)
def test_a_name_that_is_no_digest_is_no_path(tmp_path: Path, name: str) -> None:
    """What core says is checked before it becomes a file name."""
    with pytest.raises(ValueError, match="not a SHA-256"):
        BlobFolder(tmp_path).path(name)


@pytest.mark.parametrize(
    ("declared", "path", "expected"),
    [
        ("application/x-rpm", "a.txt", "application/x-rpm"),
        ("text/html; charset=utf-8", "a", "text/html; charset=utf-8"),
        ("text/html\r\nx: y", "a.bin", "application/octet-stream"),
        ("nonsense", "a.txt", "text/plain"),
        ("", "a/b.rpm", "application/x-rpm"),
        ("", "data.tar.gz", "application/gzip"),
        ("", "primary.xml.zst", "application/zstd"),
        ("", "a.xz", "application/x-xz"),
        ("", "x.whl", "application/zip"),
        ("", "PULP_MANIFEST", "application/octet-stream"),
        ("", "data:text/html,x", "application/octet-stream"),
        ("", "a.svg", "image/svg+xml"),
    ],
)
def test_files_have_types(declared: str, path: str, expected: str) -> None:
    """The declared one if it is one, else by the ending; the bytes are never re-coded."""
    assert media_type(declared, path) == expected


async def test_strangers_files_are_harmless(
    client: Client, files: dict[str, Resolved], tmp_path: Path
) -> None:
    """HTML, SVG, scripts: whatever it is, it runs nothing in a browser."""
    sha256 = store(tmp_path)
    for name in ("a.html", "a.svg", "a.js", "a.xml", "a.pdf"):
        files[name] = a_file(sha256=sha256)
        headers = (await client.request("GET", f"/dev/{name}")).headers

        assert headers["content-security-policy"] == "sandbox; default-src 'none'"
        assert headers["x-content-type-options"] == "nosniff"


async def test_a_move_is_seen_at_once(
    content: Content, client: Client, core: FakeCore, stored: str
) -> None:
    """Core says that a pointer moved, and the next request asks where to."""
    await client.request("GET", "/dev/a/x.txt")
    content.pointers.receive(serving_service_pb2.WatchPointersResponse(base_paths=["dev"]))
    core.on(
        "ResolvePointer",
        serving_service_pb2.ResolvePointerResponse(
            distribution="d", base_path="dev", content_set="8"
        ),
    )

    await client.request("GET", "/dev/a/x.txt")

    assert core.last("ResolvePath").content_set == "8"


async def test_a_new_distribution_is_seen_at_once(
    content: Content, client: Client, core: FakeCore, files: dict[str, Resolved]
) -> None:
    """That nothing was there is forgotten when anything moves."""
    assert (await client.request("GET", "/new/")).status == 404
    core.on(
        "ResolvePointer",
        serving_service_pb2.ResolvePointerResponse(
            distribution="d", base_path="new", content_set="8"
        ),
    )
    list_folder(core, Entry(name="a"))
    content.pointers.receive(serving_service_pb2.WatchPointersResponse(base_paths=["new"]))

    assert (await client.request("GET", "/new/")).status == 200


async def test_an_answer_from_before_a_move_is_not_kept(
    content: Content, core: FakeCore, files: dict[str, Resolved]
) -> None:
    """If the pointer moves while core is being asked, it is asked again next time."""

    def resolve(_: object) -> serving_service_pb2.ResolvePointerResponse:
        content.pointers.receive(serving_service_pb2.WatchPointersResponse(base_paths=["dev"]))
        return serving_service_pb2.ResolvePointerResponse(
            distribution="d", base_path="dev", content_set="7"
        )

    core.on("ResolvePointer", resolve)
    await content.pointers.find("dev/x")
    await content.pointers.find("dev/x")

    assert core.count("ResolvePointer") == 2


async def test_a_distribution_without_content_serves_nothing_yet(
    client: Client, core: FakeCore
) -> None:
    """404, and says why."""
    core.on(
        "ResolvePointer",
        serving_service_pb2.ResolvePointerResponse(distribution="d", base_path="dev"),
    )

    answer = await client.request("GET", "/dev/x")

    assert (answer.status, answer.body) == (404, b"Nothing is served yet.\n")


class Clock:
    """Time that passes when a test says so."""

    now = 1000.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.now


async def test_without_core_the_last_answer_holds_for_a_while(
    core: FakeCore, files: dict[str, Resolved]
) -> None:
    """A minute, from when the stream broke; then it is better to say nothing."""
    clock = Clock()
    connection = Core(core.address, TOKEN)
    pointers = Pointers(connection, stale_seconds=60, clock=clock)
    pointers.receive(serving_service_pb2.WatchPointersResponse(all=True))
    await pointers.find("dev/x")
    clock.now += 3600
    assert await pointers.find("dev/x") is not None
    assert core.count("ResolvePointer") == 1

    await core.stop()
    pointers.broken()
    clock.now += 59
    still = await pointers.find("dev/x")
    clock.now += 2

    assert still is not None
    with pytest.raises(ServiceError):
        await pointers.find("dev/x")
    await connection.close()


async def test_without_the_stream_core_is_asked_again(
    core: FakeCore, files: dict[str, Resolved]
) -> None:
    """Nobody says what moves, so what is older than a second is not believed."""
    clock = Clock()
    connection = Core(core.address, TOKEN)
    pointers = Pointers(connection, stale_seconds=60, clock=clock)

    for _ in range(3):
        await pointers.find("dev/x")
        await pointers.find("nothing/here")
        clock.now += 2
    await connection.close()

    assert core.count("ResolvePointer") == 6


async def test_with_core_down_a_warm_cache_serves(
    client: Client, core: FakeCore, stored: str
) -> None:
    """What was asked for before is served on; what was not is 503."""
    await client.request("GET", "/dev/a/x.txt")
    await core.stop()

    warm = await client.request("GET", "/dev/a/x.txt")
    cold = await client.request("GET", "/dev/other.txt")

    assert warm.status == 200
    assert cold.status == 503
    assert cold.headers["retry-after"] == "1"


async def test_a_distrusted_gateway_blames_itself(core: FakeCore) -> None:
    """If core refuses this process's own token, clients are not asked for theirs."""
    application = Content(Core(core.address, "wrong"), None)

    answer = await Client(application, {}).request("GET", "/dev/x")
    await application.stop()

    assert answer.status == 503
    assert "www-authenticate" not in answer.headers
