"""Commits against real PostgreSQL: each rule by name."""

from dataclasses import replace

import pytest

from contents import Scene, sha
from entrepot_core.domain import set_digest
from entrepot_core.domain.change import CommitMode, CommitRequest
from entrepot_core.domain.errors import (
    AttemptSupersededError,
    BlobMissingError,
    PathOverlapsError,
    RepositoryKeyConflictError,
    SizeMismatchError,
    VersionConflictError,
)
from entrepot_core.domain.unit import Artifact, Source, Unit, unit_digest
from entrepot_core.store import commit, repositories
from entrepot_core.store.database import Database

# So many that a commit is planned for a large change.
MANY = 2_100


@pytest.fixture
def scene(database: Database) -> Scene:
    """A plugin with its types."""
    return Scene.build(database)


def put(scene: Scene, *units: Unit, mode: CommitMode = CommitMode.ADDITIVE) -> None:
    """Commits units to the repository "main"; their blobs are the attempt's own."""
    attempt = scene.attempt()
    attempt.stage(*units)
    give_blobs(scene, attempt.workspace_id)
    attempt.commit(mode)


def give_blobs(scene: Scene, workspace_id: int) -> None:
    """Lets an attempt use all blobs."""
    scene.database.fetch(
        "INSERT INTO attempt_blob SELECT %s, digest FROM blob ON CONFLICT DO NOTHING",
        (workspace_id,),
    )


def test_adds_make_a_version(scene: Scene) -> None:
    """What was staged is in the next version, with its counts and the digest of the set."""
    units = [scene.file("b"), scene.file("a/b/c")]
    attempt = scene.attempt()
    attempt.stage(*units)
    give_blobs(scene, attempt.workspace_id)

    result = attempt.commit()

    (difference,) = result.differences
    assert (difference.base_version, difference.version, difference.changed) == (0, 1, True)
    assert (difference.added, difference.removed, difference.replaced) == (2, 0, 0)
    assert result.created_resource == "repositories/test/main/versions/1"
    assert scene.members() == {"b=b", "a/b/c=a/b/c"}
    assert scene.members(number=0) == set()
    expected = set_digest.digest(
        set_digest.changed(
            set_digest.EMPTY,
            [set_digest.element("test.file", u.key_digest, unit_digest(u)) for u in units],
        )
    )
    rows = scene.database.fetch("SELECT unit_count, set_digest FROM version WHERE number = 1")
    assert (rows[0][0], bytes(rows[0][1])) == (2, expected)


@pytest.mark.parametrize("mode", list(CommitMode))
def test_the_same_again_makes_no_version(scene: Scene, mode: CommitMode) -> None:
    """An attempt that stages what is there changes nothing, and says so."""
    put(scene, scene.file("a"))
    attempt = scene.attempt()
    attempt.stage(scene.file("a"))

    result = attempt.commit(mode)

    (difference,) = result.differences
    assert not result.changed
    assert result.created_resource == ""
    assert (difference.changed, difference.version) == (False, 1)
    assert difference.unchanged_reason == "The repository is already as it was asked to be."
    assert scene.repository().latest == 1


def test_a_removal_takes_out_what_was_named(scene: Scene) -> None:
    """The next version lacks the unit, the one before keeps it."""
    put(scene, scene.file("a"), scene.file("b"))
    attempt = scene.attempt()
    attempt.stage(removes=[scene.file("a")])

    attempt.commit()

    assert scene.members() == {"b=b"}
    assert scene.members(number=1) == {"a=a", "b=b"}


def test_replace_leaves_only_what_was_staged(scene: Scene) -> None:
    """A mirror takes out what upstream no longer has."""
    put(scene, scene.file("a"), scene.file("b"))

    put(scene, scene.file("b"), scene.file("c"), mode=CommitMode.REPLACE)

    assert scene.members() == {"b=b", "c=c"}


def test_an_empty_replace_empties_the_repository(scene: Scene) -> None:
    """A mirror of nothing is nothing."""
    put(scene, scene.file("a"))

    scene.attempt().commit(CommitMode.REPLACE)

    assert scene.members() == set()
    assert scene.repository().latest == 2


