"""Request ids of what is created besides tasks: which request made what, remembered 7 days.

Tasks do the same inside of the one statement that creates them; the ids are shared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from entrepot_core.domain.errors import RequestIdReusedError

if TYPE_CHECKING:
    from entrepot_core.store.database import Cursor

__all__ = ["check", "claim"]

_NO_TASK = "00000000-0000-0000-0000-000000000000"


def claim(
    cursor: Cursor, principal: str, request_id: str, digest: bytes, resource: str
) -> str | None:
    """The name of what the same request made before; None if this one is to make `resource`.

    To be called in the transaction that makes it. One under way with the same id is waited for.
    Raises RequestIdReusedError if the id was used for another request.
    """
    cursor.execute(
        "INSERT INTO creation_request (principal, request_id, digest, task_id, resource)"
        " VALUES (%s, %s, %s, %s::uuid, %s) ON CONFLICT DO NOTHING",
        (principal, request_id, digest, _NO_TASK, resource),
    )
    if cursor.rowcount:
        return None
    cursor.execute(
        "SELECT digest, CASE WHEN resource = '' THEN 'tasks/' || task_id ELSE resource END"
        " FROM creation_request WHERE principal = %s AND request_id = %s",
        (principal, request_id),
    )
    # It can only be missing if it was 7 days old in this very moment.
    earlier, made = cursor.fetchone() or (b"", resource)
    check(request_id, digest, bytes(earlier), made)
    return str(made)


def check(request_id: str, digest: bytes, earlier: bytes, made: str) -> None:
    """Raises RequestIdReusedError if the request that made something was another one."""
    if earlier != digest:
        what = "" if made == f"tasks/{_NO_TASK}" else f", which made {made}"
        raise RequestIdReusedError(
            f"The request id {request_id} was used for another request{what}. Use a new one.",
            metadata={"request_id": request_id},
        )
