"""What a field refers to: the kind of resource that it names, and where the server keeps those."""

from google.protobuf.descriptor import FieldDescriptor

from entrepot.plugin.v1 import describe_pb2

# Where the server keeps what a field of this kind names.
COLLECTIONS = {
    describe_pb2.RESOURCE_KIND_REPOSITORY: "repositories",
    describe_pb2.RESOURCE_KIND_REPOSITORY_VERSION: "repositories",
    describe_pb2.RESOURCE_KIND_REMOTE: "remotes",
    describe_pb2.RESOURCE_KIND_PUBLICATION: "publications",
    describe_pb2.RESOURCE_KIND_DISTRIBUTION: "distributions",
    describe_pb2.RESOURCE_KIND_CONTENT: "content",
    describe_pb2.RESOURCE_KIND_UPLOAD: "uploads",
}

# In core's own messages, which carry no annotations, these fields name resources.
_CORE = "entrepot.core.v1."
_CORE_REFERENCES = {
    "repository": describe_pb2.RESOURCE_KIND_REPOSITORY,
    "version": describe_pb2.RESOURCE_KIND_REPOSITORY_VERSION,
    "publication": describe_pb2.RESOURCE_KIND_PUBLICATION,
}


def reference_kind(field: FieldDescriptor) -> describe_pb2.ResourceKind.ValueType:
    """The kind of resource a field names; zero if it names none."""
    if field.full_name.startswith(_CORE) and field.name in _CORE_REFERENCES:
        return _CORE_REFERENCES[field.name]
    reference: describe_pb2.Reference = field.GetOptions().Extensions[describe_pb2.reference]
    return reference.kind