@pytest.mark.parametrize("path", ["a", "dir/a"])
def test_a_unit_takes_the_repository_key_of_another(scene: Scene, path: str) -> None:
    """A version has one unit with a repository key; the newer one replaces the older."""
    put(scene, scene.file(path, "old"))
    attempt = scene.attempt()
    attempt.stage(scene.file(path, "new"))
    give_blobs(scene, attempt.workspace_id)

    (difference,) = attempt.commit().differences

    assert (difference.added, difference.removed, difference.replaced) == (1, 1, 1)
    assert scene.members() == {f"{path}=new"}


def test_a_key_that_is_not_the_path_is_replaced_too(scene: Scene) -> None:
    """The key counts, whether a unit's path is equal to it or not."""
    put(scene, replace(scene.file("p/one"), repo_key="key"))
    other = replace(scene.file("p/two"), repo_key="key")

    put(scene, other)

    assert scene.members() == {"p/two=p/two"}

    put(scene, replace(scene.file("key"), repo_key="key"))

    assert scene.members() == {"key=key"}

    put(scene, other)

    assert scene.members() == {"p/two=p/two"}


def test_two_added_units_with_one_key_are_refused(scene: Scene) -> None:
    """Which of them was meant is not for core to guess."""
    attempt = scene.attempt()
    attempt.stage(scene.file("a", "one"), scene.file("a", "two"))

    with pytest.raises(RepositoryKeyConflictError, match='key "a"'):
        attempt.commit()


def test_a_key_that_the_attempt_keeps_is_not_replaced(scene: Scene) -> None:
    """A mirror that lists two units with one key is refused, also if one is there already."""
    put(scene, scene.file("a", "one"))
    attempt = scene.attempt()
    attempt.stage(scene.file("a", "one"), scene.file("a", "two"))

    with pytest.raises(RepositoryKeyConflictError):
        attempt.commit(CommitMode.REPLACE)


def test_one_path_of_two_types_is_refused(scene: Scene) -> None:
    """A path is served from one unit, whatever the types and keys."""
    put(scene, scene.file("a"))
    other = replace(scene.file("a"), type=scene.types["test.other"], repo_key=None)
    attempt = scene.attempt()
    attempt.stage(other)

    with pytest.raises(RepositoryKeyConflictError, match='path "a"'):
        attempt.commit()


@pytest.mark.parametrize(
    ("present", "added"),
    [("a", "a/b"), ("a/b", "a"), ("a/b/c/d", "a/b"), ("a/b", "a/b/c/d"), (None, None)],
)
def test_a_file_is_not_a_folder(scene: Scene, present: str | None, added: str | None) -> None:
    """A path that is a file cannot be the folder of another, added together or one by one."""
    if present is None or added is None:
        staged = [scene.file("x-y"), scene.file("x/y"), scene.file("x"), scene.file("w")]
    else:
        put(scene, scene.file(present), scene.file("a-b"), scene.file("a.b"))
        staged = [scene.file(added)]
    attempt = scene.attempt()
    attempt.stage(*staged)
    give_blobs(scene, attempt.workspace_id)

    with pytest.raises(PathOverlapsError):
        attempt.commit()


def test_a_file_may_become_a_folder(scene: Scene) -> None:
    """What leaves in the same commit is not in the way."""
    put(scene, scene.file("a"), scene.file("a0"))

    put(scene, scene.file("a/b"), scene.file("a0"), mode=CommitMode.REPLACE)

    assert scene.members() == {"a/b=a/b", "a0=a0"}


def test_further_files_of_a_unit_have_paths_too(scene: Scene) -> None:
    """Every file of a unit is served at its path, and conflicts there."""
    scene.blob("1", "2")
    unit = replace(
        scene.file("src/main"),
        artifacts=(Artifact("src/main", sha("1"), 1), Artifact("src/main.asc", sha("2"), 1)),
        repo_key="main",
    )
    put(scene, unit)
    for path, error in (
        ("src/main.asc", RepositoryKeyConflictError),
        ("src/main.asc/x", PathOverlapsError),
        ("src", PathOverlapsError),
    ):
        attempt = scene.attempt()
        attempt.stage(scene.file(path))
        give_blobs(scene, attempt.workspace_id)
        with pytest.raises(error):
            attempt.commit()
    attempt = scene.attempt()
    attempt.stage(removes=[unit])
    attempt.commit()

    put(scene, scene.file("src/main.asc"))

    assert scene.members() == {"src/main.asc=src/main.asc"}


