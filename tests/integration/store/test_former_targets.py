"""What was served before a switch: found until the grace is over, and not deleted meanwhile."""

import uuid

import pytest

from byte_rows import Rows
from entrepot_core.store import distributions, former_targets, serving, versions
from entrepot_core.store.database import Database

NAME = "distributions/file/dev"


@pytest.fixture
def rows(database: Database) -> Rows:
    """Rows of this test."""
    return Rows(database)


@pytest.fixture
def repository(rows: Rows) -> int:
    """Versions 0 to 3, made long ago, served at "dev"."""
    repository = rows.repository(latest=3)
    rows.run("UPDATE version SET created_at = now() - interval '1 day'")
    rows.distribution("dev", repository)
    return repository


def previous(database: Database) -> list[str]:
    """The content sets that are still looked in."""
    with database.transaction() as cursor:
        pointer = serving.find_pointer(cursor, "dev")
        assert pointer is not None
        found = former_targets.previous(cursor, pointer.distribution_id)
    assert all(0 < one.remaining_seconds <= 600 for one in found)
    return [one.content_set for one in found]


def point(database: Database, **columns: object) -> None:
    """Point the distribution elsewhere."""
    values = {"repository_id": None, "number": None, "publication_id": None} | columns
    with database.transaction() as cursor:
        distributions.update(cursor, NAME, values)


def a_publication(rows: Rows, repository: int, number: int) -> str:
    """A publication of a version."""
    publication = str(uuid.uuid4())
    rows.run(
        "INSERT INTO publication (publication_id, plugin, repository_id, number, file_count,"
        " pass_through) VALUES (%s, 'file', %s, %s, 0, true)",
        (publication, repository, number),
    )
    return publication


def test_versions_that_were_displaced_just_now(
    database: Database, rows: Rows, repository: int
) -> None:
    """A version is looked in from when its successor came until the grace is over."""
    assert previous(database) == []
    rows.run("UPDATE version SET created_at = now() - interval '9 minutes' WHERE number = 2")
    rows.run("UPDATE version SET created_at = now() - interval '1 minute' WHERE number = 3")

    assert previous(database) == [f"v:{repository}:{number}" for number in (2, 1)]
    rows.run("UPDATE distribution SET grace_seconds = 300")
    assert previous(database) == [f"v:{repository}:2"]
    rows.run("UPDATE distribution SET grace_seconds = 0")
    assert previous(database) == []


def test_many_versions_in_a_grace(database: Database, rows: Rows) -> None:
    """The eight newest are looked in: a path that none has stays cheap."""
    repository = rows.repository(latest=20)
    rows.distribution("dev", repository)

    assert previous(database) == [f"v:{repository}:{number}" for number in range(19, 11, -1)]


def test_a_distribution_that_was_pointed_elsewhere(
    database: Database, rows: Rows, repository: int
) -> None:
    """To a version, to publications: what was served before each switch, the newest first."""
    first, second = (a_publication(rows, repository, number) for number in (1, 2))

    point(database, repository_id=repository, number=0)
    point(database, publication_id=first)
    point(database, publication_id=first)
    point(database, publication_id=second)

    assert previous(database) == [f"p:{first}", f"v:{repository}:0", f"v:{repository}:3"]
    rows.run("UPDATE former_target SET ended_at = ended_at - interval '11 minutes'")
    assert previous(database) == []
    point(database, repository_id=repository)
    assert rows.one("SELECT count(*) FROM former_target") == 1


def test_a_version_displaced_before_the_switch_is_under_way_too(
    database: Database, rows: Rows, repository: int
) -> None:
    """The grace of what its own repository displaced does not end with the switch."""
    other = rows.repository("other")
    rows.run("UPDATE version SET created_at = now() - interval '1 day'")
    rows.run(
        "UPDATE version SET created_at = now() - interval '5 minutes'"
        " WHERE number = 3 AND repository_id = %s",
        (repository,),
    )

    point(database, repository_id=other)

    assert previous(database) == [f"v:{repository}:3", f"v:{repository}:2"]


def test_what_is_deleted_is_not_looked_in(database: Database, rows: Rows, repository: int) -> None:
    """A person who deletes a version or a publication means it."""
    first = a_publication(rows, repository, 1)
    point(database, publication_id=first)
    point(database, repository_id=repository, number=2)

    rows.run("DELETE FROM publication")

    assert previous(database) == [f"v:{repository}:3"]


def test_versions_under_way_are_kept(database: Database, rows: Rows, repository: int) -> None:
    """A repository that keeps one version keeps those that clients may be reading, for so long."""
    rows.run("UPDATE repository SET retain_versions = 1")
    rows.run("UPDATE version SET created_at = now() - interval '1 minute' WHERE number = 3")

    first = versions.retain(database, repository)
    rows.run("UPDATE version SET created_at = now() - interval '1 day'")
    second = versions.retain(database, repository)

    assert [name[-1] for name in first] == ["1", "0"]
    assert [name[-1] for name in second] == ["2"]


def test_a_former_target_is_kept(database: Database, rows: Rows, repository: int) -> None:
    """What a distribution served before it was pointed elsewhere is kept as well."""
    rows.run("UPDATE repository SET retain_versions = 1")
    point(database, repository_id=repository, number=1)
    point(database, repository_id=repository)

    assert [name[-1] for name in versions.retain(database, repository)] == ["2", "0"]
