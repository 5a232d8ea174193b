"""What a made-up core says about files, and the bytes where a real one would have put them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from entrepot.core.v1 import serving_service_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway_core import FakeCore

Resolved = serving_service_pb2.ResolvePathResponse
Entry = serving_service_pb2.ListFolderResponse.Entry
DATA = bytes(range(256)) * 10
SHA256 = hashlib.sha256(DATA).hexdigest()
TIME = 1_700_000_000
DATE = "Tue, 14 Nov 2023 22:13:20 GMT"


def store(folder: Path, data: bytes = DATA) -> str:
    """Put a blob where core would."""
    sha256 = hashlib.sha256(data).hexdigest()
    path = folder / "blobs" / "sha256" / sha256[:2] / sha256[2:4] / sha256
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return sha256


def content_of(path: str) -> bytes:
    """What the server would send."""
    return Path(path).read_bytes()


def a_file(kind: Any = Resolved.KIND_STORED, **fields: Any) -> Resolved:  # noqa: ANN401
    """An answer of core about a file."""
    values: dict[str, Any] = {"sha256": SHA256, "size_bytes": len(DATA)} | fields
    answer = Resolved(kind=kind, **values)
    answer.time.seconds = TIME
    return answer


def list_folder(core: FakeCore, *entries: Entry) -> None:
    """Make every folder have these entries, in two batches."""

    async def answer(_: object) -> AsyncIterator[serving_service_pb2.ListFolderResponse]:
        yield serving_service_pb2.ListFolderResponse(entries=entries[:1])
        yield serving_service_pb2.ListFolderResponse(entries=entries[1:])

    core.on("ListFolder", answer)
