"""core/repairs: stored bytes are verified, and what is damaged or missing is fetched again."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import structlog

from entrepot.core.v1 import tasks_pb2
from entrepot.type.v1 import diagnostic_pb2, progress_pb2
from entrepot_core.dispatch.assignment import told
from entrepot_core.dispatch.core_tasks.repositories import repository_ids
from entrepot_core.domain.blob import Blob
from entrepot_core.domain.errors import BlobMissingError, ServiceError, StorageFailedError
from entrepot_core.downloads.attempt import download_of
from entrepot_core.downloads.group import DownloadGroup
from entrepot_core.store import blob_loss, blob_needs, blobs
from entrepot_core.store.plans import REPLACEMENT

if TYPE_CHECKING:
    from entrepot_core.dispatch.assignment import Assignment
    from entrepot_core.dispatch.verdict import Completion
    from entrepot_core.downloads.downloader import Downloader
    from entrepot_core.downloads.keeper import Keeper
    from entrepot_core.downloads.remote import Remotes

__all__ = ["Repairs"]

log = structlog.get_logger()

_UNDER_WAY = 50
_MOST_TOLD = 100
_MOST_UNITS = 10


class Repairs:
    """Verifies and repairs."""

    def __init__(self, keeper: Keeper, downloader: Downloader, remotes: Remotes) -> None:
        self._keeper = keeper
        self._downloader = downloader
        self._remotes = remotes

    def __call__(self, assignment: Assignment) -> Completion:
        """Repairs, or in a dry run only looks."""
        workspace_id = assignment.claimed.workspace_id
        with DownloadGroup[Blob](self._keeper, self._downloader, workspace_id) as group:
            repair = _Repair(assignment, self._keeper, self._remotes, group)
            repair.run()
        result = repair.result
        if result.unrepaired_blobs:
            assignment.warn(_warning(result))
        is_well = not (result.damaged_blobs or result.missing_blobs)
        return told(result, "Everything is as it must be." if is_well else "")


def _warning(result: tasks_pb2.RepairBlobsResult) -> diagnostic_pb2.Diagnostic:
    count = result.unrepaired_blobs
    what = "1 file is lost or damaged" if count == 1 else f"{count} files are lost or damaged"
    return diagnostic_pb2.Diagnostic(
        severity=diagnostic_pb2.Diagnostic.SEVERITY_WARNING,
        reason="BLOBS_UNREPAIRED",
        message=f"{what} and cannot be fetched again. The result says which, why, and whose.",
    )


class _Repair:
    def __init__(
        self,
        assignment: Assignment,
        keeper: Keeper,
        remotes: Remotes,
        group: DownloadGroup[Blob],
    ) -> None:
        self.result = tasks_pb2.RepairBlobsResult()
        self._assignment = assignment
        self._asked = tasks_pb2.RepairBlobs.FromString(assignment.parameters.data)
        self._database = keeper.database
        self._store = keeper.store
        self._remotes = remotes
        self._group = group
        self._items = assignment.items(keeper.database)

    def run(self) -> None:
        chosen = repository_ids(self._database, self._asked.repositories)
        blobs_there, _ = blob_needs.count(self._database, chosen)
        if blobs_there and next(iter(self._store.files()), None) is None:
            # Rather a disk that is not mounted than the loss of everything.
            raise StorageFailedError("The blob store is empty, and it must not be. Is it mounted?")
        # First, or what is found lost below would be found absent as well.
        plan = self._assignment.plan
        for blob in blob_needs.absent(self._database, chosen, plan):
            self._assignment.check()
            self._bring_back(blob)
        self._collect_all()
        _, total_bytes = blob_needs.count(self._database, chosen, plan)
        for blob in blob_needs.recorded(self._database, chosen, plan):
            self._assignment.check()
            self._look_at(blob)
            self.result.checked_blobs += 1
            self.result.checked_bytes += blob.size_bytes
            self._report(total_bytes)
        self._collect_all()
        if self._items is not None:
            self._items.close()

    def _look_at(self, blob: Blob) -> None:
        try:
            fault = self._fault(blob)
        except StorageFailedError as error:
            # It may be the store that is away, and not this file that is lost.
            self.result.damaged_blobs += 1
            self._give_up(blob, error.message)
            return
        if fault == "":
            return
        if not self._assignment.is_dry_run and not blob_loss.forget(
            self._database, self._store, blob, lambda: not self._fault(blob)
        ):
            return
        log.warning("blob.lost", sha256=blob.hex, fault=fault)
        if fault == "missing":
            self.result.missing_blobs += 1
        else:
            self.result.damaged_blobs += 1
        self._fetch(blob)

    def _fault(self, blob: Blob) -> str:
        """What is wrong with the bytes; empty if nothing is."""
        size = self._store.size(blob.digest)
        if size is None:
            return "missing"
        if size != blob.size_bytes:
            return "damaged"
        return "" if self._asked.only_sizes or self._is_right(blob.digest) else "damaged"

    def _is_right(self, digest: bytes) -> bool:
        state = hashlib.sha256()
        try:
            for chunk in self._store.read(digest):
                state.update(chunk)
        except BlobMissingError:
            return False
        return state.digest() == digest

    def _bring_back(self, blob: Blob) -> None:
        """Records the bytes of a blob that are there after all, or fetches them."""
        self.result.missing_blobs += 1
        size = self._store.size(blob.digest)
        if size is None or self._assignment.is_dry_run or not self._is_right(blob.digest):
            self._fetch(blob)
            return
        with self._database.transaction() as cursor:
            blobs.register(
                cursor, [Blob(blob.digest, size)], self._assignment.claimed.workspace_id
            )
        self.result.repaired_blobs += 1

    def _fetch(self, blob: Blob) -> None:
        with self._database.transaction() as cursor:
            file = blob_needs.source(cursor, blob.digest)
            is_made_anew = file is None and blob_needs.is_made_anew(cursor, blob.digest)
        if self._items is not None:
            if file is not None or is_made_anew:
                self._items.add_blob(REPLACEMENT, blob, is_fetched=file is not None)
            else:
                self._give_up(blob, "No remote has it.")
        elif is_made_anew:
            self.result.repaired_blobs += 1
        elif file is None:
            self._give_up(blob, "No remote has it. Upload it again.")
        else:
            while len(self._group) >= _UNDER_WAY:
                self._collect()
            try:
                self._group.submit(blob, download_of(file, self._remotes))
            except ServiceError as error:
                self._give_up(blob, error.message)

    def _collect_all(self) -> None:
        while self._group:
            self._collect()

    def _collect(self) -> None:
        self._assignment.check()
        for one in self._group.collect(1.0):
            if one.fetched is not None and one.fetched.blob is not None:
                self.result.repaired_blobs += 1
            elif isinstance(one.error, ServiceError):
                self._give_up(one.key, one.error.message)
            elif one.error is not None:
                raise one.error

    def _give_up(self, blob: Blob, reason: str) -> None:
        self.result.unrepaired_blobs += 1
        if len(self.result.unrepaired) >= _MOST_TOLD:
            return
        with self._database.transaction() as cursor:
            units = blob_needs.needing_units(cursor, blob.digest, _MOST_UNITS)
        self.result.unrepaired.add(
            sha256=blob.hex,
            reason=reason,
            units=[name for name, _ in units],
            paths=[path for _, path in units],
        )

    def _report(self, total_bytes: int) -> None:
        self._assignment.report(
            progress_pb2.Progress(
                code="core.repairs",
                message="Verifying files",
                done=self.result.checked_bytes,
                total=total_bytes,
                unit=progress_pb2.Progress.UNIT_BYTES,
            )
        )
