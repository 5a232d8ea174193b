"""The command `entrepot-gateway api|content`: the only place that wires things together."""

from __future__ import annotations

import argparse
import asyncio
import atexit
import os
import sys
from functools import partial
from typing import TYPE_CHECKING, NoReturn

import structlog

from entrepot_gateway.app import Api
from entrepot_gateway.config import Config
from entrepot_gateway.content.app import Content
from entrepot_gateway.content.opening import open_blobs
from entrepot_gateway.core import Core
from entrepot_gateway.server import serve, serve_many
from entrepot_rpc import logs, readiness, setting
from entrepot_rpc.memory import give_back

if TYPE_CHECKING:
    from collections.abc import Sequence

    from entrepot_gateway.server import Application

log = structlog.get_logger()


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve one role until told to stop."""
    parser = argparse.ArgumentParser(prog="entrepot-gateway", description=__doc__)
    parser.add_argument("role", choices=("api", "content"))
    parser.add_argument("--workers", type=int, default=1, help="worker processes (default: 1)")
    options = parser.parse_args(arguments)
    with setting.refused("entrepot-gateway"):
        logs.configure(f"gateway-{options.role}")
        config = Config.from_environment(options.role, options.workers)
    log.info("gateway.starting", **config.redacted())
    try:
        if config.workers > 1:
            serve_many(partial(make, config), config, partial(say_ready, config))
        else:
            asyncio.run(run(config))
    except OSError as error:
        log.error("gateway.cannot_listen", host=config.host, port=config.port, error=str(error))  # noqa: TRY400
        return 1
    log.info("gateway.stopped")
    return _leave()


def _leave() -> NoReturn:
    """End the process well, and not by taking the interpreter down around the server's threads.

    One that has something to say to it at that moment would abort the process.
    """
    # Such as those that send what is left of a trace.
    atexit._run_exitfuncs()  # noqa: SLF001  what the interpreter would do
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(os.EX_OK)


async def run(config: Config) -> None:
    """Serve with one worker."""
    await serve(make(config), config, partial(say_ready, config))


def make(config: Config) -> Application:
    """The application of a role."""
    core = Core(config.core, config.token)
    application: Application
    if config.role == "content":
        with setting.refused("entrepot-gateway"):
            blobs = open_blobs(config.blobs_url, config.blobs_previous_url, config.accel)
        application = Content(core, blobs, config.stale_seconds)
    else:
        application = Api(core)
    return _measured(application, config) if config.metrics else application


def _measured(application: Application, config: Config) -> Application:
    # Only who shows metrics pays for them.
    from entrepot_gateway.measured import Measured  # noqa: PLC0415
    from entrepot_rpc.exposition import Exposition, new_registry  # noqa: PLC0415

    registry = new_registry()
    Exposition(registry, config.metrics, config.metrics_token, config.workers)
    return Measured(application, "content" if config.role == "content" else "unmatched", registry)


def say_ready(config: Config) -> None:
    """Tell whoever started this that requests are served."""
    host = f"[{config.host}]" if ":" in config.host else config.host
    give_back()
    readiness.say_ready(f"http://{host}:{config.port}")
