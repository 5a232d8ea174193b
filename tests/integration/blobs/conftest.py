"""A keeper, a downloader and an upstream."""

from byte_fixtures import downloader, keeper, rows, upstream

__all__ = ["downloader", "keeper", "rows", "upstream"]
