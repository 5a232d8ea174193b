"""PluginService, StatusService and reflection over gRPC."""

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from core_under_test import (
    Core,
    a_config,
    a_remote,
    a_repository,
    errors_of_core,
    running_api,
)
from declarations import file_plugin, with_digest
from entrepot.core.v1 import plugin_service_pb2, status_service_pb2, task_service_pb2
from entrepot.plugin.v1 import describe_pb2
from entrepot.plugins.file.v1 import file_pb2
from entrepot_rpc.errors import Code, ServiceError
from fake_plugin import FakePlugin
from polling import until

Plugin = plugin_service_pb2.Plugin


@pytest.fixture
def plugin() -> Iterator[FakePlugin]:
    """A plugin for files."""
    plugin = FakePlugin().start()
    yield plugin
    plugin.stop()


@pytest.fixture
def core(core_dsn: str, tmp_path: Path) -> Iterator[Core]:
    """An api without plugins."""
    with running_api(a_config(core_dsn, tmp_path)) as core:
        yield core


def read(core: Core, name: str = "plugins/file") -> Plugin:
    """Reads a plugin."""
    request = plugin_service_pb2.GetPluginRequest(name=name)
    with errors_of_core():
        return core.plugins.GetPlugin(request, metadata=core.metadata, timeout=20).plugin


def test_a_plugin_is_registered_and_its_types_are_there(core: Core, plugin: FakePlugin) -> None:
    """Registering asks the plugin what it is; its declaration is shown without proto files."""
    registered = core.register(plugin)

    assert (registered.name, registered.health) == ("plugins/file", Plugin.HEALTH_SERVING)
    assert [one.collection for one in registered.declaration.task_types][:2] == ["syncs", "adds"]
    assert not registered.declaration.HasField("descriptors")
    assert read(core).target == plugin.target


def test_declarations_are_watched(core: Core, plugin: FakePlugin) -> None:
    """A watch begins with what there is, core's own tasks included, and hears of a new plugin."""
    stream = core.plugins.WatchPlugins(
        plugin_service_pb2.WatchPluginsRequest(), metadata=core.metadata, timeout=30
    )
    first = next(stream)
    core.register(plugin)
    second = next(stream)
    stream.cancel()

    assert [one.name for one in first.declarations] == ["core"]
    assert first.declarations[0].task_types[0].collection == "orphans"
    assert first.declarations[0].descriptors.file
    assert [one.name for one in second.declarations] == ["core", "file"]


def test_who_leaves_a_watch_leaves_its_thread(core: Core) -> None:
    """Many who ask what there is and leave, as commands do, keep nobody from asking."""
    request = plugin_service_pb2.WatchPluginsRequest()
    for _ in range(200):
        stream = core.plugins.WatchPlugins(request, metadata=core.metadata, timeout=5)
        assert [one.name for one in next(stream).declarations] == ["core"]
        stream.cancel()


@pytest.mark.parametrize("token", ["nonsense", "AAAA", "WyIAIl0", "W1tdXQ"])
def test_a_page_token_that_is_none_is_refused(core: Core, token: str) -> None:
    """A token that no page of plugins gave is refused, whatever it decodes to."""
    with pytest.raises(ServiceError, match="page_token") as caught, errors_of_core():
        core.plugins.ListPlugins(
            plugin_service_pb2.ListPluginsRequest(page_token=token),
            metadata=core.metadata,
            timeout=20,
        )

    assert caught.value.reason == "QUERY_INVALID"


def test_what_is_no_plugin_is_refused(core: Core) -> None:
    """An address where nobody answers is not registered."""
    with pytest.raises(ServiceError) as caught, errors_of_core():
        core.plugins.CreatePlugin(
            plugin_service_pb2.CreatePluginRequest(plugin=Plugin(target="127.0.0.1:1")),
            metadata=core.metadata,
            timeout=20,
        )

    assert caught.value.reason == "PLUGIN_UNAVAILABLE"


def test_a_broken_declaration_is_refused(core: Core, plugin: FakePlugin) -> None:
    """A declaration whose message is not in its proto files is refused with what is wrong."""
    plugin.declaration.content_types[0].key_fields.append("nothing")

    with pytest.raises(ServiceError, match="has no field nothing") as caught, errors_of_core():
        core.register(plugin)

    assert caught.value.reason == "PLUGIN_CONTRACT_VIOLATION"


def test_an_incompatible_declaration_is_kept_out(core: Core, plugin: FakePlugin) -> None:
    """A plugin that comes back without a task type is listed as incompatible; the old stays."""
    core.register(plugin)
    changed = describe_pb2.DescribeResponse()
    changed.CopyFrom(file_plugin("0.2.0"))
    del changed.task_types[0]
    plugin.declaration = with_digest(changed)
    update = plugin_service_pb2.UpdatePluginRequest(
        plugin=Plugin(name="plugins/file", target=f"localhost:{plugin.target.split(':')[1]}")
    )
    updated = core.plugins.UpdatePlugin(update, metadata=core.metadata, timeout=20).plugin

    assert updated.health == Plugin.HEALTH_INCOMPATIBLE
    assert "file/syncs was removed" in updated.message
    assert updated.declaration.task_types[0].collection == "syncs"


