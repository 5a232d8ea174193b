"""A whole installation to be hurt: every program and every connection within reach."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg2

from addresses import free_addresses
from entrepot_cli.command import Command
from entrepot_cli.postgres import SOCKET_NAME, EmbeddedPostgres
from entrepot_cli.settings import Settings
from entrepot_cli.stack import installed
from entrepot_cli.stack.environment import Environment
from entrepot_cli.stack.registration import Registrar, RegistrationError
from polling import until
from process import processes_of
from program import Program
from rest import Api, Rest
from wire import Wire

TOKEN = "ent_faults"
# Silence of a plugin after which an attempt is given up; a minute would make for a long suite.
HEARTBEAT_SECONDS = 3
_READY_SECONDS = 120
_SWEEP_SECONDS = 60


class Installation:
    """PostgreSQL, an api, dispatchers, the file plugin and both gateways, joined by wires.

    Args:
        dispatchers: How many.
        extra: Added to the environment of one program, by its name.
        data: Where the database and the blobs are, and stay; by default they go at the end.
    """

    def __init__(
        self,
        dispatchers: int = 2,
        extra: Mapping[str, Mapping[str, str]] | None = None,
        data: Path | None = None,
    ) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="entrepot-f-"))
        self.data = data or self.home
        self.failpoints = self.home / "failpoints"
        self._extra = extra or {}
        self.http, self.content_address, self.grpc = free_addresses(3)
        self.postgres = EmbeddedPostgres(self.data / "postgres")
        sockets = self.home / "wire"
        # The files that arm failpoints are made and taken by whoever runs a program.
        for folder in (self.failpoints, sockets, self.home / "logs"):
            folder.mkdir()
        real = self.postgres.runtime_dir / SOCKET_NAME
        self.wires = {
            "api-Q": Wire(real, self._socket(sockets / "api")),
            "G-A": Wire(_parts(self.grpc)),
            "P-A": Wire(_parts(self.grpc)),
            "D-P": Wire(("127.0.0.1", 9)),
        }
        self._registrar: Registrar | None = None
        self._registering = threading.Lock()
        runners = [f"dispatch-{n}" for n in range(1, dispatchers + 1)]
        for name in runners:
            self.wires[f"{name}-Q"] = Wire(real, self._socket(sockets / name))
        names = ["postgres", "api", *runners]
        self.programs: dict[str, Program] = {
            name: Program(
                name,
                partial(self._prepare, name),
                self.home / "logs" / f"{name}.log",
                self._register if name == "plugin" else lambda _: None,
            )
            for name in [*names, "plugin", "gateway", "content"]
        }

    # --- what it is

    @property
    def api(self) -> Api:
        """The API, with the token."""
        return Api(f"http://{self.http}", TOKEN)

    @property
    def content(self) -> Rest:
        """The content origin."""
        return Rest(f"http://{self.content_address}")

    @property
    def log(self) -> str:
        """The last words of every program."""
        return "\n".join(
            f"--- {name}\n{program.log.read_text(errors='replace')[-2000:]}"
            for name, program in self.programs.items()
            if program.log.exists()
        )

    @property
    def dispatchers(self) -> list[Program]:
        """All dispatchers."""
        return [one for name, one in self.programs.items() if name.startswith("dispatch")]

    def name_of(self, pid: int) -> str:
        """The program that has this process; empty if it has gone."""
        return next((name for name, one in self.programs.items() if one.pid == pid), "")

    def wires_of(self, name: str) -> list[Wire]:
        """The wire called so; `D-Q` is that of every dispatcher."""
        if name != "D-Q":
            return [self.wires[name]]
        return [wire for called, wire in self.wires.items() if called.startswith("dispatch")]

    def serves(self, program: Program) -> bool:
        """Whether it takes connections; PostgreSQL does not say so, it has to be asked."""
        if program.name == "postgres":
            return bool(program.pid) and self.postgres.is_ready(program.pid)
        return program.ready.is_set()

    @staticmethod
    def signal(pid: int, number: signal.Signals) -> None:
        """Send a process a signal, if it is there."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)

    def query(
        self, statement: str, parameters: Sequence[object] | None = None
    ) -> list[tuple[Any, ...]]:
        """Rows, read past all wires, as soon as the database answers."""
        return until(lambda: self._query(statement, parameters), "PostgreSQL", 60)

    def _query(
        self, statement: str, parameters: Sequence[object] | None
    ) -> list[tuple[Any, ...]] | None:
        try:
            connection = psycopg2.connect(self.postgres.dsn, connect_timeout=5)
            try:
                with connection, connection.cursor() as cursor:
                    cursor.execute(statement, parameters)
                    return cursor.fetchall() if cursor.description else []
            finally:
                connection.close()
        except (psycopg2.OperationalError, psycopg2.InterfaceError):
            return None

    def check(self) -> list[str]:
        """What `entrepot-core check` finds, a line each; what is being swept gets a while."""
        give_up = time.monotonic() + _SWEEP_SECONDS
        while True:
            command = self._core("check", "api")
            done = subprocess.run(
                command.program, env=command.environment, capture_output=True, text=True,
                check=False,
            )  # fmt: skip
            found = (done.stdout + done.stderr).splitlines() if done.returncode else []
            if not found or time.monotonic() > give_up:
                return found

    # --- life

    def __enter__(self) -> Self:
        for wire in self.wires.values():
            wire.__enter__()
        try:
            self._start()
        except BaseException as error:
            error.add_note(self.log)
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for wire in self.wires.values():
            wire.heal()
        last_first = [one for name, one in self.programs.items() if name != "postgres"][::-1]
        stops = [
            threading.Thread(target=one.stop, args=(signal.SIGTERM,))
            for one in last_first
            if one.starts
        ]
        for stop in stops:
            stop.start()
        for stop in stops:
            stop.join()
        if self.programs["postgres"].starts:
            self.programs["postgres"].stop(signal.SIGINT)
        for wire in self.wires.values():
            wire.__exit__(None, None, None)
        for process in processes_of(self.data):
            process.kill()
        shutil.rmtree(self.home, ignore_errors=True)

    def _start(self) -> None:
        postgres = self.programs["postgres"]
        postgres.start()
        until(lambda: self.serves(postgres), "PostgreSQL", _READY_SECONDS)
        log = (self.home / "logs" / "migrate.log").open("wb")
        with log, self._core("migrate", "api").start(log) as migration:
            assert migration.wait(_READY_SECONDS) == 0
        self._registrar = Registrar(self.grpc, TOKEN)
        for name, program in self.programs.items():
            if name != "postgres":
                program.start()
        others = [one for name, one in self.programs.items() if name != "postgres"]
        until(lambda: all(one.ready.is_set() for one in others), "all programs", _READY_SECONDS)
        until(
            lambda: self.api.request("GET", "tasks/file/syncs/").status == 200,
            "the routes of the plugin",
        )

    def _register(self, address: str) -> None:
        self.wires["D-P"].target = _parts(address)
        registrar = self._registrar
        assert registrar is not None
        with self._registering:
            while not self.programs["plugin"].ready.is_set():
                try:
                    registrar.register("file", self.wires["D-P"].address)
                except RegistrationError as error:
                    if not error.is_passing or not self.programs["plugin"].pid:
                        return
                else:
                    return

    # --- how each program is started

    def _prepare(self, name: str) -> Command:
        if name == "postgres":
            return self.postgres.prepare()
        if name == "plugin":
            return self._command(
                name,
                (*installed.plugins()["file"], "--listen", "127.0.0.1:0"),
                self._environment(grpc=self.wires["P-A"].address).plugin(),
            )
        if name in {"gateway", "content"}:
            environment = self._environment(grpc=self.wires["G-A"].address)
            program = installed.program("entrepot-gateway")
            if name == "gateway":
                return self._command(name, (program, "api"), environment.api_gateway())
            return self._command(name, (program, "content"), environment.content_gateway())
        return self._core("api" if name == "api" else "dispatch", name)

    def _core(self, command: str, name: str) -> Command:
        # Who checks, or migrates, goes the way of the api.
        place = self.home / "wire" / (name if f"{name}-Q" in self.wires else "api")
        environment = self._environment(
            database_url=f"postgresql://entrepot@/entrepot?host={place}"
        )
        return self._command(
            name, (installed.program("entrepot-core"), command), environment.core()
        )

    def _command(
        self, name: str, program: tuple[str, ...], environment: Mapping[str, str]
    ) -> Command:
        # Nothing but what is set here is Entrepot's.
        given = {key: value for key, value in os.environ.items() if "ENTREPOT" not in key}
        ours = {key: value for key, value in environment.items() if "ENTREPOT" in key}
        drill = {
            "ENTREPOT_FAILPOINTS": "ask",
            "ENTREPOT_FAILPOINT_DIR": str(self.failpoints),
            "ENTREPOT_HEARTBEAT_TIMEOUT": str(HEARTBEAT_SECONDS),
            "MALLOC_ARENA_MAX": "1",
            "PYTHONUNBUFFERED": "1",
        }
        return Command(program, given | ours | drill | dict(self._extra.get(name, {})))

    def _environment(self, *, grpc: str = "", database_url: str = "") -> Environment:
        settings = Settings.from_environment(
            {
                "ENTREPOT_HOME": str(self.data),
                "ENTREPOT_HTTP": self.http,
                "ENTREPOT_CONTENT": self.content_address,
                "ENTREPOT_GRPC": grpc or self.grpc,
                "ENTREPOT_DATABASE_URL": database_url,
            }
        )
        return Environment(settings, token=TOKEN, content_token=f"{TOKEN}_content")

    @staticmethod
    def _socket(folder: Path) -> Path:
        folder.mkdir()
        return folder / SOCKET_NAME


def _parts(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host, int(port)
