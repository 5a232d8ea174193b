"""Blobs that become durable together: what all batches have in common."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Generic, TypeVar

from entrepot_core.blobs.scratch_writer import ScratchWriter, ended
from entrepot_core.domain.blob import Verifier
from entrepot_rpc.failpoints import failpoint

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from entrepot_core.domain.blob import Blob

__all__ = ["ScratchBatch"]

W = TypeVar("W", bound=ScratchWriter)


class ScratchBatch(Generic[W]):
    """A batch whose writers keep their bytes here until the rows are there: see `ensure`."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._open: set[W] = set()
        self._closed: list[W] = []
        self._settled: list[W] = []
        self._has_ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._guard:
            self._has_ended = True
            writers = [*self._open, *self._closed, *self._settled]
            self._open.clear()
            self._closed, self._settled = [], []
        for writer in writers:
            writer.drop()

    def create(self, verifier: Verifier | None = None) -> W:
        writer = self._writer(verifier or Verifier())
        with self._guard:
            if self._has_ended:
                raise ended()
            self._open.add(writer)
        return writer

    def settle(self) -> list[Blob]:
        for recorded in self._settled:
            recorded.drop()
        with self._guard:
            closed, self._closed, self._settled = self._closed, [], []
        if not closed:
            return []
        try:
            self._publish(closed)
        except BaseException:
            for writer in closed:
                writer.drop()
            raise
        failpoint("bytes.synced")
        self._settled = closed
        return [writer.blob for writer in closed]

    def ensure(self) -> None:
        vanished = self._vanished(self._settled)
        if vanished:
            self._publish(vanished)

    def _writer(self, verifier: Verifier) -> W:
        """A new writer, which calls `_hand_over` in the end."""
        raise NotImplementedError

    def _publish(self, writers: list[W]) -> None:
        """Makes the bytes durable and visible; StorageFullError or StorageFailedError."""
        raise NotImplementedError

    def _vanished(self, writers: list[W]) -> list[W]:
        """Those whose bytes are not there any more."""
        raise NotImplementedError

    def _hand_over(self, writer: W, *, is_complete: bool) -> None:
        with self._guard:
            self._open.discard(writer)
            if is_complete and not self._has_ended:
                self._closed.append(writer)
                return
        writer.drop()
