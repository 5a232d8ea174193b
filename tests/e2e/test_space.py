"""Room that is given back and taken again, and policies that change, as users see it."""

import hashlib
from pathlib import Path

import pytest

from polling import until
from rest import Api, Json
from stack import Stack
from upstream import MANIFEST, Upstream

ONE, TWO = "files/000001.bin", "files/000002.bin"


def blob_path(stack: Stack, data: bytes) -> Path:
    """Where bytes are stored."""
    name = hashlib.sha256(data).hexdigest()
    return stack.home / "blobs" / "sha256" / name[:2] / name[2:4] / name


def serve(stack: Stack, api: Api, repository: Json) -> str:
    """The path of a new distribution of a repository."""
    return f"/{api.a_distribution(repository)['base_path']}"


def test_what_was_reclaimed_comes_again(stack: Stack, api: Api, upstream: Upstream) -> None:
    """The content origin, which has seen the file stored, fetches it again when it is not."""
    repository = api.a_synced_repository(upstream, policy="on_demand")
    base = serve(stack, api, repository)
    assert stack.content.request("GET", f"{base}/{ONE}").body == upstream.files[ONE]
    names = ["--repositories", repository["name"], "--older-than", "0s"]

    plan = stack.cli("plan", "core/reclaims", *names).stdout
    is_there = blob_path(stack, upstream.files[ONE]).exists()
    stack.cli("run", "core/reclaims", *names)
    is_gone = not blob_path(stack, upstream.files[ONE]).exists()
    again = stack.content.request("GET", f"{base}/{ONE}")
    head = stack.content.request("HEAD", f"{base}/{TWO}")

    assert (is_there, is_gone) == (True, True)
    assert "1" in plan
    assert (again.status, again.body) == (200, upstream.files[ONE])
    assert (head.status, upstream.count(ONE), upstream.count(TWO)) == (200, 2, 0)


def test_damage_is_repaired_and_lost_files_come_by_themselves(
    stack: Stack, api: Api, upstream: Upstream
) -> None:
    """A changed byte is found by core/repairs; a missing file as soon as a client wants it."""
    repository = api.a_synced_repository(upstream)
    base = serve(stack, api, repository)
    damaged, missing = (blob_path(stack, upstream.files[path]) for path in (ONE, TWO))
    damaged.write_bytes(bytes(len(upstream.files[ONE])))
    missing.unlink()

    found = stack.content.request("GET", f"{base}/{TWO}").body
    told = stack.cli("run", "core/repairs", "--repositories", repository["name"]).stdout
    repaired = stack.content.request("GET", f"{base}/{ONE}").body

    assert found == upstream.files[TWO] == missing.read_bytes()
    assert repaired == upstream.files[ONE]
    assert "1" in told


def test_what_cannot_be_repaired_can_be_uploaded(
    stack: Stack, api: Api, upstream: Upstream, tmp_path: Path
) -> None:
    """core/repairs names a file that upstream has no more; uploading the file brings it back."""
    repository = api.a_synced_repository(upstream)
    data = upstream.files.pop(ONE)
    blob_path(stack, data).write_bytes(bytes(len(data)))
    (tmp_path / Path(ONE).name).write_bytes(data)

    told = stack.cli("run", "core/repairs", "--repositories", repository["name"]).stdout
    stack.cli("upload", repository["name"], str(tmp_path), "--base-path-in-repo", "files")

    assert f"unrepaired: {hashlib.sha256(data).hexdigest()}; " in told
    assert blob_path(stack, data).read_bytes() == data
    served = stack.content.request("GET", f"{serve(stack, api, repository)}/{ONE}")
    assert served.body == data


@pytest.mark.parametrize("last", ["immediate", "on_demand"])
def test_a_policy_counts_from_the_next_request_and_sync_on(
    stack: Stack, api: Api, upstream: Upstream, last: str
) -> None:
    """Streamed keeps nothing new and drops nothing; what is missing then comes, and only that."""
    repository, remote = api.a_repository(), api.a_remote(upstream, policy="on_demand")
    names = {"repository": repository["name"], "remote": remote["name"]}
    api.completed("file/syncs", **names)
    base = serve(stack, api, repository)

    def get(path: str) -> int:
        answer = stack.content.request("GET", f"{base}/{path}")
        assert answer.body == upstream.files[path]
        return upstream.count(path)

    kept = [get(ONE), get(ONE)]
    api.patch(remote["href"], {"policy": "streamed"}).expect(200)
    streamed = [get(ONE), get(TWO)]
    # Who comes before the first has quite ended is sent what that one got.
    until(lambda: get(TWO) == 2, "another request for what is not kept")
    is_kept = blob_path(stack, upstream.files[TWO]).exists()
    api.patch(remote["href"], {"policy": last}).expect(200)
    upstream.forget()
    api.completed("file/syncs", **names)

    assert (kept, streamed, is_kept) == ([1, 1], [1, 1], False)
    if last == "immediate":
        assert upstream.count(ONE) == 0
        assert {upstream.count(path) for path in upstream.files if path != ONE} == {1}
        assert upstream.count(MANIFEST) == 1
    else:
        assert {request.path for request in upstream.requests} == {MANIFEST}
    assert [get(TWO), get(TWO)] == [1, 1]
