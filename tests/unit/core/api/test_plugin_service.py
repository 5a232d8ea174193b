"""PluginService: what a registration may say, and what gateways are told."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from declarations import file_plugin
from entrepot.core.v1 import plugin_service_pb2, plugin_service_pb2_grpc
from entrepot_core.api.named_resource import next_token
from entrepot_core.api.plugin_service import PluginService, plugin_message
from entrepot_core.api.reflection import ReflectionPool
from entrepot_core.plugins.catalog import Catalog
from entrepot_core.plugins.client import Clients
from entrepot_core.plugins.describing import Describer
from entrepot_core.plugins.descriptors import Declaration
from entrepot_core.store.plugins import PluginRow
from unconnected_core import DeclaredPlugins, Servicing, fields, no_database, refusal

Plugin = plugin_service_pb2.Plugin
MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Answering(Describer):
    """Asks no process: at every address is the plugin for files."""

    def __init__(self) -> None:
        registry = DeclaredPlugins()
        super().__init__(no_database(), Clients(), registry)

    def ask(self, target: str, patience: float = 0) -> Declaration:
        """The declaration."""
        return Declaration(file_plugin())


class Changing(DeclaredPlugins):
    """A registry that changes as often as is said, and then the process ends."""

    def __init__(self, stopping: threading.Event, *catalogs: Catalog) -> None:
        super().__init__()
        self._stopping = stopping
        self._coming = list(catalogs)

    def wait_for_change(
        self, revision: int, seconds: float, has_left: Callable[[], bool] = lambda: False
    ) -> Catalog:
        """The next one, without waiting."""
        if not self._coming:
            self._stopping.set()
            return self.catalog()
        return self._coming.pop(0)


def serve(registry: DeclaredPlugins, stopping: threading.Event) -> Servicing:
    """The servicer over a registry."""
    return Servicing(
        plugin_service_pb2.DESCRIPTOR.services_by_name["PluginService"],
        plugin_service_pb2_grpc.add_PluginServiceServicer_to_server,
        PluginService(no_database(), registry, Answering(), stopping, stopping.clear),
    )


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({}, "plugin.target"),
        ({"target": "  "}, "plugin.target"),
        ({"target": "a:1", "weight": -1}, "plugin.weight"),
        ({"target": "a:1", "weight": 1001}, "plugin.weight"),
        ({"target": "a:1", "name": "plugins/rpm"}, "plugin.name"),
    ],
)
def test_a_wrong_field_is_named(given: dict[str, object], field: str) -> None:
    """An address is needed, shares have a range, and a plugin has the name it calls itself."""
    servicing = serve(DeclaredPlugins(), threading.Event())
    request = plugin_service_pb2.CreatePluginRequest(
        plugin=Plugin(**given)  # type: ignore[arg-type]
    )

    error = refusal(lambda: servicing.call("CreatePlugin", request))

    assert ("FIELD_INVALID", [field]) == (error.reason, fields(error))


@pytest.mark.parametrize("name", ["", "file", "plugins/file", "/api/v3/plugins/file/"])
def test_a_plugin_may_be_named_as_it_calls_itself(name: str) -> None:
    """A name that fits, however it is given, gets as far as the database."""
    servicing = serve(DeclaredPlugins(), threading.Event())
    request = plugin_service_pb2.CreatePluginRequest(plugin=Plugin(target="a:1", name=name))

    error = refusal(lambda: servicing.call("CreatePlugin", request))

    assert error.reason == "DATABASE_UNAVAILABLE"


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"page_size": 1001}, "FIELD_INVALID"),
        ({"page_token": "!"}, "QUERY_INVALID"),
        ({"page_token": next_token((1,))}, "QUERY_INVALID"),
    ],
)
def test_a_page_is_asked_for_rightly(given: dict[str, object], reason: str) -> None:
    """Sizes and tokens are looked at before the database is."""
    servicing = serve(DeclaredPlugins(), threading.Event())
    request = plugin_service_pb2.ListPluginsRequest(**given)  # type: ignore[arg-type]

    error = refusal(lambda: servicing.call("ListPlugins", request))

    assert reason == error.reason


def test_watchers_are_told_of_changes_only() -> None:
    """All declarations come at once, and again when they differ from those that were sent."""
    stopping = threading.Event()
    old, new = Declaration(file_plugin("1.0.0")), Declaration(file_plugin("2.0.0"))
    registry = Changing(stopping, Catalog([old]), Catalog([old], (), 2), Catalog([new]))

    answers = serve(registry, stopping).read(
        "WatchPlugins", plugin_service_pb2.WatchPluginsRequest()
    )

    versions = [
        [(one.name, one.version) for one in answer.declarations if one.name != "core"]
        for answer in answers
        if isinstance(answer, plugin_service_pb2.WatchPluginsResponse)
    ]
    assert [[], [("file", "1.0.0")], [("file", "2.0.0")]] == versions


def a_row(**given: object) -> PluginRow:
    """A plugin that was registered and has not answered."""
    known: dict[str, object] = {
        "plugin_id": 1,
        "name": "file",
        "target": "a:1",
        "weight": 2,
        "max_running": 4,
        "health": "down",
        "message": "no answer",
        "is_removed": False,
        "declaration_id": None,
        "version": "",
        "instance_id": "",
        "seen_at": None,
        "created_at": MOMENT,
        "running": 3,
    }
    return PluginRow(**{**known, **given})  # type: ignore[arg-type]


def test_a_plugin_that_never_answered_is_shown() -> None:
    """What is not known of it is absent."""
    message = plugin_message(a_row(), DeclaredPlugins().catalog())

    expected = Plugin(
        name="plugins/file",
        target="a:1",
        weight=2,
        health=Plugin.HEALTH_DOWN,
        message="no answer",
        running_attempts=3,
        max_running_attempts=4,
    )
    expected.create_time.FromDatetime(MOMENT)
    assert expected == message


@pytest.mark.parametrize(
    ("health", "number"),
    [
        ("serving", Plugin.HEALTH_SERVING),
        ("down", Plugin.HEALTH_DOWN),
        ("incompatible", Plugin.HEALTH_INCOMPATIBLE),
    ],
)
def test_a_plugin_is_shown_with_what_it_declared(
    health: str, number: Plugin.Health.ValueType
) -> None:
    """The declaration is there without its proto files, which are long."""
    catalog = DeclaredPlugins(file_plugin()).catalog()

    message = plugin_message(a_row(health=health, declaration_id=7, seen_at=MOMENT), catalog)

    assert (number, "file") == (message.health, message.declaration.name)
    assert not message.declaration.HasField("descriptors")
    assert len(catalog.declarations["file"].response.descriptors.file) > 0
    assert MOMENT == message.seen_time.ToDatetime(UTC)


@pytest.mark.parametrize(
    "name", ["entrepot.core.v1.Plugin", "entrepot.core.v1.CollectOrphans", "google.protobuf.Any"]
)
def test_reflection_knows_types_of_core_without_plugins(name: str) -> None:
    """Core's own types and those of protobuf are found while no plugin is there."""
    pool = ReflectionPool(DeclaredPlugins().catalog)

    assert name == pool.FindMessageTypeByName(name).full_name


def test_reflection_refuses_what_nobody_declared() -> None:
    """It is a KeyError, as of any pool, and other attributes are none."""
    pool = ReflectionPool(DeclaredPlugins(file_plugin()).catalog)

    with pytest.raises(KeyError):
        pool.FindMessageTypeByName("nobody.knows.This")
    with pytest.raises(AttributeError):
        _ = pool.Add
