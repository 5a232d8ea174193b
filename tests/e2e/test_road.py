"""The whole road once: a repository is created, synced, versioned, distributed and downloaded."""

import hashlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from polling import until
from rest import Api, Json, Rest
from stack import Stack
from upstream import Upstream, data_for, digest_of

COUNT = 30
# How long the content origin may take to hear of a change, in seconds. Unheard, it never ends.
SOON = 60


@dataclass(frozen=True)
class Road:
    """What one sync has led to."""

    upstream: Upstream
    repository: Json
    task: Json
    distribution: Json

    @property
    def base(self) -> str:
        """Path of the distribution on the content origin."""
        return f"/{self.distribution['base_path']}/"


@pytest.fixture(scope="module")
def road(stack: Stack) -> Iterator[Road]:
    """A repository synced from an upstream with folders and awkward names, and distributed."""
    api = stack.api
    with Upstream().fill(COUNT, 1000) as upstream:
        upstream.files["docs/read me+now.txt"] = b"spaces and a plus\n"
        upstream.files["docs/größe/100%.txt"] = b"more than ASCII, and a percent sign\n"
        upstream.files["large.bin"] = data_for(0, 4 << 20)
        upstream.files["empty.txt"] = b""
        repository = api.a_repository()
        remote = api.a_remote(upstream)
        task = api.completed("file/syncs", repository=repository["name"], remote=remote["name"])
        distribution = api.a_distribution(repository)
        yield Road(upstream, api.get(repository["href"]), task, distribution)


@pytest.fixture
def content(stack: Stack) -> Rest:
    """The content origin."""
    return stack.content


def test_a_sync_makes_one_version_with_every_file(api: Api, road: Road) -> None:
    """The first sync of a repository makes version 1, with what the manifest lists."""
    assert road.upstream.digests() == api.files(road.repository)
    assert api.versions(road.repository) == [0, 1]
    assert road.repository["latest_version"] == 1
    assert road.repository["unit_count"] == len(road.upstream.files)


def test_the_task_says_what_it_did(api: Api, road: Road) -> None:
    """A finished sync names the version it made and counts what came."""
    (difference,) = road.task["differences"]

    assert road.task["created_resource"] == f"{road.repository['name']}/versions/1"
    assert road.task["changed"] is True
    assert road.task["result"]["listed_files"] == len(road.upstream.files)
    assert difference["added"] == len(road.upstream.files)
    assert difference["removed"] == 0


def test_a_version_names_its_task(api: Api, road: Road) -> None:
    """Version and task name each other."""
    version = api.get(f"{road.repository['href']}versions/1/")

    assert version["task"] == road.task["name"]
    assert version["added"] == version["unit_count"] == len(road.upstream.files)
    assert len(version["set_digest"]) >= 64


def test_content_is_found_by_path_in_any_repository(api: Api, road: Road) -> None:
    """A unit is found among all content by a field of its type."""
    results = api.get("content/file/files/", relative_path="files/000007.bin")["results"]

    wanted = road.upstream.digests()["files/000007.bin"]
    assert wanted in {item["unit"]["attributes"]["sha256"] for item in results}


def test_curl_downloads_every_file(stack: Stack, road: Road, tmp_path: Path) -> None:
    """Every path of the generated manifest can be fetched with curl, and is what upstream has."""
    url = road.distribution["content_url"]
    listing = stack.sh(f"curl -fsS '{url}/PULP_MANIFEST'".replace("//PULP", "/PULP"), tmp_path)

    got = {}
    for line in listing.splitlines():
        path, digest, size = line.rsplit(",", 2)
        data = _curl(stack, road, path)
        assert (digest, int(size)) == (digest_of(data), len(data))
        got[path] = data

    assert road.upstream.files == got


def test_wget_downloads_the_tree(stack: Stack, road: Road, tmp_path: Path) -> None:
    """A recursive wget, which follows the HTML listings, gets the whole tree."""
    url = f"{stack.content_url}{road.base}"
    script = (
        f"wget -q -r -np -nH --cut-dirs=1 --restrict-file-names=nocontrol -R 'index.html*' {url}"
    )
    stack.sh(script, tmp_path)

    got = {
        path.relative_to(tmp_path).as_posix(): path.read_bytes()
        for path in tmp_path.rglob("*")
        if path.is_file() and path.name != "PULP_MANIFEST"
    }
    assert road.upstream.files == got


