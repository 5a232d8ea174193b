"""S02: a path from outside never leads out of its folder, nor into the place of another."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from attempt_session import Session, a_file, run
from core_database import core_dsn, core_schema, database
from core_under_test import (
    Core,
    a_config,
    a_remote,
    a_repository,
    errors_of_core,
    running_api,
    running_dispatch,
)
from entrepot.core.v1 import workspace_service_pb2
from entrepot.plugins.file.v1.file_pb2 import Upload
from entrepot_core.domain.errors import ServiceError
from entrepot_plugin_file.format.manifest import ManifestError, ManifestReader
from entrepot_plugin_file.upload import check
from entrepot_sdk import Resources
from entrepot_sdk.testing import upload
from fake_plugin import FakePlugin

__all__ = ["core_dsn", "core_schema", "database"]

SHA256 = hashlib.sha256(b"").hexdigest()
EVIL = [
    "/etc/passwd",
    "//etc/passwd",
    "../up",
    "..",
    ".",
    "a/../b",
    "a/..",
    "./a",
    "a/./b",
    "a//b",
    "a/",
    "a\0b",
    "a\tb",
    "a\x1b[2Jb",
    "a\x7fb",
    "a\x85b",
    "é" * 513,
]
# To people they look the same, or would be the same file on some disks.
TWINS = ["Readme", "README", "na\u00efve", "nai\u0308ve", "a\\b", "a b", "\u202eabc"]


@pytest.mark.parametrize("path", EVIL)
def test_a_manifest_names_the_line(path: str) -> None:
    """S02: a manifest with such a path is refused at its line, whatever stands before."""
    manifest = f"good,{SHA256},0\n{path},{SHA256},0\n".encode()
    reader = ManifestReader()

    with pytest.raises(ManifestError, match="line 2: ") as caught:
        [*reader.feed(manifest), *reader.close()]

    assert caught.value.line == 2


@pytest.mark.parametrize("path", EVIL)
@pytest.mark.parametrize("given", ["relative_path", "filename", "url"])
def test_an_upload_names_the_field(path: str, given: str) -> None:
    """S02: also if the path is the name of the upload, or is encoded in a URL."""
    entry = Upload.Entry(upload="uploads/one")
    name = ""
    match given:
        case "relative_path":
            entry.relative_path = path
        case "filename":
            name = path
        case _:
            encoded = "".join(f"%{byte:02x}" for byte in path.encode())
            entry = Upload.Entry(url=f"http://example.org/{encoded}")
    good = Upload.Entry(upload="uploads/one", relative_path="good")
    resources = Resources([upload(SHA256, 0, "files.upload", filename=name)])

    (problem,) = check(Upload(files=[good, entry]), resources)

    assert (problem.reason, problem.field) == ("PATH_INVALID", "files[1].relative_path")


@pytest.fixture
def plugin() -> Iterator[FakePlugin]:
    """A plugin that proposes what a test says."""
    plugin = FakePlugin().start()
    yield plugin
    plugin.stop()


@pytest.fixture
def core(core_dsn: str, tmp_path: Path, plugin: FakePlugin) -> Iterator[Core]:
    """A core with a dispatcher, the plugin, a repository foo and a remote bar."""
    config = a_config(core_dsn, tmp_path)
    with running_api(config) as core, running_dispatch(config):
        core.register(plugin)
        a_repository(core.database)
        a_remote(core.database)
        yield core
        plugin.released.set()


def test_core_believes_no_plugin(core: Core, plugin: FakePlugin) -> None:
    """S02: a unit or a published file at such a path is refused by name, and nothing is stored."""
    refused: dict[str, list[str]] = {"stage": [], "publish": []}

    def refusal(where: str, path: str, call: Any) -> None:  # noqa: ANN401  what is called
        with pytest.raises(ServiceError) as caught:
            call()
        assert caught.value.reason == "PATH_INVALID", path
        refused[where].append(path)

    def work(session: Session) -> None:
        blob = session.write(b"x")
        good = a_file("good", "x")
        for path in EVIL:
            evil = a_file("evil", "x")
            evil.artifacts[0].relative_path = path
            refusal("stage", path, lambda evil=evil: session.stage(good, evil))
            request = workspace_service_pb2.StageFilesRequest(
                repository_role="repository", sequence=1000 + len(refused["publish"])
            )
            request.files.add(path=path, blob=blob)
            refusal("publish", path, lambda request=request: publish(session, request))

    task = run(core, plugin, work)

    assert refused == {"stage": EVIL, "publish": EVIL}
    assert task.created_resource == ""
    assert core.database.fetch("SELECT count(*) FROM content") == [(0,)]


def publish(session: Session, request: workspace_service_pb2.StageFilesRequest) -> None:
    """Stage files of a publication."""
    with errors_of_core():
        session.workspace.StageFiles(request, metadata=session.metadata, timeout=20)


def test_twins_are_two_files(core: Core, plugin: FakePlugin) -> None:
    """S02: names that look alike, or that some disk takes for one, stay files of their own."""

    def work(session: Session) -> None:
        for name in TWINS:
            session.write(f"of {name}".encode())
        session.stage(*(a_file(name, f"of {name}") for name in TWINS))

    run(core, plugin, work)

    rows = core.database.fetch("SELECT path, digest FROM member JOIN artifact USING (content_id)")
    assert {path: bytes(digest) for path, digest in rows} == {
        name: hashlib.sha256(f"of {name}".encode()).digest() for name in TWINS
    }
