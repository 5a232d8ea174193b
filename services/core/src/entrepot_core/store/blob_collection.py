"""Removing blobs that nothing needs: condemn, wait, look again, move aside, unlink.

No lock is taken on a blob that lives. What makes it safe is the wait: whoever could have missed
that a blob is condemned has ended by then, and everybody else has revived it. The file is moved
aside before the row's deletion commits, so that a writer of the same bytes, who waits for that
commit, sees that it must bring the file back.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Protocol

import structlog

from entrepot_core.store.blob_references import IS_REFERENCED
from entrepot_core.store.horizon import wait_for_older
from entrepot_core.store.plan_items import BLOB_IS_PLANNED
from entrepot_rpc.errors import ServiceError
from entrepot_rpc.failpoints import failpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from entrepot_core.store.database import Cursor, Database

__all__ = [
    "CollectedBlobs",
    "Dispensable",
    "Files",
    "collect_blobs",
    "collectable",
    "forget_attempts",
    "only_planned",
    "recover_aside",
    "remove_blobs",
]

log = structlog.get_logger()

_WALK = 5_000
_DELETE = 500


class _File(Protocol):
    @property
    def digest(self) -> bytes: ...

    @property
    def size_bytes(self) -> int: ...

    @property
    def age_seconds(self) -> float: ...


class Files(Protocol):
    """The files of blobs, as far as a collector needs them."""

    def set_aside(self, digests: Iterable[bytes]) -> None: ...

    def restore(self, digests: Iterable[bytes]) -> None: ...

    def discard(self, digests: Iterable[bytes]) -> None: ...

    def set_aside_files(self) -> Iterator[_File]: ...

    def files(self) -> Iterator[_File]: ...


@dataclass(frozen=True, slots=True)
class CollectedBlobs:
    """How many blobs were (or, in a dry run, would be) removed, and how many bytes."""

    blobs: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Dispensable:
    """Which blobs may go, as conditions on a row `b` of the table blob.

    The first must hold when they are condemned and still when they are removed; the second chooses
    among these, and is looked at once.
    """

    condition: str
    choice: str
    parameters: Mapping[str, object]


_ORPHANED = f"NOT {IS_REFERENCED}"
_IS_OLD = "b.created_at < now() - make_interval(secs => %(seconds)s)"


def collectable(grace_seconds: float) -> Dispensable:
    """What nothing names and is older than the grace."""
    return Dispensable(_ORPHANED, _IS_OLD, {"seconds": grace_seconds})


def only_planned(which: Dispensable, plan: str | None) -> Dispensable:
    """Of these, those that an approved plan names; all of them without one."""
    condition = f"({which.condition}) AND {BLOB_IS_PLANNED}"
    return Dispensable(condition, which.choice, {**which.parameters, "plan": plan})


def collect_blobs(
    database: Database,
    files: Files,
    grace_seconds: float,
    *,
    dry_run: bool = False,
    plan: str | None = None,
    report: Callable[[CollectedBlobs], None] = lambda _: None,
) -> CollectedBlobs:
    """Collects what nothing names and is older than the grace, of a plan only what that names.

    `report` is as of `remove_blobs`.
    """
    which = only_planned(collectable(grace_seconds), plan)
    if not dry_run and plan is None:
        _adopt(database, files, grace_seconds)
    return remove_blobs(database, files, which, dry_run=dry_run, report=report)


def remove_blobs(
    database: Database,
    files: Files,
    which: Dispensable,
    *,
    dry_run: bool = False,
    report: Callable[[CollectedBlobs], None] = lambda _: None,
) -> CollectedBlobs:
    """Removes blobs while others name, fetch and serve them; `report` may raise to end it.

    What somebody begins to need meanwhile stays. With a dry run it only counts.
    """
    if dry_run:
        return _count(database, which)
    recover_aside(database, files)
    _condemn(database, which)
    failpoint("collect.condemned")
    removed = CollectedBlobs(0, 0)
    if not database.fetch("SELECT 1 FROM blob WHERE state = 'condemned' LIMIT 1"):
        return removed
    if not wait_for_older(database):
        # They stay condemned; the next run goes on from here.
        log.warning("collector.gave_up_waiting")
        return removed
    failpoint("collect.waited")
    last = b""
    while condemned := _condemned_after(database, last):
        report(removed)
        last = condemned[-1]
        gone = _delete(database, files, condemned, which)
        removed = CollectedBlobs(
            removed.blobs + len(gone), removed.bytes + sum(size for _, size in gone)
        )
    report(removed)
    return removed


def recover_aside(database: Database, files: Files) -> None:
    """Ends what a collector that died has begun: its files go back, or go."""
    aside = [file.digest for file in files.set_aside_files()]
    for start in range(0, len(aside), _DELETE):
        digests = aside[start : start + _DELETE]
        with database.transaction() as cursor:
            # Waits for a collector that is at it now.
            cursor.execute(
                "SELECT digest FROM blob WHERE digest = ANY(%s::bytea[]) FOR UPDATE", (digests,)
            )
            known = {bytes(row[0]) for row in cursor}
            files.restore(known)
        files.discard([digest for digest in digests if digest not in known])


def forget_attempts(cursor: Cursor, limit: int = 10_000) -> int:
    """Lets go what gone attempts held, at most so many blobs; returns how many."""
    cursor.execute(
        "DELETE FROM attempt_blob WHERE ctid = ANY(ARRAY(SELECT a.ctid FROM attempt_blob a"
        " WHERE NOT EXISTS (SELECT FROM workspace w WHERE w.workspace_id = a.workspace_id)"
        " LIMIT %s))",
        (limit,),
    )
    return cursor.rowcount


def _adopt(database: Database, files: Files, grace_seconds: float) -> None:
    """Gives files that were never recorded a condemned row, to be collected like others."""
    old = ((f.digest, f.size_bytes) for f in files.files() if f.age_seconds > grace_seconds)
    while step := list(islice(old, _WALK)):
        with database.transaction() as cursor:
            cursor.execute(
                "INSERT INTO blob (digest, size_bytes, state)"
                " SELECT digest, size_bytes, 'condemned'"
                " FROM unnest(%s::bytea[], %s::bigint[]) AS f(digest, size_bytes)"
                " WHERE NOT EXISTS (SELECT FROM blob b WHERE b.digest = f.digest)"
                " ORDER BY digest ON CONFLICT DO NOTHING",
                ([digest for digest, _ in step], [size for _, size in step]),
            )


def _count(database: Database, which: Dispensable) -> CollectedBlobs:
    ((blobs, size),) = database.fetch(
        "SELECT count(*), coalesce(sum(b.size_bytes), 0)::bigint FROM blob b"
        f" WHERE {which.condition} AND {which.choice}",
        which.parameters,
    )
    return CollectedBlobs(blobs, size)


def _condemn(database: Database, which: Dispensable) -> None:
    """Condemns in steps over all blobs."""
    last = b""
    while True:
        with database.transaction() as cursor:
            cursor.execute(
                "SELECT digest FROM (SELECT digest FROM blob WHERE digest > %s"
                " ORDER BY digest LIMIT %s) step ORDER BY digest DESC LIMIT 1",
                (last, _WALK),
            )
            row = cursor.fetchone()
            if row is None:
                return
            end = bytes(row[0])
            cursor.execute(
                "UPDATE blob SET state = 'condemned' WHERE digest = ANY(ARRAY("
                "SELECT b.digest FROM blob b WHERE b.digest > %(last)s AND b.digest <= %(end)s"
                f" AND b.state = 'live' AND {which.choice} AND {which.condition}"
                " ORDER BY b.digest FOR UPDATE SKIP LOCKED))",
                {**which.parameters, "last": last, "end": end},
            )
            last = end


def _condemned_after(database: Database, last: bytes) -> list[bytes]:
    rows = database.fetch(
        "SELECT digest FROM blob WHERE state = 'condemned' AND digest > %s"
        " ORDER BY digest LIMIT %s",
        (last, _DELETE),
    )
    return [bytes(digest) for (digest,) in rows]


def _delete(
    database: Database, files: Files, condemned: list[bytes], which: Dispensable
) -> list[tuple[bytes, int]]:
    gone: list[tuple[bytes, int]] = []
    parameters = {**which.parameters, "condemned": condemned}
    try:
        with database.transaction() as cursor:
            cursor.execute(
                "UPDATE blob SET state = 'live' WHERE digest = ANY(ARRAY("
                "SELECT b.digest FROM blob b WHERE b.digest = ANY(%(condemned)s::bytea[])"
                f" AND b.state = 'condemned' AND NOT ({which.condition})"
                " ORDER BY b.digest FOR UPDATE SKIP LOCKED))",
                parameters,
            )
            cursor.execute(
                "DELETE FROM blob WHERE digest = ANY(ARRAY("
                "SELECT b.digest FROM blob b WHERE b.digest = ANY(%(condemned)s::bytea[])"
                f" AND b.state = 'condemned' AND {which.condition}"
                " ORDER BY b.digest FOR UPDATE SKIP LOCKED)) RETURNING digest, size_bytes",
                parameters,
            )
            gone = [(bytes(digest), size) for digest, size in cursor]
            files.set_aside(digest for digest, _ in gone)
    except BaseException:
        # The rows are there still, or nobody knows. Who needs one meanwhile must find its file.
        log.warning("collector.interrupted", blobs=len(gone))
        with suppress(ServiceError):
            recover_aside(database, files)
        raise
    failpoint("collect.deleted")
    files.discard(digest for digest, _ in gone)
    return gone
