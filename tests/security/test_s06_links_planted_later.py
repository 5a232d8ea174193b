"""S06: a file that was served is not trusted for ever: what is planted later is not followed.

The server that sends a file opens it by its path, once more. So each time, before it is told to,
the path must lead to the very file that was opened and looked at.
"""

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from entrepot.core.v1 import serving_service_pb2 as pb
from entrepot_gateway.content.app import Content
from entrepot_gateway.content.blob_folder import BlobFolder
from entrepot_gateway.core import Core
from gateway_client import Client
from gateway_core import TOKEN, FakeCore

DATA = b"what a stranger may have"
SHA256 = hashlib.sha256(DATA).hexdigest()


def a_link(blob: Path, secret: Path) -> None:
    """The file becomes a link to another of the same length."""
    blob.unlink()
    blob.symlink_to(secret)


def a_fifo(blob: Path, secret: Path) -> None:
    """The file becomes something that has no end."""
    del secret
    blob.unlink()
    os.mkfifo(blob)


def a_folder_that_is_a_link(blob: Path, secret: Path) -> None:
    """A folder on the way leads to one that has a file of that name."""
    elsewhere = secret.parent / "elsewhere"
    elsewhere.mkdir()
    shutil.copy(secret, elsewhere / blob.name)
    shutil.rmtree(blob.parent)
    blob.parent.symlink_to(elsewhere)


@pytest.mark.parametrize("plant", [a_link, a_fifo, a_folder_that_is_a_link])
async def test_what_is_planted_after_the_first_answer(
    plant: Callable[[Path, Path], None], tmp_path: Path
) -> None:
    """S06: the second request for a file that was replaced by a link or a fifo sends nothing."""
    root = tmp_path / "blobs"
    blob = root / "sha256" / SHA256[:2] / SHA256[2:4] / SHA256
    blob.parent.mkdir(parents=True)
    blob.write_bytes(DATA)
    secret = tmp_path / "secret"
    secret.write_bytes(DATA[::-1])
    core = FakeCore()
    core.on(
        "ResolvePointer",
        pb.ResolvePointerResponse(distribution="d", base_path="dev", content_set="7"),
    )
    core.on(
        "ResolvePath",
        pb.ResolvePathResponse(
            kind=pb.ResolvePathResponse.KIND_STORED, sha256=SHA256, size_bytes=len(DATA)
        ),
    )
    await core.start()
    content = Content(Core(core.address, TOKEN), BlobFolder(root))
    content.pointers.receive(pb.WatchPointersResponse(all=True))
    client = Client(content, {})
    try:
        before = [await client.request("GET", "/dev/f") for _ in range(2)]
        plant(blob, secret)
        after = [await client.request("GET", "/dev/f") for _ in range(2)]
    finally:
        await content.stop()
        await core.stop()

    assert [(answer.status, answer.path) for answer in before] == [(200, str(blob))] * 2
    for answer in after:
        assert answer.status >= 500
        assert answer.path == ""
        assert DATA[::-1] not in answer.body