def test_a_file_without_bytes_and_source_is_refused(scene: Scene) -> None:
    """Core must have the bytes, or know where to get them."""
    attempt = scene.attempt()
    attempt.stage(scene.unfetched("a"))

    with pytest.raises(BlobMissingError) as refused:
        attempt.commit()

    assert refused.value.metadata == {"digest": sha("a").hex(), "unit": "a"}


@pytest.mark.parametrize("policy", ["immediate", "on_demand", "streamed"])
def test_only_immediate_files_must_be_there(scene: Scene, policy: str) -> None:
    """On demand a source is enough; immediately it is not, but for a dry run."""
    source = Source(scene.remote(policy=policy), "http://up.test/a")
    attempt = scene.attempt()
    attempt.stage(scene.unfetched("a", sources=(source,)))

    dry = attempt.commit(dry_run=True)
    if policy == "immediate":
        with pytest.raises(BlobMissingError, match="not downloaded"):
            attempt.commit()
    else:
        attempt.commit()

    assert (dry.differences[0].fetch_files, dry.differences[0].fetch_bytes) == (1, 1)


def test_a_source_ends_with_its_remote(scene: Scene) -> None:
    """A file of a remote that was deleted meanwhile cannot be had any more."""
    remote = scene.remote(policy="on_demand")
    attempt = scene.attempt()
    attempt.stage(scene.unfetched("a", sources=(Source(remote, "http://up.test/a"),)))
    scene.database.fetch("DELETE FROM remote WHERE remote_id = %s", (remote,))

    with pytest.raises(BlobMissingError, match="neither the bytes"):
        attempt.commit()


def test_a_commit_reads_the_sources_of_its_own_files_alone(scene: Scene) -> None:
    """However many sources of other files there are, none is looked at."""
    remote = scene.remote(policy="on_demand")
    attempt = scene.attempt()
    attempt.stage(
        *(
            scene.unfetched(f"{n}", sources=(Source(remote, f"http://up.test/{n}"),))
            for n in range(MANY)
        )
    )
    request = CommitRequest(attempt.workspace_id, attempt.task_id, modes={}, states={})

    with scene.database.transaction() as cursor:
        (difference,) = commit.commit(cursor, request).differences
        cursor.execute("SELECT pg_stat_get_xact_numscans('artifact_source'::regclass)")
        whole_reads = cursor.fetchone()

    assert (difference.added, whole_reads) == (MANY, (0,))


def test_bytes_of_others_cannot_be_named(scene: Scene) -> None:
    """A plugin that stages a digest it was not given gets no unit with those bytes."""
    put(scene, scene.file("secret"))
    attempt = scene.attempt("other")
    attempt.stage(replace(scene.file("mine"), artifacts=(Artifact("mine", sha("secret"), 6),)))

    with pytest.raises(BlobMissingError, match="neither the bytes"):
        attempt.commit()


@pytest.mark.parametrize("is_sourced", [True, False])
def test_bytes_that_are_here_must_have_the_size(scene: Scene, is_sourced: bool) -> None:
    """A unit that gives its file another size than the stored bytes have is refused."""
    sources = (Source(scene.remote(), "http://up.test/a"),) if is_sourced else ()
    unit = replace(scene.file("a"), artifacts=(Artifact("a", sha("a"), 7, sources=sources),))
    attempt = scene.attempt()
    attempt.stage(unit)
    give_blobs(scene, attempt.workspace_id)

    with pytest.raises(SizeMismatchError, match="has 1 bytes, not 7") as refused:
        attempt.commit()

    assert refused.value.metadata == {"unit": "a", "expected": "7", "actual": "1"}


