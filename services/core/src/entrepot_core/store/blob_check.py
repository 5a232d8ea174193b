"""Whether blobs and their files agree: one pass over both, in order of digest."""

from __future__ import annotations

import hashlib
from time import monotonic, sleep
from typing import TYPE_CHECKING, Protocol

from entrepot_core.domain.errors import ServiceError
from entrepot_core.domain.finding import Finding
from entrepot_core.store import blobs
from entrepot_core.store.blob_references import REFERENCES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from entrepot_core.domain.blob import Blob
    from entrepot_core.store.database import Database

__all__ = ["Store", "check_blobs"]

# Dispatchers let go every second of what attempts held; a large attempt's takes some more.
_SWEPT_SECONDS = 10.0
_GLANCE_SECONDS = 0.25


class _File(Protocol):
    @property
    def digest(self) -> bytes: ...

    @property
    def size_bytes(self) -> int: ...

    @property
    def age_seconds(self) -> float: ...


class Store(Protocol):
    """The files, as far as a check needs them."""

    def files(self) -> Iterator[_File]: ...

    def set_aside_files(self) -> Iterator[_File]: ...

    def temporary_files(self) -> int: ...

    def size(self, digest: bytes) -> int | None: ...

    def read(self, digest: bytes) -> Iterator[bytes]: ...


def check_blobs(
    database: Database, store: Store, grace_seconds: float, *, only_sizes: bool = False
) -> Iterator[Finding]:
    """What is wrong with blobs: I8 rows without right bytes, I9 and I14 what should be gone."""
    yield from _compare(database, store, grace_seconds, only_sizes=only_sizes)
    yield from _dangling(database)
    yield from _residue(database, store, grace_seconds)


def _compare(
    database: Database, store: Store, grace_seconds: float, *, only_sizes: bool
) -> Iterator[Finding]:
    files = store.files()
    file = next(files, None)
    for blob in blobs.walk(database):
        while file is not None and file.digest < blob.digest:
            yield from _unnamed(file, grace_seconds)
            file = next(files, None)
        if file is None or file.digest != blob.digest:
            # It may have come, or gone, since the walk passed its place.
            if _is_there(database, blob) and store.size(blob.digest) is None:
                yield Finding("I8", blob.hex, f"The file of the blob {blob.hex} is missing.")
            continue
        if file.size_bytes != blob.size_bytes:
            yield Finding(
                "I8",
                blob.hex,
                f"The file of the blob {blob.hex} has {file.size_bytes} bytes, "
                f"not {blob.size_bytes}.",
            )
        elif not only_sizes:
            yield from _rot(database, store, blob)
        file = next(files, None)
    while file is not None:
        yield from _unnamed(file, grace_seconds)
        file = next(files, None)


def _rot(database: Database, store: Store, blob: Blob) -> Iterator[Finding]:
    state = hashlib.sha256()
    try:
        for chunk in store.read(blob.digest):
            state.update(chunk)
    except ServiceError as error:
        if _is_there(database, blob):
            yield Finding("I8", blob.hex, error.message)
        return
    if state.digest() != blob.digest:
        yield Finding(
            "I8",
            blob.hex,
            f"The file of the blob {blob.hex} has other bytes: their sha256 is "
            f"{state.hexdigest()}.",
        )


def _unnamed(file: _File, grace_seconds: float) -> Iterator[Finding]:
    if file.age_seconds > grace_seconds:
        name = file.digest.hex()
        yield Finding("I9", name, f"The file {name} in the blob store belongs to no blob.")


def _is_there(database: Database, blob: Blob) -> bool:
    return bool(database.fetch("SELECT 1 FROM blob WHERE digest = %s", (blob.digest,)))


def _dangling(database: Database) -> Iterator[Finding]:
    """Names of blobs that are not there, where only stored bytes may be named."""
    for table, column in REFERENCES:
        # The file of a unit may be somewhere else; staged rows are being worked on.
        if table in ("artifact", "staged_file", "attempt_blob"):
            continue
        rows = database.fetch(
            f"SELECT DISTINCT r.{column} FROM {table} r WHERE r.{column} IS NOT NULL"
            f" AND NOT EXISTS (SELECT FROM blob b WHERE b.digest = r.{column}) LIMIT 100"
        )
        for (digest,) in rows:
            name = bytes(digest).hex()
            yield Finding("I8", name, f"A row of {table} names the blob {name}, which is gone.")


def _residue(database: Database, store: Store, grace_seconds: float) -> Iterator[Finding]:
    left = store.temporary_files()
    if left:
        yield Finding("I14", "tmp", f"{left} temporary files were left by processes that died.")
    for file in store.set_aside_files():
        if file.age_seconds > grace_seconds:
            name = file.digest.hex()
            yield Finding("I14", name, f"The file {name} was set aside and forgotten.")
    if held := _held(database, min(grace_seconds, _SWEPT_SECONDS)):
        yield Finding("I14", "attempt_blob", f"{held} blobs are held by attempts that are over.")
    ((expired,),) = database.fetch(
        "SELECT count(*) FROM upload WHERE expires_at < now() - make_interval(secs => %s)",
        (grace_seconds,),
    )
    if expired:
        yield Finding("I14", "upload", f"{expired} uploads have expired and are still there.")


def _held(database: Database, patience_seconds: float) -> int:
    """How many blobs attempts hold that were over at the first look, and are so still."""
    ((workspaces,),) = database.fetch(
        "SELECT array_agg(DISTINCT a.workspace_id) FROM attempt_blob a"
        " WHERE NOT EXISTS (SELECT FROM workspace w WHERE w.workspace_id = a.workspace_id)"
    )
    deadline = monotonic() + patience_seconds
    while True:
        ((held,),) = database.fetch(
            "SELECT count(*) FROM attempt_blob WHERE workspace_id = ANY(%s::bigint[])",
            (workspaces,),
        )
        if not held or monotonic() >= deadline:
            return int(held)
        sleep(_GLANCE_SECONDS)
