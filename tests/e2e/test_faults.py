"""Processes are killed in the middle of a large sync, which still ends in one version.

ENTREPOT_TEST_FILES says how large: 1,000 files by default, 20,000 in the full run.
"""

import os
import signal
from collections.abc import Iterator

import pytest

import patience
from polling import until
from rest import Json
from stack import Stack, StackFactory
from upstream import Upstream

COUNT = int(os.environ.get("ENTREPOT_TEST_FILES", "1000"))
# How many files are asked for before something dies.
SOME = COUNT // 20
SECONDS = 110 + COUNT / 50

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2 * SECONDS)]


@pytest.fixture(scope="module")
def hurt() -> Iterator[Stack]:
    """One installation for this file, which must heal after each test."""
    with Stack() as stack:
        yield stack


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """Many small files that no other test has had, so that all must be fetched."""
    with Upstream().fill(COUNT, 100) as upstream:
        yield upstream


@pytest.fixture
def names(hurt: Stack, upstream: Upstream) -> Json:
    """A new repository and a remote, as parameters of a sync."""
    patience.restored(hurt)
    repository = hurt.api.a_repository()
    remote = hurt.api.a_remote(upstream, max_retries=5)
    return {"repository": repository["name"], "remote": remote["name"]}


def start(stack: Stack, names: Json, upstream: Upstream) -> Json:
    """A sync that is under way: some files have been asked for, and most have not."""
    task = patience.create(stack, "file/syncs", **names)
    until(lambda: len(upstream.requests) > SOME, "downloads to be under way", 60)
    return task


def ends_well(stack: Stack, task: Json, names: Json, upstream: Upstream) -> None:
    """Check that there is one completed task, one version with everything, and no damage."""
    ended = patience.finished(stack, task, SECONDS)
    patience.restored(stack)
    repository = {"href": f"/api/v3/{names['repository']}/"}

    assert ended["state"] == "completed", ended
    assert ended["created_resource"] == f"{names['repository']}/versions/1"
    assert stack.api.versions(repository) == [0, 1]
    assert upstream.digests() == stack.api.files(repository)
    assert len(stack.api.everything("tasks/", resource=names["repository"])) == 1
    stack.check()


@pytest.mark.parametrize("role", ["plugin", "dispatch", "api", "gateway", "postgres"])
def test_kill_9_in_the_middle_of_a_sync(
    hurt: Stack, names: Json, upstream: Upstream, role: str
) -> None:
    """A program that dies during a sync costs time and nothing else."""
    task = start(hurt, names, upstream)

    hurt.process(role).kill()

    ends_well(hurt, task, names, upstream)


def test_a_restart_of_postgresql_in_the_middle_of_a_sync(
    hurt: Stack, names: Json, upstream: Upstream
) -> None:
    """A database that is shut down and started again during a sync costs time and nothing else."""
    task = start(hurt, names, upstream)

    hurt.process("postgres").kill(signal.SIGINT)

    ends_well(hurt, task, names, upstream)


def test_plugin_and_dispatcher_die_together(hurt: Stack, names: Json, upstream: Upstream) -> None:
    """Two programs that die at once are no harder than one."""
    task = start(hurt, names, upstream)

    for role in ("plugin", "dispatch"):
        hurt.process(role).kill()

    ends_well(hurt, task, names, upstream)


def test_another_dispatcher_takes_over(a_stack: StackFactory, upstream: Upstream) -> None:
    """With two dispatchers the work of the one that dies goes on with the other."""
    stack = a_stack(arguments=["--dispatchers", "2"])
    repository = stack.api.a_repository()
    names = {"repository": repository["name"], "remote": stack.api.a_remote(upstream)["name"]}
    task = start(stack, names, upstream)

    stack.process("dispatch").kill()

    ends_well(stack, task, names, upstream)


def test_everything_dies(hurt: Stack, names: Json, upstream: Upstream) -> None:
    """After all programs were killed at once, the next start finishes the sync."""
    task = start(hurt, names, upstream)

    hurt.kill_all()
    hurt.start()

    ends_well(hurt, task, names, upstream)


def test_what_is_published_stays_served(hurt: Stack, names: Json, upstream: Upstream) -> None:
    """Files go on being served while plugin, dispatcher and core's API are gone."""
    ends_well(hurt, start(hurt, names, upstream), names, upstream)
    path = next(iter(upstream.files))
    base = hurt.api.a_distribution(repository={"name": names["repository"]})["base_path"]
    assert hurt.content.request("GET", f"/{base}/{path}").status == 200

    for role in ("plugin", "dispatch", "api"):
        hurt.process(role).kill()
    answer = hurt.content.request("GET", f"/{base}/{path}")

    assert (answer.status, answer.body) == (200, upstream.files[path])
    patience.restored(hurt)
