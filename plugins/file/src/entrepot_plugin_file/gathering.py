"""Files of which upstream does not say all that a unit is: they are fetched to learn the rest."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from entrepot.plugins.file.v1.file_pb2 import File
from entrepot_sdk import FetchFailed, artifact

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from entrepot_sdk import Workspace

__all__ = ["MAX_FILE_BYTES", "SIDE_BY_SIDE", "Wanted", "gather"]

# How many core is asked for at once; how many upstream is, is for the remote to say.
SIDE_BY_SIDE = 16
# As much as core takes of any file.
MAX_FILE_BYTES = 64 * 1024**3


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file to fetch; of its SHA-256, empty means that it is not told."""

    path: str
    url: str
    sha256: str = ""


async def gather(
    workspace: Workspace, wanted: Sequence[Wanted], there: Mapping[str, File]
) -> None:
    """Propose every file that can be had, fetching what is not there with the same SHA-256.

    That is so whatever the remote's policy is, as there is no unit before its length is known.
    Core asks conditionally for what it has fetched before, so an unchanged file costs a request.
    """
    for start in range(0, len(wanted), SIDE_BY_SIDE):
        step = wanted[start : start + SIDE_BY_SIDE]
        files = await asyncio.gather(*(_file(workspace, one, there) for one in step))
        for one, file in zip(step, files, strict=True):
            if file is None:
                continue
            known = artifact(one.path, sha256=file.sha256, size_bytes=file.size_bytes, url=one.url)
            await workspace.add(file, artifacts=[known])
        done = start + len(step)
        workspace.progress("sync.fetch", done, len(wanted), message="Fetching files")


async def _file(workspace: Workspace, one: Wanted, there: Mapping[str, File]) -> File | None:
    """The file as it is; None if it could not be had, and the task goes on."""
    known = there.get(one.path)
    if known is not None and one.sha256 and known.sha256 == one.sha256:
        return known
    try:
        fetched = await workspace.fetch(one.url, sha256=one.sha256, max_bytes=MAX_FILE_BYTES)
    except FetchFailed as error:
        workspace.failed(error, path=one.path, url=one.url)
        return None
    return File(
        relative_path=one.path, sha256=fetched.sha256, size_bytes=fetched.digest.size_bytes
    )
