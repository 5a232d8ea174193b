"""Downloads single files with the real downloader, as remotes say."""

from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from entrepot_core.blobs.directory import DirectoryBlobStore
from entrepot_core.domain.errors import ServiceError
from entrepot_core.downloads.downloader import Downloader
from entrepot_core.downloads.remote import Remote
from entrepot_core.downloads.request import BatchSink, Download, Fetched, Source


class Fetcher:
    """A downloader with a store of its own."""

    def __init__(self, downloader: Downloader, store: DirectoryBlobStore) -> None:
        self.downloader = downloader
        self.store = store

    def get(self, url: str, remote: Remote) -> bytes:
        """What is at a URL of the remote."""
        with self.store.begin() as batch:
            download = Download((Source(url, remote),), unit="a.txt")
            fetched = self.downloader.submit(download, BatchSink(batch)).result(30)
            batch.settle()
        assert fetched.blob is not None
        return b"".join(self.store.read(fetched.blob.digest))

    def start(self, url: str, remote: Remote) -> Future[Fetched]:
        """Begin to get what is at a URL, for nothing."""
        batch = self.store.begin()
        return self.downloader.submit(Download((Source(url, remote),)), BatchSink(batch))

    def fail(self, url: str, remote: Remote) -> ServiceError:
        """Why it cannot be had."""
        with pytest.raises(ServiceError) as caught:
            self.get(url, remote)
        return caught.value


@contextmanager
def fetching(folder: Path, *, allow_loopback: bool = True, **options: Any) -> Iterator[Fetcher]:  # noqa: ANN401
    """A fetcher, until the end of the block."""
    store = DirectoryBlobStore(folder, reserve_bytes=0)
    downloader = Downloader(allow_loopback=allow_loopback, backoff_seconds=0.001, **options)
    try:
        yield Fetcher(downloader, store)
    finally:
        downloader.close()
        store.close()


def a_remote(url: str, **given: Any) -> Remote:  # noqa: ANN401
    """A remote with what is given, which does not try again."""
    fields = {"remote_id": 1, "full_name": "remotes/file/bar", "url": url, "max_retries": 0}
    return Remote(**{**fields, **given})
