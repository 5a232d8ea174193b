"""Describe: pure, complete, documented."""
# ruff: noqa: S101  these are tests

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from entrepot.plugin.v1.describe_pb2 import TaskType
from entrepot_rpc.channel import connect
from entrepot_sdk.testing.contract.subject import Subject, describe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto

    from entrepot.plugin.v1.describe_pb2 import DescribeResponse
    from entrepot_sdk.testing.fake_core import FakeCore

__all__ = ["DescribeContract"]

_MAX_BYTES = 1 << 20
_SERVICE = "entrepot.plugin.v1.PluginTasks"


class DescribeContract(Subject):
    """What a plugin says about itself."""

    def test_describe_twice_is_equal(self, plugin: str) -> None:
        """The same process gives the same answer."""
        assert describe(plugin) == describe(plugin)

    def test_another_process_describes_the_same(
        self, core: FakeCore, description: DescribeResponse
    ) -> None:
        """Another process gives the same answer, digest included, but for its own id."""
        with self.start(core) as process:
            other = describe(process.address)

        assert other.instance_id != description.instance_id
        other.instance_id = description.instance_id
        assert other == description

    def test_names_have_their_forms(self, description: DescribeResponse) -> None:
        """Name, version, id and digest are there, in their forms."""
        assert re.fullmatch(r"[a-z][a-z0-9_]*", description.name)
        assert re.fullmatch(r"\d+\.\d+\.\d+\S*", description.version)
        assert description.instance_id
        assert re.fullmatch(r"[0-9a-f]{64}", description.declaration_digest)
        assert description.max_concurrent_attempts >= 1

    def test_describe_is_small(self, description: DescribeResponse) -> None:
        """The answer fits into 1 MiB."""
        assert description.ByteSize() <= _MAX_BYTES

    def test_descriptors_are_closed(self, description: DescribeResponse) -> None:
        """Every file is there before those that import it, so that a pool can be built."""
        _pool(description)

    def test_every_named_message_is_described(self, description: DescribeResponse) -> None:
        """Each message a declaration names is in the descriptors, and each of its fields too."""
        pool = _pool(description)
        for name in _named_messages(description):
            assert pool.FindMessageTypeByName(name).full_name == name
        for one in description.content_types:
            fields = pool.FindMessageTypeByName(one.attributes_message).fields_by_name
            named = {*one.key_fields, *one.repository_key_fields, *one.filterable_fields}
            assert one.key_fields, one.name
            assert named <= set(fields), one.name

    def test_declarations_are_distinct(self, description: DescribeResponse) -> None:
        """No two types share a name, a collection or a parameters message."""
        tasks = description.task_types
        content = description.content_types
        for names in (
            [one.collection for one in tasks],
            [one.parameters_message for one in tasks],
            [one.name for one in content],
            [one.collection for one in content],
        ):
            assert len(set(names)) == len(names)
        assert all(one.name.startswith(f"{description.name}.") for one in content)

    def test_somebody_does_each_task(self, description: DescribeResponse) -> None:
        """Each task type says whether the plugin or core does it."""
        undecided = [
            one.collection
            for one in description.task_types
            if one.implementation == TaskType.IMPLEMENTATION_UNSPECIFIED
        ]
        assert undecided == []

    def test_comments_are_there(self, description: DescribeResponse) -> None:
        """Each message people meet is documented, and each of its fields."""
        comments = dict(_comments(description))
        undocumented = [
            name
            for message in sorted(_named_messages(description))
            for name in (message, *_fields(description, message))
            if not comments.get(name)
        ]
        assert undocumented == []

    def test_guides_can_be_checked(self, description: DescribeResponse) -> None:
        """Each guide has a title, a text that names the distribution, and a check."""
        for guide in description.client_guides:
            assert guide.client
            assert guide.title
            assert "{content_url}" in guide.template
            assert guide.check

    def test_health_and_reflection_are_served(self, plugin: str) -> None:
        """The standard services say that the plugin is well, and what it serves."""
        with connect(plugin) as channel:
            health: Any = health_pb2_grpc.HealthStub(channel)
            for service in ("", _SERVICE):
                answer = health.Check(health_pb2.HealthCheckRequest(service=service), timeout=10)
                assert answer.status == health_pb2.HealthCheckResponse.SERVING
            assert _SERVICE in ProtoReflectionDescriptorDatabase(channel).get_services()


def _pool(description: DescribeResponse) -> DescriptorPool:
    pool = DescriptorPool()
    for file in description.descriptors.file:
        pool.AddSerializedFile(file.SerializeToString())
    return pool


def _named_messages(description: DescribeResponse) -> set[str]:
    names = {one.parameters_message for one in description.task_types}
    names |= {one.result_message for one in description.task_types}
    names |= {one.attributes_message for one in description.content_types}
    names |= {one.spec_message for one in description.resource_types}
    return names - {""}


def _fields(description: DescribeResponse, message: str) -> list[str]:
    fields = _pool(description).FindMessageTypeByName(message).fields
    return [field.full_name for field in fields]


def _comments(description: DescribeResponse) -> Iterator[tuple[str, str]]:
    """The comment before each message and field, by full name."""
    for file in description.descriptors.file:
        by_path = {
            tuple(one.path): one.leading_comments.strip() for one in file.source_code_info.location
        }
        for path, name in _places(file):
            yield name, by_path.get(path, "")


def _places(file: FileDescriptorProto) -> Iterator[tuple[tuple[int, ...], str]]:
    """The path of each message and field in the file's source information."""
    of_message, of_nested, of_field = 4, 3, 2

    def below(
        message: DescriptorProto, path: tuple[int, ...], name: str
    ) -> Iterator[tuple[tuple[int, ...], str]]:
        yield path, name
        for index, field in enumerate(message.field):
            yield (*path, of_field, index), f"{name}.{field.name}"
        for index, nested in enumerate(message.nested_type):
            yield from below(nested, (*path, of_nested, index), f"{name}.{nested.name}")

    for index, message in enumerate(file.message_type):
        yield from below(message, (of_message, index), f"{file.package}.{message.name}")
