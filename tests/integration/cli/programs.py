"""Stands in for core, gateway and a plugin: each does just enough to be started and asked.

Run as `programs.py NAME ROLE`; without one as `entrepot up` with these instead of the real ones.
"""

import http.server
import json
import os
import signal
import sys
from concurrent import futures
from pathlib import Path
from typing import Any, cast

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from entrepot.core.v1 import plugin_service_pb2, plugin_service_pb2_grpc
from entrepot.plugin.v1 import describe_pb2
from entrepot_cli import app
from entrepot_cli.stack import installed

HOME = Path(os.environ["ENTREPOT_HOME"])


def main(words: list[str]) -> int:
    """Be one of the programs, or start them all."""
    match words:
        case ["entrepot-core", "migrate"]:
            print("migrated", flush=True)
        case ["entrepot-core", "api"]:
            serve_core()
        case ["entrepot-core", "dispatch"]:
            say_ready("dispatch", "dispatch")
        case ["entrepot-gateway", role]:
            setting = {"api": "ENTREPOT_HTTP", "content": "ENTREPOT_CONTENT"}[role]
            serve_http(role, os.environ[setting])
        case ["entrepot-plugin-fake", "--listen", _]:
            say_ready("plugin", f"127.0.0.1:{os.getpid()}")
        case _:
            return start_all(words)
    return 0


def start_all(words: list[str]) -> int:
    """`entrepot up`, with scripts of the right names in a folder of their own."""
    folder = HOME.with_name(f"{HOME.name}-programs")
    folder.mkdir(exist_ok=True)
    for name in ("entrepot-core", "entrepot-gateway", "entrepot-plugin-fake"):
        script = folder / name
        script.write_text(f'#!/bin/sh\nexec {sys.executable} {__file__} {name} "$@"\n')
        script.chmod(0o755)
    installed.program = lambda name: str(folder / name)
    installed.plugins = lambda: {"fake": (str(folder / "entrepot-plugin-fake"),)}
    return app.main(["up", *words])


def note(role: str, **facts: Any) -> None:  # noqa: ANN401
    """Leave a line about this process for the test."""
    keep = {name: value for name, value in os.environ.items() if name.startswith("ENTREPOT")}
    line = json.dumps({"role": role, "pid": os.getpid(), "environment": keep, **facts})
    with (HOME / "facts.jsonl").open("a") as file:
        file.write(f"{line}\n")


def say_ready(role: str, address: str) -> None:
    """Say so, and wait for a signal."""
    note(role)
    print(f"ready {address}", flush=True)
    signal.pause()


def serve_http(role: str, address: str) -> None:
    """Answer every GET with 200."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

    host, _, port = address.rpartition(":")
    server = http.server.ThreadingHTTPServer((host, int(port)), Handler)
    note(role)
    print(f"ready http://{address}", flush=True)
    server.serve_forever()


class Plugins:
    """Takes plugins, and remembers them for as long as it lives."""

    def __init__(self) -> None:
        self.known: set[str] = set()
        self.DeletePlugin = self.GetPlugin = self.ListPlugins = self.WatchPlugins = never

    def UpdatePlugin(self, request: Any, context: Any) -> Any:  # noqa: ANN401
        if request.plugin.name not in self.known:
            context.abort(grpc.StatusCode.NOT_FOUND, "no such plugin")
        note("updated", target=request.plugin.target)
        return plugin_service_pb2.UpdatePluginResponse(plugin=described(request.plugin))

    def CreatePlugin(self, request: Any, context: Any) -> Any:  # noqa: ANN401
        self.known.add(request.plugin.name)
        note("created", target=request.plugin.target)
        return plugin_service_pb2.CreatePluginResponse(plugin=described(request.plugin))


def never(request: Any, context: Any) -> Any:  # noqa: ANN401
    """Stand for the rpcs that nobody calls here."""
    raise NotImplementedError


def described(plugin: plugin_service_pb2.Plugin) -> plugin_service_pb2.Plugin:
    """The plugin with a task type."""
    types = [describe_pb2.TaskType(collection="writes")]
    declaration = describe_pb2.DescribeResponse(name="fake", task_types=types)
    return plugin_service_pb2.Plugin(
        name=plugin.name, target=plugin.target, declaration=declaration
    )


def serve_core() -> None:
    """Serve health and plugins."""
    server = grpc.server(futures.ThreadPoolExecutor(4), options=(("grpc.so_reuseport", 0),))
    checks = health.HealthServicer()
    checks.set("", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    plugin_service_pb2_grpc.add_PluginServiceServicer_to_server(cast("Any", Plugins()), server)
    server.add_insecure_port(os.environ["ENTREPOT_GRPC"])
    server.start()
    note("api")
    print(f"ready grpc://{os.environ['ENTREPOT_GRPC']}", flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