def test_dry_run_tells_and_writes_nothing(scene: Scene) -> None:
    """The difference is what a commit would make, with the first units by name."""
    put(scene, scene.file("a", "old"), scene.file("b"))
    attempt = scene.attempt()
    attempt.stage(scene.file("a", "new"), scene.file("c"), removes=[scene.file("b")])
    give_blobs(scene, attempt.workspace_id)

    result = attempt.commit(dry_run=True)

    (difference,) = result.differences
    assert (result.changed, result.created_resource, difference.version) == (True, "", 0)
    assert (difference.added, difference.removed, difference.replaced) == (2, 2, 1)
    assert {line.path for line in difference.added_units} == {"a", "c"}
    assert {line.unit for line in difference.removed_units} == {
        scene.file("a", "old").name,
        scene.file("b").name,
    }
    assert scene.members() == {"a=old", "b=b"}
    assert scene.repository().latest == 1


def test_reasons_change_in_place(scene: Scene) -> None:
    """Asking by name for what came along makes it explicit, and no version."""
    put(scene, scene.file("a", implied=True), scene.file("b", implied=True))
    assert scene.explicit() == set()

    put(scene, scene.file("a"))

    assert scene.explicit() == {"a=a"}
    assert scene.repository().latest == 1

    put(scene, scene.file("a", implied=True), scene.file("b"), mode=CommitMode.REPLACE)

    assert scene.explicit() == {"b=b"}
    assert scene.repository().latest == 1


def test_two_repositories_get_a_version_each(scene: Scene) -> None:
    """One transaction writes all versions of an attempt."""
    attempt = scene.attempt("one", "two")
    attempt.stage(scene.file("a"), role="one")
    attempt.stage(scene.file("b"), role="two")
    give_blobs(scene, attempt.workspace_id)

    result = attempt.commit()

    assert [d.repository for d in result.differences] == [
        "repositories/test/one",
        "repositories/test/two",
    ]
    assert (scene.members("one"), scene.members("two")) == ({"a=a"}, {"b=b"})


def test_units_of_no_repository_are_only_made(scene: Scene) -> None:
    """An upload without a repository stores the unit and changes nothing."""
    attempt = scene.attempt()
    attempt.stage(scene.file("a"), role="")

    result = attempt.commit()

    assert not result.changed
    assert scene.database.fetch("SELECT count(*) FROM content") == [(1,)]


def test_a_changed_repository_is_a_conflict(scene: Scene) -> None:
    """The base version must still be the latest."""
    attempt = scene.attempt()
    attempt.stage(scene.file("a"))
    scene.database.fetch("UPDATE lent_repository SET base_version = 5")

    with pytest.raises(VersionConflictError):
        attempt.commit()


def test_a_superseded_attempt_commits_nothing(scene: Scene) -> None:
    """Without its workspace there is no commit."""
    attempt = scene.attempt()
    attempt.stage(scene.file("a"))
    attempt.abandon()

    with pytest.raises(AttemptSupersededError):
        attempt.commit()

    assert scene.repository().latest == 0


def test_a_hint_is_lent_with_the_version_it_belongs_to(scene: Scene) -> None:
    """What a plugin wants to be reminded of holds for one version only."""
    attempt = scene.attempt()
    attempt.stage(scene.file("a"))
    give_blobs(scene, attempt.workspace_id)
    attempt.commit(states={"repository": b"etag"})
    repository_id = scene.repository().repository_id
    with scene.database.transaction() as cursor:
        before = repositories.hint(cursor, repository_id, 1)

    put(scene, scene.file("b"))

    with scene.database.transaction() as cursor:
        after = repositories.hint(cursor, repository_id, 2)
    assert (before, after) == (b"etag", b"")


def test_a_publication_names_the_version_and_its_files(scene: Scene) -> None:
    """Staged files become a publication of the version that the same attempt made."""
    attempt = scene.attempt()
    attempt.stage(scene.file("a"))
    scene.blob("index")
    give_blobs(scene, attempt.workspace_id)
    scene.database.fetch(
        "INSERT INTO staged_publication VALUES (%s, 'repository', false)", (attempt.workspace_id,)
    )
    scene.database.fetch(
        "INSERT INTO staged_file (workspace_id, role, path, digest, media_type)"
        " VALUES (%s, 'repository', 'INDEX', %s, 'text/plain')",
        (attempt.workspace_id, sha("index")),
    )

    result = attempt.commit()

    rows = scene.database.fetch(
        "SELECT publication_id::text, number, file_count, pass_through FROM publication"
    )
    assert result.created_resource == f"publications/test/{rows[0][0]}"
    assert rows[0][1:] == (1, 1, True)
