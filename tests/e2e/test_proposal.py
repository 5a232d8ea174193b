"""The calls of the proposal "Plugin relationship to tasks", as it has them, with curl."""

import json
import subprocess

import pytest

from rest import Api, Json
from stack import Stack
from upstream import Upstream


def curl(stack: Stack, *arguments: str) -> tuple[int, Json]:
    """Status and body of a call to the API with curl."""
    authorization = f"Authorization: Bearer {stack.token}"
    done = subprocess.run(
        ["curl", "-sS", "-w", "\n%{http_code}", "-H", authorization, *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    body, _, status = done.stdout.rpartition("\n")
    return int(status), json.loads(body)


def post(stack: Stack, path: str, **fields: object) -> tuple[int, Json]:
    """The same for a POST of JSON."""
    kind = "Content-Type: application/json"
    return curl(stack, "-H", kind, "-d", json.dumps(fields), f"{stack.api_url}{path}")


def test_a_sync_with_an_importer(stack: Stack, api: Api, upstream: Upstream) -> None:
    """POST tasks/file/syncs/ with two hrefs, one as `importer`, answers the task at once."""
    repository, remote = api.a_repository(), api.a_remote(upstream)
    gate = upstream.hold("PULP_MANIFEST")

    status, task = post(
        stack, "/api/v3/tasks/file/syncs/", repository=repository["href"], importer=remote["href"]
    )
    gate.wait_entered()

    assert status == 201
    assert task["state"] in ("waiting", "running")
    assert task["created_resource"] == ""
    gate.open()
    finished = api.finished(task)
    assert finished["created_resource"] == f"{repository['name']}/versions/1"
    assert finished["parameters"]["remote"] == remote["name"]


def test_adds_with_add_content_units(stack: Stack, api: Api, upstream: Upstream) -> None:
    """POST tasks/file/adds/ takes `add_content_units`, the proposal's name for the field."""
    source, target = api.a_synced_repository(upstream), api.a_repository()
    units = [unit["href"] for unit in api.units(source)[:3]]

    status, task = post(
        stack, "/api/v3/tasks/file/adds/", repository=target["href"], add_content_units=units
    )

    assert status == 201
    assert api.finished(task)["created_resource"] == f"{target['name']}/versions/1"
    assert len(api.units(target)) == 3


def test_the_answer_is_the_task_with_its_address(api: Api, upstream: Upstream) -> None:
    """A POST answers 201, the task as its body, and where to find it."""
    repository, remote = api.a_repository(), api.a_remote(upstream)
    body = {"repository": repository["name"], "remote": remote["name"]}

    answer = api.post("tasks/file/syncs/", body)

    task = answer.expect(201)
    assert answer.headers["Location"].endswith(task["href"])
    assert task["task_type"] == "file/syncs"
    assert api.finished(task)["name"] == task["name"]


def test_tasks_by_state(stack: Stack, api: Api, upstream: Upstream) -> None:
    """GET tasks/?state=waiting lists the tasks that wait, and no others."""
    repository, remote = api.a_repository(), api.a_remote(upstream)
    names = {"repository": repository["name"], "remote": remote["name"]}
    gate = upstream.hold("PULP_MANIFEST")
    first = api.create("file/syncs", **names)
    gate.wait_entered()
    second = api.create("file/syncs", **names)

    status, page = curl(stack, f"{stack.api_url}/api/v3/tasks/?state=waiting")

    found = {task["name"]: task["state"] for task in page["results"]}
    assert status == 200
    assert second["name"] in found
    assert first["name"] not in found
    assert set(found.values()) == {"waiting"}
    gate.open()
    assert api.finished(second)["state"] == "completed"


def test_a_task_type_is_a_collection(stack: Stack, api: Api, upstream: Upstream) -> None:
    """GET tasks/file/syncs/ lists the syncs, page by page, and nothing else."""
    repository, remote = api.a_repository(), api.a_remote(upstream)
    names = {"repository": repository["name"], "remote": remote["name"]}
    made = {api.completed("file/syncs", **names)["name"] for _ in range(3)}

    status, page = curl(stack, f"{stack.api_url}/api/v3/tasks/file/syncs/?page_size=2")

    assert status == 200
    assert len(page["results"]) == 2
    assert page["next_page_token"]
    everything = api.everything("tasks/file/syncs/", page_size=2)
    assert made <= {task["name"] for task in everything}
    assert {task["task_type"] for task in everything} == {"file/syncs"}


@pytest.mark.parametrize("call", ["tasks/docker/adds/", "tasks/python/syncs/"])
def test_a_plugin_that_is_not_there(stack: Stack, call: str) -> None:
    """A task type of an unknown plugin is a 404 that says which plugins there are."""
    posted = post(stack, f"/api/v3/{call}", add_content_units=[])
    listed = curl(stack, f"{stack.api_url}/api/v3/{call}")

    for status, problem in (posted, listed):
        assert status == 404
        assert problem["reason"] == "PLUGIN_UNKNOWN"
        assert call.split("/")[1] in problem["detail"]
        assert "file" in problem["detail"]


def test_a_task_type_that_is_not_there(api: Api) -> None:
    """A task type that the plugin does not have is a 404 that says which it has."""
    problem = api.post("tasks/file/miracles/", {}).expect(404)

    assert problem["reason"] == "TASK_TYPE_UNKNOWN"
    assert "syncs" in problem["detail"]


def test_a_clone_repeats_a_task(api: Api, upstream: Upstream) -> None:
    """A clone has the parameters of the task it repeats, and remembers it."""
    repository, remote = api.a_repository(), api.a_remote(upstream)
    task = api.completed("file/syncs", repository=repository["name"], remote=remote["name"])
    upstream.files["later.txt"] = b"later"

    clone = api.finished(api.post(f"{task['href']}clones/").expect(201))

    assert clone["state"] == "completed"
    assert clone["cloned_from"] == task["name"]
    assert clone["parameters"] == task["parameters"]
    assert "later.txt" in api.files(repository)
    listed = api.everything("tasks/", cloned_from=task["name"])
    assert [item["name"] for item in listed] == [clone["name"]]


def test_a_clone_with_overrides(api: Api, upstream: Upstream) -> None:
    """Fields given to a clone replace those of the task it repeats, and only those."""
    repository, other = api.a_repository(), api.a_repository()
    remote = api.a_remote(upstream)
    task = api.completed("file/syncs", repository=repository["name"], remote=remote["name"])

    body = {"repository": other["href"], "mirror": True}
    clone = api.finished(api.post(f"{task['href']}clones/", body).expect(201))

    assert clone["parameters"] == task["parameters"] | {
        "repository": other["name"],
        "mirror": True,
    }
    assert api.files(repository) == api.files(other)
