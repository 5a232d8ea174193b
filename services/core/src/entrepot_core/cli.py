"""The command entrepot-core: migrate, renew-secrets, api, dispatch, check."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from dataclasses import asdict
from typing import TYPE_CHECKING

import structlog

from entrepot_core.config import GRPC, Config
from entrepot_core.domain.errors import ServiceError
from entrepot_core.store import installation, remote_secrets
from entrepot_core.store.database import Database, wait_until_ready
from entrepot_core.store.migrate import migrate, pending
from entrepot_core.store.pooling import require_own_sessions
from entrepot_core.store.secret_key import SETTING, SecretKey
from entrepot_rpc import failpoints, logs, setting
from entrepot_rpc.memory import give_back
from entrepot_rpc.readiness import say_ready

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from entrepot_core.domain.finding import Finding

__all__ = ["main"]

log = structlog.get_logger()

_DATABASE_SECONDS = 30.0
_DRAIN_SECONDS = 10.0
_SIGNAL_SECONDS = 0.5
# How long a process that has lost a thread may take to end in good order.
_DYING_SECONDS = 20


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one of the commands; exits with 1 if it fails, and 78 if a setting cannot be used."""
    parser = argparse.ArgumentParser(
        prog="entrepot-core", description="Entrepot's core: tasks, repositories and content."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("migrate", help="bring the database up to date")
    commands.add_parser("renew-secrets", help="encrypt secrets anew, with the first key")
    commands.add_parser("api", help="serve the gRPC API")
    commands.add_parser("dispatch", help="run tasks")
    check = commands.add_parser("check", help="look for broken invariants; 1 if there are any")
    check.add_argument("--json", action="store_true", help="one JSON object per finding")
    check.add_argument("--sizes", action="store_true", help="compare sizes only, read no bytes")
    check.add_argument(
        "--grace", type=float, default=86400, metavar="SECONDS", help="age of what may lie about"
    )
    options = parser.parse_args(arguments)
    with setting.refused("entrepot-core"):
        logs.configure(f"core {options.command}")
        failpoints.arm()
        config = Config.from_environment()
        _require(config, options.command)
    run: dict[str, Callable[[], int]] = {
        "migrate": lambda: _migrate(config),
        "renew-secrets": lambda: _renew_secrets(config),
        "api": lambda: _api(config),
        "dispatch": lambda: _dispatch(config),
        "check": lambda: _check(config, options),
    }
    try:
        sys.exit(run[options.command]())
    except (ServiceError, OSError, RuntimeError, ValueError) as error:
        sys.exit(f"entrepot-core: {error}")


def _require(config: Config, command: str) -> None:
    """Raises ValueError if a setting is missing that the command cannot do without."""
    if not config.database_url:
        raise ValueError("ENTREPOT_DATABASE_URL must name a PostgreSQL database.")
    if command != "api":
        return
    setting.address({"ENTREPOT_GRPC": config.grpc}, "ENTREPOT_GRPC", GRPC, or_socket=True)
    if not config.api_token:
        raise ValueError(
            f"There is no API token: set ENTREPOT_TOKEN, or put one in {config.home / 'token'}."
        )


def _migrate(config: Config) -> int:
    wait_until_ready(config.database_url, _DATABASE_SECONDS)
    require_own_sessions(config.database_url)
    applied = migrate(config.database_url)
    for name in applied:
        print(f"applied {name}")  # noqa: T201  for a person
    if not applied:
        print("The database is up to date.")  # noqa: T201
    _make_secret_key(config)
    return 0


def _make_secret_key(config: Config) -> None:
    """Makes the key for secrets, unless there are secrets that another key has encrypted."""
    database = Database(config.database_url, size=1, name="entrepot migrate")
    try:
        with database.transaction() as cursor:
            is_used = remote_secrets.exist(cursor)
    finally:
        database.close()
    path = config.secret_key_file
    try:
        if is_used and not path.exists():
            log.warning("secret_key.missing", path=str(path), setting=SETTING)
        elif not is_used and SecretKey(path).create():
            print(f"made {path}, the key for secrets")  # noqa: T201  for a person
    except OSError as error:
        # Only remotes that need a secret fail without it.
        log.warning("secret_key.not_made", path=str(path), setting=SETTING, error=str(error))


def _renew_secrets(config: Config) -> int:
    _prepare(config)
    database = Database(config.database_url, size=1, name="entrepot renew-secrets")
    try:
        count = remote_secrets.renew(database, SecretKey(config.secret_key_file))
    finally:
        database.close()
    print(f"Secrets of {count} remotes are encrypted with the first key now.")  # noqa: T201
    return 0


def _api(config: Config) -> int:
    from entrepot_core.api.server import ApiServer  # noqa: PLC0415  the other roles need it not

    _prepare(config)
    stop = _stop_signal()
    server = ApiServer(config)
    address = server.start()
    give_back()
    say_ready(f"grpc://{address}")
    _wait(stop)
    server.stop()
    return 0


def _dispatch(config: Config) -> int:
    from entrepot_core.dispatch.process import (  # noqa: PLC0415  as above
        DispatchProcess,
    )

    _prepare(config)
    stop = _stop_signal()
    process = DispatchProcess(config)
    process.start()
    give_back()
    say_ready("dispatcher")
    _wait(stop)
    process.stop(_DRAIN_SECONDS)
    return 0


def _require_migrated(config: Config) -> None:
    missing = pending(config.database_url)
    if missing:
        raise RuntimeError(
            f"The database lacks {', '.join(missing)}; run `entrepot-core migrate` first."
        )


def _check(config: Config, options: argparse.Namespace) -> int:
    _require_migrated(config)
    database = Database(config.database_url, name="entrepot check")
    count = 0
    try:
        for finding in _findings(config, database, options):
            count += 1
            line = (
                json.dumps(asdict(finding))
                if options.json
                else f"{finding.invariant} {finding.subject}: {finding.message}"
            )
            print(line)  # noqa: T201  for a person or a program
    finally:
        database.close()
    if not count and not options.json:
        print("All invariants hold.")  # noqa: T201
    return 1 if count else 0


def _findings(
    config: Config, database: Database, options: argparse.Namespace
) -> Iterator[Finding]:
    from entrepot_core.blobs.opening import open_blob_store  # noqa: PLC0415  as above
    from entrepot_core.store.blob_check import check_blobs  # noqa: PLC0415
    from entrepot_core.store.check import check_content  # noqa: PLC0415
    from entrepot_core.store.engine_check import check_engine  # noqa: PLC0415

    yield from check_engine(database)
    yield from check_content(database)
    store = open_blob_store(*config.blobs)
    try:
        yield from check_blobs(database, store, options.grace, only_sizes=options.sizes)
    finally:
        store.close()


def _prepare(config: Config) -> None:
    log.info("settings", settings=repr(config))
    wait_until_ready(config.database_url, _DATABASE_SECONDS)
    require_own_sessions(config.database_url)
    _require_migrated(config)
    database = Database(config.database_url, size=1, name="entrepot start")
    try:
        with database.transaction() as cursor:
            for problem in installation.problems(cursor):
                log.warning("database.unsafe", problem=problem)
    finally:
        database.close()


def _wait(stop: threading.Event) -> None:
    """Returns once it is set by a signal, which is only looked at between waits.

    The system gives a signal to any thread: while the main one sleeps, nobody would handle it.
    """
    while not stop.wait(_SIGNAL_SECONDS):
        pass


def _stop_signal() -> threading.Event:
    """Set by the first SIGTERM or SIGINT; a second one ends the process at once.

    Also set when any thread dies: half a process is worse than none, which is started again. What
    is left of it may not be able to end: then the system ends it.
    """
    stop = threading.Event()

    def handle(number: int, _frame: object) -> None:
        if stop.is_set():
            os._exit(128 + number)
        stop.set()

    def died(what: threading.ExceptHookArgs) -> None:
        log.critical(
            "thread.died",
            thread=what.thread.name if what.thread is not None else "",
            exc_info=what.exc_value,
        )
        # Not a timer: there may be no memory for another thread.
        signal.alarm(_DYING_SECONDS)
        stop.set()

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)
    threading.excepthook = died
    return stop
