"""file/syncs: brings what a remote's PULP_MANIFEST lists into a repository."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING
from urllib.parse import quote, urljoin

from entrepot.plugins.file.v1.file_pb2 import File, SyncResult
from entrepot_plugin_file.format.manifest import (
    MAX_MANIFEST_BYTES,
    ManifestError,
    ManifestReader,
)
from entrepot_sdk import TaskFailed, artifact

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from entrepot.plugins.file.v1.file_pb2 import Sync
    from entrepot_plugin_file.format.manifest import (
        Entry,
    )
    from entrepot_sdk import Fetched, Remote, Workspace

__all__ = ["sync"]


async def sync(parameters: Sync, workspace: Workspace) -> SyncResult:
    """Add every file of the manifest; nothing is compared if the last sync saw the same one."""
    remote = workspace.resources.remote("remote")
    manifest = await workspace.fetch(remote.url, max_bytes=MAX_MANIFEST_BYTES)
    result = SyncResult(manifest_sha256=manifest.sha256)

    # The repository is what the last sync made of it: the same manifest would make the same again.
    seen = fingerprint(parameters, remote, manifest.sha256)
    last_seen, _, listed = workspace.state("repository").partition(b" ")
    if last_seen == seen:
        workspace.unchanged("The manifest has not changed since the last sync.")
        workspace.set_state(workspace.state("repository"))
        result.manifest_unchanged = True
        result.listed_files = int(listed)
        return result

    async for entry in entries(manifest):
        await workspace.add(
            File(relative_path=entry.path, sha256=entry.sha256, size_bytes=entry.size_bytes),
            artifacts=[
                artifact(
                    entry.path,
                    sha256=entry.sha256,
                    size_bytes=entry.size_bytes,
                    url=urljoin(manifest.final_url, quote(entry.path)),
                )
            ],
        )
        result.listed_files += 1
        workspace.progress("sync.parse", result.listed_files, message="Reading the manifest")

    workspace.mode("repository", "replace" if parameters.mirror else "additive")
    workspace.set_state(b"%s %d" % (seen, result.listed_files))
    return result


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


def fingerprint(parameters: Sync, remote: Remote, manifest_sha256: str) -> bytes:
    """Return a value that is the same when a sync would do the same as the last one."""
    seen = [remote.name, remote.url, remote.policy, parameters.mirror, manifest_sha256]
    return hashlib.sha256(json.dumps(seen).encode()).hexdigest().encode()
