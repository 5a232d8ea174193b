"""Whether the engine's rows agree with each other: one query for each rule."""

from __future__ import annotations

from typing import TYPE_CHECKING

from entrepot_core.domain.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from entrepot_core.store.database import Database

__all__ = ["check_engine"]

# Invariant, subject as text, sentence; a row is a violation. What may be under way is looked at
# only when it is old.
_RULES = (
    (
        "I2",
        (
            "SELECT 'tasks/' || task_id, 'What it was asked is missing.'"
            " FROM task t WHERE NOT EXISTS (SELECT FROM task_detail d WHERE d.task_id = t.task_id)"
        ),
    ),
    (
        "I2",
        (
            "SELECT min(created_resource), count(*) || ' completed tasks say that they made it.'"
            # A repository may be deleted and made again under its name: only its own tasks count.
            " FROM task t WHERE created_resource LIKE 'publications/%' OR EXISTS ("
            " SELECT FROM repository r WHERE r.plugin = split_part(t.created_resource, '/', 2)"
            " AND r.name = split_part(t.created_resource, '/', 3)"
            " AND r.created_at <= t.created_at)"
            " GROUP BY created_resource HAVING count(*) > 1"
        ),
    ),
    (
        "I3",
        (
            "SELECT 'tasks/' || w.task_id, 'The workspace of attempt ' || w.attempt ||"
            " ' is not that of the current attempt ' || t.attempt || '.'"
            " FROM workspace w JOIN task t USING (task_id)"
            " WHERE w.attempt <> t.attempt OR t.state <> 'running'"
        ),
    ),
    (
        "I4",
        (
            "SELECT r.name, 'tasks/' || l.task_id || ' is ' || t.state || ' and still has a lock.'"
            " FROM lock_entry l JOIN task t USING (task_id) JOIN resource r USING (resource_id)"
            " WHERE t.ended_at IS NOT NULL"
        ),
    ),
    (
        "I4",
        (
            "SELECT r.name, 'It is held exclusively, and by ' || count(*) || ' tasks.'"
            " FROM lock_entry l JOIN resource r USING (resource_id) WHERE l.granted"
            " GROUP BY r.name HAVING bool_or(l.exclusive) AND count(*) > 1"
        ),
    ),
    (
        "I4",
        (
            "SELECT 'tasks/' || t.task_id, 'It waits for ' || t.waits_for || ' locks, and '"
            " || count(l.seq) || ' of its entries are not granted.'"
            " FROM task t LEFT JOIN lock_entry l ON l.task_id = t.task_id AND NOT l.granted"
            " WHERE t.ended_at IS NULL GROUP BY t.task_id HAVING t.waits_for <> count(l.seq)"
        ),
    ),
    (
        "I4",
        (
            "SELECT r.name, 'Somebody waits for it and nobody holds it.'"
            " FROM stuck_resources() AS s(resource_id) JOIN resource r USING (resource_id)"
        ),
    ),
    (
        "I5",
        (
            "SELECT 'tasks/' || t.task_id, 'It runs and no attempt of it does.' FROM task t"
            " WHERE t.state = 'running' AND t.started_at < now() - interval '75 seconds'"
            " AND NOT EXISTS (SELECT FROM workspace w WHERE w.task_id = t.task_id)"
        ),
    ),
    (
        "I5",
        (
            "SELECT 'tasks/' || w.task_id, 'Its dispatcher is dead.' FROM workspace w"
            " LEFT JOIN dispatcher d USING (dispatcher_id)"
            " WHERE w.created_at < clock_timestamp() - interval '75 seconds'"
            " AND (d.dispatcher_id IS NULL"
            "   OR d.beat_at < clock_timestamp() - interval '75 seconds')"
        ),
    ),
    (
        "I5",
        (
            "SELECT 'tasks/' || task_id, 'Its back-off is long over.' FROM task"
            " WHERE parked AND not_before < clock_timestamp() - interval '75 seconds'"
            " AND EXISTS (SELECT FROM dispatcher)"
        ),
    ),
    (
        "I6",
        (
            "SELECT 'tasks/' || task_id, count(*) || ' lost attempts of it were counted.'"
            " FROM lost_attempt WHERE is_counted GROUP BY task_id HAVING count(*) > 3"
        ),
    ),
    (
        "I6",
        (
            "SELECT 'tasks/' || l.task_id, 'It must not be repeated, and was after attempt '"
            " || l.number || '.' FROM lost_attempt l JOIN task t USING (task_id)"
            " WHERE l.was_executed AND t.attempt > l.number"
        ),
    ),
    (
        "I11",
        (
            "SELECT 'event ' || event_id, 'The number before it is missing.' FROM ("
            "  SELECT event_id, lag(event_id) OVER (ORDER BY event_id) AS before FROM event) AS e"
            " WHERE before IS NOT NULL AND event_id <> before + 1"
        ),
    ),
    (
        "I11",
        (
            "SELECT 'tasks/' || t.task_id, 'It is over, and its last event is ' || e.kind || '.'"
            " FROM task t JOIN LATERAL (SELECT kind FROM event e WHERE e.task_id = t.task_id"
            "   ORDER BY event_id DESC LIMIT 1) AS e ON true"
            " WHERE t.ended_at < clock_timestamp() - interval '5 seconds'"
            " AND e.kind IS DISTINCT FROM t.state AND NOT EXISTS (SELECT FROM event_inbox)"
        ),
    ),
    (
        "I11",
        (
            "SELECT 'tasks/' || task_id, count(*) || ' events say that it ended.' FROM event"
            " WHERE kind IN ('completed', 'failed', 'canceled') GROUP BY task_id"
            " HAVING count(*) > 1"
        ),
    ),
    (
        "I14",
        (
            "SELECT 'event inbox', count(*) || ' events wait to be numbered for over a minute.'"
            " FROM event_inbox WHERE happened_at < clock_timestamp() - interval '75 seconds'"
            " HAVING count(*) > 0"
        ),
    ),
)


def check_engine(database: Database) -> Iterator[Finding]:
    """What is wrong with tasks, locks, attempts and events: I2 to I6, I11, I14."""
    for invariant, query in _RULES:
        for subject, message in database.fetch(query):
            yield Finding(invariant, str(subject), message)
