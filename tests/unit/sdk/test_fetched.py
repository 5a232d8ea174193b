"""Fetched files: chunks, lines and limits."""

from collections.abc import AsyncIterator

import pytest

from entrepot_sdk import Fetched, TaskFailed, sha256_digest


def fetched(*chunks: bytes) -> Fetched:
    """Make a file that comes in these chunks."""

    async def stream() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    return Fetched(
        sha256_digest("0" * 64),
        not_modified=False,
        final_url="https://example.org/",
        chunks=stream,
    )


async def test_lines_are_put_together_from_chunks() -> None:
    """Lines come whole, without their ends, wherever the chunks were cut."""
    file = fetched(b"one\ntw", b"o\r\n", b"\nfour")

    assert [b"one", b"two", b"", b"four"] == [line async for line in file.lines()]


async def test_a_line_without_end_is_refused() -> None:
    """A line that is longer than the limit fails the task, and its number is named."""
    file = fetched(b"one\n", b"x" * 10)

    with pytest.raises(TaskFailed, match="Line 2 of") as caught:
        _ = [line async for line in file.lines(max_line_bytes=5)]

    assert caught.value.reason == "LINE_TOO_LONG"


async def test_reading_stops_at_the_limit() -> None:
    """A file that is larger than the limit fails the task."""
    file = fetched(b"12345", b"67890")

    assert await file.read(10) == b"1234567890"
    with pytest.raises(TaskFailed, match="larger than 9 bytes"):
        await file.read(9)
