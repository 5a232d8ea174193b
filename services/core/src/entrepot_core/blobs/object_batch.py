"""Blobs that become objects together: verified here first, and then put side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from entrepot_core.blobs.scratch_batch import ScratchBatch
from entrepot_core.blobs.scratch_writer import ScratchWriter
from entrepot_rpc.failpoints import failpoint

if TYPE_CHECKING:
    from entrepot_core.blobs.object_store import ObjectBlobStore
    from entrepot_core.blobs.scratch import Scratch
    from entrepot_core.domain.blob import Verifier

__all__ = ["ObjectBatch"]


class ObjectBatch(ScratchBatch[ScratchWriter]):
    """One batch."""

    def __init__(self, store: ObjectBlobStore, scratch: Scratch) -> None:
        super().__init__()
        self._store = store
        self._scratch = scratch

    def _writer(self, verifier: Verifier) -> ScratchWriter:
        return ScratchWriter(self._store.disk, self._scratch, verifier, self._hand_over)

    def _publish(self, writers: list[ScratchWriter]) -> None:
        failpoint("bytes.complete")
        # One of those that are the same is enough.
        chosen = {writer.blob.digest: writer for writer in writers}
        self._store.put_all(chosen.values())
        failpoint("bytes.renamed")

    def _vanished(self, writers: list[ScratchWriter]) -> list[ScratchWriter]:
        sizes = self._store.sizes([writer.blob.digest for writer in writers])
        return [w for w, size in zip(writers, sizes, strict=True) if size is None]
