"""What a plugin author imports: declarations, a workspace to work with, and `serve`."""

from entrepot.type.v1.content_pb2 import Artifact, Edge
from entrepot.type.v1.digest_pb2 import Digest
from entrepot_sdk.content import (
    Unit,
    artifact,
    attaches,
    context,
    needs,
    sha256_digest,
)
from entrepot_sdk.diagnostic import Diagnostic, error, warning
from entrepot_sdk.errors import DeclarationError, FetchFailed, Refused, TaskFailed
from entrepot_sdk.fetched import Fetched
from entrepot_sdk.plugin import ContentType, CoreWork, Guide, Index, Plugin, ResourceType, TaskType
from entrepot_sdk.resource import Remote, Repository, Resource, ResourceKind, Resources, Upload
from entrepot_sdk.serve import serve
from entrepot_sdk.workspace import Workspace

__all__ = [
    "Artifact",
    "ContentType",
    "CoreWork",
    "DeclarationError",
    "Diagnostic",
    "Digest",
    "Edge",
    "FetchFailed",
    "Fetched",
    "Guide",
    "Index",
    "Plugin",
    "Refused",
    "Remote",
    "Repository",
    "Resource",
    "ResourceKind",
    "ResourceType",
    "Resources",
    "TaskFailed",
    "TaskType",
    "Unit",
    "Upload",
    "Workspace",
    "artifact",
    "attaches",
    "context",
    "error",
    "needs",
    "serve",
    "sha256_digest",
    "warning",
]
