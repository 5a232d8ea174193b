"""What a thousand clients that follow events cost, idle and when something happens."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

from figure import Figure
from process import Process
from size import Size
from stack import Stack

__all__ = ["watchers"]

TICK = 100
PATH = "/api/v3/events/"


def watchers(stack: Stack, size: Size) -> Iterator[Figure]:
    """Memory and processor time of idle followers, and how long news takes to the last."""
    yield from asyncio.run(_follow(stack, size))


async def _follow(stack: Stack, size: Size) -> list[Figure]:
    gateway, core = stack.process("gateway"), stack.process("api")
    memory = Figure(f"gateway, per client of {size.watchers} that follow", "KiB")
    idle = Figure(f"gateway, {size.watchers} idle followers", "% of a core", digits=1)
    idle_core = Figure(f"core's api, {size.watchers} idle followers", "% of a core", digits=1)
    latest = Figure(f"from the first of {size.watchers} that hears of an end, to the last", "ms")
    each = Figure("gateway, an event to one of them", "µs")
    before = _resident(gateway)
    clients = [await _open(stack) for _ in range(size.watchers)]
    memory.samples.append((_resident(gateway) - before) / size.watchers / 1024)

    start = (_cpu(gateway), _cpu(core))
    await asyncio.sleep(size.quiet_seconds)
    idle.samples.append(100 * (_cpu(gateway) - start[0]) / size.quiet_seconds)
    idle_core.samples.append(100 * (_cpu(core) - start[1]) / size.quiet_seconds)

    for _ in range(size.repeats * 3):
        start_cpu = _cpu(gateway)
        told = [asyncio.create_task(_until_completed(reader)) for reader, _ in clients]
        await asyncio.to_thread(stack.api.completed, "core/orphans", {"dry_run": "true"})
        heard = await asyncio.gather(*told)
        moments = [moment for moment, _ in heard]
        latest.samples.append(1000 * (max(moments) - min(moments)))
        events = sum(count for _, count in heard)
        each.samples.append(1e6 * (_cpu(gateway) - start_cpu) / events)
    for _, writer in clients:
        writer.close()
    return [memory, idle, idle_core, latest, each]


async def _open(stack: Stack) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = stack.http.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    request = f"GET {PATH} HTTP/1.0\r\nHost: b\r\nAuthorization: Bearer {stack.token}\r\n\r\n"
    writer.write(request.encode())
    # The head, and the first comment: it is heard.
    await reader.readuntil(b": still here\n\n")
    return reader, writer


async def _until_completed(reader: asyncio.StreamReader) -> tuple[float, int]:
    """When the end of a task has come, and how many events until then."""
    count = 0
    while True:
        line = await reader.readline()
        count += line.startswith(b"event: ")
        if line.startswith(b"event: completed"):
            await reader.readuntil(b"\n\n")
            return time.perf_counter(), count


def _resident(process: Process) -> int:
    pages = Path(f"/proc/{process.pid}/statm").read_text().split()[1]
    return int(pages) * 4096


def _cpu(process: Process) -> float:
    """Seconds that a process has used."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK
