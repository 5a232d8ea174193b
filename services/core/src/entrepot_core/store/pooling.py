"""Refuses a proxy that gives a connection another session for each transaction.

Locks of dispatchers and single runners last as long as a session, and LISTEN belongs to one. With
such a proxy in between they would belong to nobody, or to somebody else.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import psycopg2

from entrepot_core.store.database import PooledSessionsError, connect, unavailable

if TYPE_CHECKING:
    from entrepot_core.store.database import Connection

__all__ = ["require_own_sessions"]

_TURNS = 6


def require_own_sessions(url: str) -> None:
    """Returns if every connection keeps its session; PooledSessionsError with what to do if not.

    DatabaseUnavailableError if the database goes away meanwhile.

    Two connections that are open at the same time take turns: with sessions of their own they
    never meet in the same server process, and none ever sees another one.
    """
    with closing(_open(url)) as one, closing(_open(url)) as other:
        pids = _pid(one), _pid(other)
        if pids[0] == pids[1]:
            raise _refusal()
        for _ in range(_TURNS):
            if pids != (_pid(one), _pid(other)):
                raise _refusal()


def _open(url: str) -> Connection:
    return connect(url, name="entrepot start")


def _pid(connection: Connection) -> int:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            return int((cursor.fetchone() or (0,))[0])
    except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
        raise unavailable(error) from error


def _refusal() -> PooledSessionsError:
    return PooledSessionsError("one connection was served by several sessions.")
