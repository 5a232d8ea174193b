"""S33: nothing is decompressed on the way in, so no bomb goes off."""

import gzip
import resource
import zlib

import pytest

from download_client import Client, expecting
from entrepot_core.domain.blob import Expected
from entrepot_core.domain.errors import DigestMismatchError
from entrepot_sdk.testing import Upstream
from entrepot_sdk.testing.upstream import Exchange

SIZE = 64 * 1024**2


@pytest.fixture(scope="module")
def bomb() -> bytes:
    """64 MiB of zeros in some hundred bytes, made without having them."""
    packer, piece = zlib.compressobj(wbits=31), bytes(1024**2)
    once = b"".join(packer.compress(piece) for _ in range(SIZE // len(piece))) + packer.flush()
    return gzip.compress(once, mtime=0)


def encoded(*encodings: str) -> object:
    """A behaviour that says that the body is encoded."""

    async def behaviour(exchange: Exchange) -> None:
        headers = [("Content-Encoding", one) for one in encodings]
        await exchange.send(200, exchange.body, headers)

    return behaviour


@pytest.mark.parametrize(
    "encodings",
    [
        ["gzip"],
        ["gzip, gzip"],
        ["deflate"],
        ["br"],
        ["zstd"],
        ["x-gzip"],
        ["gzip"] * 100,
        [", ".join(["gzip"] * 1000)],
    ],
    ids=["gzip", "twice", "deflate", "br", "zstd", "x-gzip", "a hundred headers", "a thousand"],
)
def test_a_bomb_stays_what_it_is(
    client: Client, upstream: Upstream, bomb: bytes, encodings: list[str]
) -> None:
    """S33: a body is stored as it came, however it says that it is encoded."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    url = upstream.add("/a", bomb, encoded(*encodings))  # type: ignore[arg-type]

    _, data = client.get(url, max_bytes=len(bomb))

    assert data == bomb
    assert upstream.requests[0].headers["accept-encoding"] == "identity"
    # Kibibytes: far from what it would be.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < SIZE // 1024 // 4


def test_compression_that_nobody_asked_for(client: Client, upstream: Upstream) -> None:
    """S33: a file that comes compressed is not the file, and is not made it."""
    data = b"the file" * 1000
    url = upstream.add("/a", data, "gzipped")
    digests = Expected(expecting(data, "sha256").digests)

    assert isinstance(client.fail(url, expected=digests), DigestMismatchError)
