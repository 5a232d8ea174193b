"""A content gateway that leaves the sending to a real nginx, and a core that a test makes up."""

import asyncio
import http.client
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from addresses import free_addresses
from entrepot.core.v1 import serving_service_pb2 as pb
from gateway_core import TOKEN, FakeCore
from nginx import Nginx, nginx
from served import Resolved

ACCEL = "/.entrepot-blobs"


@dataclass(frozen=True)
class Answer:
    """What a client got, header fields in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class Proxied:
    """Both doors to the same gateway, and what it serves at /dev."""

    nginx: Nginx
    gateway: str
    files: dict[str, Resolved]

    def get(
        self,
        target: str,
        headers: Mapping[str, str] | None = None,
        method: str = "GET",
        *,
        directly: bool = False,
    ) -> Answer:
        """An answer of nginx, or of the gateway itself; the target is sent as it is."""
        connection = http.client.HTTPConnection(
            self.gateway if directly else self.nginx.content, timeout=20
        )
        try:
            connection.request(method, target, headers=dict(headers or {}))
            response = connection.getresponse()
            fields = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, fields, response.read())
        finally:
            connection.close()


@contextmanager
def proxied(folder: Path, more: str = "") -> Iterator[Proxied]:
    """Start nginx, which may have more servers, gateway and core; blobs are in `folder`/blobs."""
    files: dict[str, Resolved] = {}
    core = FakeCore()
    core.on("ResolvePointer", _pointer)
    core.on("ResolvePath", lambda r: files.get(r.path, Resolved(kind=Resolved.KIND_ABSENT)))
    core.on("WatchPointers", _watch)
    (folder / "blobs").mkdir(exist_ok=True)
    with _running(core):
        (address,) = free_addresses(1)
        environment = {
            "PATH": os.environ["PATH"],
            "ENTREPOT_HOME": str(folder),
            "ENTREPOT_GRPC": core.address,
            "ENTREPOT_CONTENT": address,
            "ENTREPOT_CONTENT_TOKEN": TOKEN,
            "ENTREPOT_CONTENT_ACCEL": ACCEL,
        }
        command = [sys.executable, "-m", "entrepot_gateway", "content"]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as gateway:
            try:
                assert gateway.stdout is not None
                assert gateway.stdout.readline().startswith(b"ready ")
                with nginx(folder / "blobs", content=address, more=more) as front:
                    yield Proxied(front, address, files)
            finally:
                gateway.terminate()


def _pointer(request: pb.ResolvePointerRequest) -> pb.ResolvePointerResponse:
    if request.path.split("/")[0] != "dev":
        return pb.ResolvePointerResponse()
    return pb.ResolvePointerResponse(distribution="d", base_path="dev", content_set="7")


async def _watch(_request: object) -> Any:  # noqa: ANN401  an asynchronous generator
    yield pb.WatchPointersResponse(all=True)
    await asyncio.Event().wait()


@contextmanager
def _running(core: FakeCore) -> Iterator[None]:
    """A core in a thread of its own, with an event loop of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    asyncio.run_coroutine_threadsafe(core.start(), loop).result(20)
    try:
        yield
    finally:
        asyncio.run_coroutine_threadsafe(core.stop(), loop).result(20)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(20)
        loop.close()
