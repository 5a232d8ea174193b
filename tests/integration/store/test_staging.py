"""Staging calls against real PostgreSQL: idempotence, fencing, identity, concurrency."""

import random
import threading
from dataclasses import replace

import pytest

from contents import Scene, sha
from entrepot_core.domain.errors import (
    AttemptSupersededError,
    ContentConflictError,
    SequenceReusedError,
    UnitNotInRepositoryError,
)
from entrepot_core.domain.unit import Artifact, Source
from entrepot_core.store.database import Database


@pytest.fixture
def scene(database: Database) -> Scene:
    """A plugin with its types."""
    return Scene.build(database)


def count(scene: Scene, table: str) -> int:
    """How many rows a table has."""
    return int(scene.database.fetch(f"SELECT count(*) FROM {table}")[0][0])  # noqa: S608


def test_says_which_units_it_had(scene: Scene) -> None:
    """The answer is in the order of the units, and tells new ones from known ones."""
    attempt = scene.attempt()
    attempt.stage(scene.file("b"))

    answer = attempt.stage(scene.file("c"), scene.file("b"), scene.file("a"))

    assert answer.existed == (False, True, False)
    assert count(scene, "content") == 3
    assert count(scene, "artifact") == 3


def test_same_sequence_again_has_the_effect_of_once(scene: Scene) -> None:
    """A call whose answer was lost is repeated, and answered as the first time."""
    attempt = scene.attempt()
    unit = scene.unfetched("a")
    first = attempt.stage(unit, sequence=7)

    again = attempt.stage(unit, sequence=7)

    assert first == again
    assert again.existed == (False,)
    assert again.missing_blobs == (sha("a"),)


def test_same_sequence_with_another_batch_is_refused(scene: Scene) -> None:
    """A sequence names one batch."""
    attempt = scene.attempt()
    attempt.stage(scene.file("a"), sequence=7)

    with pytest.raises(SequenceReusedError):
        attempt.stage(scene.file("b"), sequence=7)

    assert count(scene, "content") == 1


def test_a_superseded_attempt_writes_nothing(scene: Scene) -> None:
    """Without its workspace a call leaves neither units nor staged rows."""
    attempt = scene.attempt()
    attempt.abandon()

    with pytest.raises(AttemptSupersededError):
        attempt.stage(scene.file("a"))

    assert count(scene, "content") == 0
    assert count(scene, "staged") == 0


def test_take_over_waits_for_an_open_call(scene: Scene) -> None:
    """Deleting the workspace waits until a staging call that began before has ended."""
    attempt = scene.attempt()
    order: list[str] = []

    def take_over() -> None:
        attempt.abandon()
        order.append("gone")

    with scene.database.transaction() as cursor:
        cursor.execute(
            "SELECT FROM workspace WHERE workspace_id = %s FOR KEY SHARE", (attempt.workspace_id,)
        )
        thread = threading.Thread(target=take_over)
        thread.start()
        thread.join(0.05)
        order.append("staged")
    thread.join(10)

    assert order == ["staged", "gone"]


def test_same_key_with_other_attributes_is_refused_by_name(scene: Scene) -> None:
    """A unit is immutable: what has its key must be it."""
    attempt = scene.attempt()
    unit = scene.file("dir/a")
    attempt.stage(unit)

    with pytest.raises(ContentConflictError, match="dir/a") as refused:
        attempt.stage(replace(unit, attributes=b"other"))

    assert refused.value.metadata["unit"] == "dir/a"


def test_other_digests_of_the_same_file_are_the_same_unit(scene: Scene) -> None:
    """Two upstreams may know different digests of a file: what contradicts nothing is the same."""
    attempt = scene.attempt()
    source = (Source(scene.remote(), "http://up.test/a"),)
    unit = scene.unfetched("a")
    weak = replace(
        unit, artifacts=(Artifact("a", None, None, {"md5": "11", "sha1": "22"}, source),)
    )
    attempt.stage(weak)

    known = replace(unit, artifacts=(Artifact("a", sha("a"), 1, {"md5": "11"}, source),))
    answer = attempt.stage(known)

    assert answer.existed == (True,)
    assert bytes(scene.database.fetch("SELECT digest FROM artifact")[0][0]) == sha("a")
    with pytest.raises(ContentConflictError):
        attempt.stage(replace(unit, artifacts=(Artifact("a", None, None, {"md5": "99"}, source),)))


def test_sources_accumulate_and_follow_their_remote(scene: Scene) -> None:
    """Each remote has its own sources of a file, and a new address replaces the old one."""
    attempt = scene.attempt()
    one, two = scene.remote("one"), scene.remote("two")
    for remote, url in ((one, "http://a/1"), (two, "http://b/1"), (one, "http://a/2")):
        attempt.stage(scene.unfetched("a", sources=(Source(remote, url),)))

    rows = scene.database.fetch("SELECT remote_id, url FROM artifact_source ORDER BY 1")

    assert rows == [(one, "http://a/2"), (two, "http://b/1")]


def test_a_blob_that_the_attempt_was_not_given_is_missing(scene: Scene) -> None:
    """Naming a digest is not having the bytes: an attempt must have fetched or written them."""
    attempt = scene.attempt()
    unit = scene.file("a", "secret")

    before = attempt.stage(unit)
    scene.database.fetch(
        "INSERT INTO attempt_blob (workspace_id, digest) VALUES (%s, %s)",
        (attempt.workspace_id, sha("secret")),
    )
    after = attempt.stage(scene.file("b", "secret"))

    assert before.missing_blobs == (sha("secret"),)
    assert after.missing_blobs == ()


def test_names_make_the_condemned_live_again(scene: Scene) -> None:
    """A unit or blob that the collector has condemned is revived by whoever names it."""
    attempt = scene.attempt()
    unit = scene.file("a")
    attempt.stage(unit)
    scene.database.fetch("UPDATE content SET condemned = true, orphaned_at = now()")
    scene.database.fetch("UPDATE blob SET state = 'condemned'")

    attempt.stage(unit)

    assert scene.database.fetch("SELECT condemned, orphaned_at FROM content") == [(False, None)]
    assert scene.database.fetch("SELECT state FROM blob") == [("live",)]


def test_removing_what_is_not_there_is_refused_by_name(scene: Scene) -> None:
    """A removal names members of the base version."""
    unit = scene.file("a")

    with pytest.raises(UnitNotInRepositoryError) as refused:
        scene.attempt().stage(removes=[unit])

    assert refused.value.metadata["unit"] == unit.name


def test_overlapping_batches_do_not_deadlock(scene: Scene) -> None:
    """Four attempts that stage the same units in different orders all succeed."""
    units = [
        scene.unfetched(f"f{i:03}", sources=(Source(1, f"http://up/{i}"),)) for i in range(200)
    ]
    attempts = [scene.attempt(f"r{i}") for i in range(4)]
    errors: list[BaseException] = []

    def work(seed: int) -> None:
        shuffled = random.Random(seed).sample(units, len(units))  # noqa: S311
        try:
            for start in range(0, len(units), 50):
                attempts[seed].stage(*shuffled[start : start + 50])
        except BaseException as error:  # noqa: BLE001  the test shows it
            errors.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert errors == []
    assert count(scene, "content") == 200
    assert count(scene, "staged") == 800
