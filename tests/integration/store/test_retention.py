"""What is over is forgotten after its time, and who made what is there is not."""

from pathlib import Path

import pytest

from contents import Attempt, Scene
from entrepot.core.v1 import repository_service_pb2 as pb
from entrepot_core.api.creation_requests import CreationRequests
from entrepot_core.api.repository_service import RepositoryService
from entrepot_core.blobs.directory import DirectoryBlobStore
from entrepot_core.dispatch.housekeeper import Housekeeper
from entrepot_core.domain.retention import Retention
from entrepot_core.plugins.registry import Registry
from entrepot_core.store import check, events, janitor, queue, repositories, versions
from entrepot_core.store.database import Database
from entrepot_core.store.engine_check import check_engine
from queues import a_plugin, a_task


@pytest.fixture
def scene(database: Database) -> Scene:
    """A plugin with its types."""
    return Scene.build(database)


def keep_house(database: Database, folder: Path, kept: Retention | None = None) -> None:
    """Forgets everything that there is to forget."""
    store = DirectoryBlobStore(folder)
    keeper = Housekeeper(database, store, kept or Retention())
    keeper.step()
    while keeper.forget():
        pass


def age(database: Database, days: int) -> None:
    """Makes everything that has happened so many days older."""
    with database.transaction() as cursor:
        cursor.execute("UPDATE task SET ended_at = ended_at - make_interval(days => %s)", (days,))
        cursor.execute(
            "UPDATE event SET happened_at = happened_at - make_interval(days => %s)", (days,)
        )
        cursor.execute(
            "UPDATE creation_request SET created_at = created_at - make_interval(days => %s)",
            (days,),
        )


def canceled(database: Database) -> str:
    """The id of a task that was canceled."""
    with database.transaction() as cursor:
        task = a_task(cursor)
        queue.cancel(cursor, task, b"canceled")
    return task


def a_version(scene: Scene, text: str) -> Attempt:
    """The attempt that made a version of the repository "main"."""
    attempt = scene.attempt()
    attempt.stage(scene.file("a.txt", text))
    scene.database.fetch(
        "INSERT INTO attempt_blob SELECT %s, digest FROM blob RETURNING 1",
        (attempt.workspace_id,),
    )
    attempt.commit()
    return attempt


def known(database: Database) -> set[str]:
    """The ids of all tasks."""
    return {row[0] for row in database.fetch("SELECT task_id::text FROM task")}


def test_old_tasks_and_events_are_forgotten(database: Database, tmp_path: Path) -> None:
    """After 30 days a finished task goes with all it had; event numbers go on."""
    with database.transaction() as cursor:
        a_plugin(cursor)
    canceled(database)
    with database.transaction() as cursor:
        numbered = events.number(cursor)
    age(database, 31)

    keep_house(database, tmp_path)

    assert database.fetch("SELECT count(*) FROM task_detail") == [(0,)]
    assert database.fetch("SELECT event_id FROM event") == [(numbered.last,)]
    with database.transaction() as cursor:
        a_task(cursor)
        assert events.number(cursor) == events.Numbered(1, numbered.last + 1, has_cancels=False)


def test_each_state_has_its_time(database: Database, tmp_path: Path) -> None:
    """What is canceled may be kept for ever while other ends are forgotten; who waits stays."""
    with database.transaction() as cursor:
        a_plugin(cursor)
        waiting = a_task(cursor)
    kept = canceled(database)
    failed = canceled(database)
    database.fetch(
        "UPDATE task SET state = 'failed' WHERE task_id = %s::uuid RETURNING 1", (failed,)
    )
    age(database, 3)

    keep_house(database, tmp_path, Retention(failed_days=2, canceled_days=None))

    assert known(database) == {waiting, kept}


def test_more_than_a_batch_is_forgotten(database: Database, tmp_path: Path) -> None:
    """A pass goes on from batch to batch, over those that must stay."""
    with database.transaction() as cursor:
        a_plugin(cursor)
    for _ in range(3):
        canceled(database)
    database.fetch(
        "WITH i AS (INSERT INTO task (task_id, plugin_id, task_type, state, waits_for, lane, seq,"
        " is_repeatable, is_dry_run, ended_at) SELECT gen_random_uuid(), plugin_id, 'test/works',"
        " 'completed', 0, 0, n, true, false, now() FROM plugin, generate_series(1, 1100) n"
        " WHERE name = 'test'"
        " RETURNING task_id) INSERT INTO task_detail (task_id, principal, parameters_type,"
        " parameters) SELECT task_id, 'admin', 'test.Work', '' FROM i RETURNING 1"
    )
    age(database, 40)

    keep_house(database, tmp_path)

    assert known(database) == set()


