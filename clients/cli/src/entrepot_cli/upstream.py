"""A folder of real files, served over HTTP with a PULP_MANIFEST: an upstream for the demo."""

import hashlib
import os
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self

MANIFEST = "PULP_MANIFEST"
# Enough to see a bar move, little enough for a small disk.
MAX_FILES = 3000
MAX_FILE_BYTES = 4 << 20


class Upstream:
    """The folder and its server, on a free port of this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: dict[str, str] = {}
        handler = partial(_Quiet, directory=str(folder))
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        """Where its manifest is."""
        return f"http://127.0.0.1:{self._server.server_port}/{MANIFEST}"

    def fill(self, source: Path) -> None:
        """Take files from another folder; their bytes are shared where the disk allows it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for path in _some_files(source):
            target = self.folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            _share(source / path, target)
            self.files[path] = _digest(target)

    def write(self, path: str, data: bytes) -> None:
        """Add or replace a file; one that shares its bytes with another leaves that as it is."""
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        new = target.with_name(f"{target.name}.new")
        new.write_bytes(data)
        new.replace(target)
        self.files[path] = _digest(target)

    def delete(self, path: str) -> None:
        """Remove a file."""
        (self.folder / path).unlink()
        del self.files[path]

    def publish(self) -> None:
        """Write the manifest of what is there now."""
        lines = (
            f"{path},{digest},{(self.folder / path).stat().st_size}\n"
            for path, digest in sorted(self.files.items())
        )
        new = self.folder / f"{MANIFEST}.new"
        new.write_text("".join(lines))
        new.replace(self.folder / MANIFEST)


class _Quiet(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002, the name it has there
        """Say nothing."""


def _some_files(source: Path) -> Iterator[str]:
    """Paths of files that the format can carry, small ones, the same on each call."""
    count = 0
    for folder, folders, names in os.walk(source):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        for name in sorted(names):
            path = Path(folder, name)
            relative = path.relative_to(source).as_posix()
            if not _is_plain(relative) or path.is_symlink():
                continue
            if path.stat().st_size > MAX_FILE_BYTES:
                continue
            yield relative
            count += 1
            if count == MAX_FILES:
                return


def _is_plain(path: str) -> bool:
    """Say whether a path can stand in a line of the manifest, and in a URL as it is."""
    return path.isprintable() and path.isascii() and not set(path) & set('#,?%"\\ ')


def _share(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, target)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
