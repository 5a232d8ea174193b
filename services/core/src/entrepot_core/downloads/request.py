"""What is asked of the downloader, what it answers, and where the bytes go."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from entrepot_core.domain.blob import NOTHING_EXPECTED

if TYPE_CHECKING:
    from entrepot_core.blobs.blob_store import BlobBatch, BlobWriter
    from entrepot_core.domain.blob import Blob, Expected, Verifier
    from entrepot_core.downloads.remote import Remote

__all__ = ["MAX_BYTES", "BatchSink", "Download", "Fetched", "Sink", "Source"]

# A file of which nobody said how long it is.
MAX_BYTES = 64 * 1024**3
# So much of a file is gathered for one step of hashing and writing,
GATHERED_BYTES = 512 * 1024
# and from here on another thread takes the step; below, handing it over costs more.
ASIDE_BYTES = 128 * 1024


@dataclass(frozen=True, slots=True)
class Source:
    """A place where the bytes may be had, and what it said last time, to ask conditionally."""

    url: str
    remote: Remote
    etag: str = ""
    last_modified: str = ""


@dataclass(frozen=True, slots=True)
class Download:
    """One file to fetch: the sources are tried in order, every digest is verified."""

    sources: tuple[Source, ...]
    expected: Expected = NOTHING_EXPECTED
    # What it is for, in messages: the path of a file.
    unit: str = ""
    max_bytes: int = MAX_BYTES
    # Rather fails at once than asks a source that has just failed.
    heeds_cooldown: bool = False


@dataclass(frozen=True, slots=True)
class Fetched:
    """What came: a verified blob, or none because the source says that it has not changed."""

    source: Source
    blob: Blob | None
    # After redirects.
    final_url: str
    etag: str = ""
    last_modified: str = ""


class Sink(Protocol):
    """Takes the bytes of one download; begun again for every try."""

    @property
    def gathers_bytes(self) -> int:
        """How many it would have at once; zero: each as soon as it comes."""

    def begin(self, verifier: Verifier) -> None:
        """Bytes will come; forgets those of an earlier try."""

    async def write(self, chunk: bytes) -> None:
        """The next ones."""

    def finish(self) -> Blob:
        """That was all; raises if they are wrong."""

    def abort(self) -> None:
        """No more will come. May be called at any time, and after the others."""


@dataclass(slots=True)
class BatchSink:
    """Makes a blob of a batch."""

    batch: BlobBatch
    gathers_bytes: int = field(default=GATHERED_BYTES, init=False)
    _writer: BlobWriter | None = field(default=None, init=False)

    def begin(self, verifier: Verifier) -> None:
        self.abort()
        self._writer = self.batch.create(verifier)

    async def write(self, chunk: bytes) -> None:
        assert self._writer is not None  # noqa: S101  begin comes first
        if len(chunk) < ASIDE_BYTES:
            self._writer.write(chunk)
        else:
            # Hashing and writing let go of the interpreter, so the loop reads on meanwhile.
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(None, self._writer.write, chunk)

    def finish(self) -> Blob:
        assert self._writer is not None  # noqa: S101  begin comes first
        return self._writer.close()

    def abort(self) -> None:
        if self._writer is not None:
            self._writer.abort()
            self._writer = None
