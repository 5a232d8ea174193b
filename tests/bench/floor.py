"""The floor for a sync: a loop that downloads, hashes and writes, and does nothing else."""

import asyncio
import hashlib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin

import aiohttp


def download(manifest_url: str, folder: Path, concurrency: int) -> int:
    """Fetch what a manifest lists that is not in the folder yet; returns how many files."""
    return asyncio.run(_download(manifest_url, folder, concurrency))


def ask(url: str, etag: str = "") -> int:
    """One request for a file, conditional if there is a tag; returns its status."""
    return asyncio.run(_ask(url, etag))


async def _ask(url: str, etag: str) -> int:
    async with (
        aiohttp.ClientSession() as session,
        session.get(url, headers={"If-None-Match": etag} if etag else {}) as response,
    ):
        await response.read()
        return response.status


async def _download(manifest_url: str, folder: Path, concurrency: int) -> int:
    connector = aiohttp.TCPConnector(limit=concurrency)
    async with aiohttp.ClientSession(connector=connector) as session:
        async with session.get(manifest_url) as response:
            lines = (await response.text()).splitlines()
        wanted = (line.rsplit(",", 2) for line in lines)
        missing = iter(
            [(path, digest) for path, digest, _ in wanted if not (folder / digest).exists()]
        )
        counts = await asyncio.gather(
            *(_work(session, manifest_url, folder, missing) for _ in range(concurrency))
        )
    return sum(counts)


async def _work(
    session: aiohttp.ClientSession,
    manifest_url: str,
    folder: Path,
    missing: Iterator[tuple[str, str]],
) -> int:
    count = 0
    for path, digest in missing:
        hasher = hashlib.sha256()
        partial = folder / f"{digest}.part"
        async with session.get(urljoin(manifest_url, path)) as response:
            with partial.open("wb") as file:
                async for chunk in response.content.iter_any():
                    hasher.update(chunk)
                    file.write(chunk)
        assert hasher.hexdigest() == digest
        partial.rename(folder / digest)
        count += 1
    return count
