"""A loopback upstream: files with a PULP_MANIFEST, what was asked for, and every way to misbehave.

It speaks HTTP/1.1 over asyncio in a thread of its own, without a library between it and the
socket, so that it can break the protocol on purpose. `python upstream.py --files 5000` serves from
a process of its own, for measurements.
"""

import argparse
import asyncio
import hashlib
import random
import secrets
import ssl
import struct
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from socket import SO_LINGER, SOL_SOCKET
from types import TracebackType
from typing import Self
from urllib.parse import unquote

import loops

MANIFEST = "PULP_MANIFEST"
LAST_MODIFIED = "Mon, 01 Jan 2024 00:00:00 GMT"


@dataclass(frozen=True)
class Request:
    """What somebody asked for."""

    method: str
    path: str
    headers: Mapping[str, str]
    # Whether the client has shown a certificate of its own.
    is_certified: bool = False


@dataclass
class Behavior:
    """How a path answers instead of as it should, for the first `times` requests or for ever."""

    kind: str
    status: int = 200
    times: int | None = None
    gate: "Gate | None" = None
    location: str = ""

    def takes(self) -> bool:
        """Say whether it still applies, and count that it was applied."""
        if self.times is None:
            return True
        self.times -= 1
        return self.times >= 0


def answers(status: int, times: int | None = None) -> Behavior:
    """Answer with another status and a short text."""
    return Behavior("status", status=status, times=times)


def truncates(times: int | None = None) -> Behavior:
    """Announce the whole body, send half of it, and hang up."""
    return Behavior("truncate", times=times)


def lies(times: int | None = None) -> Behavior:
    """Send other bytes of the same length."""
    return Behavior("lie", times=times)


def grows(times: int | None = None) -> Behavior:
    """Send the right bytes and some more, with a Content-Length that says so."""
    return Behavior("grow", times=times)


def stalls(times: int | None = None) -> Behavior:
    """Send half of the body, and then nothing, with the connection open."""
    return Behavior("stall", times=times)


def resets(times: int | None = None) -> Behavior:
    """Send half of the body and reset the connection."""
    return Behavior("reset", times=times)


def redirects(status: int = 302, location: str = "") -> Behavior:
    """Redirect to a location, by default the same path below /moved/, which serves the file."""
    return Behavior("redirect", status=status, location=location)


