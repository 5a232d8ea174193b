"""file/uploads: adds one uploaded file to a repository."""

from __future__ import annotations

from typing import TYPE_CHECKING

from entrepot.plugins.file.v1.file_pb2 import File
from entrepot_plugin_file.format.manifest import check_listed
from entrepot_plugin_file.format.path import PathError
from entrepot_sdk import TaskFailed, artifact, error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from entrepot.plugins.file.v1.file_pb2 import Upload
    from entrepot_sdk import Diagnostic, Resources, Workspace

__all__ = ["check", "upload"]


async def upload(parameters: Upload, workspace: Workspace) -> None:
    """Add the upload under the path that is asked for, or under its own name."""
    for problem in check(parameters, workspace.resources):
        raise TaskFailed(problem.reason, problem.message, field=problem.field)
    received = workspace.resources.upload("upload")
    path = parameters.relative_path or received.filename

    await workspace.add(
        File(relative_path=path, sha256=received.sha256, size_bytes=received.size_bytes),
        artifacts=[artifact(path, sha256=received.sha256, size_bytes=received.size_bytes)],
    )


def check(parameters: Upload, resources: Resources) -> Iterator[Diagnostic]:
    """Yield what is wrong with the path."""
    path = parameters.relative_path or resources.upload("upload").filename
    if not path:
        yield error(
            "FIELD_REQUIRED",
            "The upload has no name of its own, so relative_path is required.",
            "relative_path",
        )
        return
    try:
        check_listed(path)
    except PathError as problem:
        yield error("PATH_INVALID", f"relative_path {path!r}: {problem}.", "relative_path")
