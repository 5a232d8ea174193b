"""The files below a folder, and what cannot be sent."""

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from entrepot_cli.outcome import Failure, Status

MAX_PATH_BYTES = 1024
SHOWN = 10

# C0, DEL and C1: core serves no path with one.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file here, the path it will have there, and its length in bytes as it was found."""

    file: str
    path: str
    size: int


@dataclass(frozen=True, slots=True)
class Found:
    """The files, in order of their paths, and what was left out, each with the reason."""

    files: list[LocalFile]
    skipped: list[str]

    @property
    def size(self) -> int:
        """Length of all files together, in bytes."""
        return sum(file.size for file in self.files)


def find(words: list[str], base: str = "") -> Found:
    """The named files, and those below the named folders, at paths below the base.

    Links and special files in a folder are left out; nothing is followed.

    Raises:
        Failure: a name cannot be served, two files have one path, or there is no such file.
    """
    start = f"{base.strip('/')}/" if base.strip("/") else ""
    files: list[LocalFile] = []
    skipped: list[str] = []
    for word in words:
        here = Path(word)
        if here.is_dir():
            files += _below(word, start, skipped)
        elif here.is_file():
            files.append(LocalFile(word, start + here.name, here.stat().st_size))
        else:
            raise Failure(f"{word} is neither a file nor a folder.", status=Status.USAGE)
    files.sort(key=lambda file: file.path)
    _refuse_unusual(files)
    return Found(files, skipped)


def _below(folder: str, start: str, skipped: list[str]) -> Iterator[LocalFile]:
    with os.scandir(folder) as entries:
        for entry in entries:
            path = start + entry.name
            if entry.is_symlink():
                skipped.append(f"{entry.path} is a link.")
            elif entry.is_dir(follow_symlinks=False):
                yield from _below(entry.path, f"{path}/", skipped)
            else:
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(status.st_mode):
                    yield LocalFile(entry.path, path, status.st_size)
                else:
                    skipped.append(f"{entry.path} is no regular file.")


def _refuse_unusual(files: list[LocalFile]) -> None:
    unusual = [
        f"{file.file!a}: {why}"
        for file, before in zip(files, [None, *files], strict=False)
        if (why := _fault(file.path) or _clash(file, before))
    ]
    if unusual:
        more = len(unusual) - SHOWN
        raise Failure(
            "Nothing was sent, as there are names that cannot be served.",
            status=Status.USAGE,
            details=(*unusual[:SHOWN], *([f"… and {more:,} more"] if more > 0 else [])),
        )


def _fault(path: str) -> str:
    try:
        encoded = path.encode()
    except UnicodeEncodeError:
        return "the name is not UTF-8"
    if len(encoded) > MAX_PATH_BYTES:
        return f"the path is longer than {MAX_PATH_BYTES:,} bytes"
    if _CONTROL.search(path):
        return "the name holds a control character"
    return ""


def _clash(file: LocalFile, before: LocalFile | None) -> str:
    if before is None or before.path != file.path:
        return ""
    return f"{before.file!a} has the path {file.path} as well"