def test_a_task_stays_while_its_request_may_be_repeated(
    database: Database, tmp_path: Path
) -> None:
    """For 7 days the same request id finds its task, however short tasks are kept."""
    with database.transaction() as cursor:
        a_plugin(cursor)
    asked = canceled(database)
    database.fetch(
        "WITH d AS (UPDATE task_detail SET request_id = 'r' RETURNING task_id)"
        " INSERT INTO creation_request (principal, request_id, digest, task_id)"
        " SELECT 'admin', 'r', '', task_id FROM d RETURNING 1"
    )
    short = Retention(canceled_days=1)

    age(database, 6)
    keep_house(database, tmp_path, short)
    assert known(database) == {asked}

    age(database, 2)
    keep_house(database, tmp_path, short)
    assert known(database) == set()


def test_a_task_stays_while_its_plan_can_be_approved(database: Database, tmp_path: Path) -> None:
    """A dry run is forgotten after its plan has expired, not before."""
    with database.transaction() as cursor:
        a_plugin(cursor)
    planned = canceled(database)
    with database.transaction() as cursor:
        cursor.execute(
            "INSERT INTO plan (task_id, expires_at) VALUES (%s::uuid, now() + interval '1 hour')",
            (planned,),
        )
    age(database, 31)

    keep_house(database, tmp_path)
    assert known(database) == {planned}

    with database.transaction() as cursor:
        cursor.execute("UPDATE plan SET expires_at = now()")
    keep_house(database, tmp_path)
    assert known(database) == set()


def test_who_made_a_version_outlives_the_task(scene: Scene, tmp_path: Path) -> None:
    """After its task a version still says who asked for what, when, and which build did it."""
    database = scene.database
    database.fetch("UPDATE plugin SET version = '1.2.3' WHERE name = 'test' RETURNING 1")
    attempt = a_version(scene, "1")
    database.fetch("UPDATE plugin SET version = '2.0.0' WHERE name = 'test' RETURNING 1")
    service = RepositoryService(database, Registry(database), CreationRequests(lambda _: "admin"))
    request = pb.GetVersionRequest(name="repositories/test/main/versions/1")
    before = service.GetVersion(request, None).version  # type: ignore[arg-type]
    database.fetch("UPDATE task SET ended_at = ended_at - 31 * interval '1 day' RETURNING 1")

    keep_house(database, tmp_path)

    after = service.GetVersion(request, None).version  # type: ignore[arg-type]
    every = pb.ListVersionsRequest(parent="repositories/test/main")
    listed = service.ListVersions(every, None).versions[0]  # type: ignore[arg-type]
    assert known(database) == set()
    assert after.created_by.task == after.task == f"tasks/{attempt.task_id}"
    assert listed.created_by == after.created_by
    assert (after.created_by.principal, after.created_by.task_type) == ("admin", "test/works")
    assert (after.created_by.plugin, after.created_by.plugin_version) == ("test", "1.2.3")
    assert after.created_by.parameters.type_url.endswith("test.Work")
    assert after.created_by.start_time == before.created_by.start_time
    assert list(check.check_content(database)) == []
    assert list(check_engine(database)) == []


def test_an_origin_goes_with_the_last_that_names_it(scene: Scene, tmp_path: Path) -> None:
    """It stays for a version that was deleted, whose number units still name, and then goes."""
    database = scene.database
    for text in ("1", "2"):
        a_version(scene, text)
    age(database, 31)
    keep_house(database, tmp_path)
    with database.transaction() as cursor:
        versions.delete(cursor, "repositories/test/main/versions/1")
    keep_house(database, tmp_path)
    assert database.fetch("SELECT count(*) FROM origin") == [(2,)]

    with database.transaction() as cursor:
        repositories.delete(cursor, "repositories/test/main")
    for _ in range(10):
        with database.transaction() as cursor:
            janitor.sweep_versions(cursor, 100)
    keep_house(database, tmp_path)

    assert database.fetch("SELECT count(*) FROM origin") == [(0,)]
