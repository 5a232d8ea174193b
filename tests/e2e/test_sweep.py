"""Every failpoint there is kills its process once, and the work is done all the same."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import patience
from entrepot_rpc import failpoints
from rest import Json
from stack import Stack
from upstream import Upstream

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

# What must fail first, so that a failpoint is reached at all.
NEEDS = {"take_over.deleted": "execute.first_event=kill*1"}


@dataclass(frozen=True)
class Drill:
    """An installation with one failpoint set, and where firings are counted."""

    stack: Stack
    folder: Path

    def fired(self, name: str) -> int:
        """How often a failpoint has fired."""
        path = self.folder / name
        return path.stat().st_size if path.exists() else 0


@pytest.fixture
def drill(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Drill]:
    """An installation in which the failpoint kills once."""
    name = request.param
    points = ";".join(filter(None, [f"{name}=kill*1", NEEDS.get(name, "")]))
    environment = {"ENTREPOT_FAILPOINTS": points, "ENTREPOT_FAILPOINT_DIR": str(tmp_path)}
    # The count is kept by whoever fires, under whatever identity.
    tmp_path.chmod(0o777)
    with Stack(environment) as stack:
        yield Drill(stack, tmp_path)


@pytest.mark.parametrize(
    ("drill", "name"), [(name, name) for name in failpoints.NAMES], indirect=["drill"],
    ids=failpoints.NAMES,
)  # fmt: skip
def test_a_kill_loses_nothing(drill: Drill, name: str, upstream: Upstream) -> None:
    """A sync and an add end in one completed task and one version each, wherever one dies."""
    stack = drill.stack
    source, target = (stack.api.a_repository() for _ in range(2))
    remote = stack.api.a_remote(upstream, max_retries=5)

    synced = _done(stack, "file/syncs", repository=source["name"], remote=remote["name"])
    patience.restored(stack)
    content = [unit["name"] for unit in stack.api.units(source)]
    added = _done(stack, "file/adds", repository=target["name"], content=content)

    patience.restored(stack)
    assert drill.fired(name) >= 1, f"{name} was never reached"
    for task, repository in ((synced, source), (added, target)):
        assert task["created_resource"] == f"{repository['name']}/versions/1"
        assert stack.api.versions(repository) == [0, 1]
        assert upstream.digests() == stack.api.files(repository)
        assert len(stack.api.everything("tasks/", resource=repository["name"])) == 1


def _done(stack: Stack, task_type: str, **parameters: object) -> Json:
    task = patience.finished(stack, patience.create(stack, task_type, **parameters))
    assert task["state"] == "completed", task
    return task
