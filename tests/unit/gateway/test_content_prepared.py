"""Answers that are given again as they are: the same as before, and for as long as they hold."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from entrepot.core.v1 import serving_service_pb2 as pb
from entrepot_gateway.content.app import Content
from entrepot_gateway.content.prepared import MAX_ABSENT
from gateway_client import Answer, Client
from gateway_core import FakeCore
from served import DATA, SHA256, Resolved, a_file, content_of


@pytest.fixture
def client(content: Content) -> Client:
    """A client of the content origin."""
    return Client(content, {})


async def again(client: Client, path: str, **headers: str) -> Answer:
    """The second answer, after it was seen that the first is the same."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    first = await client.request("GET", path, headers=given)
    second = await client.request("GET", path, headers=given)
    assert (first.status, first.headers, first.body, first.path) == (
        second.status,
        second.headers,
        second.body,
        second.path,
    )
    return second


async def test_a_second_answer_is_the_first(client: Client, content: Content, stored: str) -> None:
    """A file, and the word that nothing is there, below a base path and elsewhere."""
    found = content._prepared

    assert (await again(client, "/dev/a/x.txt")).status == 200
    assert (await again(client, "/dev/a/none")).status == 404
    assert (await again(client, "/none/at/all")).status == 404
    assert (await again(client, "/dev/a/none/")).status == 404
    assert (await again(client, "/dev/a")).status == 301
    assert set(found._files) == {b"/dev/a/x.txt"}
    assert set(found._absent) == {b"/dev/a/none", b"/none/at/all"}


async def test_each_client_gets_the_id_of_its_own_request(
    client: Client, content: Content, stored: str
) -> None:
    """The first answer, those that are given again, and refusals; who sends none gets none."""
    asked = [("GET", "/dev/a/x.txt", 200), ("GET", "/dev/a/none", 404), ("POST", "/dev/", 405)]
    for number, (method, path, status) in enumerate(asked * 2):
        given = {"x-request-id": f"mine-{number}"}
        answer = await client.request(method, path, headers=given)
        assert (answer.status, answer.headers["x-request-id"]) == (status, f"mine-{number}")
    silent = await client.request("GET", "/dev/a/x.txt")
    evil = await client.request("GET", "/dev/a/x.txt", headers={"x-request-id": "a b\t<x>"})

    assert set(content._prepared._files) == {b"/dev/a/x.txt"}
    assert "x-request-id" not in silent.headers | evil.headers


async def test_conditions_and_ranges_are_looked_at(client: Client, stored: str) -> None:
    """Also when the whole file was sent before."""
    await again(client, "/dev/a/x.txt")

    part = await again(client, "/dev/a/x.txt", range="bytes=0-9")
    same = await again(client, "/dev/a/x.txt", if_none_match=f'"{SHA256}"')
    other = await again(client, "/dev/a/x.txt", if_match='"other"')
    head = await client.request("HEAD", "/dev/a/x.txt")
    none = await client.request("HEAD", "/dev/a/none")
    post = await client.request("POST", "/dev/a/x.txt")

    assert (part.status, part.body) == (206, DATA[:10])
    assert [same.status, other.status, head.status, post.status] == [304, 412, 200, 405]
    assert (head.path, head.body) == ("", b"")
    assert (none.status, none.body) == (404, b"")


async def test_a_move_ends_it(
    client: Client, content: Content, core: FakeCore, files: dict[str, Resolved], stored: str
) -> None:
    """What core says has moved is looked up again: the file, and what was not there."""
    await again(client, "/dev/a/x.txt")
    await again(client, "/dev/a/y.txt")
    await again(client, "/new/y.txt")
    core.on(
        "ResolvePointer",
        lambda request: pb.ResolvePointerResponse(
            distribution="d", base_path=request.path.split("/")[0], content_set="8"
        ),
    )
    files["y.txt"] = files["a/y.txt"] = files.pop("a/x.txt")

    content.pointers.receive(pb.WatchPointersResponse(base_paths=["dev", "new"]))

    assert (await again(client, "/dev/a/x.txt")).status == 404
    assert (await again(client, "/dev/a/y.txt")).status == 200
    assert (await again(client, "/new/y.txt")).status == 200


async def test_without_the_stream_nothing_is_repeated(
    client: Client, content: Content, core: FakeCore, stored: str
) -> None:
    """Nobody would tell that it is no longer true; what is believed then is decided elsewhere."""
    await again(client, "/dev/a/x.txt")
    asked = core.count("ResolvePointer")
    content.pointers.broken()
    content.pointers._known["dev"].asked_at -= 10

    assert (await client.request("GET", "/dev/a/x.txt")).status == 200
    assert core.count("ResolvePointer") == asked + 1


async def test_a_blob_that_was_reclaimed_is_fetched_again(
    client: Client, core: FakeCore, files: dict[str, Resolved], stored: str, tmp_path: Path
) -> None:
    """A repeated answer does not send a file that is gone."""
    blob = tmp_path / "blobs" / "sha256" / stored[:2] / stored[2:4] / stored
    await again(client, "/dev/a/x.txt")
    blob.unlink()
    files["a/x.txt"] = a_file(Resolved.KIND_FETCHABLE)

    async def fetch(_: object) -> AsyncIterator[pb.StreamFileResponse]:
        blob.write_bytes(DATA)
        yield pb.StreamFileResponse(stored=pb.StoredFile(sha256=stored, size_bytes=len(DATA)))

    core.on("StreamFile", fetch)

    answer = await again(client, "/dev/a/x.txt")

    assert content_of(answer.path) == DATA
    assert core.count("StreamFile") == 1


async def test_who_asks_for_nothing_displaces_no_file(
    client: Client, content: Content, stored: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The absent are counted apart, and the oldest of them are forgotten."""
    assert MAX_ABSENT <= 20_000
    monkeypatch.setattr("entrepot_gateway.content.prepared.MAX_ABSENT", 3)
    await again(client, "/dev/a/x.txt")

    for number in range(5):
        await again(client, f"/dev/{number}")

    assert list(content._prepared._absent) == [b"/dev/2", b"/dev/3", b"/dev/4"]
    assert list(content._prepared._files) == [b"/dev/a/x.txt"]


async def test_odd_requests_are_not_kept(client: Client, content: Content, stored: str) -> None:
    """Nor answered from what is kept: with a query, with a path that is longer than any file's."""
    await again(client, "/dev/a/x.txt?x=1")
    await again(client, "/dev/" + "a" * 2000)

    assert not content._prepared._files
    assert not content._prepared._absent


async def test_of_two_that_ask_at_once_both_hear_of_a_move(
    client: Client, content: Content, core: FakeCore, files: dict[str, Resolved], stored: str
) -> None:
    """Two pointers to one distribution are never both believed."""
    files["a/y.txt"] = a_file()
    await asyncio.gather(
        *(client.request("GET", f"/dev/a/{name}.txt") for name in "xyxy"),
    )
    files.clear()
    core.on(
        "ResolvePointer",
        pb.ResolvePointerResponse(distribution="d", base_path="dev", content_set="8"),
    )

    content.pointers.receive(pb.WatchPointersResponse(base_paths=["dev"]))

    assert [(await client.request("GET", f"/dev/a/{name}.txt")).status for name in "xy"] == [
        404,
        404,
    ]
