"""S36: what is deep, slow, huge or endless ends alone (CVE-2025-4565, 2026-42544, 2023-44487)."""

import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import grpc
import pytest

from core_under_test import Core, a_config, running_api
from entrepot.core.v1 import task_service_pb2
from gateway_core import TOKEN
from gateway_process import GatewayProcess, read_all, status

BEARER = b"Authorization: Bearer " + TOKEN.encode()
TARGET = b"/dev/a/x.txt"
HEAD = b"GET " + TARGET + b" HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n"
DEPTH = 100_000
RESETS = 100_000
RESETS_AT_ONCE = 100
CANCEL = struct.pack(">I", 8)


def is_served(process: GatewayProcess) -> bool:
    """Whether somebody else gets the file, in less than a second."""
    started = time.perf_counter()
    return (
        status(process.ask(TARGET)) == 200
        and time.perf_counter() - started < 1
        and process.is_alive
    )


@pytest.mark.parametrize(
    ("request_", "statuses"),
    [
        (HEAD + b"X: " + b"a" * 2_000_000 + b"\r\n\r\n", {431, 0}),
        (HEAD + b"X: " + b"a" * 5_000_000, {431, 0}),
        (HEAD + b"X: a\r\n" * 10_000 + b"\r\n", {431, 0}),
        (HEAD + b"X" * 2_000_000 + b": a\r\n\r\n", {400, 431, 0}),
        (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", {414, 0}),
        (b"G" * 2_000_000 + b" / HTTP/1.1\r\nHost: a\r\n\r\n", {400, 431, 0}),
        (HEAD + b"X: \0\r\n\r\n", {400}),
        (HEAD + b"X: a\r\n b\r\n\r\n", {400}),
        (HEAD + b" X: a\r\n\r\n", {400}),
        (HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n", {200, 400}),
        (b"GET " + TARGET + b"\r\n\r\n", {400}),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 300, {400}),
        (b"PRI * HTTP/2.0\r\n\r\nnot what follows", {0, 400}),
    ],
    ids=lambda value: repr(value[:24]) + str(len(value)) if isinstance(value, bytes) else "",
)
def test_a_head_that_is_too_much_is_refused(
    content: GatewayProcess, request_: bytes, statuses: set[int]
) -> None:
    """With a status of its own, which who still sends may not see; others are served."""
    before = content.memory

    assert status(content.exchange(request_)) in statuses
    assert content.memory - before < 16 * 1024**2
    assert is_served(content)


@pytest.mark.parametrize(
    "upgrade",
    [
        b"websocket",
        b"websocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 999",
        b"websocket\r\nSec-WebSocket-Key: \xff\r\nSec-WebSocket-Version: 13",
        b"h2c\r\nHTTP2-Settings: !!!",
        b"\xff\xfe",
        b"",
        b"a, b, " * 1000,
        b"TLS/1.3",
    ],
)
@pytest.mark.parametrize("connection", [b"Upgrade", b"Upgrade, HTTP2-Settings", b"\xff"])
def test_a_bad_upgrade_is_a_request_like_any_other(
    content: GatewayProcess, upgrade: bytes, connection: bytes
) -> None:
    """Nothing is switched, and the worker lives."""
    lines = [b"GET " + TARGET + b" HTTP/1.1", b"Host: a.test", b"Connection: close"]
    lines += [b"Connection: " + connection, b"Upgrade: " + upgrade, b"", b""]

    assert status(content.exchange(b"\r\n".join(lines))) in (200, 400, 426)
    assert is_served(content)


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """A frame of HTTP/2."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def field(index: int, value: bytes) -> bytes:
    """A header field of the static table with another value, not to be indexed."""
    return bytes([index, len(value)]) + value


REQUEST = b"\x82\x86" + field(4, TARGET) + field(1, b"a.test")


def opened_and_reset(stream: int) -> bytes:
    """A request, taken back at once."""
    return frame(1, 5, stream, REQUEST) + frame(3, 0, stream, CANCEL)


def test_a_hundred_thousand_resets(content: GatewayProcess) -> None:
    """The connection is given up soon; others are served meanwhile, and nothing is kept."""
    before = content.memory
    sent = 0
    while sent < RESETS:
        with closing(content.connect()) as connection, suppress(OSError):
            connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b""))
            for first in range(1, 2**31, 2 * RESETS_AT_ONCE):
                streams = range(first, first + 2 * RESETS_AT_ONCE, 2)
                sent += RESETS_AT_ONCE
                connection.sendall(b"".join(map(opened_and_reset, streams)))
                if sent >= RESETS:
                    break
        if sent % (RESETS // 10) < RESETS_AT_ONCE:
            assert is_served(content)

    assert is_served(content)
    assert content.memory - before < 32 * 1024**2


@pytest.mark.parametrize(
    "block",
    [
        b"\x3f" + b"\xff" * 20,
        b"\x40\x01a\x7f\xff\xff\xff\xff\x0f" + b"b",
        (b"\x40\x01a\x7f\x80\x1f" + b"b" * 4096) + b"\xbe" * 12_000,
        REQUEST * 200,
    ],
    ids=["size", "length", "table", "repeated"],
)
def test_a_header_table_that_grows_is_refused(content: GatewayProcess, block: bytes) -> None:
    """What a few bytes of HPACK unfold to is bounded (CVE-2024-7246)."""
    before = content.memory
    pieces = [block[start : start + 16_000] for start in range(0, len(block), 16_000)]
    frames = [frame(9, 0, 1, piece) for piece in pieces[1:]]
    if frames:
        frames[-1] = frame(9, 4, 1, pieces[-1])
    first = frame(1, 1 if frames else 5, 1, pieces[0])

    with closing(content.connect()) as connection, suppress(OSError):
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"") + first)
        connection.sendall(b"".join(frames))
        connection.settimeout(1)
        with suppress(TimeoutError):
            read_all(connection)

    assert content.memory - before < 16 * 1024**2
    assert is_served(content)


def test_slow_heads_end_and_keep_nobody_waiting(content: GatewayProcess) -> None:
    """Hundreds of heads that never end are closed after ten seconds; others do not notice."""
    with ExitStack() as stack:
        slow = [stack.enter_context(closing(content.connect())) for _ in range(300)]
        started = time.monotonic()
        for connection in slow:
            connection.sendall(HEAD)

        served = [is_served(content) for _ in range(20)]
        ends = [read_all(connection) for connection in slow]

        assert all(served)
        assert {status(answer) for answer in ends} <= {0, 408}
        assert time.monotonic() - started < 20


def nested(opening: str, inner: str, closing_: str) -> bytes:
    """A text of that depth."""
    return (opening * DEPTH + inner + closing_ * DEPTH).encode()


@pytest.mark.parametrize(
    "body",
    [
        nested("[", "", "]"),
        nested('{"a":', "1", "}"),
        b'{"labels":' + nested('{"a":', '"b"', "}") + b"}",
        b'{"a":' + nested("[", "", "]") + b"}",
        b"[" * DEPTH,
        b'{"a":' * DEPTH,
        b'{"name":' + b"9" * DEPTH + b"}",
    ],
    ids=["arrays", "objects", "a field", "inside", "open arrays", "open objects", "digits"],
)
@pytest.mark.parametrize("target", [b"/api/v3/repositories/zoo/", b"/api/v3/tasks/zoo/feedings/"])
def test_deep_json_is_refused(api: GatewayProcess, body: bytes, target: bytes) -> None:
    """400, in words, and the worker lives."""
    length = b"Content-Length: %d\r\n\r\n%s" % (len(body), body)

    answer = api.ask(target, b"POST", BEARER, b"Content-Type: application/json", length)

    assert status(answer) == 400
    assert api.is_alive


def test_deep_fields_of_a_form_are_refused(api: GatewayProcess) -> None:
    """Dots that lead inside lead nowhere after a while."""
    body = b"x" + b".a" * DEPTH + b"=1"
    form = b"Content-Type: application/x-www-form-urlencoded"
    length = b"Content-Length: %d\r\n\r\n%s" % (len(body), body)

    answer = api.ask(b"/api/v3/repositories/zoo/", b"POST", BEARER, form, length)

    assert status(answer) == 400
    assert api.is_alive


@pytest.fixture
def core(core_dsn: str, tmp_path: Path) -> Iterator[Core]:
    """A real core."""
    with running_api(a_config(core_dsn, tmp_path)) as running:
        yield running


@pytest.mark.parametrize("where", ["request", "parameters"])
def test_deep_messages_are_refused(core: Core, where: str) -> None:
    """Groups in groups, in a message or in what it carries; the next call is answered."""
    groups = bytes([0x0B]) * DEPTH + bytes([0x0C]) * DEPTH
    known = "type.googleapis.com/entrepot.core.v1.CollectOrphans"
    carried = task_service_pb2.CreateTaskRequest()
    carried.parameters.type_url, carried.parameters.value = known, groups
    path = "/entrepot.core.v1.TaskService/CreateTask"
    call = core.channel.unary_unary(path, bytes, task_service_pb2.CreateTaskResponse.FromString)

    with pytest.raises(grpc.RpcError) as caught:
        call(
            groups if where == "request" else carried.SerializeToString(),
            metadata=core.metadata,
            timeout=20,
        )

    assert caught.value.code() in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.INTERNAL)
    request = task_service_pb2.ListTasksRequest()
    assert not core.tasks.ListTasks(request, metadata=core.metadata, timeout=20).tasks
