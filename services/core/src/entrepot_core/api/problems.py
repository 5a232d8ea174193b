"""What is wrong with an installation, in sentences that also say what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from entrepot_core.store.condition import MOST_COUNTED, MOST_NAMED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from entrepot_core.store.condition import Condition, StalledTask
    from entrepot_core.store.dispatchers import DispatcherRow
    from entrepot_core.store.plugins import PluginRow

__all__ = [
    "STALLED_SECONDS",
    "clock_problem",
    "database_problems",
    "dispatcher_problems",
    "plugin_problems",
    "remote_problems",
    "secret_problems",
    "stalled_problems",
    "store_problems",
]

# A running task that has told nothing new for so long may be stuck.
STALLED_SECONDS = 900.0

_LAG_SECONDS = 10.0
_CLOCK_SECONDS = 5.0


def plugin_problems(rows: Sequence[PluginRow], waiting: Mapping[str, int]) -> list[str]:
    """Of plugins; `waiting` says how many tasks wait for each that does not serve."""
    problems = []
    for row in rows:
        if row.health == "serving":
            continue
        since = f" since {_when(row.seen_at)}" if row.health == "down" and row.seen_at else ""
        why = f": {row.message.rstrip('.')}" if row.message else ""
        advice = (
            f"Start it at {row.target}, or register its new address"
            if row.health == "down"
            else "Install a version of it that fits this core"
        )
        count = waiting.get(row.name, 0)
        tasks = f" {_tasks(count)} for it." if count else ""
        problems.append(f"The plugin {row.name} is {row.health}{since}{why}.{tasks} {advice}.")
    if not rows:
        problems.append(
            "No plugin is registered, so there is nothing to sync. "
            "Register one with `entrepot plugin create`."
        )
    return problems


def dispatcher_problems(rows: Sequence[DispatcherRow], waiting: int) -> list[str]:
    """Of dispatchers, while so many tasks wait."""
    others = (
        "No other is there to take its tasks over"
        if all(row.is_silent for row in rows)
        else "Others take its tasks over"
    )
    problems = [
        f"The dispatcher {row.name} has said nothing since {_when(row.beat_at)}. {others}; look "
        "whether its process hangs, or its host is cut off."
        for row in rows
        if row.is_silent
    ]
    problems += [
        text
        for row in rows
        if (text := clock_problem(f"the dispatcher {row.name}", row.clock_ahead_seconds))
    ]
    if not rows:
        problems.append(
            f"No dispatcher runs, and {_tasks(waiting)} for one. Start `entrepot-core dispatch`."
        )
    return problems


def clock_problem(whose: str, ahead_seconds: float) -> str:
    """Of a host's clock; empty if it is near the database's."""
    if abs(ahead_seconds) < _CLOCK_SECONDS:
        return ""
    direction = "ahead of" if ahead_seconds > 0 else "behind"
    return (
        f"The clock of {whose} is {abs(ahead_seconds):.0f} s {direction} the database's. Only the "
        "database's decides, but times in logs are off by as much; set the clocks by NTP."
    )


def database_problems(condition: Condition) -> list[str]:
    """Of the database as a whole."""
    problems = []
    if condition.is_standby:
        problems.append(
            "The database is a standby that takes no changes. Promote it, or let "
            "ENTREPOT_DATABASE_URL name the primary."
        )
    elif condition.is_read_only:
        problems.append(
            "The database is read-only: nothing can be created, and no task starts. Set "
            "default_transaction_read_only = off where it was set on: server, database or role."
        )
    if condition.unnumbered_seconds > _LAG_SECONDS:
        problems.append(
            f"Events are numbered {condition.unnumbered_seconds:.0f} s late, so streams of events "
            "lag behind. The database is overloaded, or a transaction holds a lock for long."
        )
    return problems


def stalled_problems(stalled: Sequence[StalledTask]) -> list[str]:
    """Of tasks that run and do not get on."""
    problems = [
        f"tasks/{task.task_id} ({task.task_type}) runs and has told nothing new since "
        f"{_when(task.since)}. Look at its progress and the plugin's log; cancel it if it hangs."
        for task in stalled[:MOST_NAMED]
    ]
    if len(stalled) > MOST_NAMED:
        problems.append(f"{len(stalled) - MOST_NAMED} more tasks run like that.")
    return problems


def remote_problems(unverified: Sequence[str]) -> list[str]:
    """Of remotes whose server may be anybody."""
    if not unverified:
        return []
    more = len(unverified) - MOST_NAMED
    names = ", ".join(unverified[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
    return [
        (
            f"Nobody checks who answers for {names}: verify_tls is off. Set ca_certificates to "
            "the upstream's own authority instead, and verify_tls on."
        )
    ]


def secret_problems(unreadable: Sequence[tuple[str, str]]) -> list[str]:
    """Of remotes whose secrets cannot be decrypted: their names, and why."""
    if not unreadable:
        return []
    names = ", ".join(name for name, _ in unreadable[:MOST_NAMED])
    more = f" and {len(unreadable) - MOST_NAMED} more" if len(unreadable) > MOST_NAMED else ""
    return [
        (
            f"The secrets of {names}{more} cannot be decrypted: {unreadable[0][1].rstrip('.')}. "
            "Bring the key back, or set the secrets again."
        )
    ]


def store_problems(fault: str, free_bytes: int | None) -> list[str]:
    """Of the store for blobs: what it answered, and what fits on its disk, if that is known."""
    if fault:
        return [
            (
                f"The store for blobs does not work: {fault.rstrip('.')}. Nothing can be "
                "downloaded or uploaded; check ENTREPOT_BLOBS_URL and the keys for it."
            )
        ]
    if free_bytes == 0:
        return [
            (
                "The disk of the store for blobs is below its low-water mark: nothing can be "
                "downloaded or uploaded. Free some of it, or run core/orphans and core/reclaims."
            )
        ]
    return []


def _tasks(count: int) -> str:
    if count == 1:
        return "1 task waits"
    return f"{count}{'+' if count >= MOST_COUNTED else ''} tasks wait"


def _when(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
