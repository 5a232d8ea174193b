"""What the plugin declares: one kind of content, five kinds of tasks."""

from importlib.metadata import version

from entrepot.plugins.file.v1.file_pb2 import (
    Add,
    Copy,
    File,
    RemoteSpec,
    Remove,
    Sync,
    SyncResult,
    Upload,
)
from entrepot_plugin_file.guide import GUIDES
from entrepot_plugin_file.sync import sync
from entrepot_plugin_file.upload import check, upload
from entrepot_sdk import ContentType, CoreWork, Index, Plugin, ResourceKind, ResourceType, TaskType

__all__ = ["plugin"]

plugin = Plugin(
    name="file",
    version=version("entrepot-plugin-file"),
    content_types=[
        ContentType(
            name="file.file",
            collection="files",
            message=File,
            # The size as well: who was told a wrong one must not stand in the way of the right.
            key=("relative_path", "sha256", "size_bytes"),
            repository_key=("relative_path",),
            filterable=("relative_path", "sha256", "size_bytes"),
            indexes=[Index("PULP_MANIFEST", "{path},{sha256},{size_bytes}")],
        )
    ],
    task_types=[
        TaskType(collection="syncs", parameters=Sync, run=sync, result=SyncResult),
        TaskType(collection="uploads", parameters=Upload, run=upload, validate=check),
        TaskType(collection="adds", parameters=Add, core=CoreWork.ADD),
        TaskType(collection="removes", parameters=Remove, core=CoreWork.REMOVE),
        TaskType(collection="copies", parameters=Copy, core=CoreWork.COPY),
    ],
    resource_types=[
        ResourceType(ResourceKind.REPOSITORY),
        ResourceType(ResourceKind.REMOTE, RemoteSpec),
        ResourceType(ResourceKind.DISTRIBUTION),
    ],
    guides=GUIDES,
)
