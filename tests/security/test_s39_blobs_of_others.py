"""S39: a plugin gets by digest what its attempt was lent, has written or has fetched: no more."""

import hashlib
from collections.abc import Iterator
from functools import partial
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
from entrepot.core.v1 import blob_service_pb2
from entrepot.plugins.file.v1 import file_pb2
from entrepot.type.v1.digest_pb2 import Digest
from entrepot_core.domain.errors import ServiceError
from fake_plugin import FakePlugin

__all__ = ["core_dsn", "core_schema", "database"]

OTHER = file_pb2.Sync(repository="other", remote="bar")


@pytest.fixture
def plugin() -> Iterator[FakePlugin]:
    """A plugin that asks what a test says."""
    plugin = FakePlugin().start()
    yield plugin
    plugin.stop()


@pytest.fixture
def core(core_dsn: str, tmp_path: Path, plugin: FakePlugin) -> Iterator[Core]:
    """A core with two repositories: foo with a file, other with another."""
    config = a_config(core_dsn, tmp_path)
    with running_api(config) as core, running_dispatch(config):
        core.register(plugin)
        a_remote(core.database)
        for name, parameters in (("foo", SYNC), ("other", OTHER)):
            a_repository(core.database, name)
            run(core, plugin, partial(keep, name), parameters)
        yield core
        plugin.released.set()


def keep(text: str, session: Session) -> None:
    """Writes a file and stages it."""
    session.write(f"bytes of {text}".encode())
    session.stage(a_file(f"{text}.txt", f"bytes of {text}"))


def can_read(session: Session, text: str) -> bool:
    """Whether ReadBlob gives these bytes; no other refusal than that there are none is right."""
    digest = Digest(
        algorithm=Digest.ALGORITHM_SHA256, hex=hashlib.sha256(text.encode()).hexdigest()
    )
    request = blob_service_pb2.ReadBlobRequest(blob=digest)
    find = blob_service_pb2.FindMissingBlobsRequest(digests=[digest])
    answer = session.blobs.FindMissingBlobs(find, metadata=session.metadata, timeout=20)
    try:
        with errors_of_core():
            chunks = session.blobs.ReadBlob(request, metadata=session.metadata, timeout=20)
            data = b"".join(chunk.chunk for chunk in chunks)
    except ServiceError as error:
        if error.code.name != "NOT_FOUND" or len(answer.missing) != 1:
            raise
        return False
    assert data == text.encode()
    assert not answer.missing
    return True


def test_what_an_attempt_may_read(core: Core, plugin: FakePlugin) -> None:
    """S39: bytes of the lent version and its own are read; of other repositories they are not."""
    found: dict[str, bool] = {}

    def work(session: Session) -> None:
        session.write(b"its own")
        for text in ("bytes of foo", "its own", "bytes of other", "bytes of nobody"):
            found[text] = can_read(session, text)

    run(core, plugin, work)

    assert found == {
        "bytes of foo": True,
        "its own": True,
        "bytes of other": False,
        "bytes of nobody": False,
    }


def test_what_another_attempt_wrote_is_its_own(core: Core, plugin: FakePlugin) -> None:
    """S39: what an attempt wrote without keeping it cannot be read by the next one."""
    found: list[bool] = []

    run(core, plugin, lambda session: session.write(b"not kept"))
    run(core, plugin, lambda session: found.append(can_read(session, "not kept")))

    assert found == [False]


def test_what_was_removed_is_out_of_reach(core: Core, plugin: FakePlugin) -> None:
    """S39: of a repository the latest version is lent, and not the bytes of all before it."""
    found: list[bool] = []

    def remove(session: Session) -> None:
        (unit,) = session.read(version={"repository_role": "repository"})
        session.stage(removes=[unit.name])

    run(core, plugin, remove)
    run(core, plugin, lambda session: found.append(can_read(session, "bytes of foo")))

    assert found == [False]
