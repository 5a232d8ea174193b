"""Cell 8: the database fails over to a standby, which may not have all that was acknowledged."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg2
import pytest

from attempt_session import Session, a_file, run
from core_under_test import Core, a_config, a_remote, a_repository, running_api, running_dispatch
from entrepot.core.v1 import task_service_pb2
from entrepot_cli.postgres import EmbeddedPostgres, find_binaries
from entrepot_core.blobs.opening import open_blob_store
from entrepot_core.store.blob_check import check_blobs
from entrepot_core.store.check import check_content
from entrepot_core.store.engine_check import check_engine
from entrepot_core.store.migrate import migrate
from entrepot_rpc.errors import ServiceError
from fake_plugin import FakePlugin
from polling import until
from process import processes_of

Task = task_service_pb2.Task


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a name that is short enough for sockets."""
    folder = Path(tempfile.mkdtemp(prefix="entrepot-c8-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def query(server: EmbeddedPostgres, statement: str) -> object:
    """What one statement answers; None if the server does not."""
    try:
        connection = psycopg2.connect(server.dsn)
    except psycopg2.OperationalError:
        return None
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return (cursor.fetchone() or (None,))[0] if cursor.description else True
    finally:
        connection.close()


def copied(primary: EmbeddedPostgres, folder: Path, name: str) -> EmbeddedPostgres:
    """A standby of the same data, which has not been started yet."""
    subprocess.run(
        [
            find_binaries() / "pg_basebackup", "-D", folder, "-X", "stream",
            "-c", "fast", "--no-sync",
            "-h", primary.runtime_dir, "-U", "entrepot",
        ],
        check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    (folder / "standby.signal").touch()
    # The socket of the other, if that lives in its data folder.
    for path in folder.glob(".s.PGSQL.*"):
        path.unlink()
    owner = primary.data_dir.stat()
    for path in (folder, *folder.rglob("*")):
        os.chown(path, owner.st_uid, owner.st_gid)
    conninfo = f"host={primary.runtime_dir} user=entrepot application_name={name}"
    return EmbeddedPostgres(folder, settings={"primary_conninfo": conninfo})


@contextmanager
def started(standby: EmbeddedPostgres, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A standby that answers, once nobody has its data any more."""
    until(lambda: not processes_of(standby.data_dir), "the end of the one before")
    with log.open("ab") as file:
        process = standby.prepare().start(file)
    try:
        until(lambda: query(standby, "SELECT pg_is_in_recovery()"), "the standby")
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def running(dsn: str, home: Path, plugin: FakePlugin) -> Iterator[Core]:
    """Core on a database, with a dispatcher and the plugin."""
    config = a_config(dsn, home)
    with running_api(config) as core, running_dispatch(config):
        core.register(plugin)
        yield core


def a_unit(core: Core, plugin: FakePlugin, name: str) -> Task:
    """A completed task that has brought a file into the repository, with its bytes."""

    def stage(session: Session) -> None:
        session.write(name.encode())
        session.stage(a_file(name))

    task = run(core, plugin, stage)
    assert task.state == Task.STATE_COMPLETED, task.error
    return task


@pytest.mark.parametrize(
    "synchronous",
    [
        pytest.param(False, id="asynchronous"),
        pytest.param(
            True,
            id="synchronous",
            marks=pytest.mark.skipif(
                "ENTREPOT_TEST_LONG" not in os.environ, reason="make test-faults runs it"
            ),
        ),
    ],
)
def test_a_failover(folder: Path, synchronous: bool) -> None:
    """What the standby has goes on, and what it lacks is gone, whole. A synchronous one has all.

    Files of what is gone are orphans, which no row names.
    """
    home = folder / "home"
    plugin = FakePlugin().start()
    primary = EmbeddedPostgres(folder / "a")
    primary.start()
    try:
        migrate(primary.dsn)
        standby = copied(primary, folder / "b", "second")
        with (
            started(standby, folder / "b.log") as server,
            running(primary.dsn, home, plugin) as core,
        ):
            if synchronous:
                query(primary, "ALTER SYSTEM SET synchronous_standby_names = 'second'")
                query(primary, "SELECT pg_reload_conf()")
            a_repository(core.database)
            a_remote(core.database)
            kept = a_unit(core, plugin, "kept")
            until(
                lambda: query(
                    primary,
                    "SELECT replay_lsn >= pg_current_wal_lsn() FROM pg_stat_replication",
                ),
                "the standby to have it",
            )
            if not synchronous:
                server.kill()
                server.wait()
            late = a_unit(core, plugin, "late")
            primary.kill()

        with started(standby, folder / "b.log"):
            query(standby, "SELECT pg_promote()")
            until(lambda: query(standby, "SELECT NOT pg_is_in_recovery()"), "the promotion")
            with running(standby.dsn, home, plugin) as core:
                found = core.read(kept.name)
                try:
                    found_late = core.read(late.name).state
                except ServiceError as error:
                    found_late = error.reason  # type: ignore[assignment]
                more = a_unit(core, plugin, "more")
                store = open_blob_store(*core.config.blobs)
                findings = [
                    *check_content(core.database),
                    *check_engine(core.database),
                    *check_blobs(core.database, store, 3600),
                ]
                store.close()
    finally:
        primary.kill()
        plugin.stop()

    assert (found.state, found.created_resource) == (kept.state, kept.created_resource)
    assert found_late == (Task.STATE_COMPLETED if synchronous else "RESOURCE_NOT_FOUND")
    assert more.created_resource.endswith("/versions/3" if synchronous else "/versions/2")
    assert findings == []
