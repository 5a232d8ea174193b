"""A plugin's declarations as the message that core reads."""

from __future__ import annotations

import hashlib
import uuid
from typing import TYPE_CHECKING

from google.protobuf.duration_pb2 import Duration

from entrepot.plugin.v1 import describe_pb2
from entrepot.plugin.v1.describe_pb2 import ClientGuide, DescribeResponse
from entrepot_sdk._descriptors import closed_set, load

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from google.protobuf.message import Message

    from entrepot_sdk.plugin import ContentType, Plugin, ResourceType, TaskType

__all__ = ["describe"]


def describe(plugin: Plugin) -> DescribeResponse:
    """Everything core needs to know, with a digest that is the same for the same declarations."""
    response = DescribeResponse(
        task_types=[_task_type(one) for one in plugin.task_types],
        content_types=[_content_type(one) for one in plugin.content_types],
        resource_types=[_resource_type(one) for one in plugin.resource_types],
        descriptors=closed_set(_messages(plugin), load(plugin.descriptors)),
        max_concurrent_attempts=plugin.max_concurrent_attempts,
        client_guides=[
            ClientGuide(client=one.client, title=one.title, template=one.template, check=one.check)
            for one in plugin.guides
        ],
    )
    declarations = response.SerializeToString(deterministic=True)
    response.declaration_digest = hashlib.sha256(declarations).hexdigest()
    response.name = plugin.name
    response.version = plugin.version
    response.instance_id = uuid.uuid4().hex
    return response


def _messages(plugin: Plugin) -> Iterator[type[Message]]:
    for task_type in plugin.task_types:
        yield task_type.parameters
        if task_type.result is not None:
            yield task_type.result
    for content_type in plugin.content_types:
        yield content_type.message
    for resource_type in plugin.resource_types:
        if resource_type.spec is not None:
            yield resource_type.spec


def _task_type(task_type: TaskType[Any]) -> describe_pb2.TaskType:
    timeout = None
    if task_type.timeout is not None:
        timeout = Duration()
        timeout.FromTimedelta(task_type.timeout)
    return describe_pb2.TaskType(
        collection=task_type.collection,
        parameters_message=task_type.parameters.DESCRIPTOR.full_name,
        result_message=task_type.result.DESCRIPTOR.full_name if task_type.result else "",
        creates=(
            task_type.creates.value
            if task_type.creates
            else describe_pb2.RESOURCE_KIND_UNSPECIFIED
        ),
        repeatable=task_type.repeatable,
        default_timeout=timeout,
        implementation=(
            task_type.core.value if task_type.core else describe_pb2.TaskType.IMPLEMENTATION_PLUGIN
        ),
        # Of required fields core is as strict as `missing_fields`.
        validated_by_core=task_type.validate is None,
    )


def _content_type(content_type: ContentType) -> describe_pb2.ContentType:
    return describe_pb2.ContentType(
        name=content_type.name,
        collection=content_type.collection,
        attributes_message=content_type.message.DESCRIPTOR.full_name,
        key_fields=content_type.key,
        repository_key_fields=content_type.repository_key,
        filterable_fields=content_type.filterable,
        indexes=[
            describe_pb2.ContentType.Index(path=one.path, line=one.line)
            for one in content_type.indexes
        ],
    )


def _resource_type(resource_type: ResourceType) -> describe_pb2.ResourceType:
    spec = resource_type.spec
    return describe_pb2.ResourceType(
        kind=resource_type.kind.value,
        spec_message=spec.DESCRIPTOR.full_name if spec else "",
    )
