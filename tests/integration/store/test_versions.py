"""Versions: random histories against a model of sets, deletion, retention, reading, comparing."""

import random
from dataclasses import replace

import pytest

from contents import Scene
from entrepot_core.domain.change import CommitMode
from entrepot_core.domain.errors import ResourceInUseError, ResourceNotFoundError
from entrepot_core.domain.filter import parse
from entrepot_core.domain.unit import Unit
from entrepot_core.store import (
    check,
    commit,
    content,
    distributions,
    janitor,
    repositories,
    versions,
)
from entrepot_core.store.content import Condition, VersionRange
from entrepot_core.store.database import Database
from entrepot_core.store.filters import compile_filter
from queues import a_task, resource_numbers


@pytest.fixture
def scene(database: Database) -> Scene:
    """A plugin with its types."""
    return Scene.build(database)


def put(scene: Scene, *units: Unit, mode: CommitMode = CommitMode.REPLACE) -> None:
    """Commits units to the repository "main"."""
    attempt = scene.attempt()
    attempt.stage(*units)
    scene.database.fetch(
        "INSERT INTO attempt_blob SELECT %s, digest FROM blob", (attempt.workspace_id,)
    )
    commit.after(scene.database, attempt.commit(mode))


def numbers(scene: Scene) -> list[int]:
    """The versions there are."""
    rows = scene.database.fetch(
        "SELECT number FROM version WHERE repository_id = %s ORDER BY number",
        (scene.repository().repository_id,),
    )
    return [row[0] for row in rows]


def delete(scene: Scene, number: int | str) -> None:
    """Deletes a version."""
    with scene.database.transaction() as cursor:
        versions.delete(cursor, f"repositories/test/main/versions/{number}")


def sweep(scene: Scene) -> None:
    """Collects what deleted versions left."""
    while True:
        with scene.database.transaction() as cursor:
            if not janitor.sweep_versions(cursor, 3):
                return


def findings(scene: Scene) -> list[str]:
    """What a check has to say."""
    return [one.message for one in check.check_content(scene.database)]


@pytest.mark.parametrize("seed", range(12))
def test_random_histories_agree_with_sets(database: Database, seed: int) -> None:
    """Additive, replacing, deleting and sweeping: every version that is left has what it had."""
    rng = random.Random(seed)  # noqa: S311  a seed makes it repeatable
    scene = Scene.build(database)
    files = [f"{rng.choice('abc')}/{i}" for i in range(8)]
    texts = ["1", "2"]
    history: dict[int, dict[str, str]] = {0: {}}
    number = 0
    for _ in range(14):
        if len(history) > 1 and rng.random() < 0.3:
            victim = rng.choice(sorted(history))
            delete(scene, victim)
            del history[victim]
            if rng.random() < 0.5:
                sweep(scene)
        else:
            before = history[max(history)]
            chosen = {path: rng.choice(texts) for path in rng.sample(files, rng.randint(0, 5))}
            gone = [p for p in before if p not in chosen and rng.random() < 0.2]
            attempt = scene.attempt()
            mode = rng.choice(list(CommitMode))
            removes = [scene.file(p, before[p]) for p in gone]
            attempt.stage(
                *(scene.file(p, text) for p, text in chosen.items()),
                removes=removes if mode is CommitMode.ADDITIVE else [],
            )
            scene.database.fetch(
                "INSERT INTO attempt_blob SELECT %s, digest FROM blob", (attempt.workspace_id,)
            )
            attempt.commit(mode)
            after = dict(chosen)
            if mode is CommitMode.ADDITIVE:
                after = {p: t for p, t in before.items() if p not in gone} | chosen
            if after != before:
                number = scene.repository().latest
                history[number] = after
        assert sorted(history) == numbers(scene)
        for known, expected in history.items():
            assert {f"{p}={t}" for p, t in expected.items()} == scene.members(number=known)
    sweep(scene)
    for known, expected in history.items():
        assert {f"{p}={t}" for p, t in expected.items()} == scene.members(number=known)
    assert findings(scene) == []
    assert number < scene.repository().next_number


