"""Checking blobs: every kind of damage is found, and nothing else is said."""

import hashlib
import os
from pathlib import Path

import pytest

from byte_rows import Rows
from entrepot_core.blobs.directory import DirectoryBlobStore
from entrepot_core.downloads.keeper import Keeper
from entrepot_core.store import blob_check
from entrepot_core.store.blob_check import check_blobs


def found(keeper: Keeper, grace: float = 0, *, only_sizes: bool = False) -> list[tuple[str, str]]:
    """Invariant and subject of what a check finds."""
    assert isinstance(keeper.store, DirectoryBlobStore)
    return [
        (finding.invariant, finding.subject)
        for finding in check_blobs(keeper.database, keeper.store, grace, only_sizes=only_sizes)
    ]


@pytest.fixture
def file(keeper: Keeper) -> Path:
    """The file of one blob among others."""
    for number in range(20):
        keeper.write([f"other {number}".encode()])
    blob = keeper.write([b"content"])
    assert isinstance(keeper.store, DirectoryBlobStore)
    return keeper.store.path(blob.digest)


def test_a_sound_store_is_sound(keeper: Keeper, file: Path) -> None:
    """Nothing is found where nothing is wrong."""
    assert found(keeper) == []


def test_rot_is_found(keeper: Keeper, file: Path) -> None:
    """One flipped bit is found by reading, and not by sizes."""
    file.chmod(0o640)
    file.write_bytes(b"contenu")

    assert found(keeper) == [("I8", file.name)]
    assert found(keeper, only_sizes=True) == []


def test_a_short_file_is_found(keeper: Keeper, file: Path) -> None:
    """A file of another length is found without reading."""
    os.truncate(file, 3)

    assert found(keeper, only_sizes=True) == [("I8", file.name)]


def test_a_missing_file_is_found(keeper: Keeper, file: Path) -> None:
    """A row without a file is found."""
    file.unlink()

    assert found(keeper) == [("I8", file.name)]


def test_an_unnamed_file_is_found_after_the_grace(keeper: Keeper, file: Path) -> None:
    """A file without a row is a writer's at first, and later a finding."""
    keeper.database.fetch("DELETE FROM blob WHERE digest = %s", (bytes.fromhex(file.name),))

    assert found(keeper, grace=3600) == []
    assert found(keeper) == [("I9", file.name)]


def test_residue_is_found(keeper: Keeper, rows: Rows, file: Path) -> None:
    """What attempts, uploads, collectors and writers left is found."""
    digest = hashlib.sha256(b"other 1").digest()
    rows.run("INSERT INTO attempt_blob VALUES (1, %s)", (digest,))
    rows.run(
        "INSERT INTO upload (upload_id, expires_at)"
        " VALUES (gen_random_uuid(), now() - interval '1 hour')"
    )
    keeper.store.set_aside([bytes.fromhex(file.name)])
    keeper.store.close()
    tmp = file.parents[3] / "tmp"
    (tmp / "dead").mkdir()
    (tmp / "dead.lock").touch()
    (tmp / "dead" / "left").touch()

    assert found(keeper) == [
        ("I8", file.name),
        ("I14", "tmp"),
        ("I14", file.name),
        ("I14", "attempt_blob"),
        ("I14", "upload"),
    ]


def test_what_an_attempt_held_a_moment_ago_is_no_residue(
    keeper: Keeper, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dispatchers get their time to let go of what an attempt held that has just ended."""
    rows.run("INSERT INTO attempt_blob VALUES (1, %s)", (bytes(32),))
    monkeypatch.setattr(blob_check, "sleep", lambda _: rows.run("DELETE FROM attempt_blob"))

    assert found(keeper, grace=3600) == []


def test_a_name_of_a_lost_blob_is_found(keeper: Keeper, rows: Rows) -> None:
    """A complete upload whose blob has no row is found."""
    digest = bytes(32)
    rows.run(
        "INSERT INTO upload (upload_id, digest, expires_at)"
        " VALUES (gen_random_uuid(), %s, now() + interval '1 hour')",
        (digest,),
    )

    assert found(keeper) == [("I8", digest.hex())]
