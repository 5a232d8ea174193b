"""nginx with the shipped configuration sends stored files: what clients see is the gateway's."""

import os
from collections.abc import Iterator

import pytest

from proxied import Proxied, proxied
from served import DATA, DATE, SHA256, Resolved, a_file, store

YEAR_2001 = 978_307_200
ETAG = f'"{SHA256}"'
# What nginx writes in its own way, or about the connection and not the file.
_NGINX = {"server", "date", "connection"}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    """A stored file at /dev/a/x.txt, an empty one, and one whose name is odd."""
    folder = tmp_path_factory.mktemp("proxied")
    sha256 = store(folder)
    # What nginx knows of a blob's age, which is not the unit's.
    os.utime(folder / "blobs" / "sha256" / sha256[:2] / sha256[2:4] / sha256, (YEAR_2001,) * 2)
    empty = store(folder, b"")
    with proxied(folder) as found:
        found.files["a/x.txt"] = a_file()
        found.files["a b+c%.html"] = a_file(media_type="text/html")
        found.files["empty"] = a_file(sha256=empty, size_bytes=0)
        found.files["a"] = Resolved(kind=Resolved.KIND_FOLDER)
        yield found
        assert found.nginx.log == ""


@pytest.mark.parametrize("target", ["/dev/a/x.txt", "/dev/a%20b+c%25.html"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_header_fields_are_the_gateways(served: Proxied, target: str, method: str) -> None:
    """Type, length, tag, time, disposition, policies: none is lost, none is nginx's own."""
    answer = served.get(target, method=method)
    described = served.get(target, method="HEAD", directly=True)

    assert answer.status == 200
    assert answer.body == (DATA if method == "GET" else b"")
    assert {name: value for name, value in answer.headers.items() if name not in _NGINX} == {
        name: value for name, value in described.headers.items() if name not in _NGINX
    }
    assert answer.headers["etag"] == ETAG
    assert answer.headers["last-modified"] == DATE
    assert answer.headers["content-length"] == str(len(DATA))
    assert "sandbox" in answer.headers["content-security-policy"]


def test_the_gateway_sends_no_byte(served: Proxied) -> None:
    """It names the blob, and nothing follows; asked twice, it says the same."""
    for _ in range(2):
        answer = served.get("/dev/a/x.txt", directly=True)
        assert (answer.status, answer.body) == (200, b"")
        assert answer.headers["x-accel-redirect"] == (
            f"/.entrepot-blobs/sha256/{SHA256[:2]}/{SHA256[2:4]}/{SHA256}"
        )


@pytest.mark.parametrize(
    ("headers", "status", "body"),
    [
        ({"If-None-Match": ETAG}, 304, b""),
        ({"If-None-Match": '"other"'}, 200, DATA),
        ({"If-Modified-Since": DATE}, 304, b""),
        ({"If-Modified-Since": "Mon, 01 Jan 2001 00:00:00 GMT"}, 200, DATA),
        ({"If-None-Match": '"other"', "If-Modified-Since": DATE}, 200, DATA),
        ({"If-Match": ETAG}, 200, DATA),
        ({"If-Match": '"other"'}, 412, b""),
        ({"If-Unmodified-Since": DATE}, 200, DATA),
        ({"If-Unmodified-Since": "Mon, 01 Jan 2001 00:00:00 GMT"}, 412, b""),
        ({"Range": "bytes=1-3"}, 206, DATA[1:4]),
        ({"Range": "bytes=-5"}, 206, DATA[-5:]),
        ({"Range": "bytes=9999-"}, 416, None),
        ({"Range": "bytes=1-3", "If-Range": ETAG}, 206, DATA[1:4]),
        ({"Range": "bytes=1-3", "If-Range": '"other"'}, 200, DATA),
        ({"Range": "bytes=1-3", "If-Range": DATE}, 206, DATA[1:4]),
        ({"Range": "bytes=1-3", "If-Range": "Mon, 01 Jan 2001 00:00:00 GMT"}, 200, DATA),
        ({"Range": "bytes=1-3", "If-Match": ETAG}, 206, DATA[1:4]),
        ({"Range": "lines=1-3"}, 200, DATA),
    ],
)
def test_conditions_and_ranges(
    served: Proxied, headers: dict[str, str], status: int, body: bytes | None
) -> None:
    """The gateway judges conditions, nginx cuts ranges; together they do what one alone does."""
    answer = served.get("/dev/a/x.txt", headers)

    assert answer.status == status
    if body is not None:
        assert answer.body == body
    if status != 416:
        assert answer.headers["etag"] == ETAG


def test_several_ranges(served: Proxied) -> None:
    """Two ranges are two parts."""
    answer = served.get("/dev/a/x.txt", {"Range": "bytes=0-1,10-11"})

    assert answer.status == 206
    assert answer.headers["content-type"].startswith("multipart/byteranges; boundary=")
    assert answer.body.count(b"Content-Range: bytes ") == 2
    assert DATA[10:12] in answer.body


def test_what_is_no_stored_file(served: Proxied) -> None:
    """What is absent, empty, a folder or nonsense is answered by the gateway."""
    assert served.get("/dev/none").status == 404
    assert served.get("/dev/empty").body == b""
    assert served.get("/dev/empty").headers["content-length"] == "0"
    assert served.get("/dev/a").headers["location"] == "./a/"
    assert served.get("/dev//a").status == 400
    assert served.get("/dev/a/x.txt", method="POST").status == 405
