"""Paths of the content origin: decoded once, and never a way out."""

import pytest

from entrepot_gateway.content.app import Content
from entrepot_gateway.content.path import BadPathError, decode_path
from evil_paths import EVIL, STRANGE
from gateway_client import Client
from gateway_core import FakeCore


@pytest.mark.parametrize("path", EVIL)
def test_evil_spellings_are_no_path(path: str) -> None:
    """Whatever could be taken for another path is refused before anything looks at it."""
    with pytest.raises(BadPathError):
        decode_path(path.encode("latin-1"))


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", EVIL)
async def test_evil_spellings_are_answered(
    content: Content, core: FakeCore, path: str, method: str
) -> None:
    """With 400, and core is not asked."""
    answer = await Client(content, {"range": "bytes=0-1"}).request(method, path)

    assert answer.status == 400
    assert core.count("ResolvePointer") == 0


@pytest.mark.parametrize("path", STRANGE)
def test_strange_names_are_decoded_once(path: str) -> None:
    """They stay inside their segment."""
    decoded, _ = decode_path(path.encode("ascii"))

    assert decoded.count("/") == path.count("/") - 1
    assert not any(segment in ("", ".", "..") for segment in decoded.split("/"))


@pytest.mark.parametrize(
    ("raw", "path", "is_folder"),
    [
        (b"/", "", True),
        (b"/dev", "dev", False),
        (b"/dev/", "dev", True),
        (b"/dev/a%20b.txt", "dev/a b.txt", False),
        (b"/dev/%C3%A9/?x=../..", "dev/é", True),
        (b"/dev/a%252fb", "dev/a%2fb", False),
        (b"/a+b", "a+b", False),
        (b"/dev-disk%5Cx2dby", "dev-disk\\x2dby", False),
    ],
)
def test_paths_are_decoded(raw: bytes, path: str, is_folder: bool) -> None:
    """Once, without the query; a slash at the end is remembered."""
    assert decode_path(raw) == (path, is_folder)


@pytest.mark.parametrize(
    "path", ["/v2/", "/v2/x", "/v3/x", "/token", "/.well-known/x", "/%76%32/x"]
)
async def test_reserved_segments_are_not_served(
    content: Content, core: FakeCore, path: str
) -> None:
    """They are kept for live protocols."""
    answer = await Client(content, {}).request("GET", path)

    assert answer.status == 404
    assert core.count("ResolvePointer") == 0
