"""The process of a plugin: where it listens, where core is, and how it ends."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc.aio
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from entrepot.plugin.v1 import plugin_tasks_pb2
from entrepot.plugin.v1.plugin_tasks_pb2_grpc import add_PluginTasksServicer_to_server
from entrepot_rpc import failpoints, logs, setting
from entrepot_rpc.channel import MAX_MESSAGE_BYTES, connect_async
from entrepot_rpc.memory import give_back
from entrepot_rpc.readiness import say_ready
from entrepot_sdk._servicer import Servicer

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from entrepot_sdk.plugin import Plugin

__all__ = ["Settings", "serve"]

log = structlog.get_logger()

_SERVICE = plugin_tasks_pb2.DESCRIPTOR.services_by_name["PluginTasks"].full_name
_SERVER_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.so_reuseport", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.max_ping_strikes", 0),
    # A dispatcher whose machine is gone hangs up for nobody.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
)


@dataclass(frozen=True, slots=True)
class Settings:
    """How one process of a plugin runs.

    Args:
        listen: "host:port" or "unix:/path"; port 0 takes a free one.
        core: Where core's gRPC is.
        grace_seconds: How long running tasks may go on after SIGTERM.
    """

    listen: str
    core: str
    grace_seconds: float

    @classmethod
    def parse(cls, arguments: Sequence[str] | None = None) -> Settings:
        """From the command line, and from the environment where that says nothing.

        Raises ValueError, which names the variable, if one of the environment cannot be.
        """
        listen = setting.address(
            os.environ, "ENTREPOT_PLUGIN_LISTEN", "127.0.0.1:0", or_socket=True
        )
        grace = setting.seconds(os.environ, "ENTREPOT_PLUGIN_GRACE", 25)
        parser = argparse.ArgumentParser(description="A plugin of Entrepot.")
        parser.add_argument(
            "--listen",
            default=listen,
            help="where core finds the plugin: host:port or unix:/path (%(default)s)",
        )
        parser.add_argument(
            "--core",
            default=os.environ.get("ENTREPOT_GRPC") or "127.0.0.1:50051",
            help="where the plugin finds core (%(default)s)",
        )
        parser.add_argument(
            "--grace",
            type=_seconds,
            default=grace,
            help="seconds for running tasks to end after SIGTERM (%(default)s)",
        )
        parser.add_argument(
            "--insecure-dev",
            action="store_true",
            help="listen in plain text where other machines can reach it",
        )
        options = parser.parse_args(arguments)
        if not options.insecure_dev and not setting.is_private(options.listen):
            words = (
                f"{options.listen} can be reached by other machines; listen on loopback or a "
                "unix socket, or say --insecure-dev"
            )
            if options.listen == listen:
                raise ValueError(f"ENTREPOT_PLUGIN_LISTEN: {words}.")
            parser.error(words)
        return cls(options.listen, options.core, options.grace)


def configure(process: str, arguments: Sequence[str] | None = None) -> Settings:
    """What a process needs before it serves: settings, logs and failpoints.

    Ends it with status 78 if one of the environment cannot be used.
    """
    with setting.refused(process):
        settings = Settings.parse(arguments)
        logs.configure(process)
        failpoints.arm()
    return settings


def serve(plugin: Plugin, arguments: Sequence[str] | None = None) -> None:
    """Serves the plugin until SIGTERM or SIGINT; prints `ready <address>` when core may call.

    Args:
        plugin: What to serve.
        arguments: Of the command line; unset: those of this process.
    """
    settings = configure(f"plugin-{plugin.name}", arguments)
    asyncio.run(_serve(plugin, settings))


async def _serve(
    plugin: Plugin, settings: Settings, make_servicer: type[Servicer] = Servicer
) -> None:
    loop = asyncio.get_running_loop()
    leave, leave_now = asyncio.Event(), asyncio.Event()

    def on_signal() -> None:
        (leave_now if leave.is_set() else leave).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)

    async with connect_async(settings.core) as core:
        servicer = make_servicer(plugin, core)
        checks = health.aio.HealthServicer()
        server = grpc.aio.server(options=_SERVER_OPTIONS)
        add_PluginTasksServicer_to_server(servicer, server)
        health_pb2_grpc.add_HealthServicer_to_server(checks, server)
        reflection.enable_server_reflection(
            (_SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), server
        )
        address = _listen(server, settings.listen)
        await server.start()
        for name in ("", _SERVICE):
            await checks.set(name, health_pb2.HealthCheckResponse.SERVING)
        log.info("plugin.ready", address=address, version=plugin.version)
        give_back()
        say_ready(address)

        await leave.wait()
        log.info("plugin.draining")
        servicer.drain()
        await checks.enter_graceful_shutdown()
        await _first(servicer.wait_idle(settings.grace_seconds), leave_now.wait())
        servicer.stop_all()
        await server.stop(1)
        log.info("plugin.ended")


def _listen(server: grpc.aio.Server, address: str) -> str:
    try:
        port = server.add_insecure_port(address)
    except RuntimeError:
        # gRPC has said on stderr what the system said.
        sys.exit(f"Cannot listen on {address}: it is taken, or not an address of this machine.")
    return address if address.startswith("unix:") else f"{address.rpartition(':')[0]}:{port}"


async def _first(*waits: Coroutine[object, object, object]) -> None:
    """Returns when one of them has."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()


def _seconds(text: str) -> float:
    """A grace of the command line: as the one of the environment."""
    try:
        return setting.seconds({"": text}, "", 0)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error).removeprefix(": ")) from None
