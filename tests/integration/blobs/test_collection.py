"""Collecting blobs: nothing that is named goes, everything else does, whoever is killed."""

import hashlib
import random
import threading
import time
from collections.abc import Callable

import psycopg2
import pytest

from blocking import is_awaited
from byte_rows import Rows
from entrepot_core.downloads.keeper import Keeper
from entrepot_core.store import blob_collection, blobs
from entrepot_core.store.blob_collection import CollectedBlobs, collect_blobs
from entrepot_core.store.blob_references import REFERENCES
from entrepot_core.store.database import connect
from polling import until


def digest_of(data: bytes) -> bytes:
    """SHA-256."""
    return hashlib.sha256(data).digest()


def remaining(keeper: Keeper) -> set[bytes]:
    """Digests of blobs with row; each has its file, and no other file is there."""
    found = {bytes(row[0]) for row in keeper.database.fetch("SELECT digest FROM blob")}
    assert {file.digest for file in keeper.store.files()} == found
    assert list(keeper.store.set_aside_files()) == []
    return found


def test_what_nothing_names_goes(keeper: Keeper, rows: Rows) -> None:
    """A blob without a name is collected, one that a unit has stays."""
    keeper.write([b"kept"])
    keeper.write([b"dead"])
    rows.unit("f", b"kept")

    collected = collect_blobs(keeper.database, keeper.store, 0)

    assert collected == CollectedBlobs(1, 4)
    assert remaining(keeper) == {digest_of(b"kept")}


def test_every_kind_of_name_keeps(keeper: Keeper, rows: Rows) -> None:
    """Attempts, uploads and their parts, the fetch cache, publications and indexes keep blobs."""
    repository = rows.repository()
    remote = rows.remote()
    publication = "01900000-0000-7000-8000-000000000001"
    upload = "01900000-0000-7000-8000-000000000002"
    rows.run(
        "INSERT INTO publication (publication_id, plugin, repository_id, number, file_count,"
        " pass_through) VALUES (%s, 'file', %s, 1, 1, true)",
        (publication, repository),
    )
    for data in (b"1", b"2", b"3", b"4", b"5", b"6", b"7"):
        keeper.write([data])
    d = [digest_of(str(number).encode()) for number in range(8)]
    rows.run("INSERT INTO attempt_blob VALUES (1, %s)", (d[1],))
    rows.run(
        "INSERT INTO upload (upload_id, digest, expires_at) VALUES (%s, %s, now())", (upload, d[2])
    )
    rows.run("INSERT INTO upload_part VALUES (%s, 0, 1, %s)", (upload, d[3]))
    rows.run(
        "INSERT INTO fetch_cache (remote_id, url, digest, etag, final_url)"
        " VALUES (%s, 'u', %s, 'e', 'u')",
        (remote, d[4]),
    )
    rows.run(
        "INSERT INTO published_file VALUES (%s, 'p', %s, NULL, NULL, '')", (publication, d[5])
    )
    rows.run("INSERT INTO version_index VALUES (%s, 1, 'i', %s, 1)", (repository, d[6]))
    rows.run("INSERT INTO staged_file VALUES (1, 'r', 'p', %s, NULL, NULL, '')", (d[7],))

    assert collect_blobs(keeper.database, keeper.store, 0) == CollectedBlobs(0, 0)
    assert remaining(keeper) == set(d[1:])


def test_every_column_that_names_a_blob_is_known(keeper: Keeper) -> None:
    """A table with a digest of a blob that the collector does not know would lose its bytes."""
    found = keeper.database.fetch(
        "SELECT table_name, column_name FROM information_schema.columns"
        " WHERE table_schema = 'public' AND data_type = 'bytea' AND column_name = 'digest'"
    )

    others = {
        ("blob", "digest"),
        ("api_token", "digest"),
        ("creation_request", "digest"),
        ("declaration", "digest"),
    }

    assert {tuple(row) for row in found} - others == set(REFERENCES)


def test_the_grace_is_kept(keeper: Keeper) -> None:
    """What is younger than the grace stays, row or no row."""
    keeper.write([b"young"])
    with keeper.store.begin() as batch:
        writer = batch.create()
        writer.write(b"unnamed")
        writer.close()
        batch.settle()

    assert collect_blobs(keeper.database, keeper.store, 3600) == CollectedBlobs(0, 0)
    assert keeper.store.size(digest_of(b"unnamed")) == 7


def test_a_dry_run_only_counts(keeper: Keeper) -> None:
    """It says what would go, and nothing does."""
    keeper.write([b"dead"])

    assert collect_blobs(keeper.database, keeper.store, 0, dry_run=True) == CollectedBlobs(1, 4)
    assert remaining(keeper) == {digest_of(b"dead")}


