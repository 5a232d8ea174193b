"""One program under supervision: started, watched, started again after a crash, and ended."""

import asyncio
import contextlib
import os
import re
import signal
from collections.abc import Awaitable, Callable

from entrepot_cli.command import Command
from entrepot_cli.outcome import StartError, Status
from entrepot_cli.stack.console import Console

# The line by which our programs say that they serve, and where.
READY = re.compile(r"ready (\S+)")
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 10.0
# A program that lived this long is healthy again, and the next pause is a short one.
STEADY_SECONDS = 30.0
# How often a program may end before it was ever ready; waiting longer would mend nothing.
MAX_FALSE_STARTS = 3
STOP_SECONDS = 10.0
POLL_SECONDS = 0.02


class ChildError(StartError):
    """A program does not come up."""


class Child:
    """A program that is kept running.

    Args:
        name: What it is called on the terminal, and its log file.
        prepare: Makes the command, before every start; runs in a thread and may take its time.
        console: Where its lines go.
        on_ready: Called with its address each time it says that it serves.
        is_ready: Tells by the process id whether it serves, for programs that do not say so.
    """

    def __init__(
        self,
        name: str,
        prepare: Callable[[], Command],
        console: Console,
        *,
        on_ready: Callable[[str], Awaitable[None]] | None = None,
        is_ready: Callable[[int], bool] | None = None,
    ) -> None:
        self.name = name
        self._prepare = prepare
        self._console = console
        self._on_ready = on_ready
        self._is_ready = is_ready
        self._ready = asyncio.Event()
        self._stopping = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self._stop_signal = signal.SIGTERM
        self._supervision: asyncio.Task[None] | None = None
        self._announcement: asyncio.Task[None] | None = None
        console.add(name)

    async def start(self) -> None:
        """Start it, return once it serves, and keep it running from then on."""
        self._supervision = asyncio.create_task(self._supervise(), name=self.name)
        ready = asyncio.create_task(self._ready.wait())
        await asyncio.wait((self._supervision, ready), return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if self._supervision.done():
            await self._supervision

    async def failed(self) -> None:
        """Wait for the end of supervision, which comes only with an error or a stop."""
        if self._supervision is not None:
            await asyncio.wait((self._supervision,))
            await self._supervision

    async def stop(self) -> None:
        """End it and everything it started: asked first, then forced."""
        self._stopping.set()
        if self._supervision is None:
            return
        self._send(self._stop_signal)
        done, _ = await asyncio.wait((self._supervision,), timeout=STOP_SECONDS)
        if not done:
            self._console.note(f"{self.name} does not end; killed")
            self.kill()
            await asyncio.wait((self._supervision,), timeout=STOP_SECONDS)
        self._supervision.cancel()
        with contextlib.suppress(asyncio.CancelledError, ChildError):
            await self._supervision

    def kill(self) -> None:
        """End it and what it started at once."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def _supervise(self) -> None:
        false_starts = 0
        pause = FIRST_PAUSE_SECONDS
        loop = asyncio.get_running_loop()
        while not self._stopping.is_set():
            started = loop.time()
            code = await self._live()
            if self._stopping.is_set():
                return
            if code == Status.MISCONFIGURED:
                # It would say the same again. Its last line names the setting.
                words = self._console.last_words(self.name, 1)
                raise ChildError(
                    f"{self.name} does not start: {words}", status=Status.MISCONFIGURED
                )
            end = f"status {code}" if code >= 0 else signal.Signals(-code).name
            false_starts += not self._ready.is_set()
            if false_starts >= MAX_FALSE_STARTS:
                words = self._console.last_words(self.name)
                raise ChildError(f"{self.name} does not start: it ended with {end}.\n{words}")
            if loop.time() - started > STEADY_SECONDS:
                pause = FIRST_PAUSE_SECONDS
            self._console.note(f"{self.name} ended with {end}; starts again in {pause:.1f} s")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    async def _live(self) -> int:
        """Start it once, and return the status with which it ends; below 0: the signal."""
        command = await asyncio.to_thread(self._prepare)
        if self._stopping.is_set():
            return 0
        self._stop_signal = command.stop_signal
        process = await asyncio.create_subprocess_exec(
            *command.arguments, stdout=asyncio.subprocess.PIPE, **command.popen_arguments
        )
        self._process = process
        if self._stopping.is_set():
            # The request to stop came while it was started, and found no process yet.
            self._send(self._stop_signal)
        reader = asyncio.create_task(self._read(process))
        self._announce_once_ready(process.pid)
        code = await process.wait()
        if self._announcement is not None:
            self._announcement.cancel()
        # What it started goes with it, and can then hold neither its port nor its output.
        self.kill()
        self._process = None
        await asyncio.wait((reader,), timeout=1)
        reader.cancel()
        return code

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None  # noqa: S101, asked for above
        rest = b""
        while chunk := await process.stdout.read(1 << 16):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self._take(line.decode(errors="replace"))
        if rest:
            self._take(rest.decode(errors="replace"))

    def _take(self, line: str) -> None:
        self._console.line(self.name, line)
        if self._is_ready is None and (match := READY.fullmatch(line.strip())):
            self._announcement = asyncio.create_task(self._announce(match[1]))

    def _announce_once_ready(self, pid: int) -> None:
        is_ready = self._is_ready
        if is_ready is None:
            return

        async def watch() -> None:
            while not is_ready(pid):  # noqa: ASYNC110, a file says it, and files do not call
                await asyncio.sleep(POLL_SECONDS)
            await self._announce("")

        self._announcement = asyncio.create_task(watch())

    async def _announce(self, address: str) -> None:
        if self._on_ready is not None:
            await self._on_ready(address)
        self._ready.set()

    def _send(self, request: signal.Signals) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(request)
