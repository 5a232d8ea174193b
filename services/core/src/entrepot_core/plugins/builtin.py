"""The declaration of core's own tasks, which look like any plugin's."""

from __future__ import annotations

from importlib import metadata

from google.protobuf import descriptor_pb2

from entrepot.plugin.v1 import describe_pb2
from entrepot_rpc.comment import core_files

__all__ = ["NAME", "declaration", "version"]

NAME = "core"

_FILE = "entrepot/core/v1/tasks.proto"


def version() -> str:
    """Core's version."""
    return metadata.version("entrepot-core")


def declaration() -> describe_pb2.DescribeResponse:
    """What core would answer to Describe."""
    return describe_pb2.DescribeResponse(
        name=NAME,
        version=version(),
        declaration_digest=f"core-{version()}",
        task_types=[
            _task("orphans", "CollectOrphans"),
            _task("migrations", "MigrateBlobs"),
            _task("reclaims", "ReclaimSpace"),
            _task("repairs", "RepairBlobs"),
        ],
        descriptors=_proto_files(),
        max_concurrent_attempts=1,
    )


def _task(collection: str, message: str) -> describe_pb2.TaskType:
    """A task that may be repeated; its result's message is named after its parameters'."""
    return describe_pb2.TaskType(
        collection=collection,
        parameters_message=f"entrepot.core.v1.{message}",
        result_message=f"entrepot.core.v1.{message}Result",
        repeatable=True,
    )


def _proto_files() -> descriptor_pb2.FileDescriptorSet:
    # From the file that has the comments; the generated modules have none.
    by_name = {file.name: file for file in core_files().file}
    wanted: dict[str, descriptor_pb2.FileDescriptorProto] = {}

    def collect(name: str) -> None:
        if name not in wanted:
            for imported in by_name[name].dependency:
                collect(imported)
            wanted[name] = by_name[name]

    collect(_FILE)
    return descriptor_pb2.FileDescriptorSet(file=wanted.values())
