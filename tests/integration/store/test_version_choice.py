"""Versions asked for in paths: by number, by moment; what was deleted; what is pinned."""

import uuid

import pytest

from byte_rows import Rows
from entrepot_core.store import serving, version_choice, versions
from entrepot_core.store.database import Database
from entrepot_core.store.version_choice import Choice

MADE = (
    "UPDATE version SET created_at = '2026-11-01T00:00:00Z'::timestamptz"
    " + number * interval '1 day' WHERE repository_id = %s"
)


@pytest.fixture
def repository(database: Database) -> int:
    """Versions 0 to 3 of days in a row from 2026-11-01 on, served at "dev"."""
    rows = Rows(database)
    repository = rows.repository(latest=3)
    rows.run(MADE, (repository,))
    rows.distribution("dev", repository)
    return repository


def chosen(database: Database, path: str) -> Choice:
    """What a path asks for."""
    with database.transaction() as cursor:
        pointer = serving.find_pointer(cursor, path)
        assert pointer is not None
        return version_choice.choose(cursor, pointer)


def test_by_number_and_by_moment(database: Database, repository: int) -> None:
    """A number is that version; a moment, the newest that was there; the beginning counts."""
    sets = {
        "dev@0/x": 0,
        "dev@3": 3,
        "dev@2026-11-02/a@9/b": 1,
        "dev@2026-11-02T00:00:00Z/x": 1,
        "dev@2026-11-02T01:59:59+02:00/x": 0,
        "dev@2026-11-03T23:59:59.999Z/": 2,
        "dev@2026-11-10": 3,
    }

    found = {path: chosen(database, path) for path in sets}

    assert {path: f"v:{repository}:{number}" for path, number in sets.items()} == {
        path: choice.content_set for path, choice in found.items()
    }
    assert [path for path, choice in found.items() if choice.is_immutable] == ["dev@0/x", "dev@3"]


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("dev@4/x", "dev has no version 4; it has 0 to 3."),
        ("dev@x1/x", '"x1" is not a version'),
        ("dev@2026-10-31/x", "dev had no version at 2026-10-31T00:00:00Z; version 0 was made at"),
        ("dev@2999-01-01/x", "2999-01-01T00:00:00Z has not come"),
    ],
)
def test_what_is_not_there_is_said(
    database: Database, repository: int, path: str, said: str
) -> None:
    """The answer says what exists."""
    choice = chosen(database, path)

    assert choice.content_set == ""
    assert said in choice.fault
    assert not choice.is_gone


def test_what_was_deleted_is_gone(database: Database, repository: int) -> None:
    """By its number, and at the moments at which it was the latest; others do not move."""
    with database.transaction() as cursor:
        versions.delete(cursor, "repositories/file/foo/versions/1")

    for path in ("dev@1", "dev@2026-11-02", "dev@2026-11-02T12:00:00Z"):
        choice = chosen(database, path)
        assert choice.is_gone, path
        assert "was deleted" in choice.fault
    assert chosen(database, "dev@2026-11-01T12:00:00Z").content_set == f"v:{repository}:0"
    assert chosen(database, "dev@2026-11-03").content_set == f"v:{repository}:2"


def test_a_latest_version_that_was_deleted_was_the_latest_until_then(
    database: Database, repository: int
) -> None:
    """After the deletion, the version before is the latest again, also of that moment."""
    with database.transaction() as cursor:
        versions.delete(cursor, "repositories/file/foo/versions/3")
    Rows(database).run("UPDATE deleted_version SET deleted_at = '2026-11-06T00:00:00Z'")

    assert chosen(database, "dev@2026-11-05").is_gone
    assert chosen(database, "dev@2026-11-07").content_set == f"v:{repository}:2"


def test_a_pinned_distribution_offers_one_version(database: Database, repository: int) -> None:
    """That of a version, and that of a publication: no other leaks through it."""
    rows = Rows(database)
    rows.distribution("fixed", repository, 1)
    publication = str(uuid.uuid4())
    rows.run(
        "INSERT INTO publication (publication_id, plugin, repository_id, number, file_count,"
        " pass_through) VALUES (%s, 'file', %s, 2, 0, true)",
        (publication, repository),
    )
    rows.run(
        "INSERT INTO distribution (plugin, name, base_path, publication_id)"
        " VALUES ('file', 'pub', 'pub', %s)",
        (publication,),
    )

    assert chosen(database, "fixed@1").content_set == f"v:{repository}:1"
    assert chosen(database, "fixed@3").fault == "fixed serves version 1 alone."
    assert chosen(database, "pub@2").content_set == f"p:{publication}"
    assert chosen(database, "pub@2026-11-03").fault == "pub serves version 2 alone."
    assert [offered(database, name) for name in ("fixed", "pub", "dev", "none")] == [
        [1],
        [2],
        [3, 2, 1, 0],
        [],
    ]


def test_an_older_base_path_with_an_at_wins(database: Database, repository: int) -> None:
    """What was served before keeps its meaning; the longest base path serves."""
    rows = Rows(database)
    rows.distribution("dev@2", repository, 0)
    rows.distribution("x@y", repository)

    with database.transaction() as cursor:
        own = serving.find_pointer(cursor, "dev@2/x")
        other = serving.find_pointer(cursor, "x@y@1/x")
        none = [
            serving.find_pointer(cursor, path) for path in ("@1/x", "dev/@1", "devel@1", "de@v@1")
        ]

    assert own is not None
    assert (own.base_path, own.selector, own.content_set) == ("dev@2", None, f"v:{repository}:0")
    assert other is not None
    assert (other.base_path, other.selector) == ("x@y", "1")
    assert [one and (one.base_path, one.selector) for one in none] == [
        None,
        ("dev", None),
        None,
        None,
    ]


def offered(database: Database, name: str) -> list[int]:
    """Numbers of the versions that a distribution lets browse."""
    batches = version_choice.offered(database, f"distributions/file/{name}")
    return [row.number for batch in batches for row in batch]