def test_numbers_are_not_used_again(scene: Scene) -> None:
    """After the latest version was deleted, the next one has a new number."""
    put(scene, scene.file("a"))
    put(scene, scene.file("b"))
    delete(scene, "latest")
    assert scene.members() == {"a=a"}

    put(scene, scene.file("c"))

    assert numbers(scene) == [0, 1, 3]
    assert scene.members() == {"c=c"}
    assert findings(scene) == []


def test_the_last_version_stays(scene: Scene) -> None:
    """A repository has at least one version."""
    scene.repository()

    with pytest.raises(ResourceInUseError, match="at least one"):
        delete(scene, 0)


def test_a_served_version_stays(scene: Scene) -> None:
    """What a distribution serves is not deleted, nor kept back from serving."""
    put(scene, scene.file("a"))
    put(scene, scene.file("b"))
    with scene.database.transaction() as cursor:
        distributions.create(
            cursor,
            {
                "plugin": "test",
                "name": "dev",
                "base_path": "dev",
                "repository_id": scene.repository().repository_id,
                "number": 1,
            },
        )

    with pytest.raises(ResourceInUseError, match="distributions/test/dev"):
        delete(scene, 1)
    with pytest.raises(ResourceNotFoundError):
        delete(scene, 9)
    with pytest.raises(ResourceInUseError), scene.database.transaction() as cursor:
        repositories.delete(cursor, "repositories/test/main")


def test_a_version_that_is_read_stays(scene: Scene) -> None:
    """While an attempt was lent a version, neither people nor retention delete it."""
    put(scene, scene.file("a"))
    reader = scene.attempt("other", read=["main"])
    put(scene, scene.file("b"))

    with pytest.raises(ResourceInUseError, match="tasks/"):
        delete(scene, 1)
    reader.abandon()
    delete(scene, 1)

    assert numbers(scene) == [0, 2]


@pytest.mark.parametrize("number", ["latest", "1", None])
def test_what_a_task_waits_for_stays(scene: Scene, number: str | None) -> None:
    """Neither the latest version nor the repository is deleted under a task; it is named."""
    put(scene, scene.file("a"))
    name = "repositories/test/main"
    with scene.database.transaction() as cursor:
        (resource_id,) = resource_numbers(cursor, [name]).values()
        task_id = a_task(cursor, {resource_id: True})

    remove = repositories.delete if number is None else versions.delete
    target = name if number is None else f"{name}/versions/{number}"
    with pytest.raises(ResourceInUseError, match=task_id), scene.database.transaction() as cursor:
        remove(cursor, target)

    assert numbers(scene) == [0, 1]


def test_retention_keeps_the_newest(scene: Scene) -> None:
    """After each commit, what is beyond the number to keep is deleted."""
    scene.repository()
    with scene.database.transaction() as cursor:
        repositories.update(cursor, "repositories/test/main", {"retain_versions": 2})

    for name in "abcd":
        put(scene, scene.file(name))
    sweep(scene)

    assert numbers(scene) == [3, 4]
    assert scene.database.fetch("SELECT count(*) FROM member") == [(2,)]
    assert findings(scene) == []


def test_a_deleted_repository_is_swept(scene: Scene) -> None:
    """Its rows go in chunks, and its name is free at once."""
    put(scene, *(scene.file(f"f{i}") for i in range(10)))
    with scene.database.transaction() as cursor:
        repositories.delete(cursor, "repositories/test/main")
    assert scene.members() == set()

    sweep(scene)

    assert scene.database.fetch("SELECT count(*) FROM member") == [(0,)]
    assert scene.database.fetch("SELECT count(*) FROM content WHERE orphaned_at IS NULL") == [(0,)]
    assert findings(scene) == []


def test_pages_of_a_version_are_complete_and_in_order(scene: Scene) -> None:
    """Units with files by path, then those with a key, then the others; each once."""
    units = [scene.file(f"p/{i:02}") for i in range(7)]
    units += [scene.node(f"k{i}", repo_key=f"key{9 - i}") for i in range(5)]
    units += [scene.node(f"n{i}") for i in range(5)]
    put(scene, *units)
    put(scene, *units[3:])
    row = scene.repository()
    for number, expected in ((1, 17), (2, 14)):
        seen: list[str] = []
        after: tuple[object, ...] = ()
        while True:
            with scene.database.transaction() as cursor:
                page = content.page_of_version(
                    cursor, VersionRange(row.repository_id, number), Condition(), after, 3
                )
            if not page:
                break
            assert len(page) <= 3
            seen += [one.attributes.decode() for one in page]
            after = page[-1].position
        paths = [name for name in seen if "=" in name]
        assert len(set(seen)) == len(seen) == expected
        assert paths == sorted(paths)
        assert seen[len(paths) : len(paths) + 5] == ["k4", "k3", "k2", "k1", "k0"]


