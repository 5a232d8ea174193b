"""The least that serves a file over HTTP: an ASGI app that sends it by its path."""

import os
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

FOLDER = os.environ["BARE_APP_FOLDER"]
SIZES = {f"/{entry.name}": str(entry.stat().st_size).encode() for entry in os.scandir(FOLDER)}

Send = Callable[[Mapping[str, Any]], Awaitable[None]]


async def app(scope: Mapping[str, Any], receive: object, send: Send) -> None:
    """Send the file, with its length."""
    path = scope["path"]
    headers = [(b"content-type", b"application/octet-stream"), (b"content-length", SIZES[path])]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.pathsend", "path": FOLDER + path})
