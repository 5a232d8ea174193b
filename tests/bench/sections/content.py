"""Files from the content origin, beside an app that does nothing but send them."""

import secrets
from collections.abc import Iterator

from figure import Figure
from load import requests_per_second
from separate import bare_app
from setting import folder_beside
from size import KIB, MIB, Size
from stack import Stack
from target import at_least_of_floor
from upstream import Upstream

__all__ = ["content"]


def content(stack: Stack, size: Size) -> Iterator[Figure]:
    """Files from the content origin, beside an app that does nothing but send them."""
    files = {"small.bin": secrets.token_bytes(KIB), "large.bin": secrets.token_bytes(10 * MIB)}
    with Upstream(files) as upstream:
        base = stack.api.a_distribution(stack.api.a_synced_repository(upstream))["base_path"]
    small = Figure("a file of 1 KiB, 16 connections", "requests/s", digits=0)
    large = Figure("a file of 10 MiB, 16 connections", "MiB/s", digits=0)
    small.target, large.target = at_least_of_floor(0.6), at_least_of_floor(0.9)
    with folder_beside(stack) as folder:
        for name, data in files.items():
            (folder / name).write_bytes(data)
        with bare_app(folder) as origin:
            for figure, path, factor in ((small, "small.bin", 1), (large, "large.bin", 10)):
                figure.floor_is = "a bare ASGI app on granian"
                for _ in range(size.repeats):
                    ours = f"{stack.content_url}/{base}/{path}"
                    figure.samples.append(factor * requests_per_second(ours, seconds=size.seconds))
                    figure.floor.append(
                        factor * requests_per_second(f"{origin}/{path}", seconds=size.seconds)
                    )
    yield from (small, large)
