"""Files from a client: a large one, and many small ones, beside reading, hashing and writing."""

import hashlib
import os
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

from figure import Figure, timed
from setting import folder_beside
from size import KIB, MIB, Size
from stack import Stack

__all__ = ["uploads"]

_FLOOR = "read, sha256, write and fsync in Python"


def uploads(stack: Stack, size: Size) -> Iterator[Figure]:
    """A large file with curl, and a folder of small ones with `entrepot upload`."""
    large = Figure("one file in one request, with curl", "MiB/s", digits=0, floor_is=_FLOOR)
    first = Figure(f"a folder of {size.uploads:,} files of 1 KiB", "s", digits=2, floor_is=_FLOOR)
    again = Figure("the same folder again", "s", digits=2)
    with folder_beside(stack) as folder:
        for _ in range(size.repeats):
            _fill(folder / "large.bin", size.upload_mib)
            seconds = timed(lambda: _put(stack, folder / "large.bin"))
            large.samples.append(size.upload_mib / seconds)
            seconds = timed(lambda: _copy([folder / "large.bin"], folder))
            large.floor.append(size.upload_mib / seconds)
        small = folder / "small"
        small.mkdir()
        files = [small / f"{number}.bin" for number in range(size.uploads)]
        for _ in range(size.repeats):
            for file in files:
                file.write_bytes(os.urandom(KIB))
            repository = stack.api.a_repository()["name"]
            first.samples.append(timed(lambda: _upload(stack, repository, small)))  # noqa: B023
            again.samples.append(timed(lambda: _upload(stack, repository, small)))  # noqa: B023
            first.floor.append(timed(lambda: _copy(files, folder)))
    yield from (large, first, again)


def _fill(file: Path, mib: int) -> None:
    with file.open("wb") as stream:
        for _ in range(mib):
            stream.write(os.urandom(MIB))


def _put(stack: Stack, file: Path) -> None:
    body = {"filename": file.name, "size_bytes": file.stat().st_size}
    upload = stack.api.post("uploads/", body).expect(201)
    url = f"{stack.api.origin}/api/v3/{upload['name']}"
    token = f"Authorization: Bearer {stack.token}"
    subprocess.run(
        ["curl", "--silent", "--fail", "--upload-file", file, "--header", token, url],
        check=True,
        capture_output=True,
    )


def _upload(stack: Stack, repository: str, folder: Path) -> None:
    stack.cli("upload", "--repository", repository, str(folder), "--quiet", timeout=600)


def _copy(files: Iterable[Path], folder: Path) -> None:
    for file in files:
        hasher = hashlib.sha256()
        with file.open("rb") as source, (folder / "copy").open("wb") as target:
            while chunk := source.read(MIB):
                hasher.update(chunk)
                target.write(chunk)
            target.flush()
            os.fsync(target.fileno())
