"""S20: knowing a digest gives an attempt no bytes, and no other answer than not knowing one."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from attempt_session import SYNC, Session, a_file, run
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
from entrepot.core.v1 import blob_service_pb2, workspace_service_pb2
from entrepot.plugins.file.v1 import file_pb2
from entrepot.type.v1.digest_pb2 import Digest
from entrepot_core.domain.errors import ServiceError
from fake_plugin import FakePlugin

__all__ = ["core_dsn", "core_schema", "database"]

SECRET = "bytes of another repository"
UNKNOWN = "bytes that nobody has, as long"
OTHER = file_pb2.Sync(repository="other", remote="bar")


def digest_of(text: str) -> Digest:
    """SHA-256 of a text, without its length."""
    return Digest(algorithm=Digest.ALGORITHM_SHA256, hex=hashlib.sha256(text.encode()).hexdigest())


def missing(session: Session, digest: Digest) -> object:
    """FindMissingBlobs."""
    request = blob_service_pb2.FindMissingBlobsRequest(digests=[digest])
    answer = session.blobs.FindMissingBlobs(request, metadata=session.metadata, timeout=20)
    return [one.hex for one in answer.missing]


def read(session: Session, digest: Digest) -> object:
    """ReadBlob."""
    with errors_of_core():
        request = blob_service_pb2.ReadBlobRequest(blob=digest)
        return list(session.blobs.ReadBlob(request, metadata=session.metadata, timeout=20))


def stage(session: Session, digest: Digest) -> object:
    """StageChanges of a unit without a source."""
    unit = a_file(digest.hex)
    unit.artifacts[0].digests[0].CopyFrom(digest)
    return [one.hex for one in session.stage(unit).missing_blobs]


def commit(session: Session, digest: Digest) -> object:
    """StageFiles; whether it may is said when all is committed."""
    session.sequence += 1
    request = workspace_service_pb2.StageFilesRequest(
        repository_role="repository", sequence=session.sequence
    )
    request.files.add(path=digest.hex, blob=digest)
    with errors_of_core():
        session.workspace.StageFiles(request, metadata=session.metadata, timeout=20)
    return None


def naming(name: Callable[[Session, Digest], object], text: str) -> Callable[[Session], object]:
    """What an attempt does that names a digest in a way."""
    return lambda session: name(session, digest_of(text))


@pytest.fixture
def plugin() -> Iterator[FakePlugin]:
    """A plugin that asks what a test says."""
    plugin = FakePlugin().start()
    yield plugin
    plugin.stop()


@pytest.fixture
def core(core_dsn: str, tmp_path: Path, plugin: FakePlugin) -> Iterator[Core]:
    """A core in which the repository foo has the secret, and the repository other has nothing."""
    config = a_config(core_dsn, tmp_path)
    with running_api(config) as core, running_dispatch(config):
        core.register(plugin)
        for name in ("foo", "other"):
            a_repository(core.database, name)
        a_remote(core.database)

        def keep(session: Session) -> None:
            session.write(SECRET.encode())
            session.stage(a_file("secret", SECRET))

        run(core, plugin, keep)
        yield core
        plugin.released.set()


@pytest.mark.parametrize("ask", [missing, read, stage])
def test_a_secret_is_like_nothing(
    core: Core, plugin: FakePlugin, ask: Callable[[Session, Digest], object]
) -> None:
    """S20: a digest of a repository that was not lent is answered as one that nobody has."""
    answers: list[str] = []

    def work(session: Session) -> None:
        for text in (SECRET, UNKNOWN):
            digest = digest_of(text)
            try:
                answer = repr(ask(session, digest))
            except ServiceError as error:
                answer = f"{error.code.name} {error.reason} {error.message} {error.metadata}"
            answers.append(answer.replace(digest.hex, "DIGEST"))

    run(core, plugin, work, OTHER)

    assert len(answers) == 2
    assert answers[0] == answers[1]
    assert "DIGEST" in answers[0]


@pytest.mark.parametrize("name", [stage, commit])
def test_a_secret_is_not_attached(
    core: Core, plugin: FakePlugin, name: Callable[[Session, Digest], object]
) -> None:
    """S20: a task that names the digest all the same fails as if nobody had it."""
    messages = []
    for text in (SECRET, UNKNOWN):
        task = run(core, plugin, naming(name, text), OTHER)
        messages.append(task.error.message.replace(digest_of(text).hex, "DIGEST"))

    assert messages[0] == messages[1]
    assert "DIGEST" in messages[0]
    assert core.database.fetch("SELECT count(*) FROM publication") == [(0,)]
    rows = core.database.fetch("SELECT latest FROM repository WHERE name = 'other'")
    assert rows == [(0,)]


def test_what_was_lent_is_there(core: Core, plugin: FakePlugin) -> None:
    """S20: of a repository that the parameters name, the digest is enough."""
    answers = []

    def work(session: Session) -> None:
        answers.append(missing(session, digest_of(SECRET)))
        answers.append(stage(session, digest_of(SECRET)))

    run(core, plugin, work, SYNC)

    assert answers == [[], []]