class Gate:
    """Holds requests until the test opens it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._entered = threading.Event()
        self._opened = asyncio.Event()

    def wait_entered(self, seconds: float = 60) -> None:
        """Return once a request is being held."""
        assert self._entered.wait(seconds), "nobody asked for what the gate holds"

    def open(self) -> None:
        """Let the held requests, and all later ones, go on."""
        self._loop.call_soon_threadsafe(self._opened.set)

    async def hold(self) -> None:
        """Stand before the gate. For the upstream."""
        self._entered.set()
        await self._opened.wait()


class Upstream:
    """Serves `files` and their manifest on a free port of 127.0.0.1."""

    def __init__(
        self, files: Mapping[str, bytes] | None = None, *, tls: ssl.SSLContext | None = None
    ) -> None:
        self.files: dict[str, bytes] = dict(files or {})
        self.tls = tls
        # Header fields without which it answers 401.
        self.asks_for: dict[str, str] = {}
        # What is stored once is not asked for again: each upstream has bytes of its own.
        self.salt = secrets.randbits(48)
        # Lines of the manifest for files that are listed and not there.
        self.listed: dict[str, tuple[str, int]] = {}
        # Replaces the generated manifest.
        self.manifest_text: str | None = None
        self.behaviors: dict[str, Behavior] = {}
        self.requests: list[Request] = []
        self.not_modified: Counter[str] = Counter()
        self.bytes_sent = 0
        self.open_requests = 0
        self.most_open_requests = 0
        self.port = 0
        self._gates: list[Gate] = []
        self._cached: tuple[int, bytes] | None = None
        self._tags: dict[str, tuple[bytes, str]] = {}
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._stopped: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run, name="upstream", daemon=True)

    # --- what is there

    @property
    def url(self) -> str:
        """Its address, with a slash at its end."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}/"

    @property
    def manifest_url(self) -> str:
        """What a remote of the type file has as its URL."""
        return self.url + MANIFEST

    def fill(self, count: int, size: int = 64, folder: str = "files") -> Self:
        """Have `count` files of `size` bytes, each with bytes of its own."""
        self.files |= {
            f"{folder}/{number:06d}.bin": data_for(number, size, self.salt)
            for number in range(count)
        }
        return self

    def change(self, count: int) -> list[str]:
        """Give the first `count` files other bytes of the same length; returns their paths."""
        self.salt += 1
        changed = sorted(self.files)[:count]
        for number, path in enumerate(changed):
            self.files[path] = data_for(number, len(self.files[path]), self.salt)
        return changed

    def list_only(self, count: int, size: int = 1024, folder: str = "listed") -> Self:
        """List files that nobody can fetch: for large repositories on demand."""
        self.listed |= {
            f"{folder}/{number:06d}.bin": (
                hashlib.sha256(f"{folder}/{number}".encode()).hexdigest(),
                size,
            )
            for number in range(count)
        }
        return self

    def manifest(self) -> bytes:
        """Path, digest and size of every file, in order of path."""
        if self.manifest_text is not None:
            return self.manifest_text.encode()
        lines = {path: (digest_of(data), len(data)) for path, data in self.files.items()}
        lines |= self.listed
        return "".join(
            f"{path},{digest},{size}\n" for path, (digest, size) in sorted(lines.items())
        ).encode()

    def digests(self) -> dict[str, str]:
        """SHA-256 of every file, by path."""
        return {path: digest_of(data) for path, data in self.files.items()}

    # --- how it behaves

    def behave(self, path: str, behavior: Behavior) -> None:
        """Answer at this path as the behavior says."""
        self.behaviors[path] = behavior

    def hold(self, path: str) -> Gate:
        """Hold every request for this path until the gate is opened."""
        gate = Gate(self._loop)
        self._gates.append(gate)
        self.behaviors[path] = Behavior("hold", gate=gate)
        return gate

    def count(self, path: str) -> int:
        """How often this path was asked for."""
        return sum(1 for request in self.requests if request.path == path)

    def forget(self) -> None:
        """Count from zero again."""
        self.requests.clear()
        self.not_modified.clear()
        self.bytes_sent = 0
        self.most_open_requests = 0

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(60), "the upstream does not start"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for gate in self._gates:
            gate.open()
        assert self._stopped is not None
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(60)

    # --- inside

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._stopped = asyncio.Event()
        server = await self._loop.create_server(
            lambda: _Connection(self), "127.0.0.1", 0, backlog=512, ssl=self.tls
        )
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        await self._stopped.wait()
        await loops.end(server)

    def body_of(self, path: str) -> bytes | None:
        """The bytes at a path, if there are any."""
        if path == MANIFEST:
            return self._cached_manifest()
        return self.files.get(path.removeprefix("moved/"))

    def tag_of(self, path: str, body: bytes) -> str:
        """The ETag of these bytes at a path; made once for them."""
        known = self._tags.get(path)
        if known is None or known[0] is not body:
            known = self._tags[path] = (body, f'"{digest_of(body)}"')
        return known[1]

    def _cached_manifest(self) -> bytes:
        # A large manifest takes a while, and changes only with what is below.
        state = hash(
            (
                self.manifest_text,
                len(self.listed),
                tuple((path, id(data)) for path, data in self.files.items()),
            )
        )
        if self._cached is None or self._cached[0] != state:
            self._cached = (state, self.manifest())
        return self._cached[1]


