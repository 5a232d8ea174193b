"""`entrepot up`: everything on one machine, in one terminal."""

import asyncio
import contextlib
import dataclasses
import secrets
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

from entrepot_cli.command import Command
from entrepot_cli.outcome import StartError, Status
from entrepot_cli.postgres import EmbeddedPostgres
from entrepot_cli.settings import Settings
from entrepot_cli.stack import installed, probe
from entrepot_cli.stack.address import AddressError, claim
from entrepot_cli.stack.child import Child, ChildError
from entrepot_cli.stack.console import Console
from entrepot_cli.stack.environment import Environment
from entrepot_cli.stack.home import Home
from entrepot_rpc.memory import give_back

if TYPE_CHECKING:
    from entrepot_cli.stack.registration import Registrar

SERVED_SECONDS = 60.0
POLL_SECONDS = 0.05
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 10.0
# How much of what a program said is in the error of a start.
SHOWN_LINES = 5


def up(settings: Settings, *, dispatchers: int = 1, quiet: bool = False) -> int:
    """Start everything, keep it running until a signal, and return the exit status.

    Raises:
        StartError: something does not start.
    """
    with Home(settings.home) as home:
        settings = _claim_addresses(settings)
        console = Console(home.logs, quiet=quiet)
        with contextlib.closing(console):
            return asyncio.run(Stack(settings, home, console, dispatchers=dispatchers).run())


def _claim_addresses(settings: Settings) -> Settings:
    http = claim(settings.http, "ENTREPOT_HTTP")
    content = claim(settings.content, "ENTREPOT_CONTENT")
    grpc = claim(settings.grpc, "ENTREPOT_GRPC")
    if len({http.port, content.port, grpc.port}) < 3:  # noqa: PLR2004, one for each
        raise AddressError(
            "ENTREPOT_HTTP, ENTREPOT_CONTENT and ENTREPOT_GRPC need three different ports."
        )
    derived = settings.content_url == f"http://{settings.content}"
    return dataclasses.replace(
        settings,
        http=str(http),
        content=str(content),
        grpc=str(grpc),
        content_url=f"http://{content}" if derived else settings.content_url,
    )


