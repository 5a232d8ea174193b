"""StatusService: what is wrong, in sentences."""

from datetime import UTC, datetime, timedelta

import pytest

from entrepot.core.v1 import status_service_pb2, status_service_pb2_grpc
from entrepot_core.api.status_service import (
    StatusService,
    dispatcher_problems,
    plugin_problems,
)
from entrepot_core.store.dispatchers import DispatcherRow
from entrepot_core.store.plugins import PluginRow
from unconnected_core import API, CONTENT, DeclaredPlugins, Servicing, no_database, refusal


@pytest.mark.parametrize(
    ("authorization", "reason"),
    [(None, "UNAUTHENTICATED"), (CONTENT, "PERMISSION_DENIED"), (API, "DATABASE_UNAVAILABLE")],
)
def test_the_status_is_for_users(authorization: str | None, reason: str) -> None:
    """Who may ask hears that the database is gone, and others hear nothing."""
    servicing = Servicing(
        status_service_pb2.DESCRIPTOR.services_by_name["StatusService"],
        status_service_pb2_grpc.add_StatusServiceServicer_to_server,
        StatusService(no_database(), DeclaredPlugins(), lambda: 0, ""),
    )
    request = status_service_pb2.GetStatusRequest()

    error = refusal(lambda: servicing.call("GetStatus", request, authorization))

    assert reason == error.reason


@pytest.mark.parametrize(
    ("health", "message", "problems"),
    [
        ("serving", "", []),
        ("serving", "welcome", []),
        ("down", "", ["The plugin file is down and its tasks wait."]),
        ("down", "No answer.", ["The plugin file is down: No answer."]),
        ("incompatible", "It lost a type.", ["The plugin file is incompatible: It lost a type."]),
    ],
)
def test_a_plugin_that_does_not_serve_is_a_problem(
    health: str, message: str, problems: list[str]
) -> None:
    """The sentence names the plugin, and what is known of why."""
    row = PluginRow(
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
        seen_at=None,
        created_at=datetime.now(UTC),
    )

    assert problems == plugin_problems([row])


def test_no_plugin_is_a_problem() -> None:
    """An installation without plugins says so."""
    assert ["No plugin is registered, so there is nothing to sync."] == plugin_problems([])


@pytest.mark.parametrize(("silent_seconds", "count"), [(0, 0), (5, 0), (60, 1)])
def test_a_silent_dispatcher_is_a_problem(silent_seconds: int, count: int) -> None:
    """A dispatcher that beats is none, and one that was silent for long is named."""
    row = DispatcherRow(1, "one", datetime.now(UTC) - timedelta(seconds=silent_seconds), 0)

    problems = dispatcher_problems([row], waiting=3)

    assert count == len(problems)
    assert all("The dispatcher one has said nothing since" in text for text in problems)


def test_no_dispatcher_is_a_problem() -> None:
    """The sentence says how much waits for one."""
    assert ["No dispatcher runs, and 3 tasks wait for one."] == dispatcher_problems([], waiting=3)
