"""Syncs in which files fail: strict, going on in spite of it, and doing again what failed."""

import hashlib
import uuid
from collections.abc import Iterator

import pytest

from entrepot_sdk.testing import Upstream
from rest import Api, Json

PATHS = [f"file{number}.txt" for number in range(8)]
# What is wrong with them at first: absent, other bytes, a page instead of the file.
BROKEN = {
    "file1.txt": "DOWNLOAD_FAILED",
    "file4.txt": "DIGEST_MISMATCH",
    "file6.txt": "SIZE_MISMATCH",
}


@pytest.fixture
def files() -> dict[str, bytes]:
    """Files that no other test has brought here already."""
    unique = uuid.uuid4()
    return {path: f"{path} of {unique}\n".encode() for path in PATHS}


@pytest.fixture
def upstream(files: dict[str, bytes]) -> Iterator[Upstream]:
    """An upstream of eight files, three of which are not to be had yet, listed in three ways."""
    with Upstream() as upstream:
        sums = {path: hashlib.sha256(data).hexdigest() for path, data in files.items()}
        lines = "".join(f"{path},{sums[path]},{len(files[path])}\n" for path in files)
        upstream.add("/d/PULP_MANIFEST", lines.encode(), "etag")
        upstream.add("/d/SHA256SUMS", "".join(f"{sums[p]}  {p}\n" for p in files).encode(), "etag")
        links = "".join(f'<a href="{path}">{path}</a>\n' for path in files)
        page = f"<html><head><title>Index of /d</title></head><body>{links}</body></html>"
        upstream.add("/d/", page.encode(), "ok")
        for path, data in files.items():
            upstream.add(f"/d/{path}", data, "etag")
        upstream.add("/d/file1.txt", behaviour="status", status=404)
        upstream.add("/d/file4.txt", files["file4.txt"][::-1])
        upstream.add("/d/file6.txt", b"<html>Please log in first.</html>")
        yield upstream


def recover(upstream: Upstream, files: dict[str, bytes]) -> None:
    """Have all files be there."""
    for path in BROKEN:
        upstream.add(f"/d/{path}", files[path], "etag")


def names_of(api: Api, upstream: Upstream, listing: str = "PULP_MANIFEST") -> Json:
    """The parameters of a sync from there into a new repository."""
    kind = {"PULP_MANIFEST": "manifest", "SHA256SUMS": "checksums", "": "listing"}[listing]
    remote = api.a_remote(f"{upstream.url}/d/{listing}", kind=kind, max_retries=1)
    return {"repository": api.a_repository()["name"], "remote": remote["name"]}


def sync(api: Api, names: Json, **query: str) -> Json:
    """A sync, once it is over."""
    return api.finished(api.create("file/syncs", query, **names))


def failures_of(api: Api, task: Json) -> dict[str, str]:
    """Reasons by path."""
    found = api.everything(f"{task['href'].removeprefix('/api/v3/')}failures/")
    assert all(one["url"].endswith(one["relative_path"]) and one["message"] for one in found)
    return {one["relative_path"]: one["reason"] for one in found}


def content_of(api: Api, names: Json) -> set[str]:
    """Paths of the files in the latest version."""
    return set(api.files({"href": f"/api/v3/{names['repository']}/", "name": names["repository"]}))


def test_strict_names_all_that_fail_and_changes_nothing(api: Api, upstream: Upstream) -> None:
    """A strict sync tries every file, fails, and lists what failed with URL and reason."""
    names = names_of(api, upstream)

    task = sync(api, names)

    assert (task["state"], task["on_failure"], task["failures"]) == ("failed", "strict", 3)
    assert BROKEN == failures_of(api, task)
    assert "In all, 3 units failed: " in task["error"]["detail"]
    assert content_of(api, names) == set()


@pytest.mark.parametrize("listing", ["PULP_MANIFEST", "SHA256SUMS", ""])
def test_keep_going_then_fill_the_gaps(
    api: Api, upstream: Upstream, files: dict[str, bytes], listing: str
) -> None:
    """What can be had is committed; a clone then asks for the gaps alone, and adds them."""
    names = names_of(api, upstream, listing)
    # A page tells no digests: what it leads to is what it is.
    broken = set(BROKEN) if listing else {"file1.txt"}

    task = sync(api, names, on_failure="keep_going")

    assert (task["state"], task["failures"]) == ("completed", len(broken)), task
    assert set(failures_of(api, task)) == broken
    assert content_of(api, names) == set(PATHS) - broken

    recover(upstream, files)
    before = upstream.hits.copy()
    answer = api.post(f"{task['name']}/clones/", {}, only_failures="true", wait="60s")
    retried = answer.expect(201)

    assert (retried["state"], retried["failures"]) == ("completed", 0), retried
    assert (retried["only_failures"], retried["on_failure"]) == (True, "keep_going")
    assert content_of(api, names) == set(PATHS)
    asked = {path for path, count in upstream.hits.items() if count > before[path]}
    assert asked == {f"/d/{path}" for path in broken} | {f"/d/{listing}"}


def test_an_ordinary_sync_tries_the_gaps_again(
    api: Api, upstream: Upstream, files: dict[str, bytes]
) -> None:
    """A version with gaps is not taken for what the manifest says: the next sync fills them."""
    names = names_of(api, upstream)
    sync(api, names, on_failure="keep_going")
    recover(upstream, files)
    before = upstream.hits.copy()

    task = sync(api, names)

    assert task["differences"][0]["added"] == 3
    assert content_of(api, names) == set(PATHS)
    asked = {path for path, count in upstream.hits.items() if count > before[path]}
    assert asked == {f"/d/{path}" for path in BROKEN} | {"/d/PULP_MANIFEST"}


def test_a_task_that_gets_nothing_fails(
    api: Api, upstream: Upstream, files: dict[str, bytes]
) -> None:
    """If all that is new fails, a mirror is not emptied of what it had: the task fails."""
    names = names_of(api, upstream) | {"mirror": True}
    recover(upstream, files)
    assert sync(api, names)["state"] == "completed"
    data = b"another file\n"
    line = f"new.txt,{hashlib.sha256(data).hexdigest()},{len(data)}\n"
    upstream.add("/d/PULP_MANIFEST", line.encode())

    task = sync(api, names, on_failure="keep_going")

    assert (task["state"], task["failures"]) == ("failed", 1)
    assert "404" in task["error"]["detail"]
    assert content_of(api, names) == set(PATHS)


def test_only_failures_needs_failures(
    api: Api, upstream: Upstream, files: dict[str, bytes]
) -> None:
    """A task in which nothing failed has no gaps to do again, and a wrong policy is named."""
    recover(upstream, files)
    names = names_of(api, upstream)
    task = sync(api, names)

    problem = api.post(f"{task['name']}/clones/", {}, only_failures="true").expect(400)
    assert problem["errors"][0]["pointer"] == "#/only_failures"
    assert "no unit failed in" in problem["errors"][0]["detail"]
    api.post("tasks/file/syncs/", names, on_failure="carelessly").expect(400)
    api.post("tasks/file/syncs/", names, only_failures="true").expect(400)
