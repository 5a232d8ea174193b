"""Names as real clients send them: each program has its own idea of what must be quoted."""

import hashlib
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from gateway_process import GatewayProcess, gateway_process, status
from served import a_file, store

NAMES = (
    "bash_5.2.15-2+b8~deb12u1_amd64.deb",
    "libstdc++6_12.2.0-14_amd64.deb",
    "1%3a2.0-1_all.deb",
    "torch-2.1.0+cu121-cp311-cp311-linux_x86_64.whl",
    "a b.txt",
    "100%.txt",
    "Z\u00fcrich.txt",
    "Zu\u0308rich.txt",
    "\u65e5\u672c.txt",
    "a&b=c;d@e:f,g.txt",
    "[v1]'(2)!$*.txt",
    "a%2fb.txt",
    "a\\b.txt",
    "{x,y}.txt",
)

# How programs quote a path that they know by its name.
QUOTES: dict[str, Callable[[str], str]] = {
    "everything": lambda name: "".join(f"%{byte:02X}" for byte in name.encode()),
    "in lower case": lambda name: "".join(f"%{byte:02x}" for byte in name.encode()),
    # urllib.parse.quote, as pip, dnf and twine do.
    "pip": quote,
    # apt quotes "+" and "~" of versions, in lower case.
    "apt": lambda name: quote(name, safe="/:;,.?'()-").replace("+", "%2b").replace("~", "%7e"),
    # What RFC 3986 lets stand for itself in a segment, and no more quoted.
    "rfc 3986": lambda name: quote(name, safe="!$&'()*+,;=:@-._~"),
    # JavaScript's encodeURI, and browsers.
    "encodeURI": lambda name: quote(name, safe=";/?:@&=+$,#-_.!~*'()"),
}


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """The content origin, with a file of each name, which is what it has."""
    with gateway_process("content", tmp_path_factory.mktemp("home")) as process:
        for name in NAMES:
            sha256 = store(process.home, name.encode())
            process.files[name] = a_file(sha256=sha256, size_bytes=len(name.encode()))
        yield process


@pytest.mark.parametrize("style", QUOTES)
@pytest.mark.parametrize("name", NAMES)
def test_every_way_to_quote_is_one_file(origin: GatewayProcess, name: str, style: str) -> None:
    """However a client spells it, the bytes of the name decide."""
    answer = origin.ask(f"/dev/{QUOTES[style](name)}".encode())

    assert status(answer) == 200
    assert answer.endswith(b"\r\n\r\n" + name.encode())


def _curl(url: str, folder: Path) -> list[str]:
    return ["curl", "-sS", "--fail", "--globoff", "-o", str(folder / "got"), url]


def _wget(url: str, folder: Path) -> list[str]:
    return ["wget", "-q", "-O", str(folder / "got"), url]


def _aria2c(url: str, folder: Path) -> list[str]:
    return ["aria2c", "-q", "-x4", "-k1M", f"--dir={folder}", "--out=got", url]


@pytest.mark.parametrize("command", [_curl, _wget, _aria2c])
def test_real_clients_get_what_they_name(
    origin: GatewayProcess, tmp_path: Path, command: Callable[[str, Path], list[str]]
) -> None:
    """By the links of a page, and by what people paste."""
    host, port = origin.address
    for name in NAMES:
        for spelled in {quote(name), name if name.isprintable() and "%" not in name else ""} - {
            ""
        }:
            if "\\" in spelled or (" " in spelled and command is _curl):
                continue
            folder = tmp_path / hashlib.sha256(spelled.encode()).hexdigest()[:16]
            folder.mkdir(exist_ok=True)
            asked = command(f"http://{host}:{port}/dev/{spelled}", folder)
            done = subprocess.run(asked, capture_output=True, check=False, timeout=30)
            assert done.returncode == 0, (spelled, done)
            assert (folder / "got").read_text("utf-8") == name
            shutil.rmtree(folder)


def test_real_clients_go_on_where_they_were(origin: GatewayProcess, tmp_path: Path) -> None:
    """Curl and wget ask for the rest; both ask for what they have only if it is another."""
    host, port = origin.address
    name = NAMES[0]
    url = f"http://{host}:{port}/dev/{name}"
    for number, command in enumerate((["curl", "-sS", "-C", "-", "-O"], ["wget", "-q", "-c"])):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / name).write_text(name[:10])
        subprocess.run([*command, url], cwd=folder, check=True, timeout=30)
        assert (folder / name).read_text() == name

    wget = ["wget", "-N", "--server-response", url]
    again = subprocess.run(wget, cwd=tmp_path / "1", check=True, capture_output=True, timeout=30)
    curl = [
        "curl",
        "-sS",
        "-w",
        "%{http_code}",
        "--etag-compare",
        "tag",
        "--etag-save",
        "tag",
        url,
    ]
    codes = [
        subprocess.run(
            [*curl, "-o", "got"], cwd=tmp_path, check=True, capture_output=True, timeout=30
        ).stdout
        for _ in range(2)
    ]

    assert b"304 Not Modified" in again.stderr
    assert codes == [b"200", b"304"]