def test_reading_goes_on_after_a_batch(scene: Scene) -> None:
    """In the order of numbers, each once, with reasons and details."""
    put(scene, *(scene.file(f"f{i}", implied=i % 2 == 0) for i in range(9)))
    version = VersionRange(scene.repository().repository_id, 1)
    seen = []
    after = 0
    while True:
        with scene.database.transaction() as cursor:
            rows = content.read_version(cursor, version, Condition(), after, 4)
            rows = content.with_details(cursor, rows, version)
        if not rows:
            break
        seen += [(row.artifacts[0].relative_path, row.is_explicit) for row in rows]
        after = rows[-1].content_id

    assert sorted(seen) == [(f"f{i}", i % 2 == 1) for i in range(9)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", 4),
        ('path = "a/1"', 1),
        ("path = a/*", 2),
        ("path = *1", 2),
        ("path = */*", 3),
        ("path != a/*", 2),
        ("path : b", 2),
        ("path >= b", 2),
        ("size > 2", 3),
        ("size <= 3 path = a/*", 2),
        ("NOT size > 3", 3),
        ("path = a/1 OR path = b", 2),
        ("path:*", 4),
        ('path = "it\'s"', 0),
    ],
)
def test_filters_choose_by_declared_fields(scene: Scene, text: str, found: int) -> None:
    """Strings by bytes, numbers as numbers."""
    put(
        scene,
        *(scene.file(path, text) for path, text in (("a/1", "xxx"), ("a/2", "yyy"))),
        scene.file("b", "zz"),
        scene.file("b-/1", "zzzzzz"),
    )
    sql, parameters = compile_filter(parse(text), {"path": "string", "size": "number"})
    types = [scene.types["test.file"].type_id]

    with scene.database.transaction() as cursor:
        rows = content.page_of_type(cursor, Condition(types, sql, parameters), 0, 100)

    assert found == len(rows)


def test_compare_names_what_differs(scene: Scene) -> None:
    """Added, removed and replaced by key, in order, in either direction, page by page."""
    put(scene, scene.file("a"), scene.file("b", "1"), scene.file("c"), scene.node("n"))
    put(scene, scene.file("b", "2"), scene.file("c"), scene.file("d"), scene.node("m"))
    repository_id = scene.repository().repository_id

    def pages(base: int, number: int) -> list[tuple[str, bool, bool]]:
        found: list[tuple[str, bool, bool]] = []
        after = None
        while True:
            with scene.database.transaction() as cursor:
                rows = content.compare(cursor, repository_id, base, number, after, 2)
            if not rows:
                return found
            found += [(row.key, bool(row.old_unit), bool(row.new_unit)) for row in rows]
            after = rows[-1].position

    forwards = pages(1, 2)

    assert sorted(forwards) == [
        ("", False, True),
        ("", True, False),
        ("a", True, False),
        ("b", True, True),
        ("d", False, True),
    ]
    assert [key for key, _, _ in forwards] == ["", "", "a", "b", "d"]
    assert sorted((key, new, old) for key, old, new in pages(2, 1)) == sorted(forwards)
    assert pages(2, 2) == []
    assert len(pages(-1, 1)) == 4


def test_a_key_beside_the_path_is_compared_by_key(scene: Scene) -> None:
    """A package that moved is replaced, not removed and added."""
    put(scene, replace(scene.file("old/p"), repo_key="p"))
    put(scene, replace(scene.file("new/p"), repo_key="p"), mode=CommitMode.ADDITIVE)

    with scene.database.transaction() as cursor:
        (row,) = content.compare(cursor, scene.repository().repository_id, 1, 2, None, 10)

    assert (row.key, bool(row.old_unit), bool(row.new_unit)) == ("p", True, True)