def test_aria2_downloads_in_pieces_and_verifies(stack: Stack, road: Road, tmp_path: Path) -> None:
    """Range requests put the file together rightly: aria2 fetches it in pieces, and checks."""
    digest = road.upstream.digests()["large.bin"]
    script = (
        f"aria2c -q -x 4 -s 4 --min-split-size=1M --checksum=sha-256={digest} "
        f"'{stack.content_url}{road.base}large.bin'"
    )

    stack.sh(script, tmp_path)

    assert (tmp_path / "large.bin").read_bytes() == road.upstream.files["large.bin"]


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=100-299", 100, 299),
        ("bytes=-5", 995, 999),
        ("bytes=990-", 990, 999),
    ],
)
def test_range(content: Rest, road: Road, asked: str, first: int, last: int) -> None:
    """A range is answered with these bytes, and says which they are."""
    path = f"{road.base}files/000003.bin"

    answer = content.request("GET", path, headers={"Range": asked})

    assert answer.status == 206
    assert road.upstream.files["files/000003.bin"][first : last + 1] == answer.body
    assert answer.headers["Content-Range"] == f"bytes {first}-{last}/1000"


def test_range_beyond_the_end(content: Rest, road: Road) -> None:
    """A range that starts after the last byte is refused, with the length of the file."""
    path = f"{road.base}files/000003.bin"

    answer = content.request("GET", path, headers={"Range": "bytes=1000-"})

    assert answer.status == 416
    assert answer.headers["Content-Range"] == "bytes */1000"


def test_a_range_of_a_large_file(content: Rest, road: Road) -> None:
    """A range of a file of some megabytes has exactly its bytes."""
    whole = road.upstream.files["large.bin"]

    answer = content.request(
        "GET", f"{road.base}large.bin", headers={"Range": "bytes=1000-1500999"}
    )

    assert answer.status == 206
    assert digest_of(whole[1000:1501000]) == digest_of(answer.body)


def test_head_is_get_without_the_body(content: Rest, road: Road) -> None:
    """HEAD answers the header fields of GET and nothing else."""
    path = f"{road.base}files/000003.bin"

    head = content.request("HEAD", path)
    get = content.request("GET", path)

    assert (head.status, head.body) == (200, b"")
    for name in ("Content-Length", "Content-Type", "ETag", "Last-Modified", "Accept-Ranges"):
        assert get.headers[name] is not None, name
        assert get.headers[name] == head.headers[name]


def test_the_etag_is_the_digest(content: Rest, road: Road) -> None:
    """The entity tag is the SHA-256, and a client that has it gets no bytes again."""
    path = f"{road.base}files/000003.bin"
    digest = road.upstream.digests()["files/000003.bin"]

    etag = content.request("GET", path).headers["ETag"]
    again = content.request("GET", path, headers={"If-None-Match": etag})

    assert digest in etag
    assert (again.status, again.body) == (304, b"")


def test_an_empty_file_is_served(content: Rest, road: Road) -> None:
    """A file without bytes is there, with a length of zero."""
    answer = content.request("GET", f"{road.base}empty.txt")

    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["Content-Length"] == "0"


def test_media_types(content: Rest, road: Road) -> None:
    """A text is served as a text, and nothing a stranger published may be sniffed into a page."""
    text = content.request("GET", f"{road.base}empty.txt")
    binary = content.request("GET", f"{road.base}files/000003.bin")

    assert text.headers["Content-Type"].startswith("text/plain")
    assert binary.headers["Content-Type"] == "application/octet-stream"
    assert binary.headers["X-Content-Type-Options"] == "nosniff"


def test_folders_are_listed(content: Rest, road: Road) -> None:
    """A folder answers a page with a link to each entry."""
    answer = content.request("GET", f"{road.base}files/")

    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/html")
    for number in range(COUNT):
        assert f'href="./{number:06d}.bin"' in answer.body.decode()