def test_files_that_were_never_recorded_go(keeper: Keeper) -> None:
    """What a writer left that died before its row is collected."""
    with keeper.store.begin() as batch:
        writer = batch.create()
        writer.write(b"unnamed")
        writer.close()
        batch.settle()

    collect_blobs(keeper.database, keeper.store, 0)

    assert remaining(keeper) == set()


@pytest.mark.parametrize("is_known", [True, False])
def test_what_a_dead_collector_set_aside_is_put_right(keeper: Keeper, *, is_known: bool) -> None:
    """A file that was moved aside comes back if its row is there, and goes if it is not."""
    keeper.write([b"contested"])
    keeper.store.set_aside([digest_of(b"contested")])
    if not is_known:
        keeper.database.fetch("DELETE FROM blob")

    blob_collection.recover_aside(keeper.database, keeper.store)

    assert remaining(keeper) == ({digest_of(b"contested")} if is_known else set())


def test_a_writer_beats_the_collector(keeper: Keeper, rows: Rows) -> None:
    """Bytes written again while their old blob is being deleted are there in the end."""
    keeper.write([b"contested"])
    digest = digest_of(b"contested")
    other = connect(keeper.database.url)
    other.autocommit = False
    with other.cursor() as cursor:
        # A collector in the middle: the row deleted and the file aside, not committed.
        cursor.execute("DELETE FROM blob WHERE digest = %s", (digest,))
        keeper.store.set_aside([digest])

    thread = threading.Thread(target=keeper.write, args=([b"contested"],))
    thread.start()
    until(lambda: is_awaited(keeper.database, other), "the writer to wait for the row")
    other.commit()
    other.close()
    keeper.store.discard([digest])
    thread.join()

    assert remaining(keeper) == {digest}


def test_a_stager_that_has_looked_is_waited_for(keeper: Keeper, rows: Rows) -> None:
    """A transaction that saw the blob before it was condemned gets to name it."""
    keeper.write([b"wanted"])
    stager = connect(keeper.database.url)
    stager.autocommit = False
    with stager.cursor() as cursor:
        assert blobs.revive(cursor, [digest_of(b"wanted")])
        thread = threading.Thread(target=collect_blobs, args=(keeper.database, keeper.store, 0))
        thread.start()
        condemned = "SELECT count(*) FROM blob WHERE state = 'condemned'"
        until(lambda: rows.one(condemned) > 0, "the blob to be condemned")
        cursor.execute("INSERT INTO attempt_blob VALUES (1, %s)", (digest_of(b"wanted"),))
    stager.commit()
    stager.close()
    thread.join()

    assert remaining(keeper) == {digest_of(b"wanted")}


def test_nothing_dangles_under_load(keeper: Keeper) -> None:
    """With writers, stagers, removers and a collector at once, every name keeps its blob."""
    stop = time.monotonic() + 3
    contents = [str(number).encode() for number in range(30)]
    errors: list[BaseException] = []

    def write() -> None:
        data = random.choice(contents)  # noqa: S311  not a secret
        keeper.write(
            [data],
            also=lambda cursor, blob: cursor.execute(
                "INSERT INTO attempt_blob VALUES (1, %s) ON CONFLICT DO NOTHING", (blob.digest,)
            ),
        )

    def stage() -> None:
        some = random.sample(contents, 5)
        with keeper.database.transaction() as cursor:
            there = blobs.revive(cursor, [digest_of(data) for data in some])
            blobs.hold(cursor, 2, list(there))

    def remove() -> None:
        with keeper.database.transaction() as cursor:
            cursor.execute(
                "DELETE FROM attempt_blob WHERE ctid = ANY(ARRAY("
                "SELECT ctid FROM attempt_blob ORDER BY random() LIMIT 5"
                " FOR UPDATE SKIP LOCKED))"
            )

    def collect() -> None:
        collect_blobs(keeper.database, keeper.store, 0)

    def repeat(work: Callable[[], None]) -> None:
        try:
            while time.monotonic() < stop:
                work()
        except (AssertionError, psycopg2.Error, OSError) as error:
            errors.append(error)

    threads = [
        threading.Thread(target=repeat, args=(work,))
        for work in (write, write, stage, remove, collect)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ((dangling,),) = keeper.database.fetch(
        "SELECT count(*) FROM attempt_blob a"
        " WHERE NOT EXISTS (SELECT FROM blob b WHERE b.digest = a.digest)"
    )

    assert errors == []
    assert dangling == 0
    collect()
    remaining(keeper)
