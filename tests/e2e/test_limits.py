"""Priorities and limits as operators set them: by the command, and over HTTP."""

import json

from rest import Api
from stack import Stack


def test_an_operator_sets_a_limit(stack: Stack) -> None:
    """The command makes it, REST shows it and changes it, and it goes."""
    made = stack.cli(
        "limit", "create", "e2e", "--task-type", "file/syncs", "--repository-label", "e2e=limit",
        "--max-running", "3", "-o", "json",
    )  # fmt: skip
    try:
        read = stack.api.request("GET", "limits/e2e/").expect(200)
        stack.api.request("PATCH", "limits/e2e/", {"max_running": 1}).expect(200)
        listed = stack.cli("limit", "list").stdout
    finally:
        stack.api.request("DELETE", "limits/e2e/").expect(204)

    assert json.loads(made.stdout)["name"] == "limits/e2e"
    assert (read["task_type"], read["repository_label"], read["max_running"]) == (
        "file/syncs", "e2e=limit", 3,
    )  # fmt: skip
    assert "e2e=limit" in listed
    stack.api.request("GET", "limits/e2e/").expect(404)


def test_a_task_is_urgent_over_http(api: Api) -> None:
    """The priority is in the query of the request and in the task."""
    task = api.request("POST", "tasks/core/orphans/", {}, query={"priority": "interactive"})

    name = task.expect(201)["name"]
    assert task.json["priority"] == "interactive"
    for priority, is_listed in (("interactive", True), ("normal", False), ("background", False)):
        found = api.everything("tasks/core/orphans/", priority=priority)
        assert {one["priority"] for one in found} <= {priority}
        assert (name in [one["name"] for one in found]) == is_listed
