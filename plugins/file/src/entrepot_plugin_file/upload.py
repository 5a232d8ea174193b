"""file/uploads: adds files to a repository that users have uploaded, or named by their URL."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from entrepot.plugins.file.v1.file_pb2 import File, Upload
from entrepot_plugin_file.format.claims import Claims
from entrepot_plugin_file.format.manifest import check_listed
from entrepot_plugin_file.format.path import PathError
from entrepot_sdk import TaskFailed, artifact, error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from entrepot_sdk import Diagnostic, Resources, Workspace

__all__ = ["check", "upload"]

MAX_FILES = 10_000
# How many URLs core is asked for at once; how many upstreams are is for the remote to say.
SIDE_BY_SIDE = 20
# As much as core takes of any file.
MAX_BYTES = 64 * 1024**3

# Core reads it more closely.
_URL = re.compile(r"https?://[^/?#\s]+[^\s]*", re.IGNORECASE)
_SHA256 = re.compile(r"[0-9a-f]{64}")


async def upload(parameters: Upload, workspace: Workspace) -> None:
    """Add every file under the path that is asked for, or under its own name."""
    for problem in check(parameters, workspace.resources):
        raise TaskFailed(problem.reason, problem.message, field=problem.field)
    entries = list(_entries(parameters))
    for start in range(0, len(entries), SIDE_BY_SIDE):
        step = entries[start : start + SIDE_BY_SIDE]
        files = await asyncio.gather(*(_file(parameters, workspace, *one) for one in step))
        for path, sha256, size in files:
            await workspace.add(
                File(relative_path=path, sha256=sha256, size_bytes=size),
                artifacts=[artifact(path, sha256=sha256, size_bytes=size)],
            )
        done = start + len(step)
        workspace.progress("upload.add", done, len(entries), message="Adding files")


async def _file(
    parameters: Upload, workspace: Workspace, prefix: str, entry: Entry
) -> tuple[str, str, int]:
    """Return the path, SHA-256 and length of a file; one with a URL is downloaded by core."""
    path = _path(prefix, entry, workspace.resources)
    if not entry.url:
        received = workspace.resources.upload(_role(prefix), entry.upload)
        return path, received.sha256, received.size_bytes
    role = "remote" if parameters.remote else ""
    fetched = await workspace.fetch(entry.url, role, sha256=entry.sha256, max_bytes=MAX_BYTES)
    return path, fetched.sha256, fetched.digest.size_bytes


def check(parameters: Upload, resources: Resources) -> Iterator[Diagnostic]:
    """Yield what is wrong with the files, each under its index."""
    is_single = bool(parameters.upload or parameters.url)
    if is_single == bool(parameters.files):
        yield error(
            "FIELD_REQUIRED" if not is_single else "FIELD_INVALID",
            "Name one file in upload or url, or many in files.",
            "upload" if not is_single else "files",
        )
        return
    if len(parameters.files) > MAX_FILES:
        yield error(
            "FIELD_INVALID",
            f"files has {len(parameters.files):,} entries; at most {MAX_FILES:,} make one task.",
            "files",
        )
        return
    claims = Claims("files[{}]")
    for index, (prefix, entry) in enumerate(_entries(parameters)):
        found = _check_entry(prefix, entry, resources)
        if found is None:
            try:
                claims.add(_path(prefix, entry, resources), index)
            except PathError as problem:
                found = error("PATH_INVALID", f"{problem}.", f"{prefix}relative_path")
        if found is not None:
            yield found


def _check_entry(prefix: str, entry: Entry, resources: Resources) -> Diagnostic | None:
    if bool(entry.upload) == bool(entry.url):
        reason = "FIELD_INVALID" if entry.url else "FIELD_REQUIRED"
        return error(reason, "Name an upload or a url, and not both.", f"{prefix}upload")
    if entry.url and (fault := _fault_of(entry.url)):
        return error("FIELD_INVALID", fault, f"{prefix}url")
    if entry.sha256 and not (entry.url and _SHA256.fullmatch(entry.sha256)):
        return error(
            "FIELD_INVALID",
            "For a url, sha256 is 64 lowercase hexadecimal digits; an upload has its own.",
            f"{prefix}sha256",
        )
    path = _path(prefix, entry, resources)
    if not path:
        return error(
            "FIELD_REQUIRED",
            "The file has no name of its own, so relative_path is required.",
            f"{prefix}relative_path",
        )
    try:
        check_listed(path)
    except PathError as problem:
        return error(
            "PATH_INVALID", f"relative_path {path!r}: {problem}.", f"{prefix}relative_path"
        )
    return None


def _fault_of(url: str) -> str:
    """What is wrong with a URL; it is not repeated where it may have a password in it."""
    try:
        has_user = "@" in urlsplit(url).netloc
    except ValueError:
        return f"{url!r} is not a URL."
    if has_user:
        return (
            "A URL is shown with its task, so it must not have user name or password in it; leave "
            'out what stands before the "@", and name a remote that has them.'
        )
    return "" if _URL.fullmatch(url) else f"{url!r} is not an absolute http or https URL."


def _entries(parameters: Upload) -> Iterator[tuple[str, Entry]]:
    """Yield the files with the text that their fields' paths begin with."""
    if parameters.upload or parameters.url:
        yield "", parameters
    for index, entry in enumerate(parameters.files):
        yield f"files[{index}].", entry


def _role(prefix: str) -> str:
    return "files.upload" if prefix else "upload"


def _path(prefix: str, entry: Entry, resources: Resources) -> str:
    if entry.relative_path:
        return entry.relative_path
    if entry.url:
        return unquote(urlsplit(entry.url).path.rpartition("/")[2])
    return resources.upload(_role(prefix), entry.upload).filename


Entry = Upload | Upload.Entry