class _Connection(asyncio.Protocol):
    """One client's connection, request after request."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._buffer = b""
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while self._task is None and b"\r\n\r\n" in self._buffer:
            head, self._buffer = self._buffer.split(b"\r\n\r\n", 1)
            is_certified = bool(self._transport and self._transport.get_extra_info("peercert"))
            self._answer(_parse(head, is_certified=is_certified))

    def _answer(self, request: Request) -> None:
        upstream = self._upstream
        upstream.requests.append(request)
        behavior = upstream.behaviors.get(request.path)
        if any(request.headers.get(name) != value for name, value in upstream.asks_for.items()):
            self._send(401, b"who are you?\n", request=request)
        elif behavior is None or not behavior.takes():
            self._send_file(request)
        elif behavior.gate is not None:
            upstream.open_requests += 1
            self._task = asyncio.get_running_loop().create_task(self._hold(request, behavior.gate))
        else:
            self._misbehave(request, behavior)

    async def _hold(self, request: Request, gate: Gate) -> None:
        try:
            await gate.hold()
            self._send_file(request)
        finally:
            self._upstream.open_requests -= 1
            self._task = None

    def _send_file(self, request: Request) -> None:
        body = self._upstream.body_of(request.path)
        if body is None:
            self._send(404, b"not here\n", request=request)
            return
        tag = self._upstream.tag_of(request.path, body)
        headers = {"ETag": tag, "Last-Modified": LAST_MODIFIED}
        if request.headers.get("if-none-match") == tag:
            self._upstream.not_modified[request.path] += 1
            self._send(304, b"", headers, request=request)
            return
        self._send(200, body, headers, request=request)

    def _misbehave(self, request: Request, behavior: Behavior) -> None:
        body = self._upstream.body_of(request.path) or b""
        if behavior.kind == "status":
            self._send(behavior.status, b"the upstream says no\n", request=request)
        elif behavior.kind == "redirect":
            headers = {"Location": behavior.location or f"/moved/{request.path}"}
            self._send(behavior.status, b"", headers, request=request)
        elif behavior.kind == "lie":
            self._send(200, bytes(255 - byte for byte in body), request=request)
        elif behavior.kind == "grow":
            self._send(200, body + b"and more", request=request)
        else:
            self._send(200, body[: len(body) // 2], length=len(body), request=request)
            if behavior.kind == "truncate" and self._transport is not None:
                self._transport.close()
            elif behavior.kind == "reset" and self._transport is not None:
                linger = struct.pack("ii", 1, 0)
                self._transport.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, linger)
                self._transport.abort()

    def _send(
        self,
        status: int,
        body: bytes,
        headers: Mapping[str, str] | None = None,
        *,
        request: Request,
        length: int | None = None,
    ) -> None:
        if self._transport is None:
            return
        lines = [f"HTTP/1.1 {status} {_PHRASES.get(status, 'Status')}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        if status != 304:
            lines.append(f"Content-Length: {len(body) if length is None else length}")
        head = ("\r\n".join(lines) + "\r\n\r\n").encode()
        self._transport.write(head + (b"" if request.method == "HEAD" else body))
        self._upstream.bytes_sent += len(body)


_PHRASES = {200: "OK", 304: "Not Modified", 404: "Not Found"}


def _parse(head: bytes, *, is_certified: bool) -> Request:
    first, *rest = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ", 2)
    pairs = (line.split(":", 1) for line in rest)
    path = unquote(target.split("?", 1)[0]).removeprefix("/")
    headers = {name.lower(): value.strip() for name, value in pairs}
    return Request(method, path, headers, is_certified)


def data_for(number: int, size: int, salt: int = 0) -> bytes:
    """Bytes that are the same each time, and differ from those of any other number or salt."""
    return random.Random(f"{number} {salt}").randbytes(size)  # noqa: S311  not a secret


def digest_of(data: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def manifest_line(path: str, data: bytes = b"x") -> str:
    """A line of a manifest, for manifests made by hand."""
    return f"{path},{digest_of(data)},{len(data)}\n"


def files_in(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every file below a folder with its path, in order."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path.relative_to(folder).as_posix(), path.read_bytes()


def main(arguments: list[str], write: Callable[[str], object] = sys.stdout.write) -> None:
    """Serve until standard input ends.

    There, `change N` gives so many files other bytes; `requests` has two numbers written: requests
    since the last time, and how many of them were answered with 304.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--files", type=int, default=0)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--listed", type=int, default=0)
    options = parser.parse_args(arguments)
    upstream = Upstream().fill(options.files, options.size).list_only(options.listed)
    with upstream:
        write(f"{upstream.port}\n")
        sys.stdout.flush()
        for line in sys.stdin:
            command, *words = line.split()
            if command == "change":
                write(f"changed {len(upstream.change(int(words[0])))}\n")
            else:
                seen = f"{len(upstream.requests)} {upstream.not_modified.total()}\n"
                # Before anybody can know that, and ask again.
                upstream.forget()
                write(seen)
            sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
