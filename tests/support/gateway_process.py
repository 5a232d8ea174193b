"""A gateway as it is run in production, in a process of its own, and a made-up core behind it."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from addresses import free_addresses
from entrepot.core.v1 import plugin_service_pb2, serving_service_pb2, task_service_pb2
from entrepot_rpc.errors import Code, ServiceError
from gateway_core import TOKEN
from gateway_declarations import a_plugin
from served import Resolved, a_file, store
from threaded_core import ThreadedCore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

SECONDS = 30
TRACER = Path(__file__).parent / "tracer"


@dataclass
class GatewayProcess:
    """A process that serves one role, with a stored file at /dev/a/x.txt."""

    process: subprocess.Popen[bytes]
    address: tuple[str, int]
    home: Path
    core: ThreadedCore
    files: dict[str, Resolved]

    @property
    def is_alive(self) -> bool:
        """Whether it is the process that was started."""
        return self.process.poll() is None

    @property
    def memory(self) -> int:
        """What it has in memory, in bytes."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    @property
    def opened(self) -> list[str]:
        """Every file and folder that Python opened in it, from its start on."""
        return (self.home / "trace").read_text("utf-8", "surrogateescape").splitlines()

    def connect(self) -> socket.socket:
        """A connection."""
        return socket.create_connection(self.address, SECONDS)

    def exchange(self, request: bytes) -> bytes:
        """Everything that comes back on a connection for these bytes."""
        with closing(self.connect()) as connection:
            with suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(request)
            return read_all(connection)

    def ask(self, target: bytes, method: bytes = b"GET", *fields: bytes) -> bytes:
        """The whole answer to a request for a target as it is."""
        lines = [method + b" " + target + b" HTTP/1.1", b"Host: a.test", b"Connection: close"]
        return self.exchange(b"\r\n".join([*lines, *fields, b"", b""]))


def read_all(connection: socket.socket) -> bytes:
    """What comes until the connection ends, however it ends."""
    received = bytearray()
    try:
        while piece := connection.recv(65536):
            received += piece
    except ConnectionResetError:
        pass
    return bytes(received)


def status(answer: bytes) -> int:
    """The status of an answer; zero: the connection ended without one."""
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.") else 0


def fields_of(answer: bytes) -> dict[str, str]:
    """The header fields of an answer."""
    lines = answer.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]
    return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}


@contextmanager
def gateway_process(role: str, home: Path) -> Iterator[GatewayProcess]:
    """Run a role until the block ends."""
    core = ThreadedCore()
    files = {"a/x.txt": a_file(), "a": Resolved(kind=Resolved.KIND_FOLDER)}
    store(home)
    _prepare(core, files)
    (address,) = free_addresses(1)
    port = int(address.rpartition(":")[2])
    with core.running():
        env = {"ENTREPOT_HOME": str(home), "ENTREPOT_GRPC": core.address}
        env |= {"ENTREPOT_TOKEN": TOKEN, "ENTREPOT_CONTENT_TOKEN": TOKEN}
        env |= dict.fromkeys(("ENTREPOT_HTTP", "ENTREPOT_CONTENT"), f"127.0.0.1:{port}")
        # Found by Python's `site`; traces every file that is opened.
        env |= {"PYTHONPATH": str(TRACER), "TRACE": str(home / "trace")}
        process = subprocess.Popen(
            [sys.executable, "-m", "entrepot_gateway", role], env=env, stdout=subprocess.PIPE
        )
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith(b"ready ")
            yield GatewayProcess(process, ("127.0.0.1", port), home, core, files)
        finally:
            process.terminate()
            process.communicate(timeout=SECONDS)


def _prepare(core: ThreadedCore, files: dict[str, Resolved]) -> None:
    async def feed(*first: Any) -> AsyncIterator[Any]:  # noqa: ANN401
        for message in first:
            yield message
        await asyncio.Event().wait()

    def pointer(request: Any) -> serving_service_pb2.ResolvePointerResponse:  # noqa: ANN401
        if request.path.split("/")[0] != "dev":
            return serving_service_pb2.ResolvePointerResponse()
        return serving_service_pb2.ResolvePointerResponse(
            distribution="distributions/zoo/dev", base_path="dev", content_set="7"
        )

    declared = plugin_service_pb2.WatchPluginsResponse(declarations=[a_plugin()])
    core.on("WatchPlugins", lambda _: feed(declared))
    core.on("WatchEvents", lambda _: feed(task_service_pb2.WatchEventsResponse()))
    core.on("WatchPointers", lambda _: feed(serving_service_pb2.WatchPointersResponse(all=True)))
    core.on("ListPlugins", plugin_service_pb2.ListPluginsResponse())
    core.on("ResolvePointer", pointer)
    gone = ServiceError.of(Code.FAILED_PRECONDITION, "BLOB_MISSING", "The bytes are gone.")
    core.on("StreamFile", gone)
    core.on("ResolvePath", lambda r: files.get(r.path, Resolved(kind=Resolved.KIND_ABSENT)))
