"""A real nginx with the configuration that is shipped, on ports of its own."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from addresses import free_addresses
from polling import until
from workspace import ROOT

SHIPPED = ROOT / "deploy" / "nginx" / "entrepot.conf"
# Debian's is not on the PATH of those who may not change the system.
PATH = f"{os.environ['PATH']}{os.pathsep}/usr/sbin"

_MAIN = """
{user}
daemon off;
worker_processes 1;
pid {prefix}/pid;
error_log {prefix}/error.log warn;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {prefix}/body;
    proxy_temp_path {prefix}/proxy;
    fastcgi_temp_path {prefix}/fastcgi;
    uwsgi_temp_path {prefix}/uwsgi;
    scgi_temp_path {prefix}/scgi;
    include {prefix}/entrepot.conf;
    {more}
}}
"""


def is_installed() -> bool:
    """Whether there is an nginx to be started."""
    return shutil.which("nginx", path=PATH) is not None


class Nginx:
    """Where it listens for the two origins, and what it complained about."""

    def __init__(self, prefix: Path, content: str, api: str) -> None:
        self.content = content
        self.api = api
        self._log = prefix / "error.log"

    @property
    def content_url(self) -> str:
        """Origin of content."""
        return f"http://{self.content}"

    @property
    def log(self) -> str:
        """What it complained about."""
        return self._log.read_text()


@contextmanager
def nginx(
    blobs: Path,
    *,
    content: str = "127.0.0.1:1",
    api: str = "127.0.0.1:1",
    more: str = "",
) -> Iterator[Nginx]:
    """The shipped configuration in front of two addresses and a folder of blobs.

    Args:
        blobs: The folder.
        content: Where the content gateway listens.
        api: Where the API gateway listens.
        more: More servers, for comparison.
    """
    own_content, own_api = free_addresses(2)
    with tempfile.TemporaryDirectory(prefix="nginx-") as folder:
        prefix = Path(folder)
        text = SHIPPED.read_text()
        for shipped, own in (
            ("server 127.0.0.1:8081;", f"server {content};"),
            ("server 127.0.0.1:8080;", f"server {api};"),
            ("/var/lib/entrepot/blobs/", f"{blobs}/"),
            ("listen 80;", f"listen {own_content};"),
            ("listen 80;", f"listen {own_api};"),
        ):
            assert shipped in text, shipped
            text = text.replace(shipped, own, 1 if shipped == "listen 80;" else -1)
        (prefix / "entrepot.conf").write_text(text)
        user = "user root;" if os.geteuid() == 0 else ""
        (prefix / "nginx.conf").write_text(_MAIN.format(prefix=prefix, user=user, more=more))
        command = ["nginx", "-p", folder, "-c", f"{folder}/nginx.conf", "-e", f"{folder}/early"]
        with subprocess.Popen(command, env={"PATH": PATH}) as process:
            try:
                until(lambda: process.poll() is not None or _listens(own_content), "nginx")
                assert process.poll() is None, (prefix / "early").read_text()
                yield Nginx(prefix, own_content, own_api)
            finally:
                process.terminate()


def _listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), 1).close()
    except OSError:
        return False
    return True
