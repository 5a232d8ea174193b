"""Collecting orphans against real PostgreSQL: what goes, what stays, and who comes in between."""

import random
import threading
from collections.abc import Iterable, Iterator

import pytest

from contents import Attempt, Scene
from entrepot_core.domain.change import CommitMode
from entrepot_core.domain.errors import BlobMissingError
from entrepot_core.domain.unit import Unit
from entrepot_core.store import check, collector, janitor, repositories
from entrepot_core.store.database import Database


class NoFiles:
    """A store of which only the rows are looked at."""

    def set_aside(self, digests: Iterable[bytes]) -> None:
        """Nothing to move."""
        list(digests)

    def restore(self, digests: Iterable[bytes]) -> None:
        """Nothing to move back."""

    def discard(self, digests: Iterable[bytes]) -> None:
        """Nothing to unlink."""
        list(digests)

    def files(self) -> Iterator[None]:
        """There are none."""
        return iter(())

    def set_aside_files(self) -> Iterator[None]:
        """There are none."""
        return iter(())


@pytest.fixture
def scene(database: Database) -> Scene:
    """A plugin with its types."""
    return Scene.build(database)


def put(scene: Scene, *units: Unit, mode: CommitMode = CommitMode.ADDITIVE) -> None:
    """Commits units to the repository "main"."""
    attempt = scene.attempt()
    attempt.stage(*units)
    scene.database.fetch(
        "INSERT INTO attempt_blob SELECT %s, digest FROM blob", (attempt.workspace_id,)
    )
    attempt.commit(mode)


def clear(scene: Scene) -> None:
    """Runs the janitors until they find nothing."""
    for one in janitor.ALL:
        while True:
            with scene.database.transaction() as cursor:
                if not one(cursor, 1000):
                    break


def collect(scene: Scene, grace: float = 0, *, dry_run: bool = False) -> collector.Collected:
    """One run."""
    return collector.collect(scene.database, NoFiles(), grace, dry_run=dry_run)  # type: ignore[arg-type]


def units(scene: Scene) -> set[str]:
    """The units there are."""
    rows = scene.database.fetch("SELECT convert_from(attributes, 'UTF8') FROM content")
    return {row[0] for row in rows}


def test_units_of_old_versions_are_no_orphans(scene: Scene) -> None:
    """What any version has stays."""
    put(scene, scene.file("a"))
    put(scene, scene.file("b"), mode=CommitMode.REPLACE)

    collected = collect(scene)

    assert collected.content_units == 0
    assert units(scene) == {"a=a", "b=b"}


def test_units_of_no_version_go_with_their_blobs(scene: Scene) -> None:
    """When the repository is deleted, its units and their bytes are orphans."""
    put(scene, scene.file("a"), scene.file("dir/b", "bytes"))
    with scene.database.transaction() as cursor:
        repositories.delete(cursor, "repositories/test/main")
    clear(scene)
    planned = collect(scene, dry_run=True)

    collected = collect(scene)

    assert collected == planned == collector.Collected(2, 2, 6)
    for table in ("content", "artifact", "member", "blob", "staged"):
        assert scene.database.fetch(f"SELECT count(*) FROM {table}") == [(0,)], table  # noqa: S608


def test_the_grace_is_kept(scene: Scene) -> None:
    """A unit that has just become an orphan stays for the grace."""
    attempt = scene.attempt()
    attempt.stage(scene.file("a"), role="")
    attempt.commit()

    assert collect(scene, 3600).content_units == 0
    assert collect(scene, 3600, dry_run=True).content_units == 0
    scene.database.fetch("UPDATE content SET orphaned_at = now() - interval '2 hours'")
    assert collect(scene, 3600).content_units == 1


def test_what_an_attempt_stages_stays(scene: Scene) -> None:
    """Staged rows protect until the attempt is over."""
    attempt = scene.attempt()
    attempt.stage(scene.file("a"))
    scene.database.fetch(
        "INSERT INTO attempt_blob SELECT %s, digest FROM blob", (attempt.workspace_id,)
    )

    assert collect(scene).content_units == 0
    attempt.commit()
    assert scene.members() == {"a=a"}
    assert scene.database.fetch("SELECT count(*) FROM blob") == [(1,)]


def test_a_relation_waits_for_its_target_again(scene: Scene) -> None:
    """When a target is collected, who refers to it keeps the relation, by key."""
    attempt = scene.attempt()
    attempt.stage(scene.node("note"), role="")
    attempt.stage(scene.node("holder", context=["note"]))
    attempt.commit()
    clear(scene)
    assert collect(scene).content_units == 1
    assert scene.database.fetch("SELECT count(*) FROM edge") == [(0,)]

    put(scene, scene.node("note"))

    assert scene.database.fetch("SELECT count(*) FROM edge") == [(1,)]
    assert scene.database.fetch("SELECT count(*) FROM unresolved_edge") == [(0,)]


def test_a_stager_that_came_in_between_saves_the_unit(scene: Scene) -> None:
    """The collector waits for a call that began before it condemned, and looks again."""
    put(scene, scene.file("a"))
    with scene.database.transaction() as cursor:
        repositories.delete(cursor, "repositories/test/main")
    clear(scene)
    collector.mark(scene.database)
    attempt = scene.attempt("other")
    collected = []
    with scene.database.transaction() as cursor:
        # A staging call that has begun and read, and not yet written.
        cursor.execute("SELECT pg_current_xact_id()")
        thread = threading.Thread(target=lambda: collected.append(collect(scene)))
        thread.start()
        while scene.database.fetch("SELECT condemned FROM content") != [(True,)]:
            pass
        cursor.execute(
            "INSERT INTO staged SELECT %s, 7, content_id, false, true, true, false FROM content",
            (attempt.workspace_id,),
        )
    thread.join(30)

    assert collected[0].content_units == 0
    assert units(scene) == {"a=a"}


def test_stagers_and_collector_leave_nothing_dangling(scene: Scene) -> None:
    """Hot units that come and go under a collector: every member has its unit and its bytes."""
    files = [scene.file(f"f{i}") for i in range(12)]
    errors: list[BaseException] = []
    stop = threading.Event()

    def stage(seed: int) -> None:
        rng = random.Random(seed)  # noqa: S311  a seed makes it repeatable
        try:
            for _ in range(15):
                chosen = rng.sample(files, 4)
                scene.blob(*(unit.artifacts[0].relative_path for unit in chosen))
                attempt = lock_free_attempt(f"r{seed}")
                attempt.stage(*chosen)
                try:
                    attempt.commit(CommitMode.REPLACE, is_ready_made=True)
                except BlobMissingError:
                    # Collected between being stored and being named: it would be fetched again.
                    attempt.abandon()
                    continue
                with scene.database.transaction() as cursor:
                    repositories.delete(cursor, f"repositories/test/r{seed}")
        except BaseException as error:  # noqa: BLE001  the test shows it
            errors.append(error)

    claiming = threading.Lock()

    def lock_free_attempt(name: str) -> Attempt:
        with claiming:
            return scene.attempt(name)

    def gather() -> None:
        try:
            while not stop.is_set():
                clear(scene)
                collect(scene)
        except BaseException as error:  # noqa: BLE001  the test shows it
            errors.append(error)

    threads = [threading.Thread(target=stage, args=(seed,)) for seed in range(2)]
    gatherer = threading.Thread(target=gather)
    gatherer.start()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(90)
    stop.set()
    gatherer.join(90)

    assert errors == []
    assert [one.message for one in check.check_content(scene.database)] == []
