"""file/syncs: brings what a remote's PULP_MANIFEST lists into a repository."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import quote, urljoin

from entrepot.plugins.file.v1.file_pb2 import File, SyncResult
from entrepot_plugin_file.format.claims import MAX_REMEMBERED
from entrepot_plugin_file.format.manifest import (
    MAX_MANIFEST_BYTES,
    ManifestError,
    ManifestReader,
)
from entrepot_plugin_file.seen import Seen
from entrepot_sdk import TaskFailed, artifact

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from entrepot.plugins.file.v1.file_pb2 import Sync
    from entrepot_plugin_file.format.manifest import Entry
    from entrepot_sdk import Fetched, Workspace

__all__ = ["sync"]


async def sync(parameters: Sync, workspace: Workspace) -> SyncResult:
    """Add every file of the manifest; of one that was seen before, only what has changed."""
    remote = workspace.resources.remote("remote")
    manifest = await workspace.fetch(remote.url, max_bytes=MAX_MANIFEST_BYTES)
    result = SyncResult(manifest_sha256=manifest.sha256)
    last, now = Seen.read(workspace.state("repository")), Seen.of(parameters, remote, manifest)

    if last is not None and last.is_same(now):
        workspace.unchanged("The manifest has not changed since the last sync.")
        workspace.set_state(last.write())
        result.manifest_unchanged = True
        result.listed_files = last.files
        return result

    is_compared = (
        # In memory; of a longer one all is proposed.
        last is not None and last.files <= MAX_REMEMBERED and last.is_earlier(manifest, now)
    )
    before = await known(manifest.previous) if is_compared and manifest.previous else set()
    async for entry in entries(manifest):
        result.listed_files += 1
        workspace.progress("sync.parse", result.listed_files, message="Reading the manifest")
        if (mark := mark_of(entry)) in before:
            before.discard(mark)
        else:
            await add(workspace, entry, manifest)

    if not is_compared:
        workspace.mode("repository", "replace" if parameters.mirror else "additive")
    elif parameters.mirror and before and manifest.previous:
        async for entry in entries(manifest.previous):
            if mark_of(entry) in before:
                await workspace.remove(unit_of(entry))
    workspace.set_state(replace(now, files=result.listed_files).write())
    return result


async def add(workspace: Workspace, entry: Entry, manifest: Fetched) -> None:
    """Propose a file, to be fetched from beside the manifest."""
    url = urljoin(manifest.final_url, quote(entry.path))
    file = artifact(entry.path, sha256=entry.sha256, size_bytes=entry.size_bytes, url=url)
    await workspace.add(unit_of(entry), artifacts=[file])


async def known(manifest: Fetched) -> set[bytes]:
    """Return the marks of all that a manifest lists."""
    return {mark_of(entry) async for entry in entries(manifest)}


async def entries(manifest: Fetched) -> AsyncIterator[Entry]:
    """Yield what the manifest lists, while it is being read."""
    reader = ManifestReader()
    try:
        async for chunk in manifest:
            for entry in reader.feed(chunk):
                yield entry
        for entry in reader.close():
            yield entry
    except ManifestError as error:
        raise TaskFailed(
            "MANIFEST_INVALID",
            f"{manifest.final_url}, {error}.",
            metadata={"url": manifest.final_url, "line": str(error.line)},
        ) from None


def unit_of(entry: Entry) -> File:
    """Return the unit that an entry is."""
    return File(relative_path=entry.path, sha256=entry.sha256, size_bytes=entry.size_bytes)


def mark_of(entry: Entry) -> bytes:
    """Return 16 bytes that are the same for the same entry."""
    line = f"{entry.path},{entry.sha256},{entry.size_bytes}"
    return hashlib.blake2b(line.encode(), digest_size=16).digest()
