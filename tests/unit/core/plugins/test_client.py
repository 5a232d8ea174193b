"""Calling a plugin that comes and goes."""

from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from entrepot.plugin.v1 import describe_pb2, plugin_tasks_pb2_grpc
from entrepot_core.domain.errors import PluginUnavailableError
from entrepot_core.plugins.client import PluginClient
from stack import free_addresses


class Named(plugin_tasks_pb2_grpc.PluginTasksServicer):
    """A plugin that says its name."""

    def Describe(
        self, request: describe_pb2.DescribeRequest, context: grpc.ServicerContext
    ) -> describe_pb2.DescribeResponse:
        """The name only."""
        return describe_pb2.DescribeResponse(name="named")


def test_a_plugin_started_again_at_the_same_address_is_found_at_once() -> None:
    """A channel that waits before it connects anew is waited for, if the caller is patient."""
    (address,) = free_addresses(1)
    client = PluginClient(address)
    for _ in range(3):
        with pytest.raises(PluginUnavailableError):
            client.describe()
    server = grpc.server(ThreadPoolExecutor(1))
    plugin_tasks_pb2_grpc.add_PluginTasksServicer_to_server(Named(), server)
    server.add_insecure_port(address)
    server.start()
    try:
        assert client.describe(patience=10).name == "named"
    finally:
        server.stop(0)
        client.close()


def test_a_plugin_that_is_not_there_is_told_with_the_reason() -> None:
    """Patience changes when the caller is told, and nothing of what."""
    (address,) = free_addresses(1)
    client = PluginClient(address)
    with pytest.raises(PluginUnavailableError, match="Connection refused"):
        client.describe(patience=0.2)
    client.close()
