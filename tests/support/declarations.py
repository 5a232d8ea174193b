"""Declarations of plugins for tests, built from the generated descriptors."""

import hashlib
from importlib import resources

from google.protobuf import descriptor_pb2

from entrepot.plugin.v1 import describe_pb2

FILE = "entrepot.plugins.file.v1"


def proto_files(*names: str) -> descriptor_pb2.FileDescriptorSet:
    """The proto files of these names with all they import, comments included."""
    everything = descriptor_pb2.FileDescriptorSet.FromString(
        (resources.files("entrepot") / "descriptors.binpb").read_bytes()
    )
    by_name = {file.name: file for file in everything.file}
    wanted: dict[str, descriptor_pb2.FileDescriptorProto] = {}

    def collect(name: str) -> None:
        if name not in wanted:
            for imported in by_name[name].dependency:
                collect(imported)
            wanted[name] = by_name[name]

    for name in names:
        collect(name)
    return descriptor_pb2.FileDescriptorSet(file=wanted.values())


def file_plugin(version: str = "0.1.0", *, slots: int = 4) -> describe_pb2.DescribeResponse:
    """The declaration of a plugin for files, with a task of every implementation."""
    kind = describe_pb2
    implementation = describe_pb2.TaskType
    response = describe_pb2.DescribeResponse(
        name="file",
        version=version,
        instance_id="test",
        max_concurrent_attempts=slots,
        descriptors=proto_files("entrepot/plugins/file/v1/file.proto"),
    )
    for collection, message, result, work in (
        ("syncs", "Sync", f"{FILE}.SyncResult", implementation.IMPLEMENTATION_PLUGIN),
        ("adds", "Add", "", implementation.IMPLEMENTATION_CORE_ADD),
        ("removes", "Remove", "", implementation.IMPLEMENTATION_CORE_REMOVE),
        ("copies", "Copy", "", implementation.IMPLEMENTATION_CORE_COPY),
        ("uploads", "Upload", "", implementation.IMPLEMENTATION_PLUGIN),
    ):
        response.task_types.add(
            collection=collection,
            parameters_message=f"{FILE}.{message}",
            result_message=result,
            creates=kind.RESOURCE_KIND_REPOSITORY_VERSION,
            repeatable=True,
            implementation=work,
        )
    response.content_types.add(
        name="file.file",
        collection="files",
        attributes_message=f"{FILE}.File",
        key_fields=["relative_path", "sha256"],
        repository_key_fields=["relative_path"],
        filterable_fields=["relative_path", "sha256", "size_bytes"],
        indexes=[
            describe_pb2.ContentType.Index(
                path="PULP_MANIFEST", line="{path},{sha256},{size_bytes}"
            )
        ],
    )
    for one in (
        kind.RESOURCE_KIND_REPOSITORY,
        kind.RESOURCE_KIND_REMOTE,
        kind.RESOURCE_KIND_DISTRIBUTION,
    ):
        response.resource_types.add(kind=one)
    return with_digest(response)


def with_digest(response: describe_pb2.DescribeResponse) -> describe_pb2.DescribeResponse:
    """The same declaration, with its digest set to that of what it declares."""
    declared = describe_pb2.DescribeResponse()
    declared.CopyFrom(response)
    declared.ClearField("version")
    declared.ClearField("instance_id")
    declared.ClearField("declaration_digest")
    response.declaration_digest = hashlib.sha256(
        declared.SerializeToString(deterministic=True)
    ).hexdigest()
    return response
