"""Paths of the content origin: decoded once, and never a way out."""

import pytest

from entrepot_gateway.content.app import Content
from entrepot_gateway.content.path import BadPathError, decode_path
from gateway_client import Client
from gateway_core import FakeCore

EVIL = [
    "/../etc/passwd",
    "/..",
    "/.",
    "/dev/..",
    "/dev/../x",
    "/dev/./x",
    "/dev/%2e%2e/x",
    "/dev/%2E%2E/x",
    "/dev/.%2e/x",
    "/dev/%2e./x",
    "/dev/%2e/x",
    "/%2e%2e",
    "/%2e%2e/%2e%2e/etc/passwd",
    "/dev/..%2fx",
    "/dev/..%2Fx",
    "/dev/%2e%2e%2fx",
    "/dev%2f..%2fx",
    "/dev/a%2fb",
    "/%2f%2fetc/passwd",
    "/%2fetc/passwd",
    "//etc/passwd",
    "//",
    "///",
    "/dev//x",
    "/dev/x//",
    "/dev//",
    "/dev/%2f/x",
    "/dev\\..\\x",
    "/dev/..\\x",
    "/dev/x%00",
    "/dev/%00/x",
    "/dev/.%00./x",
    "/dev/x%00.txt",
    "/dev/%0d%0aX-Evil:%201",
    "/dev/%0a",
    "/dev/%09x",
    "/dev/%1b[31m",
    "/dev/%7f",
    "/dev/%c2%85x",
    "/dev/%c0%ae%c0%ae/x",
    "/dev/%c0%afx",
    "/dev/%c1%9cx",
    "/dev/%e0%80%af",
    "/dev/%f0%80%80%af",
    "/dev/%ff",
    "/dev/%fe%ff",
    "/dev/%c3",
    "/dev/%ed%a0%80",
    "/dev/%",
    "/dev/%2",
    "/dev/%zz",
    "/dev/%u002e",
    "/dev/%%32%65",
    "dev/x",
    "",
    "*",
    "http://elsewhere/x",
    "/" + "a" * 9000,
]

# Strange, but names like any other: core is asked, and has nothing.
STRANGE = [
    "/dev/%252e%252e/x",
    "/dev/%252f",
    "/dev/..%252f..%252fetc",
    "/dev/..;/x",
    "/dev/;x",
    "/dev/x;..",
    "/dev/...",
    "/dev/..x",
    "/dev/%e2%88%95",
    "/dev/%ef%bc%8f..",
    "/dev/a%20b",
    "/dev/~root",
    "/dev/$HOME",
    "/dev/%3cscript%3e",
    "/dev/%5c..%5cx",
    "/dev/x%5C",
]


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
