"""Fixtures of tests about bytes: a keeper and a downloader over PostgreSQL and a folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from byte_rows import Rows
from entrepot_core.blobs.directory import DirectoryBlobStore
from entrepot_core.downloads.downloader import Downloader
from entrepot_core.downloads.keeper import Keeper
from entrepot_core.store.database import Database
from upstream import Upstream


@pytest.fixture
def keeper(database: Database, tmp_path: Path) -> Iterator[Keeper]:
    """Rows and files."""
    store = DirectoryBlobStore(tmp_path / "blobs", reserve_bytes=0)
    yield Keeper(database, store)
    store.close()


@pytest.fixture
def downloader() -> Iterator[Downloader]:
    """A downloader that may ask this machine."""
    downloader = Downloader(allow_loopback=True, backoff_seconds=0.001)
    yield downloader
    downloader.close()


@pytest.fixture
def rows(database: Database) -> Rows:
    """Makes rows."""
    return Rows(database)


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """An upstream with nothing."""
    with Upstream() as upstream:
        yield upstream
