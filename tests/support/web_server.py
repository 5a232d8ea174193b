"""Real web servers with pages of folders, on loopback: Python's, nginx and Apache."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import create_connection

from addresses import free_addresses
from polling import until

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
APACHE = shutil.which("apache2") or shutil.which("apache2", path="/usr/sbin")
_MODULES = Path("/usr/lib/apache2/modules")


@contextmanager
def python_server(folder: Path) -> Iterator[str]:
    """The URL of a folder that Python's http.server shows."""
    command = [sys.executable, "-u", "-m", "http.server", "--bind", "127.0.0.1", "0"]
    with subprocess.Popen(
        [*command, "--directory", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        match = re.search(r"port (\d+)", process.stdout.readline())
        assert match is not None
        try:
            yield f"http://127.0.0.1:{match[1]}/"
        finally:
            process.terminate()


@contextmanager
def nginx(folder: Path, home: Path) -> Iterator[str]:
    """The URL of a folder that nginx shows with autoindex."""
    (address,) = free_addresses(1)
    config = home / "nginx.conf"
    config.write_text(
        f"""
        daemon off; pid {home}/nginx.pid; error_log stderr;
        {"user root;" if os.geteuid() == 0 else ""}
        events {{ worker_connections 64; }}
        http {{
          access_log off;
          client_body_temp_path {home}; proxy_temp_path {home}; fastcgi_temp_path {home};
          uwsgi_temp_path {home}; scgi_temp_path {home};
          server {{ listen {address}; location / {{ root {folder}; autoindex on; }} }}
        }}
        """
    )
    with _running([str(NGINX), "-e", "stderr", "-p", str(home), "-c", str(config)], address):
        yield f"http://{address}/"


@contextmanager
def apache(folder: Path, home: Path, options: str) -> Iterator[str]:
    """The URL of a folder that Apache shows with mod_autoindex and these IndexOptions."""
    (address,) = free_addresses(1)
    names = ("mpm_event", "authz_core", "autoindex", "dir", "mime")
    modules = "\n".join(f"LoadModule {one}_module {_MODULES}/mod_{one}.so" for one in names)
    config = home / "apache.conf"
    user = "User nobody\nGroup nogroup" if os.geteuid() == 0 else ""
    config.write_text(
        f"""
{modules}
ServerRoot {home}
ServerName 127.0.0.1
Listen {address}
PidFile {home}/apache.pid
DefaultRuntimeDir {home}
ErrorLog /dev/stderr
TypesConfig /dev/null
{user}
DocumentRoot {folder}
<Directory {folder}>
  Require all granted
  Options Indexes
  IndexOptions {options}
</Directory>
"""
    )
    with _running([str(APACHE), "-X", "-f", str(config)], address):
        yield f"http://{address}/"


@contextmanager
def _running(command: list[str], address: str) -> Iterator[None]:
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            until(lambda: process.poll() is not None or _answers(address), command[0])
            if process.poll() is not None:
                raise AssertionError(process.communicate()[1])
            yield
        finally:
            process.terminate()


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        create_connection((host, int(port)), 1).close()
    except OSError:
        return False
    return True
