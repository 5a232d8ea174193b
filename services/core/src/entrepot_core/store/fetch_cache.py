"""What upstreams last answered, so that they can be asked whether it still holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from entrepot_core.domain.blob import Blob
from entrepot_core.store import blobs, prepared

if TYPE_CHECKING:
    from collections.abc import Iterable

    from entrepot_core.store.database import Cursor

__all__ = ["MAX_URL_BYTES", "Remembered", "confirm", "forget_unused", "lend", "recall", "remember"]

MAX_URL_BYTES = 2000

_UNUSED_DAYS = 30


@dataclass(frozen=True, slots=True)
class Remembered:
    """A verified answer: its blob, where it came from in the end, and how to ask again."""

    remote_id: int
    url: str
    blob: Blob
    final_url: str
    etag: str
    last_modified: str


def recall(cursor: Cursor, asked: Iterable[tuple[int, str]]) -> dict[tuple[int, str], Remembered]:
    """What is remembered of these (remote, URL), as far as the blobs are still there."""
    wanted = list(asked)
    prepared.execute(
        cursor,
        "SELECT c.remote_id, c.url, c.digest, b.size_bytes, c.final_url, c.etag, c.last_modified"
        " FROM unnest(%s::bigint[], %s::text[]) AS u(remote_id, url)"
        " JOIN fetch_cache c USING (remote_id, url) JOIN blob b USING (digest)",
        ([remote for remote, _ in wanted], [url for _, url in wanted]),
    )
    return {
        (remote, url): Remembered(remote, url, Blob(bytes(digest), size), *rest)
        for remote, url, digest, size, *rest in cursor
    }


def confirm(cursor: Cursor, workspace_id: int, known: Remembered) -> bool:
    """Lets an attempt have a remembered blob, as the upstream says that it has not changed.

    False if the blob has gone meanwhile.
    """
    if not lend(cursor, workspace_id, known):
        return False
    cursor.execute(
        "UPDATE fetch_cache SET used_at = now() WHERE remote_id = %s AND url = %s",
        (known.remote_id, known.url),
    )
    return True


def lend(cursor: Cursor, workspace_id: int, known: Remembered) -> bool:
    """Lets an attempt read a remembered blob; False if it has gone meanwhile."""
    if not blobs.revive(cursor, [known.blob.digest]):
        return False
    blobs.hold(cursor, workspace_id, [known.blob.digest])
    return True


def remember(cursor: Cursor, answers: Iterable[Remembered]) -> None:
    """Remembers verified answers that can be asked about again; the others of these URLs go."""
    latest = {(one.remote_id, one.url): one for one in answers}
    for (remote_id, url), one in sorted(latest.items()):
        if not (one.etag or one.last_modified) or len(url.encode()) > MAX_URL_BYTES:
            cursor.execute(
                "DELETE FROM fetch_cache WHERE remote_id = %s AND url = %s", (remote_id, url)
            )
            continue
        cursor.execute(
            "INSERT INTO fetch_cache"
            " (remote_id, url, digest, etag, last_modified, final_url)"
            " SELECT remote_id, %s, %s, %s, %s, %s FROM remote WHERE remote_id = %s"
            " ON CONFLICT (remote_id, url) DO UPDATE SET digest = EXCLUDED.digest,"
            " etag = EXCLUDED.etag, last_modified = EXCLUDED.last_modified,"
            " final_url = EXCLUDED.final_url, used_at = now()",
            (url, one.blob.digest, one.etag, one.last_modified, one.final_url, remote_id),
        )


def forget_unused(cursor: Cursor) -> int:
    """Forgets what nobody has asked for in a month; its blobs are then collected."""
    cursor.execute(
        "DELETE FROM fetch_cache WHERE used_at < now() - make_interval(days => %s)",
        (_UNUSED_DAYS,),
    )
    return cursor.rowcount
