"""file/syncs: brings what a remote lists into a repository."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote, urljoin

from entrepot.plugins.file.v1.file_pb2 import File, RemoteSpec, SyncResult
from entrepot_plugin_file.asked import Asked
from entrepot_plugin_file.format.checksums import ChecksumReader
from entrepot_plugin_file.format.claims import MAX_REMEMBERED
from entrepot_plugin_file.format.manifest import (
    MAX_MANIFEST_BYTES,
    ManifestError,
    ManifestReader,
)
from entrepot_plugin_file.gathering import Wanted, gather
from entrepot_plugin_file.kind import kind_of
from entrepot_plugin_file.seen import Seen
from entrepot_plugin_file.walking import walk
from entrepot_sdk import TaskFailed, artifact

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from entrepot.plugins.file.v1.file_pb2 import Sync
    from entrepot_plugin_file.format.lines import LineReader
    from entrepot_plugin_file.format.manifest import Entry
    from entrepot_sdk import Fetched, Workspace

__all__ = ["sync"]

T = TypeVar("T")


async def sync(parameters: Sync, workspace: Workspace) -> SyncResult:
    """Add every file that upstream lists, in the way that its remote lists them."""
    remote = workspace.resources.remote("remote")
    match kind_of(remote):
        case RemoteSpec.KIND_CHECKSUMS:
            return await sync_checksums(parameters, workspace)
        case RemoteSpec.KIND_LISTING:
            return await sync_listing(parameters, workspace)
        case _:
            return await sync_manifest(parameters, workspace)


async def sync_manifest(parameters: Sync, workspace: Workspace) -> SyncResult:
    """Add every file of the manifest; of one that was seen before, only what has changed."""
    remote = workspace.resources.remote("remote")
    manifest = await workspace.fetch(remote.url, max_bytes=MAX_MANIFEST_BYTES)
    result = SyncResult(manifest_sha256=manifest.sha256)
    last = Seen.read(workspace.state("repository"))
    now = Seen.of(parameters, remote, manifest.final_url, manifest.sha256)

    asked = Asked.of(workspace)
    if last is not None and last.is_same(now) and asked.is_all:
        return unchanged(workspace, last, "The manifest has not changed since the last sync.")

    is_compared = (
        # In memory; of a longer one all is proposed.
        asked.is_all
        and last is not None
        and last.files <= MAX_REMEMBERED
        and last.is_earlier(manifest, now)
    )
    before = await known(manifest.previous) if is_compared and manifest.previous else set()
    folder = folder_of(manifest.final_url)
    async for entry in entries(manifest):
        result.listed_files += 1
        workspace.progress("sync.parse", result.listed_files, message="Reading the manifest")
        if not asked.has(entry.path):
            continue
        if (mark := mark_of(entry)) in before:
            before.discard(mark)
        else:
            await add(workspace, entry, folder)

    if not is_compared:
        return conclude(parameters, workspace, replace(now, files=result.listed_files), asked)
    if parameters.mirror and before and manifest.previous:
        async for entry in entries(manifest.previous):
            if mark_of(entry) in before:
                await workspace.remove(unit_of(entry))
    workspace.set_state(replace(now, files=result.listed_files).write())
    return result


async def sync_checksums(parameters: Sync, workspace: Workspace) -> SyncResult:
    """Add every file of the checksums; those that the repository has not are fetched."""
    remote = workspace.resources.remote("remote")
    sums = await workspace.fetch(remote.url, max_bytes=MAX_MANIFEST_BYTES)
    last = Seen.read(workspace.state("repository"))
    now = Seen.of(parameters, remote, sums.final_url, sums.sha256)
    asked = Asked.of(workspace)
    if last is not None and last.is_same(now) and asked.is_all:
        return unchanged(workspace, last, "The checksums have not changed since the last sync.")

    # Their lengths are not told, and are part of what the units are: who has them already, says.
    there = {
        unit.attributes.relative_path: unit.attributes
        async for unit in workspace.read(File, "repository", attributes_only=True)
    }
    folder = folder_of(sums.final_url)
    wanted = [
        Wanted(one.path, folder + quote(one.path), one.sha256)
        async for one in read_lines(sums, ChecksumReader())
        if asked.has(one.path)
    ]
    await gather(workspace, wanted, there)
    return conclude(parameters, workspace, replace(now, files=len(wanted)), asked)


async def sync_listing(parameters: Sync, workspace: Workspace) -> SyncResult:
    """Add every file on the pages of a folder, and of those below; all are asked for."""
    remote = workspace.resources.remote("remote")
    tree = await walk(workspace, remote.url)
    last = Seen.read(workspace.state("repository"))
    now = Seen.of(parameters, remote, tree.url, tree.sha256)
    # Pages that tell no dates are the same when a file has changed.
    asked = Asked.of(workspace)
    if tree.is_dated and last is not None and last.is_same(now) and asked.is_all:
        return unchanged(workspace, last, "The pages have not changed since the last sync.")
    if parameters.mirror and not tree.files:
        raise TaskFailed(
            "LISTING_INVALID",
            f"{tree.url} lists no file: a mirror of it would remove everything.",
            metadata={"url": tree.url},
        )
    wanted = [Wanted(path, url) for path, url in tree.files if asked.has(path)]
    await gather(workspace, wanted, {})
    return conclude(parameters, workspace, replace(now, files=len(wanted)), asked)


def unchanged(workspace: Workspace, last: Seen, reason: str) -> SyncResult:
    """Propose nothing, and remember what was remembered."""
    workspace.unchanged(reason)
    workspace.set_state(last.write())
    return SyncResult(
        manifest_sha256=last.sha256, manifest_unchanged=True, listed_files=last.files
    )


def conclude(parameters: Sync, workspace: Workspace, now: Seen, asked: Asked) -> SyncResult:
    """Have the repository become what was proposed, and remember what that was.

    What fills gaps is added to what is there, and says nothing of the rest.
    """
    result = SyncResult(manifest_sha256=now.sha256, listed_files=now.files)
    if not asked.is_all:
        return result
    workspace.mode("repository", "replace" if parameters.mirror else "additive")
    workspace.set_state(now.write())
    return result


async def add(workspace: Workspace, entry: Entry, folder: str) -> None:
    """Propose a file, to be fetched from the folder of the manifest."""
    url = folder + quote(entry.path)
    file = artifact(entry.path, sha256=entry.sha256, size_bytes=entry.size_bytes, url=url)
    await workspace.add(unit_of(entry), artifacts=[file])


def folder_of(url: str) -> str:
    """Return what the URL of a file beside this one begins with, to which its path is added.

    Joining each path anew, as RFC 3986 says, would take longer than all else about a file; paths
    of manifests have no segment and no character that it treats otherwise.
    """
    return urljoin(url, "x").removesuffix("x")


async def known(manifest: Fetched) -> set[bytes]:
    """Return the marks of all that a manifest lists."""
    return {mark_of(entry) async for entry in entries(manifest)}


def entries(manifest: Fetched) -> AsyncIterator[Entry]:
    """Yield what the manifest lists, while it is being read."""
    return read_lines(manifest, ManifestReader())


async def read_lines(file: Fetched, reader: LineReader[T]) -> AsyncIterator[T]:
    """Yield what a file's lines say, while it is being read."""
    try:
        async for chunk in file:
            for entry in reader.feed(chunk):
                yield entry
        for entry in reader.close():
            yield entry
    except ManifestError as error:
        raise TaskFailed(
            "MANIFEST_INVALID",
            f"{file.final_url}, {error}.",
            metadata={"url": file.final_url, "line": str(error.line)},
        ) from None


def unit_of(entry: Entry) -> File:
    """Return the unit that an entry is."""
    return File(relative_path=entry.path, sha256=entry.sha256, size_bytes=entry.size_bytes)


def mark_of(entry: Entry) -> bytes:
    """Return 16 bytes that are the same for the same entry."""
    line = f"{entry.path},{entry.sha256},{entry.size_bytes}"
    return hashlib.blake2b(line.encode(), digest_size=16).digest()
