"""A disk that fills under a running installation."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from rest import Api
from stack import Stack
from upstream import Upstream

LIMIT = 1024**2


@pytest.fixture
def large() -> Iterator[Upstream]:
    """An upstream with a file that does not fit, and two that do."""
    with Upstream({"large.bin": bytes(4 * LIMIT)}).fill(2) as upstream:
        yield upstream


@contextmanager
def nothing_longer(stack: Stack, limit: int) -> Iterator[None]:
    """Make the system refuse core files that are longer, as a full disk does.

    Unlike a disk of its own, this needs no rights.
    """
    pids = [stack.process(role).pid for role in ("api", "dispatch")]
    before = {pid: resource.prlimit(pid, resource.RLIMIT_FSIZE) for pid in pids}
    for pid, (_, most) in before.items():
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (limit, most))
    try:
        yield
    finally:
        for pid, limits in before.items():
            resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)


def test_a_full_disk_fails_the_task_and_nothing_else(
    stack: Stack, api: Api, upstream: Upstream, large: Upstream
) -> None:
    """The task says why, nothing torn stays, all else goes on; with room its repeat completes."""
    served = api.a_distribution(api.a_synced_repository(upstream))
    repository, remote = api.a_repository(), api.a_remote(large)
    parameters = {"repository": repository["name"], "remote": remote["name"]}

    with nothing_longer(stack, LIMIT):
        full = api.run("file/syncs", **parameters)
        other = api.a_synced_repository(upstream)
        path, data = next(iter(upstream.files.items()))
        got = stack.content.request("GET", f"/{served['base_path']}/{path}")
    large.forget()
    repeated = api.run("file/syncs", **parameters)

    assert (full["state"], full["error"]["reason"]) == ("failed", "STORAGE_FULL"), full
    assert "is full" in full["error"]["detail"]
    assert api.versions(other) == [0, 1]
    assert got.body == data
    assert repeated["state"] == "completed", repeated
    assert large.count("large.bin") == 1
    assert {large.count(name) for name in large.files if name != "large.bin"} == {0}
    stack.check()
