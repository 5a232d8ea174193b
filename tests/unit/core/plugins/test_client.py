"""Calling a plugin that comes and goes."""

from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from addresses import free_addresses
from entrepot.plugin.v1 import describe_pb2
from entrepot_core.domain.errors import PluginUnavailableError
from entrepot_core.plugins.client import PluginClient


def a_plugin_named(name: str) -> grpc.GenericRpcHandler:
    """What answers Describe with a name only."""
    describe = grpc.unary_unary_rpc_method_handler(
        lambda _request, _context: describe_pb2.DescribeResponse(name=name),
        request_deserializer=describe_pb2.DescribeRequest.FromString,
        response_serializer=describe_pb2.DescribeResponse.SerializeToString,
    )
    return grpc.method_handlers_generic_handler(
        "entrepot.plugin.v1.PluginTasks", {"Describe": describe}
    )


def test_a_plugin_started_again_at_the_same_address_is_found_at_once() -> None:
    """A channel that waits before it connects anew is waited for, if the caller is patient."""
    (address,) = free_addresses(1)
    client = PluginClient(address)
    for _ in range(3):
        with pytest.raises(PluginUnavailableError):
            client.describe()
    server = grpc.server(ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers((a_plugin_named("named"),))
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