def test_a_task_of_a_plugin_that_lost_a_field_is_not_cloned(
    core: Core, plugin: FakePlugin
) -> None:
    """A clone is refused while the plugin's declaration lacks a field, with the field's name."""
    core.register(plugin)
    a_repository(core.database)
    a_remote(core.database)
    task = core.create(file_pb2.Sync(repository="foo", remote="bar", mirror=True))
    changed = describe_pb2.DescribeResponse()
    changed.CopyFrom(file_plugin("0.2.0"))
    for file in changed.descriptors.file:
        for message in file.message_type:
            if message.name == "Sync":
                kept = [field for field in message.field if field.name != "mirror"]
                del message.field[:]
                message.field.extend(kept)
    plugin.declaration = with_digest(changed)
    update = plugin_service_pb2.UpdatePluginRequest(
        plugin=Plugin(name="plugins/file", target=f"localhost:{plugin.target.split(':')[1]}")
    )
    core.plugins.UpdatePlugin(update, metadata=core.metadata, timeout=20)

    request = task_service_pb2.CloneTaskRequest(name=task.name)
    with pytest.raises(ServiceError, match="The field mirror of") as caught, errors_of_core():
        core.tasks.CloneTask(request, metadata=core.metadata, timeout=20)

    assert caught.value.reason == "PLUGIN_UNAVAILABLE"


def test_a_plugin_that_stops_and_comes_back_is_seen(core: Core, plugin: FakePlugin) -> None:
    """The loss of a plugin shows within seconds, and so does its return."""
    core.register(plugin)

    plugin.stop()
    until(lambda: read(core).health == Plugin.HEALTH_DOWN, "the plugin to be seen down")
    assert "does not answer" in read(core).message
    plugin.start()
    until(lambda: read(core).health == Plugin.HEALTH_SERVING, "the plugin to be seen again")


def test_a_removed_plugin_is_gone(core: Core, plugin: FakePlugin) -> None:
    """After its removal a plugin is unknown, and can be registered anew."""
    core.register(plugin)
    core.plugins.DeletePlugin(
        plugin_service_pb2.DeletePluginRequest(name="plugins/file"),
        metadata=core.metadata,
        timeout=20,
    )

    with pytest.raises(ServiceError) as caught:
        read(core)

    assert caught.value.code == Code.NOT_FOUND
    assert core.register(plugin).health == Plugin.HEALTH_SERVING


def test_the_status_says_what_is_wrong(core: Core, plugin: FakePlugin) -> None:
    """Versions, counts, and a sentence for each problem."""

    def status() -> status_service_pb2.GetStatusResponse:
        return core.status.GetStatus(
            status_service_pb2.GetStatusRequest(), metadata=core.metadata, timeout=20
        )

    assert any("No plugin" in problem for problem in status().problems)
    core.register(plugin)
    now = status()
    assert not any("No plugin" in problem for problem in now.problems)
    assert any("No dispatcher runs" in problem for problem in now.problems)
    assert now.database_version
    assert [one.name for one in now.plugins] == ["plugins/file"]


def test_reflection_knows_plugins_types(core: Core, plugin: FakePlugin) -> None:
    """Whoever asks by reflection gets core's services and a plugin's messages, without a token."""
    core.register(plugin)
    with grpc.insecure_channel(core.address) as channel:
        known = ProtoReflectionDescriptorDatabase(channel)
        file = known.FindFileContainingSymbol("entrepot.plugins.file.v1.Sync")
        services = known.get_services()

    assert file.package == "entrepot.plugins.file.v1"
    assert "entrepot.core.v1.TaskService" in services


def test_instances_behind_one_address_add_up(core: Core, plugin: FakePlugin) -> None:
    """Two of four attempts each run eight; an address that nobody answers at counts for none."""
    other = file_plugin()
    other.instance_id = "other"
    second = FakePlugin(other).start()
    gone = FakePlugin().start()
    gone.stop()
    try:
        plugin.target, single = (
            f"ipv4:{plugin.target},{second.target},{gone.target}",
            plugin.target,
        )
        together = core.register(plugin)
        with errors_of_core():
            alone = core.plugins.UpdatePlugin(
                plugin_service_pb2.UpdatePluginRequest(
                    plugin=Plugin(name="plugins/file", target=single)
                ),
                metadata=core.metadata,
                timeout=20,
            ).plugin
    finally:
        plugin.target = single
        second.stop()

    assert (together.max_running_attempts, alone.max_running_attempts) == (8, 4)


@pytest.mark.parametrize("slots", [0, -1])
def test_a_plugin_that_declares_no_room_is_refused(core: Core, slots: int) -> None:
    """Registering it fails, and says which field must be at least 1; nothing is kept."""
    plugin = FakePlugin(file_plugin(slots=slots)).start()
    try:
        with pytest.raises(ServiceError) as caught, errors_of_core():
            core.register(plugin)
    finally:
        plugin.stop()

    assert caught.value.reason == "PLUGIN_CONTRACT_VIOLATION"
    assert caught.value.code == Code.FAILED_PRECONDITION
    assert "max_concurrent_attempts must be at least 1" in caught.value.message
    assert core.database.fetch("SELECT name FROM plugin WHERE name <> 'core'") == []


def test_a_plugin_that_comes_to_declare_no_room_gets_no_tasks(
    core: Core, plugin: FakePlugin
) -> None:
    """It is listed as incompatible, with what is wrong, and keeps the room it had on paper."""
    core.register(plugin)
    plugin.declaration = with_digest(file_plugin("0.2.0", slots=0))
    with core.database.transaction() as cursor:
        cursor.execute("UPDATE plugin SET health = 'down' WHERE name = 'file'")

    until(lambda: read(core).health == Plugin.HEALTH_INCOMPATIBLE, "it is incompatible")

    assert "max_concurrent_attempts must be at least 1" in read(core).message
