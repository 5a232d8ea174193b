"""Upstreams without a manifest: checksums, and the pages of real web servers."""

import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import pytest

from rest import Api, Json
from web_server import APACHE, NGINX, apache, nginx, python_server

FILES = [
    "plain.txt",
    "a b+c%41.txt",
    "ümlaut é.bin",
    "quote'\".txt",
    "less<&more>.txt",
    "sub/semi;colon:x.txt",
    "sub/#hash?mark",
    "sub/deep er/~tilde",
]


@pytest.fixture
def folder() -> Iterator[Path]:
    """Files with odd names, in a place that every user can read."""
    home = Path(tempfile.mkdtemp(prefix="entrepot-"))
    home.chmod(0o755)
    root = home / "root"
    for path in FILES:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(path.encode())
    (root / "empty").mkdir()
    yield root
    shutil.rmtree(home)


def digests(folder: Path) -> dict[str, str]:
    """What a repository must have."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def remote_at(api: Api, url: str, **fields: object) -> Json:
    """A remote with a URL."""
    body = {"name": api.a_name("remote"), "url": url, **fields}
    created: Json = api.post("remotes/file/", body).expect(201)
    return created


Serve = Callable[[Path, Path], AbstractContextManager[str]]
SERVERS: dict[str, tuple[Serve, str | None]] = {
    "python": (lambda folder, _: python_server(folder), "here"),
    "nginx": (nginx, NGINX),
    "apache plain": (partial(apache, options="-FancyIndexing"), APACHE),
    "apache fancy": (partial(apache, options="FancyIndexing NameWidth=* Charset=UTF-8"), APACHE),
    "apache table": (partial(apache, options="FancyIndexing HTMLTable FoldersFirst"), APACHE),
}


@pytest.mark.parametrize("server", SERVERS)
def test_pages_of_a_real_server(api: Api, folder: Path, server: str) -> None:
    """Every file below the folder comes, under its name; what changes is found, and what goes."""
    serve, program = SERVERS[server]
    if program is None:
        pytest.skip(f"NOT RUN: {server.partition(' ')[0]} is not installed")
    repository = api.a_repository()
    with serve(folder, folder.parent) as url:
        remote = remote_at(api, url)
        sync = partial(
            api.completed,
            "file/syncs",
            repository=repository["name"],
            remote=remote["name"],
            mirror=True,
        )

        first = sync()
        again = sync()
        (folder / "plain.txt").write_bytes(b"changed, and longer")
        # Pages tell minutes, and a date that goes back is none that a server must notice.
        later = time.time() + 120
        os.utime(folder / "plain.txt", (later, later))
        (folder / "sub/new").write_bytes(b"new")
        (folder / FILES[1]).unlink()
        changed = sync()

    assert first["result"]["listed_files"] == len(FILES)
    assert not again["changed"]
    assert (changed["changed"], changed["result"]["listed_files"]) == (True, len(FILES))
    assert api.files(repository) == digests(folder)
    assert api.versions(repository) == [0, 1, 2]


@pytest.mark.parametrize("options", [(), ("--binary",), ("--tag",)])
def test_checksums_of_the_real_program(api: Api, folder: Path, options: tuple[str, ...]) -> None:
    """What `sha256sum` writes is read, odd names too; what is there is not fetched again."""
    (folder / "back\\slash").write_bytes(b"escaped")
    names = [str(path) for path in sorted(digests(folder))]
    written = subprocess.run(
        ["sha256sum", *options, "--", *names], cwd=folder, capture_output=True, check=True
    ).stdout
    expected = digests(folder)
    (folder / "SHA256SUMS").write_bytes(written)
    repository = api.a_repository()
    with python_server(folder) as url:
        remote = remote_at(api, f"{url}SHA256SUMS")
        names_of = {"repository": repository["name"], "remote": remote["name"]}
        api.completed("file/syncs", **names_of)
        unchanged = api.completed("file/syncs", **names_of)
        (folder / "plain.txt").unlink()
        (folder / "SHA256SUMS").write_bytes(written + b"# more\n")
        reread = api.completed("file/syncs", **names_of)

    assert api.files(repository) == expected
    assert unchanged["result"]["manifest_unchanged"]
    assert (reread["changed"], reread["result"]["listed_files"]) == (False, len(expected))


def test_the_kind_can_be_said(api: Api, folder: Path) -> None:
    """A remote says what its URL leads to; what a word does not mean is refused."""
    sums = "".join(f"{digest}  {path}\n" for path, digest in digests(folder).items())
    (folder / "files.txt").write_text(sums)
    repository = api.a_repository()
    with python_server(folder) as url:
        remote = remote_at(api, f"{url}files.txt", kind="checksums", policy="on_demand")
        api.completed("file/syncs", repository=repository["name"], remote=remote["name"])
    refused = api.post("remotes/file/", {"name": api.a_name("r"), "url": url, "kind": "ftp"})

    assert remote["kind"] == "checksums"
    assert len(api.files(repository)) == len(FILES)
    assert "manifest, checksums, listing" in str(refused.expect(400))
