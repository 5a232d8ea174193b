"""What is wrong with an installation, in sentences."""

from datetime import UTC, datetime

import pytest

from entrepot_core.api import problems
from entrepot_core.store.condition import Condition, StalledTask
from entrepot_core.store.dispatchers import DispatcherRow
from entrepot_core.store.plugins import PluginRow

NOON = datetime(2026, 3, 1, 12, 3, tzinfo=UTC)


def a_plugin(health: str, message: str = "", seen_at: datetime | None = None) -> PluginRow:
    """A plugin named file."""
    return PluginRow(
        plugin_id=1,
        name="file",
        target="a:1",
        weight=1,
        max_running=4,
        health=health,
        message=message,
        is_removed=False,
        declaration_id=None,
        version="",
        instance_id="",
        seen_at=seen_at,
        created_at=NOON,
    )


def a_dispatcher(silent_seconds: float = 1, clock_ahead_seconds: float = 0) -> DispatcherRow:
    """A dispatcher named one."""
    return DispatcherRow(1, "one", NOON, 0, 16, silent_seconds, clock_ahead_seconds)


def a_condition(**fields: object) -> Condition:
    """A database that is well, but for these fields."""
    known: dict[str, object] = {
        "now": NOON,
        "is_read_only": False,
        "is_standby": False,
        "unnumbered_seconds": 0.0,
        "stalled": [],
        "unverified_remotes": [],
    }
    return Condition(**(known | fields))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("plugin", "waiting", "problem"),
    [
        (a_plugin("serving", "welcome"), 3, ""),
        (
            a_plugin("down", "Connection refused.", NOON),
            12,
            (
                "The plugin file is down since 2026-03-01 12:03:00 UTC: Connection refused. "
                "12 tasks wait for it. Start it at a:1, or register its new address."
            ),
        ),
        (
            a_plugin("down"),
            1,
            (
                "The plugin file is down. 1 task waits for it. Start it at a:1, or register its "
                "new address."
            ),
        ),
        (
            a_plugin("incompatible", "It lost a type."),
            1_000,
            (
                "The plugin file is incompatible: It lost a type. 1000+ tasks wait for it. "
                "Install a version of it that fits this core."
            ),
        ),
    ],
)
def test_a_plugin_that_does_not_serve_is_a_problem(
    plugin: PluginRow, waiting: int, problem: str
) -> None:
    """The sentences say since when, why, what waits for it, and what to do."""
    assert ([problem] if problem else []) == problems.plugin_problems([plugin], {"file": waiting})


def test_no_plugin_is_a_problem() -> None:
    """An installation without plugins says so."""
    (problem,) = problems.plugin_problems([], {})

    assert problem.startswith("No plugin is registered")


@pytest.mark.parametrize(("silent_seconds", "count"), [(0, 0), (5, 0), (60, 1)])
def test_a_silent_dispatcher_is_a_problem(silent_seconds: int, count: int) -> None:
    """A dispatcher that beats is none, and one that was silent for long is named."""
    found = problems.dispatcher_problems([a_dispatcher(silent_seconds)], waiting=3)

    assert count == len(found)
    assert all("The dispatcher one has said nothing since" in text for text in found)


def test_who_takes_over_is_said_as_it_is() -> None:
    """Of several, others take over; of none that says anything, nobody does."""
    alone = problems.dispatcher_problems([a_dispatcher(60)], waiting=3)
    beside = problems.dispatcher_problems([a_dispatcher(60), a_dispatcher(0)], waiting=3)

    assert [("No other is there" in text, "Others take" in text) for text in alone + beside] == [
        (True, False),
        (False, True),
    ]


def test_no_dispatcher_is_a_problem() -> None:
    """The sentence says how much waits for one."""
    assert problems.dispatcher_problems([], waiting=3) == [
        "No dispatcher runs, and 3 tasks wait for one. Start `entrepot-core dispatch`."
    ]


@pytest.mark.parametrize(
    ("ahead", "words"),
    [(0.2, ""), (-4.9, ""), (120, "120 s ahead of the database"), (-3600, "3600 s behind")],
)
def test_a_clock_that_differs_is_a_problem(ahead: float, words: str) -> None:
    """How far a dispatcher's clock is off, and in which direction, is said."""
    found = problems.dispatcher_problems([a_dispatcher(clock_ahead_seconds=ahead)], waiting=0)

    assert bool(words) == bool(found)
    assert all(words in text for text in found)


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        (a_condition(), ""),
        (a_condition(is_read_only=True), "The database is read-only"),
        (a_condition(is_read_only=True, is_standby=True), "The database is a standby"),
        (a_condition(unnumbered_seconds=2.0), ""),
        (a_condition(unnumbered_seconds=75.0), "Events are numbered 75 s late"),
    ],
)
def test_what_the_database_suffers_from_is_a_problem(condition: Condition, words: str) -> None:
    """Each state of the database that stops work has one sentence."""
    found = problems.database_problems(condition)

    assert (1 if words else 0) == len(found)
    assert all(text.startswith(words) for text in found)


def test_many_stalled_tasks_are_not_all_named() -> None:
    """The first are named with their times, and of the others the number."""
    found = problems.stalled_problems([StalledTask(str(n), "file/syncs", NOON) for n in range(8)])

    assert len(found) == 6
    assert found[0].startswith("tasks/0 (file/syncs) runs and has told nothing new since 2026-03")
    assert found[-1] == "3 more tasks run like that."


def test_remotes_without_verification_are_a_problem() -> None:
    """One sentence names some and counts the others."""
    assert problems.remote_problems([]) == []
    (problem,) = problems.remote_problems([f"remotes/file/{n}" for n in range(7)])
    assert "remotes/file/4 and 2 more: verify_tls is off" in problem


@pytest.mark.parametrize(
    ("fault", "free_bytes", "words"),
    [
        ("", 10, ""),
        ("NoSuchBucket.", 10, "The store for blobs does not work: NoSuchBucket. Nothing"),
        ("", 0, "below its low-water mark"),
    ],
)
def test_a_store_that_takes_nothing_is_a_problem(fault: str, free_bytes: int, words: str) -> None:
    """A store that fails, and a disk without room, are told with what to do."""
    found = problems.store_problems(fault, free_bytes)

    assert (1 if words else 0) == len(found)
    assert all(words in text for text in found)
