"""S06: what is planted in the folder of blobs is not followed (CVE-2024-23334, CVE-2024-36117)."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway_process import GatewayProcess, status
from served import a_file, store

SECRET = b"a secret beside the folder of blobs"


def _link(blob: Path, secret: Path) -> None:
    blob.symlink_to(secret)


def _relative_link(blob: Path, secret: Path) -> None:
    blob.symlink_to(os.path.relpath(secret, blob.parent))


def _link_to_a_link(blob: Path, secret: Path) -> None:
    between = blob.with_name("between")
    between.symlink_to(secret)
    blob.symlink_to(between)


def _fifo(blob: Path, secret: Path) -> None:
    del secret
    os.mkfifo(blob)


def _folder(blob: Path, secret: Path) -> None:
    del secret
    blob.mkdir()


def _linked_folder(blob: Path, secret: Path) -> None:
    elsewhere = secret.with_name(f"folder-of-{secret.name}")
    elsewhere.mkdir()
    (elsewhere / blob.name).write_bytes(SECRET)
    blob.parent.rmdir()
    blob.parent.symlink_to(elsewhere, target_is_directory=True)


@pytest.mark.parametrize(
    "plant", [_link, _relative_link, _link_to_a_link, _fifo, _folder, _linked_folder]
)
@pytest.mark.parametrize("fields", [(), (b"Range: bytes=0-3",)], ids=["whole", "part"])
def test_a_planted_file_is_not_served(
    content: GatewayProcess, plant: Callable[[Path, Path], None], fields: tuple[bytes, ...]
) -> None:
    """503, at once, and not a byte of what it leads to, though its size is the right one."""
    name = f"{plant.__name__}-{len(fields)}"
    secret = content.home / f"secret-{name}"
    secret.write_bytes(SECRET)
    # Not a digest of anything; where the blob of it would be is what counts.
    sha256 = hashlib.sha256(name.encode()).hexdigest()
    blob = content.home / "blobs" / "sha256" / sha256[:2] / sha256[2:4] / sha256
    blob.parent.mkdir(parents=True)
    plant(blob, secret)
    content.files[name] = a_file(sha256=sha256, size_bytes=len(SECRET))

    answer = content.ask(b"/dev/" + name.encode(), b"GET", *fields)

    assert status(answer) == 503
    assert SECRET[:4] not in answer.partition(b"\r\n\r\n")[2]
    assert str(secret) not in content.opened


def test_a_file_of_another_size_is_not_served(content: GatewayProcess) -> None:
    """Nor what somebody has put in the place of a blob, if its length gives it away."""
    sha256 = store(content.home, b"replaced")
    content.files["replaced"] = a_file(sha256=sha256, size_bytes=9)

    assert status(content.ask(b"/dev/replaced")) == 503
