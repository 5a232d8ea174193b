"""Which attempt calls, by the token it was given."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from entrepot_core.api.authentication import attempt_token
from entrepot_core.domain.errors import AttemptSupersededError, PermissionDeniedError
from entrepot_core.store import queue

if TYPE_CHECKING:
    import grpc

    from entrepot_core.store.database import Database

__all__ = ["AttemptGate"]


class AttemptGate:
    """Knows workspaces by the tokens of their attempts.

    Not the fence: that the workspace is still there is checked in the transaction of each call.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def workspace_of(self, context: grpc.ServicerContext) -> int:
        """The workspace of the attempt that calls.

        Raises PermissionDeniedError if a user does, AttemptSupersededError if it is not the
        current attempt of its task.
        """
        token = attempt_token(context)
        if token is None:
            raise PermissionDeniedError(
                "This is for attempts of tasks: send `authorization: Attempt <token>`."
            )
        digest = hashlib.sha256(token.encode()).digest()
        with self._database.transaction() as cursor:
            workspace_id = queue.workspace_of_token(cursor, digest)
        if workspace_id is None:
            raise AttemptSupersededError("Another attempt owns the task now; stop.")
        return workspace_id
