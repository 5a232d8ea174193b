"""What a plugin that breaks the contract, goes down or hangs can do to others: nothing."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from entrepot_sdk.testing import PluginProcess
from liar import Liar, honest_description
from polling import until
from refusals import explained, failed, refused
from rest import Api, Json
from stack import Stack
from upstream import (
    Upstream,
)

# Tasks of a plugin in trouble: many more than it takes at once.
CROWD = 20


@pytest.fixture
def liar(stack: Stack, api: Api) -> Iterator[Liar]:
    """A plugin that does not keep the contract, registered until the end of the test."""
    with Liar(stack.grpc) as liar:
        api.post("plugins/", {"target": liar.address}).expect(201)
        until(lambda: api.request("GET", "tasks/liar/lies/").status == 200, "its routes")
        yield liar
        liar.release.set()
        stack.settle()
        api.delete("plugins/liar/").expect(200, 204)


@pytest.fixture
def lied(api: Api, liar: Liar) -> Json:
    """A new repository of the lying plugin, as a parameter of its task."""
    return {"repository": api.a_repository("liar")["name"]}


@pytest.fixture
def node(api: Api, graph: PluginProcess) -> Json:
    """A new repository of the graph plugin, as a parameter of its tasks."""
    return {"repository": api.a_repository("graph")["name"]}


@pytest.mark.parametrize("kind", ["two_verdicts", "wrong_result"])
def test_a_plugin_that_breaks_the_contract(api: Api, node: Json, kind: str) -> None:
    """Two verdicts, or a result of a type that nobody declared, fail the task, and are told."""
    problem = failed(api, node, "graph/mischiefs", kind=kind)

    explained(api, problem, "PLUGIN_CONTRACT_VIOLATION", "graph")


@pytest.mark.parametrize("kind", ["no_verdict", "break_stream", "fail_retryable"])
def test_a_plugin_that_fails_in_passing(api: Api, node: Json, kind: str) -> None:
    """A stream that ends without a verdict is an accident: repeated, then it goes well."""
    task = api.completed("graph/mischiefs", **node, kind=kind, times=1)

    assert task["attempt"] == 2
    assert [lost["number"] for lost in task["lost_attempts"]] == [1]
    assert api.versions({"href": f"/api/v3/{node['repository']}/"}) == [0, 1]


NONSENSE = (
    "no_verdict", "foreign_token", "evil_path", "big_batch", "reuse_sequence",
    "wrong_content_type", "wrong_role",
)  # fmt: skip


def test_a_plugin_that_never_does_it_right(api: Api, graph: PluginProcess) -> None:
    """What core refuses is in no version, however often it is tried; then the task is given up."""
    repositories = {kind: api.a_repository("graph") for kind in NONSENSE}
    tasks = {
        kind: api.create("graph/mischiefs", repository=repository["name"], kind=kind)
        for kind, repository in repositories.items()
    }

    for kind, task in tasks.items():
        ended = api.finished(task, wait=150)

        assert (kind, ended["state"]) == (kind, "failed")
        assert ended["attempt"] <= 3
        assert ended["created_resource"] == ""
        assert ended["error"]["reason"] in ("ATTEMPT_LOST", "PLUGIN_CONTRACT_VIOLATION")
        explained(api, ended["error"], ended["error"]["reason"])
        assert api.versions(repositories[kind]) == [0]


def test_a_task_that_must_not_be_repeated(api: Api, node: Json) -> None:
    """When an attempt with effects outside is lost, its task says that nobody knows."""
    problem = failed(api, node, "graph/pushes", kind="break_stream", times=1)

    explained(api, problem, "OUTCOME_UNKNOWN")


def test_a_plugin_that_stages_with_another_token(api: Api, liar: Liar, lied: Json) -> None:
    """The token of an attempt that is over opens nothing."""
    api.run("liar/lies", **lied, behavior="keep_token")
    assert liar.token

    problem = failed(api, lied, "liar/lies", behavior="foreign_token")

    assert problem["reason"] in ("ATTEMPT_SUPERSEDED", "UNAUTHENTICATED", "PERMISSION_DENIED")


def test_a_plugin_that_makes_up_a_token(api: Api, liar: Liar, lied: Json) -> None:
    """A token that core never gave opens nothing."""
    liar.token = "A" * 43

    problem = failed(api, lied, "liar/lies", behavior="foreign_token")

    assert problem["reason"] in ("ATTEMPT_SUPERSEDED", "UNAUTHENTICATED", "PERMISSION_DENIED")


def test_a_plugin_that_is_down(stack: Stack, api: Api, liar: Liar, lied: Json) -> None:
    """New tasks of a plugin that is down are refused; when it is back, they are taken."""
    liar.stop()

    answer = api.post("tasks/liar/lies/", lied | {"behavior": "complete"})

    refused(api, answer, 503, "PLUGIN_UNAVAILABLE", "liar")
    assert int(answer.headers["Retry-After"]) >= 1
    liar.serve(liar.address)
    task = until(lambda: _created(api, lied), "the plugin to be taken back")
    assert api.finished(task)["state"] == "completed"


def test_tasks_wait_for_a_plugin_that_went_down(
    stack: Stack, api: Api, liar: Liar, lied: Json
) -> None:
    """A task that lost its plugin waits, says for what, and runs when the plugin is back."""
    task = api.create("liar/lies", **lied, behavior="wait")
    assert liar.started.wait(60)
    liar.stop()

    waiting = until(lambda: _waits_for_plugin(api, task), "the task to wait for its plugin", 60)

    assert waiting["resource"].endswith("liar")
    told = stack.cli("task", "why", task["name"]).stdout
    assert "The plugin liar does not take tasks." in " ".join(told.split())
    liar.release.set()
    liar.serve(liar.address)
    assert api.finished(task)["state"] == "completed"


@pytest.mark.parametrize("lie", ["descriptors", "message", "name", "version"])
def test_a_plugin_that_describes_nonsense(stack: Stack, api: Api, lie: str) -> None:
    """A plugin whose description makes no sense is not registered, and the answer says why."""
    description: Any = honest_description()
    if lie == "descriptors":
        description.ClearField("descriptors")
    elif lie == "message":
        description.task_types[0].parameters_message = "no.such.Message"
    elif lie == "version":
        description.version = "1\0"
    else:
        description.name = "../liar"
    before = api.everything("plugins/")
    with Liar(stack.grpc) as liar:
        liar.description = description

        answer = api.post("plugins/", {"target": liar.address})

    refused(api, answer, 400, "PLUGIN_CONTRACT_VIOLATION")
    after = api.everything("plugins/")
    assert [item["name"] for item in before] == [item["name"] for item in after]


def test_a_plugin_that_does_not_answer(api: Api) -> None:
    """Registering an address at which nobody answers is refused."""
    answer = api.post("plugins/", {"target": "127.0.0.1:1"})

    refused(api, answer, 503, "PLUGIN_UNAVAILABLE", "127.0.0.1:1")


def _created(api: Api, lied: Json) -> Json | None:
    answer = api.post("tasks/liar/lies/", lied | {"behavior": "complete"})
    return answer.json if answer.status == 201 else None


def _waits_for_plugin(api: Api, task: Json) -> Json | None:
    blockers = api.get(task["href"])["blocked_by"]
    return next((item for item in blockers if item["cause"] == "plugin_down"), None)


@pytest.mark.parametrize("trouble", ["dead", "hung", "lying"])
def test_a_plugin_in_trouble_delays_no_other(
    stack: Stack, api: Api, liar: Liar, upstream: Upstream, trouble: str
) -> None:
    """Another plugin's tasks start within a second of their time without the trouble."""
    calm = _slowest_start(api, upstream)
    behavior = "foreign_token" if trouble == "lying" else "wait"
    for _ in range(CROWD):
        repository = api.a_repository("liar")["name"]
        api.create("liar/lies", repository=repository, behavior=behavior)
    assert liar.started.wait(60)
    if trouble == "dead":
        liar.stop()

    troubled = _slowest_start(api, upstream)

    if trouble == "dead":
        liar.serve(liar.address)
    assert troubled <= calm + timedelta(seconds=1)


def _slowest_start(api: Api, upstream: Upstream) -> timedelta:
    """How long the slowest of some syncs waited for its start."""
    remote = api.a_remote(upstream)["name"]
    syncs = [
        api.completed("file/syncs", repository=api.a_repository()["name"], remote=remote)
        for _ in range(5)
    ]
    return max(
        datetime.fromisoformat(one["start_time"]) - datetime.fromisoformat(one["create_time"])
        for one in syncs
    )