class Stack:
    """All programs of one installation. They start as early as each can, and end in reverse."""

    def __init__(
        self, settings: Settings, home: Home, console: Console, *, dispatchers: int
    ) -> None:
        self._home = home
        self._console = console
        self._token = settings.token or home.token()
        self._postgres: EmbeddedPostgres | None = None
        if not settings.database_url:
            self._postgres = EmbeddedPostgres(home.database)
            settings = dataclasses.replace(settings, database_url=self._postgres.dsn)
        self._settings = settings
        self._environment = Environment(
            settings,
            token=self._token,
            content_token=secrets.token_urlsafe(32),
            text_logs=sys.stderr.isatty(),
        )
        self._dispatchers = dispatchers
        self._registrar: Registrar | None = None
        self._core_serves = asyncio.Event()
        self._task_types: dict[str, tuple[str, ...]] = {}
        # In order of start; those of one row do not need each other to end.
        self._rows: list[list[Child]] = []

    async def run(self) -> int:
        """Start, serve until SIGINT or SIGTERM, and stop."""
        asked = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._ask_to_stop, asked)
        stop = asyncio.create_task(asked.wait())
        life = asyncio.create_task(self._live())
        try:
            await asyncio.wait((stop, life), return_when=asyncio.FIRST_COMPLETED)
            if life.done():
                await life
        finally:
            life.cancel()
            stop.cancel()
            with contextlib.suppress(asyncio.CancelledError, StartError, OSError):
                await life
            await self._stop()
        return 0

    def _ask_to_stop(self, asked: asyncio.Event) -> None:
        if asked.is_set():
            self._console.note("killing everything")
            for child in (child for row in self._rows for child in row):
                child.kill()
        else:
            self._console.note("stopping; once more to kill")
        asked.set()

    async def _live(self) -> None:
        children = self._plan()
        # Nobody calls a plugin before core does, so it need not wait to be started.
        early = asyncio.ensure_future(self._start_all(children["early"]))
        registrar = asyncio.ensure_future(asyncio.to_thread(self._make_registrar))
        try:
            await self._start_all(children["database"])
            await self._migrate()
            await self._start_all(children["core"])
            await self._connect(await registrar)
            await early
        finally:
            early.cancel()
            registrar.cancel()
        await self._wait_until_served()
        give_back()
        self._tell()
        every = [child for row in self._rows for child in row]
        await asyncio.gather(*(child.failed() for child in every))

    def _plan(self) -> Mapping[str, list[Child]]:
        core, gateway = installed.program("entrepot-core"), installed.program("entrepot-gateway")
        environment = self._environment
        database = [self._database(self._postgres)] if self._postgres else []
        api = [self._child("core-api", (core, "api"), environment.core() | environment.metrics(0))]
        numbers = range(1, self._dispatchers + 1)
        dispatch = [
            self._child(
                "dispatch" if self._dispatchers == 1 else f"dispatch-{number}",
                (core, "dispatch"),
                environment.core() | environment.metrics(2 + number),
            )
            for number in numbers
        ]
        plugins = [
            self._child(
                f"plugin-{name}",
                (*program, "--listen", "127.0.0.1:0"),
                environment.plugin(),
                on_ready=self._registration(name),
            )
            for name, program in installed.plugins().items()
        ]
        gateways = [
            self._child(
                "gateway-api",
                (gateway, "api"),
                environment.api_gateway() | environment.metrics(1),
            ),
            self._child(
                "gateway-content",
                (gateway, "content"),
                environment.content_gateway() | environment.metrics(2),
            ),
        ]
        self._rows = [database, api, plugins, dispatch, gateways]
        return {
            "database": database,
            "core": [*api, *dispatch, *gateways],
            "early": plugins,
        }

    def _child(
        self,
        name: str,
        program: tuple[str, ...],
        environment: Mapping[str, str],
        on_ready: Callable[[str], Awaitable[None]] | None = None,
    ) -> Child:
        command = Command(program, environment)
        return Child(name, lambda: command, self._console, on_ready=on_ready)

    def _database(self, postgres: EmbeddedPostgres) -> Child:
        return Child("postgres", postgres.prepare, self._console, is_ready=postgres.is_ready)

    @staticmethod
    async def _start_all(children: list[Child]) -> None:
        await asyncio.gather(*(child.start() for child in children))

    async def _migrate(self) -> None:
        command = Command(
            (installed.program("entrepot-core"), "migrate"), self._environment.core()
        )
        process = await asyncio.create_subprocess_exec(
            *command.arguments, stdout=asyncio.subprocess.PIPE, **command.popen_arguments
        )
        output, _ = await process.communicate()
        lines = output.decode(errors="replace").splitlines()
        for line in lines:
            self._console.line("migrate", line)
        if process.returncode != 0:
            # Of this start only: its log has those before, too.
            words = "\n".join(lines[-SHOWN_LINES:])
            is_setting = process.returncode == Status.MISCONFIGURED
            raise ChildError(
                f"The data cannot be made ready.\n{words}",
                status=Status.MISCONFIGURED if is_setting else Status.FAILED,
            )

    def _make_registrar(self) -> "Registrar":
        # Slow to import, so that happens while the database starts.
        from entrepot_cli.stack.registration import Registrar

        return Registrar(self._settings.grpc, self._token)

    async def _connect(self, registrar: "Registrar") -> None:
        self._registrar = registrar
        await asyncio.to_thread(registrar.wait_for_core)
        self._core_serves.set()

    def _registration(self, name: str) -> Callable[[str], Awaitable[None]]:
        async def register(address: str) -> None:
            from entrepot_cli.stack.registration import RegistrationError

            await self._core_serves.wait()
            registrar = self._registrar
            pause = FIRST_PAUSE_SECONDS
            while registrar is not None:
                try:
                    plugin = await asyncio.to_thread(registrar.register, name, address)
                except RegistrationError as error:
                    self._console.note(f"plugin {name} is not registered: {error}")
                    if not error.is_passing:
                        return
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
                    continue
                self._task_types[name] = plugin.task_types
                if plugin.message:
                    self._console.note(f"plugin {name}: {plugin.message}")
                return

        return register

    async def _wait_until_served(self) -> None:
        # The gateway learns of a new plugin a moment after core does: ask for one page of each.
        pages = [f"/api/v3/tasks/{types[0]}/" for types in self._task_types.values() if types]
        asked = [(self._settings.http, path) for path in ("/api/v3/status/", *pages)]
        give_up = asyncio.get_running_loop().time() + SERVED_SECONDS
        for address, path in (*asked, (self._settings.content, "/")):
            token = self._token if address == self._settings.http else ""
            while answer := await asyncio.to_thread(probe.ask, address, path, token):
                if asyncio.get_running_loop().time() > give_up:
                    raise StartError(f"http://{address}{path} is not served: {answer}")
                await asyncio.sleep(POLL_SECONDS)

    def _tell(self) -> None:
        settings = self._settings
        print(f"ready http://{settings.http}", flush=True)
        token = "$ENTREPOT_TOKEN" if settings.token else str(settings.token_file)
        for what, where in (
            ("docs", f"http://{settings.http}/api/v3/docs/"),
            ("content", settings.content_url),
            ("grpc", settings.grpc),
            ("token", token),
            ("logs", str(self._home.logs)),
        ):
            print(f"  {what:<8} {where}", file=sys.stderr, flush=True)

    async def _stop(self) -> None:
        for row in reversed(self._rows):
            await asyncio.gather(*(child.stop() for child in row))
        if self._registrar is not None:
            self._registrar.close()