@pytest.mark.parametrize("path", ["nothing.txt", "files/nothing.bin", "files/000001.bin/more"])
def test_what_is_not_there(content: Rest, road: Road, path: str) -> None:
    """A path that no file has is not found, without a token asked for."""
    assert content.request("GET", road.base + path).status == 404


def test_the_generated_manifest_is_that_of_upstream(content: Rest, road: Road) -> None:
    """The distribution's PULP_MANIFEST lists path, digest and size in order of path."""
    answer = content.request("GET", f"{road.base}PULP_MANIFEST")

    assert sorted(road.upstream.manifest().splitlines()) == sorted(answer.body.splitlines())
    assert hashlib.sha256(answer.body).hexdigest() in answer.headers["ETag"]


def test_a_distribution_can_be_synced_again(api: Api, road: Road) -> None:
    """A repository synced from the distribution of another has equal content, by digest."""
    url = road.distribution["content_url"].rstrip("/") + "/PULP_MANIFEST"
    second = api.a_repository()
    remote = api.a_remote(url)

    api.completed("file/syncs", repository=second["name"], remote=remote["name"])

    assert (
        api.get(f"{road.repository['href']}versions/1/")["set_digest"]
        == api.get(f"{second['href']}versions/1/")["set_digest"]
    )


def test_a_distribution_follows_its_repository(api: Api, content: Rest) -> None:
    """As soon as a sync is over, clients get the new version; one of a fixed version stays."""
    with Upstream({"a.txt": b"old"}) as upstream:
        repository = api.a_repository()
        remote = api.a_remote(upstream)
        names = {"repository": repository["name"], "remote": remote["name"]}
        api.completed("file/syncs", **names)
        latest = api.a_distribution(repository)
        fixed = api.a_distribution(version=f"{repository['name']}/versions/1")
        old = content.request("GET", f"/{latest['base_path']}/a.txt").body

        upstream.files = {"a.txt": b"new", "b.txt": b"more"}
        api.completed("file/syncs", **names)

    assert old == b"old"
    path = f"/{latest['base_path']}/a.txt"
    until(lambda: content.request("GET", path).body == b"new", "the new version", SOON)
    assert content.request("GET", f"/{latest['base_path']}/b.txt").body == b"more"
    assert content.request("GET", f"/{fixed['base_path']}/a.txt").body == b"old"
    assert content.request("GET", f"/{fixed['base_path']}/b.txt").status == 404


def test_a_deleted_distribution_serves_nothing(api: Api, content: Rest, road: Road) -> None:
    """After a distribution is deleted its base path answers 404."""
    distribution = api.a_distribution(road.repository)
    path = f"/{distribution['base_path']}/files/000001.bin"
    assert content.request("GET", path).status == 200

    api.delete(distribution["href"]).expect(200, 204)

    until(lambda: content.request("GET", path).status == 404, "nothing to be served", SOON)


def test_two_versions_are_compared(api: Api, upstream: Upstream) -> None:
    """The difference of two versions names what came, left, and was replaced, by path."""
    repository = api.a_repository()
    remote = api.a_remote(upstream)
    names = {"repository": repository["name"], "remote": remote["name"]}
    api.completed("file/syncs", **names)
    (changed,) = upstream.change(1)
    upstream.files["new.txt"] = b"new"
    del upstream.files["files/000009.bin"]
    api.completed("file/syncs", **names, mirror=True)

    changes = api.everything(f"{repository['href']}versions/2/diff/", base=1)

    assert {item["key"]: item["kind"] for item in changes} == {
        changed: "replaced",
        "new.txt": "added",
        "files/000009.bin": "removed",
    }
    assert all(bool(item.get("old_unit")) == (item["kind"] != "added") for item in changes)


def _curl(stack: Stack, road: Road, path: str) -> bytes:
    # As an URL is written by hand: only what would end the path is escaped.
    escaped = path.replace("%", "%25").replace(" ", "%20")
    command = ["curl", "-fsS", "--globoff", f"{stack.content_url}{road.base}{escaped}"]
    return subprocess.run(command, capture_output=True, check=True).stdout
