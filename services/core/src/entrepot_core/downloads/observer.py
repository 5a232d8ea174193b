"""Who is told of downloads."""

from __future__ import annotations

from typing import Protocol

__all__ = ["UNOBSERVED", "DownloadObserver"]


class DownloadObserver(Protocol):
    """Is told of every source that was asked for a file, from the downloader's loop."""

    def fetched(self, host: str, size_bytes: int, seconds: float) -> None:
        """A host sent a file; zero bytes: it said that nothing has changed."""

    def failed(self, host: str, reason: str, seconds: float) -> None:
        """A host was asked in vain; the reason is one of our own."""


class _Unobserved:
    def fetched(self, host: str, size_bytes: int, seconds: float) -> None:
        pass

    def failed(self, host: str, reason: str, seconds: float) -> None:
        pass


UNOBSERVED: DownloadObserver = _Unobserved()
