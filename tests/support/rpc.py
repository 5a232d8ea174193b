"""Servicers behind a real server on a free port, as clients see them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import grpc

from entrepot_rpc.channel import connect
from entrepot_rpc.errors import ServiceError
from entrepot_rpc.server import Server
from entrepot_rpc.status import from_rpc_error


@contextmanager
def serving(name: str, register: Callable[[grpc.Server], None]) -> Iterator[grpc.Channel]:
    """A channel to a server with one service, named in full."""
    server = Server("127.0.0.1:0", threads=8)
    server.add(name, register)
    address = server.start()
    channel = connect(address)
    try:
        yield channel
    finally:
        channel.close()
        server.stop(0)


@contextmanager
def raises(reason: str) -> Iterator[list[ServiceError]]:
    """The block fails with a status of this reason; the error is appended to the list."""
    caught: list[ServiceError] = []
    try:
        yield caught
    except grpc.RpcError as error:
        found = from_rpc_error(error)
        assert found.reason == reason, found
        caught.append(found)
    else:
        raise AssertionError(f"it should have failed with {reason}")
