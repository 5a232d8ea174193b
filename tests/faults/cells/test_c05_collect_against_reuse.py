"""Cell 5: a plugin is told that core has a blob, which is then collected; the commit keeps it."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from attempt_session import Session, a_file, run
from core_under_test import Core, a_config, a_remote, a_repository, running_api, running_dispatch
from entrepot.core.v1 import blob_service_pb2, task_service_pb2
from entrepot.type.v1 import digest_pb2
from entrepot_core.blobs.blob_store import BlobStore
from entrepot_core.blobs.opening import open_blob_store
from entrepot_core.store.blob_check import check_blobs
from entrepot_core.store.blob_collection import collect_blobs
from fake_plugin import FakePlugin
from polling import until
from upstream import Upstream

Task = task_service_pb2.Task


@pytest.fixture
def plugin() -> Iterator[FakePlugin]:
    """A plugin whose attempts a test scripts."""
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


@pytest.fixture
def store(core: Core) -> Iterator[BlobStore]:
    """The same files as core's."""
    store = open_blob_store(*core.config.blobs)
    yield store
    store.close()


def missing(session: Session, name: str) -> bool:
    """Whether core says that it lacks the blob whose bytes are the name."""
    digest = digest_pb2.Digest(
        algorithm=digest_pb2.Digest.ALGORITHM_SHA256,
        hex=hashlib.sha256(name.encode()).hexdigest(),
    )
    request = blob_service_pb2.FindMissingBlobsRequest(digests=[digest])
    answer = session.blobs.FindMissingBlobs(request, metadata=session.metadata, timeout=60)
    return bool(answer.missing)


def test_what_a_plugin_was_told_is_there_stays(
    core: Core, plugin: FakePlugin, store: BlobStore
) -> None:
    """Between "have it" and the commit, a collector without mercy removes nothing of it."""
    orphan = hashlib.sha256(b"reused").digest()

    def reuses(session: Session) -> None:
        session.write(b"reused")
        collect_blobs(core.database, store, 0)
        told.append(missing(session, "reused"))
        collect_blobs(core.database, store, 0)
        session.stage(a_file("reused"))
        collect_blobs(core.database, store, 0)

    told: list[bool] = []
    task = run(core, plugin, reuses)
    collect_blobs(core.database, store, 0)

    assert told == [False]
    assert (task.state, task.created_resource[-11:]) == (Task.STATE_COMPLETED, "/versions/1")
    assert store.size(orphan) == len(b"reused")
    assert list(check_blobs(core.database, store, 3600)) == []


def test_what_was_condemned_while_it_was_named_is_kept(core: Core, plugin: FakePlugin) -> None:
    """A collector that looked before the staging, and is slow, costs the task nothing."""

    def reuses(session: Session) -> None:
        session.write(b"reused")
        session.stage(a_file("reused"))
        core.database.fetch("UPDATE blob SET state = 'condemned'")

    task = run(core, plugin, reuses)

    assert (task.state, task.created_resource[-11:]) == (Task.STATE_COMPLETED, "/versions/1")
    assert core.database.fetch("SELECT state FROM blob") == [("live",)]


def test_what_was_collected_after_its_download_is_fetched_again(
    core: Core, plugin: FakePlugin
) -> None:
    """Bytes that are gone at the commit, and can be had, are had again."""
    with Upstream({"reused": b"reused"}) as upstream:
        core.database.fetch("UPDATE remote SET url = %s RETURNING 1", (upstream.manifest_url,))
        unit = a_file("reused")
        unit.artifacts[0].sources.add(url=f"{upstream.url}reused", remote_role="remote")

        def stages(session: Session) -> None:
            session.stage(unit)
            until(lambda: bool(core.database.fetch("SELECT 1 FROM blob")), "the download")
            core.database.fetch("DELETE FROM attempt_blob")
            core.database.fetch("DELETE FROM blob")

        task = run(core, plugin, stages)

    assert (task.state, task.created_resource[-11:]) == (Task.STATE_COMPLETED, "/versions/1")
    assert upstream.count("reused") == 2


def test_a_plan_that_lacks_bytes_fetches_none(core: Core, plugin: FakePlugin) -> None:
    """A dry run that fails for one file does not begin to download the others."""
    with Upstream({"sourced": b"sourced"}) as upstream:
        core.database.fetch("UPDATE remote SET url = %s RETURNING 1", (upstream.manifest_url,))
        unit = a_file("sourced")
        unit.artifacts[0].sources.add(url=f"{upstream.url}sourced", remote_role="remote")

        task = run(
            core, plugin, lambda session: session.stage(unit, a_file("absent")), dry_run=True
        )

    assert task.state == Task.STATE_FAILED
    assert upstream.count("sourced") == 0
