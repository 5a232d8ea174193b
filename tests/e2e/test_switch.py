"""A distribution is switched while clients are in the middle; versions stay where they are."""

import hashlib
import random
import threading
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest

from polling import until
from rest import Api, Json, Rest
from stack import Stack
from upstream import MANIFEST, Upstream

FILES = 8
ROUNDS = 4


def fill(upstream: Upstream, number: int) -> None:
    """Give it other files under other names, and another one under the same name."""
    upstream.files.clear()
    for index in range(FILES):
        upstream.files[f"round-{number}/{index}.bin"] = f"{number} {index}".encode() * 100
    upstream.files["current.txt"] = f"{number}".encode()


@dataclass
class Mirror:
    """A repository that follows an upstream, and what is served of it."""

    api: Api
    content: Rest
    upstream: Upstream
    repository: Json
    remote: Json
    distribution: Json
    number: int = 0

    @property
    def base_path(self) -> str:
        """Where it is served."""
        return str(self.distribution["base_path"])

    def next(self) -> None:
        """Make the next version, and wait until clients see it."""
        self.number += 1
        fill(self.upstream, self.number)
        names = {"repository": self.repository["name"], "remote": self.remote["name"]}
        self.api.completed("file/syncs", **names, mirror=True)
        assert self.api.get(self.repository["href"])["latest_version"] == self.number
        until(
            lambda: f"round-{self.number}/" in self.read(f"{self.base_path}/{MANIFEST}").decode(),
            "the switch",
        )

    def read(self, path: str) -> bytes:
        """A file that must be there."""
        answer = self.content.request("GET", f"/{path}")
        assert answer.status == 200, (path, answer.status, answer.body)
        return answer.body

    def status(self, path: str) -> int:
        """What a path is answered with."""
        return self.content.request("GET", f"/{path}").status


@pytest.fixture
def mirror(stack: Stack, upstream: Upstream) -> Mirror:
    """A mirror of one version."""
    api = stack.api
    repository, remote = api.a_repository(), api.a_remote(upstream)
    mirror = Mirror(
        api, stack.content, upstream, repository, remote, api.a_distribution(repository)
    )
    mirror.next()
    return mirror


def test_a_mirror_run_goes_on_through_a_switch(
    stack: Stack, mirror: Mirror, tmp_path: Path
) -> None:
    """With an old index, wget gets every file of it after two switches, if there is a grace."""
    origin = f"{stack.content_url}/{mirror.base_path}"
    stack.sh(f"wget --quiet {origin}/{MANIFEST}", tmp_path)
    mirror.next()
    mirror.next()

    stack.sh(
        f"grep round- {MANIFEST} | cut -d, -f1 > names;"
        f" sed 's|^|{origin}/|' names | wget --quiet --force-directories --no-host-directories"
        " --cut-dirs=1 --input-file=-;"
        f" grep round- {MANIFEST} | sed -E 's/(.*),(.*),.*/\\2  \\1/' | sha256sum --check --quiet",
        tmp_path,
    )

    assert mirror.read(f"{mirror.base_path}/current.txt") == b"3"
    assert b"round-1" not in mirror.read(f"{mirror.base_path}/")
    old = f"{mirror.base_path}/round-1/0.bin"
    for seconds, status in ((0, 404), (3600, 200)):
        mirror.api.patch(mirror.distribution["href"], {"grace_seconds": seconds}).expect(200)
        until(lambda status=status: mirror.status(old) == status, f"{status}, {seconds} s")  # type: ignore[misc]


def test_a_distribution_that_is_pointed_elsewhere(mirror: Mirror) -> None:
    """What was served stays reachable, and only what is served is listed."""
    empty = mirror.api.a_repository()
    mirror.api.patch(mirror.distribution["href"], {"repository": empty["name"]}).expect(200)

    until(lambda: b"round-1" not in mirror.read(f"{mirror.base_path}/"), "the switch")

    assert mirror.read(f"{mirror.base_path}/round-1/3.bin") == b"1 3" * 100


def test_a_switch_is_atomic(mirror: Mirror) -> None:
    """Clients that never pause see indexes of one version each, and every file that these name."""
    is_over = threading.Event()
    faults: list[str] = []
    seen: set[str] = set()

    def hammer() -> None:
        while not is_over.is_set():
            try:
                index = mirror.read(f"{mirror.base_path}/{MANIFEST}").decode().splitlines()
                files = [line.split(",") for line in index if line.startswith("round-")]
                rounds = {path.partition("/")[0] for path, _, _ in files}
                assert len(rounds) == 1, rounds
                assert len(files) == FILES, index
                seen.update(rounds)
                for path, sha256, _ in random.sample(files, 3):
                    data = mirror.read(f"{mirror.base_path}/{path}")
                    assert hashlib.sha256(data).hexdigest() == sha256, path
            except Exception as error:  # noqa: BLE001  whatever it is, the test says it
                faults.append(repr(error))

    threads = [threading.Thread(target=hammer) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(ROUNDS):
            mirror.next()
            until(lambda: faults or f"round-{mirror.number}" in seen, "clients to see it")
    finally:
        is_over.set()
        for thread in threads:
            thread.join(30)

    assert faults == []
    assert len(seen) > ROUNDS - 1


def test_versions_are_browsed(mirror: Mirror) -> None:
    """By number and by moment, with index and files; what is not there is said; a list has all."""
    mirror.next()
    base = mirror.base_path
    version = mirror.api.get(f"{mirror.repository['href']}versions/1/")
    moment = quote(version["create_time"])

    for path in (f"{base}@1", f"{base}@{moment}"):
        assert mirror.read(f"{path}/current.txt") == b"1"
        assert b"round-1/0.bin" in mirror.read(f"{path}/{MANIFEST}")
        assert mirror.read(f"{path}/round-1/0.bin") == b"1 0" * 100
        assert mirror.status(f"{path}/round-2/0.bin") == 404
    nothing = mirror.content.request("GET", f"/{base}@9/x")
    document = mirror.content.request("GET", f"/{base}@/", headers={"Accept": "application/json"})
    mirror.api.delete(f"{mirror.repository['href']}versions/1/").expect(200, 204)
    gone = mirror.content.request("GET", f"/{base}@{moment.replace('Z', '%2b00:00')}/x")

    assert (nothing.status, gone.status) == (404, 410)
    assert f"{base} has no version 9; it has 0 to 2." in nothing.body.decode()
    assert [item["number"] for item in document.json["versions"]] == [2, 1, 0]
    assert [item["unit_count"] for item in document.json["versions"]] == [9, 9, 0]
