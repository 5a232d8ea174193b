"""The short way to the next version does what the general way does, or leaves it to that."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random

import psycopg2
import pytest

from contents import Scene
from entrepot_core.domain.change import CommitResult
from entrepot_core.domain.errors import ServiceError
from entrepot_core.domain.unit import Source, Unit
from entrepot_core.store import changes, content, small_change
from entrepot_core.store.database import Cursor, Database
from entrepot_core.store.small_change import SmallChange

PATHS = ("a", "b", "a/b", "a/b/c", "b!", "c")


@pytest.fixture
def scene(database: Database) -> Scene:
    """A plugin with its types."""
    return Scene.build(database)


def known(scene: Scene, *units: Unit) -> None:
    """Has core know units that are in no repository."""
    attempt = scene.attempt()
    attempt.stage(*units, role="")
    attempt.abandon()


def short(
    scene: Scene,
    name: str,
    units: Sequence[Unit],
    *,
    removes: bool,
    database: Database | None = None,
) -> CommitResult | None:
    """The change the short way; None if it is left to the general way."""
    attempt = scene.attempt(name)
    change = SmallChange(
        "test", name, [(unit.type.name, unit.key_digest) for unit in units], removes
    )
    with (database or scene.database).transaction() as cursor:
        made = small_change.commit(cursor, attempt.task_id, change, attempt.workspace_id)
    attempt.abandon()
    return None if made is None else made.result


def general(scene: Scene, name: str, units: Sequence[Unit], *, removes: bool) -> CommitResult:
    """The same by staging and committing."""
    attempt = scene.attempt(name)
    ids = [
        row[0]
        for unit in units
        for row in scene.database.fetch(
            "SELECT content_id FROM content WHERE key_digest = %s", (unit.key_digest,)
        )
    ]
    row = scene.repository(name)
    with scene.database.transaction() as cursor:
        if removes:
            changes.stage_remove(
                cursor,
                attempt.workspace_id,
                content.VersionRange(row.repository_id, row.latest),
                changes.Selection(content_ids=ids),
            )
        else:
            changes.stage_add(cursor, attempt.workspace_id, row.repository_id, ids)
    try:
        return attempt.commit(is_ready_made=True)
    finally:
        attempt.abandon()


def state(scene: Scene, name: str) -> object:
    """All that is written of a repository."""
    number = scene.repository(name).repository_id
    return [
        scene.database.fetch(
            f"SELECT {columns} FROM {table} WHERE repository_id = %s ORDER BY 1, 2",  # noqa: S608
            (number,),
        )
        for table, columns in (
            ("member", "content_id, added_in, removed_in, explicit, type_id, repo_key, path"),
            ("member_path", "content_id, path, added_in, removed_in"),
            ("version", "number, unit_count, added, removed, encode(set_digest, 'hex')"),
            ("repository_state", "encode(set_state, 'hex'), hint"),
            ("repository", "latest, next_number"),
        )
    ]


@pytest.mark.parametrize("seed", range(2))
def test_both_ways_end_in_the_same(scene: Scene, seed: int) -> None:
    """Random changes leave the same rows either way; what is refused goes no short way."""
    random = Random(seed)  # noqa: S311  not a secret
    units = [scene.file(path, text) for path in PATHS for text in ("x", "y")]
    known(scene, *units)
    went_short = 0
    for _ in range(25):
        chosen = random.sample(units, random.choice((1, 1, 1, 2, 3)))
        removes = random.random() < 0.3
        expected: CommitResult | type[ServiceError]
        try:
            expected = general(scene, "general", chosen, removes=removes)
        except ServiceError as error:
            expected = type(error)
        made = short(scene, "short", chosen, removes=removes)
        if made is None:
            if isinstance(expected, CommitResult):
                made = general(scene, "short", chosen, removes=removes)
        else:
            went_short += 1
        if made is None:
            assert not isinstance(expected, CommitResult)
        else:
            assert isinstance(expected, CommitResult), chosen
            assert renamed(made) == expected
        assert state(scene, "short") == state(scene, "general")
    assert went_short >= 8


def renamed(result: CommitResult) -> CommitResult:
    """The result as if it were of the other repository."""
    (difference,) = result.differences
    name = difference.repository.replace("short", "general")
    created = result.created_resource.replace("short", "general")
    return replace(
        result, differences=(replace(difference, repository=name),), created_resource=created
    )


@dataclass(frozen=True)
class Oddity:
    """What the short way leaves to the general way."""

    why: str
    make: Callable[[Scene], list[Unit]]
    is_removal: bool = False


def _orphan(scene: Scene) -> list[Unit]:
    unit = scene.file("a")
    known(scene, unit)
    scene.database.fetch("UPDATE content SET orphaned_at = now()")
    return [unit]


def _related(scene: Scene) -> list[Unit]:
    units = [scene.node("a"), scene.node("b", needs=["a"])]
    known(scene, *units)
    return units[1:]


def _unstored(scene: Scene) -> list[Unit]:
    unit = scene.unfetched("a")
    known(scene, unit)
    return [unit]


def _immediate(scene: Scene) -> list[Unit]:
    remote = scene.remote(policy="immediate")
    unit = scene.unfetched("a", sources=(Source(remote, "http://up.test/a"),))
    known(scene, unit)
    return [unit]


def _other_size(scene: Scene) -> list[Unit]:
    unit = scene.file("a")
    known(scene, unit)
    scene.database.fetch("UPDATE blob SET size_bytes = size_bytes + 1")
    return [unit]


def _implied(scene: Scene) -> list[Unit]:
    unit = scene.file("a")
    attempt = scene.attempt("short")
    attempt.stage(replace(unit, implied=True))
    scene.database.fetch(
        "INSERT INTO attempt_blob SELECT %s, digest FROM blob", (attempt.workspace_id,)
    )
    attempt.commit()
    return [unit]


def _twins(scene: Scene) -> list[Unit]:
    units = [scene.file("a", "x"), scene.file("a", "y")]
    known(scene, *units)
    return units


def _absent(scene: Scene) -> list[Unit]:
    return [scene.file("a")]


def _no_member(scene: Scene) -> list[Unit]:
    unit = scene.file("a")
    known(scene, unit)
    return [unit]


ODDITIES = [
    Oddity("a unit that a collector may take", _orphan),
    Oddity("a type whose units need others", _related),
    Oddity("a file that nobody has", _unstored),
    Oddity("a file that should have been fetched", _immediate),
    Oddity("a file of another size", _other_size),
    Oddity("a member that was only implied", _implied),
    Oddity("two units of one key", _twins),
    Oddity("a unit that does not exist", _absent),
    Oddity("a removal of what is not there", _no_member, is_removal=True),
]


@pytest.mark.parametrize("oddity", ODDITIES, ids=lambda one: one.why)
def test_what_is_out_of_the_ordinary_goes_the_general_way(scene: Scene, oddity: Oddity) -> None:
    """The short way does nothing where something must be decided, revived or refused."""
    scene.repository("short")
    units = oddity.make(scene)
    before = state(scene, "short")

    assert short(scene, "short", units, removes=oddity.is_removal) is None
    assert state(scene, "short") == before


def test_an_attempt_that_was_taken_over_writes_nothing(scene: Scene) -> None:
    """Without its workspace the short way does nothing: the fence."""
    unit = scene.file("a")
    known(scene, unit)
    attempt = scene.attempt("short")
    attempt.abandon()
    change = SmallChange("test", "short", [(unit.type.name, unit.key_digest)], is_removal=False)

    with scene.database.transaction() as cursor:
        assert small_change.commit(cursor, attempt.task_id, change, attempt.workspace_id) is None
    assert scene.repository("short").latest == 0


def large_repository(scene: Scene) -> None:
    """One repository that has hundreds of members."""
    other = [scene.file(f"other{number}") for number in range(300)]
    known(scene, *other)
    general(scene, "other", other, removes=False)


def small_repositories(scene: Scene) -> None:
    """Many repositories that have one member each, and all the same."""
    other = scene.file("other")
    known(scene, other)
    for number in range(30):
        general(scene, f"other{number}", [other], removes=False)


def nothing(scene: Scene) -> None:
    """No repository at all."""


@pytest.fixture
def session(core_dsn: str) -> Iterator[Database]:
    """One connection."""
    database = Database(core_dsn, size=1)
    yield database
    database.close()


@pytest.mark.parametrize("removes", [False, True], ids=["add", "remove"])
@pytest.mark.parametrize("seen", [nothing, large_repository, small_repositories])
def test_a_change_reads_no_more_when_there_is_much_that_it_does_not_touch(
    scene: Scene, session: Database, core_dsn: str, seen: Callable[[Scene], None], removes: bool
) -> None:
    """A plan that was made while there was something else looks up few rows all the same."""
    units = [scene.file(f"f{number}") for number in range(202)]
    seen(scene)
    analyze(core_dsn)
    known(scene, *units[:1])
    # Whoever is slow to plan keeps the plans that it makes here. It makes nothing but such
    # changes: the look-ups of foreign keys are planned by whatever needs them first, be it again
    # after somebody has analyzed their table, and the general way may read a small one in full.
    for is_removal in (False, True, False):
        ready = short(scene, "short", units[:1], removes=is_removal, database=session)
        assert ready is not None
    known(scene, *units[1:])
    general(scene, "short", units[1:201], removes=False)
    unit = units[200 if removes else 201]
    attempt = scene.attempt("short")
    change = SmallChange("test", "short", [(unit.type.name, unit.key_digest)], is_removal=removes)

    with session.transaction() as cursor:
        before = rows_read(cursor)
        change_made = small_change.commit(cursor, attempt.task_id, change, attempt.workspace_id)
        read = {table: count - before.get(table, 0) for table, count in rows_read(cursor).items()}
    assert change_made is not None
    assert {table: count for table, count in read.items() if count > 10} == {}


def analyze(dsn: str) -> None:
    """Have the planner know what there is now."""
    connection = psycopg2.connect(dsn)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
    connection.close()


def rows_read(cursor: Cursor) -> dict[str, int]:
    """How many rows of each table this session has read that it has not reported yet."""
    cursor.execute(
        "SELECT relname, seq_tup_read + coalesce(idx_tup_fetch, 0) FROM pg_stat_xact_user_tables"
    )
    return dict(cursor.fetchall())
