"""What several sections need to have something to measure."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from figure import Figure, timed
from rest import Api, Json
from separate import separate_upstream
from stack import Stack

__all__ = ["completed", "folder_beside", "listed_repository", "names_of", "pair"]


# More than what is written between two looks at the clock.
_TOUCHED_BYTES = 3 * 1024**3


def pair(
    figure: Figure,
    ours: Callable[[], object],
    bare: Callable[[], object],
    factor: float = 1,
    written: Sequence[Path] = (),
) -> None:
    """Time the floor and what it is the floor of, the other first each time.

    The factor makes seconds the unit. Neither waits for what was left to the disk before: one of
    them asks for its own bytes to be there when it ends, and would get those of the other as well.
    And both find as much free memory that was in use a moment ago: where the machine is a virtual
    one, memory that was not costs the first who writes to it. It is taken from files that were
    `written` in these folders.
    """
    both = [(figure.floor, bare), (figure.samples, ours)]
    if len(figure.samples) % 2:
        both.reverse()
    for samples, work in both:
        _settle(written)
        samples.append(factor * timed(work))


def _settle(written: Sequence[Path]) -> None:
    os.sync()
    if not written:
        return
    for folder in written:
        for path in folder.rglob("*"):
            if path.is_file():
                with path.open("rb") as file:
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    # Freed as soon as it has been written to.
    b"\1" * min(_TOUCHED_BYTES, free // 2)


def completed(api: Api, task_type: str, parameters: Json) -> Json:
    """Have a task done, and return it."""
    answer = api.request(
        "POST", f"tasks/{task_type}/", parameters, query={"wait": "600s"}, timeout=660
    )
    task = dict(answer.expect(201))
    assert task["state"] == "completed", task
    return task


def listed_repository(stack: Stack, count: int) -> Json:
    """Make a repository of so many units of which only the manifest was fetched."""
    api = stack.api
    with separate_upstream(listed=count) as upstream:
        repository = api.a_repository()
        remote = api.a_remote(upstream.manifest_url, policy="on_demand", stall_timeout_seconds=60)
        names = {"repository": repository["name"], "remote": remote["name"]}
        completed(api, "file/syncs", names)
    return repository


def names_of(api: Api, repository: Json) -> list[str]:
    """List the first thousand units of a repository."""
    return [str(unit["name"]) for unit in islice(api.units(repository), 1000)]


@contextmanager
def folder_beside(stack: Stack) -> Iterator[Path]:
    """A folder on the same file system as the stack's blobs."""
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir=stack.home.parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
