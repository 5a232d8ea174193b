"""Somebody who downloads into a folder, and waits."""

import hashlib
from pathlib import Path
from typing import Any, Self

import aiohttp
import pytest

from entrepot_core.blobs.directory import DirectoryBlobStore
from entrepot_core.domain.blob import Expected
from entrepot_core.domain.errors import ServiceError
from entrepot_core.downloads.downloader import Downloader
from entrepot_core.downloads.remote import Remote
from entrepot_core.downloads.request import BatchSink, Download, Fetched, Source


def expecting(data: bytes, *algorithms: str) -> Expected:
    """What some bytes must be."""
    digests = tuple((name, hashlib.new(name, data).digest()) for name in algorithms)
    return Expected(digests, len(data))


class Client:
    """Downloads into a store, and waits."""

    def __init__(self, folder: Path, *, allow_loopback: bool = True, **options: Any) -> None:  # noqa: ANN401  of the downloader
        self.store = DirectoryBlobStore(folder, reserve_bytes=0)
        self.downloader = Downloader(
            allow_loopback=allow_loopback, backoff_seconds=0.001, **options
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.downloader.close()
        self.store.close()

    def get(
        self, *urls: str, limits: Remote | None = None, **options: object
    ) -> tuple[Fetched, bytes]:
        """What comes from the first of the URLs that has it."""
        limits = limits or Remote(1, max_retries=2, stall_timeout_seconds=20)
        sources = tuple(Source(url, limits) for url in urls)
        download = Download(sources, unit="a/b.txt", **options)  # type: ignore[arg-type]
        with self.store.begin() as batch:
            fetched = self.downloader.submit(download, BatchSink(batch)).result(30)
            batch.settle()
        assert fetched.blob is not None
        return fetched, b"".join(self.store.read(fetched.blob.digest))

    def fail(self, *urls: str, **options: object) -> ServiceError:
        """The error, of a download that leaves nothing behind."""
        with pytest.raises(ServiceError) as caught:
            self.get(*urls, **options)  # type: ignore[arg-type]
        assert list(self.store.files()) == []
        assert not any(path.is_file() for path in (self.store.root / "tmp").glob("*/*"))
        return caught.value

    def fail_now(self, url: str) -> ServiceError:
        """The error, whatever is stored already."""
        with pytest.raises(ServiceError) as caught:
            self.get(url)
        return caught.value

    def forget_names(self) -> None:
        """Has the next connection resolve names anew, and be a new one."""

        async def forget() -> None:
            connector = self.downloader._session.connector
            assert isinstance(connector, aiohttp.TCPConnector)
            connector.clear_dns_cache()

        self.downloader.run(forget()).result(10)
