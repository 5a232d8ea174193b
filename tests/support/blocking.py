"""Who waits for what a connection has locked."""

from entrepot_core.store.database import Connection, Database


def is_awaited(database: Database, holder: Connection) -> bool:
    """Whether somebody waits for this connection, and not for any other."""
    blocked = "SELECT 1 FROM pg_stat_activity WHERE %s = ANY(pg_blocking_pids(pid))"
    return bool(database.fetch(blocked, (holder.info.backend_pid,)))
