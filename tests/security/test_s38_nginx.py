"""S38: nginx sends the file that the gateway names, and nobody else can name one.

A real nginx with the shipped configuration, in front of a real gateway.
"""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import pytest

from nginx import nginx
from proxied import ACCEL, Proxied, proxied
from served import DATA, SHA256, a_file, store

BLOB = f"sha256/{SHA256[:2]}/{SHA256[2:4]}/{SHA256}"
SECRET = b"of somebody else"
OWN = b"its own 30 bytes, as they are."


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    """A file that is served, and the blob of one that is not."""
    folder = tmp_path_factory.mktemp("proxied")
    store(folder)
    hidden = store(folder, SECRET)
    with proxied(folder) as found:
        found.files["f"] = a_file()
        link = folder / "blobs" / "sha256" / "00" / "00" / ("0" * 64)
        link.parent.mkdir(parents=True)
        link.symlink_to(folder / "blobs" / "sha256" / hidden[:2] / hidden[2:4] / hidden)
        yield found


@pytest.mark.parametrize(
    "prefix",
    [
        ACCEL,
        f"/{ACCEL}",
        f"//{ACCEL}",
        f"/.{ACCEL}",
        f"/dev/..{ACCEL}",
        f"/dev/f/../..{ACCEL}",
        f"/dev/%2e%2e{ACCEL}",
        f"/dev/..%2f{ACCEL[1:]}",
        "/%2eentrepot-blobs",
        "/.entrepot%2dblobs",
        "/%2f.entrepot-blobs",
        "/.ENTREPOT-BLOBS",
        "/.entrepot-blobs/",
        "/.entrepot-blobs/.",
        "/.entrepot-blobs/x/..",
        f"http://127.0.0.1{ACCEL}",
        f"http://content.example.org{ACCEL}",
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_blobs_cannot_be_asked_for(served: Proxied, prefix: str, method: str) -> None:
    """S38: however the internal location is spelled, it is not there for clients."""
    answer = served.get(f"{prefix}/{BLOB}", method=method)

    assert answer.status in (400, 404, 405)
    assert DATA not in answer.body


@pytest.mark.parametrize(
    "name",
    ["X-Accel-Redirect", "X-Sendfile", "X-Accel-Expires", "X-Accel-Limit-Rate", "X-Accel-Charset",
     "X-Original-URI", "X-Rewrite-URL", "X_Accel_Redirect", "Connection", "Upgrade"],
)  # fmt: skip
def test_clients_name_no_file(served: Proxied, name: str) -> None:
    """S38: what a client says in the words of servers changes nothing, also for what is absent."""
    value = {"Connection": "X-Accel-Redirect, ETag", "Upgrade": "websocket"}.get(
        name, f"{ACCEL}/{BLOB}"
    )

    found = served.get("/dev/f", {name: value})
    absent = served.get("/dev/absent", {name: value})

    assert (found.status, found.body) == (200, DATA)
    assert found.headers["etag"] == f'"{SHA256}"'
    assert absent.status == 404
    assert DATA not in absent.body
    assert not [field for field in found.headers | absent.headers if field.startswith("x-accel")]


@pytest.mark.parametrize(
    "evil",
    [
        f"text/html\r\nX-Accel-Redirect: {ACCEL}/{BLOB}",
        f"text/html\nX-Accel-Redirect: {ACCEL}/{BLOB}",
        f"text/html; X-Accel-Redirect={ACCEL}/{BLOB}",
        "text/html\0",
    ],
)
def test_plugins_and_names_write_no_header(served: Proxied, evil: str) -> None:
    """S38: neither a media type of a plugin nor a file's name ends its line and begins another."""
    served.files["typed"] = a_file(media_type=evil)
    served.files[evil] = a_file()

    typed = served.get("/dev/typed")
    named = served.get("/dev/" + "".join(f"%{byte:02x}" for byte in evil.encode()))

    assert (typed.status, typed.body) == (200, DATA)
    assert typed.headers["content-type"] == "application/octet-stream"
    assert named.status in (200, 400, 404)
    for answer in (typed, named):
        assert "x-accel-redirect" not in answer.headers
    served.files.clear()
    served.files["f"] = a_file()


def test_a_link_among_the_blobs_leads_nowhere(served: Proxied) -> None:
    """S38, S06: neither the gateway nor nginx follows a link to the bytes of another file."""
    served.files["link"] = a_file(sha256="0" * 64, size_bytes=len(SECRET))

    answer = served.get("/dev/link")

    assert answer.status >= 500
    assert SECRET not in answer.body


def ask(address: str) -> tuple[HTTPResponse, bytes]:
    """An answer, and its body."""
    connection = HTTPConnection(address, timeout=10)
    try:
        connection.request("GET", "/api/v3/anything/")
        response = connection.getresponse()
        return response, response.read()
    finally:
        connection.close()


@contextmanager
def hostile(head: bytes) -> Iterator[str]:
    """Something behind nginx that answers every request with this; its address."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65536)
                    connection.sendall(
                        b"HTTP/1.1 200 OK\r\nContent-Length: 30\r\nConnection: close\r\n"
                        + head
                        + b"\r\n\r\n"
                        + OWN
                    )

        threading.Thread(target=answer, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)


def test_the_api_names_no_file(tmp_path: Path) -> None:
    """S38: X-Accel-Redirect from behind the API, such as from a plugin, is not obeyed."""
    store(tmp_path)
    head = f"X-Accel-Redirect: {ACCEL}/{BLOB}\r\nX-Accel-Limit-Rate: 1\r\nX-Sendfile: /etc/passwd"
    with hostile(head.encode()) as address, nginx(tmp_path / "blobs", api=address) as front:
        response, body = ask(front.api)

    assert (response.status, body) == (200, OWN)
    assert response.getheader("X-Accel-Redirect") is None


def test_a_gateway_names_nothing_but_blobs(tmp_path: Path) -> None:
    """S38: were the gateway itself talked into naming files, nginx has none but blobs."""
    store(tmp_path)
    (tmp_path / "token").write_text("secret")
    for path in ("/etc/passwd", f"{ACCEL}/../token", f"{ACCEL}/%2e%2e/token", f"{ACCEL}../token"):
        head = f"X-Accel-Redirect: {path}"
        with (
            hostile(head.encode()) as address,
            nginx(tmp_path / "blobs", content=address) as front,
        ):
            response, body = ask(front.content)

        assert b"secret" not in body
        assert b"root:" not in body
        assert response.status != 200


def test_a_gateway_says_nothing_else(tmp_path: Path) -> None:
    """S38: of the words that nginx knows, it heeds the one that names a file, and hides all."""
    head = b"X-Accel-Limit-Rate: 1\r\nX-Accel-Expires: 60"
    started = time.monotonic()
    with hostile(head) as address, nginx(tmp_path / "blobs", content=address) as front:
        response, body = ask(front.content)

    assert (response.status, body) == (200, OWN)
    # At one byte a second it would be as many seconds.
    assert time.monotonic() - started < len(OWN) / 2
    assert not [name for name in response.headers if name.lower().startswith("x-accel")]
