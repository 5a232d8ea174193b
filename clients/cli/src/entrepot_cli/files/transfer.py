"""Many files to the server: what is there is found in batches, the rest goes side by side."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TypeVar

from entrepot.core.v1 import repository_service_pb2, upload_service_pb2
from entrepot_cli.files.folder import LocalFile
from entrepot_cli.files.meter import Meter
from entrepot_cli.files.sender import UPLOADS, Sender, Upload, sha256_of
from entrepot_cli.outcome import Failure, Status
from entrepot_cli.server.connection import Connection

REPOSITORIES = repository_service_pb2.DESCRIPTOR.services_by_name["RepositoryService"]
# How many files are asked about at once; their uploads are open at once as well.
BATCH_FILES = 500
GLANCE_SECONDS = 0.2
# Files up to this length go together, in calls of about so many bytes.
SMALL_BYTES = 64 << 10
GROUP_BYTES = 1 << 20

Opened = tuple[LocalFile, Upload]

T = TypeVar("T")


@dataclass(slots=True)
class Sent:
    """What a transfer made: the upload of each new path, and counts of files and bytes."""

    uploads: list[tuple[str, str]] = field(default_factory=list)
    present: int = 0
    new: int = 0
    new_bytes: int = 0
    sent_bytes: int = 0


class Transfer:
    """Brings files to the server as uploads.

    Args:
        connection: To the server.
        repository: Full name of the repository; what it has already is left out.
        parallel: How many files are read and sent at once.
        meter: Shows how far it is.
        is_plan: Send nothing, only find out what would be sent.
    """

    def __init__(
        self,
        connection: Connection,
        repository: str,
        parallel: int,
        meter: Meter,
        *,
        is_plan: bool,
    ) -> None:
        self._connection = connection
        self._repository = repository
        self._parallel = parallel
        self._meter = meter
        self._is_plan = is_plan
        self._sender = Sender(connection, meter)
        self._is_let_go = False

    def run(self, files: list[LocalFile]) -> Sent:
        """Send what the repository does not have.

        Raises:
            Failure: a file could not be sent, or the user has seen enough; the same again goes on.
        """
        sent = Sent()
        rest = iter(files)
        with self._listening(), ThreadPoolExecutor(self._parallel) as pool:
            try:
                while batch := list(islice(rest, BATCH_FILES)):
                    self._batch(pool, batch, sent)
                    self._hear()
            except BaseException as error:
                self._sender.stop()
                pool.shutdown(cancel_futures=True)
                if isinstance(error, KeyboardInterrupt):
                    raise Failure(
                        "You let go. What was sent is kept for a day.",
                        status=Status.INTERRUPTED,
                        suggestion="the same command, which goes on from there",
                    ) from None
                raise
        self._meter.show(is_last=True)
        sent.sent_bytes = self._meter.sent_bytes
        return sent

    @contextlib.contextmanager
    def _listening(self) -> Iterator[None]:
        """Note Ctrl-C besides raising it: raised where something is finalized, it is lost."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def pressed(*_: object) -> None:
            self._is_let_go = True
            raise KeyboardInterrupt

        before = signal.signal(signal.SIGINT, pressed)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _hear(self) -> None:
        if self._is_let_go:
            raise KeyboardInterrupt

    def _batch(self, pool: Executor, batch: list[LocalFile], sent: Sent) -> None:
        digests = self._all([pool.submit(sha256_of, file.file) for file in batch])
        there = self._there(batch)
        new = [
            (file, sha256, size)
            for file, (sha256, size) in zip(batch, digests, strict=True)
            if there.get(file.path) != (sha256, size)
        ]
        sent.present += len(batch) - len(new)
        sent.new += len(new)
        sent.new_bytes += sum(size for _, _, size in new)
        known = len(batch) - len(new)
        self._meter.done(known, sum(file.size for file in batch) - sum(f.size for f, _, _ in new))
        if self._is_plan or not new:
            return
        opened = [
            (file, upload) for (file, _, _), upload in zip(new, self._open(new), strict=True)
        ]
        absent = [one for one in opened if not one[1].complete]
        here = [file for file, upload in opened if upload.complete]
        self._meter.done(len(here), sum(file.size for file in here))
        small = [one for one in absent if one[1].size_bytes <= SMALL_BYTES]
        large = [one for one in absent if one[1].size_bytes > SMALL_BYTES]
        work = [pool.submit(self._send_together, group) for group in _groups(small)]
        work += [pool.submit(self._send, *one) for one in large]
        # A large one of an earlier command may have gone on under its own name.
        names = {file.path: upload.name for sent in self._all(work) for file, upload in sent}
        sent.uploads += [(file.path, names.get(file.path, upload.name)) for file, upload in opened]

    def _there(self, batch: list[LocalFile]) -> dict[str, tuple[str, int]]:
        """Digest and length of what the repository has at the paths, and not only knows of."""
        request = repository_service_pb2.LookupFilesRequest(
            repository=self._repository, paths=[file.path for file in batch]
        )
        found = self._connection.call(REPOSITORIES, "LookupFiles", request).files
        return {one.path: (one.sha256, one.size_bytes) for one in found if one.is_stored}

    def _open(self, new: list[tuple[LocalFile, str, int]]) -> list[Upload]:
        request = upload_service_pb2.BatchCreateUploadsRequest(
            uploads=[
                Upload(size_bytes=size, sha256=sha256, filename=file.path.rpartition("/")[2])
                for file, sha256, size in new
            ]
        )
        return list(self._connection.call(UPLOADS, "BatchCreateUploads", request).uploads)

    def _send(self, file: LocalFile, upload: Upload) -> list[Opened]:
        complete = self._sender.send(file.file, upload)
        self._meter.done(1)
        return [(file, complete)]

    def _send_together(self, group: list[Opened]) -> list[Opened]:
        request = upload_service_pb2.BatchWriteUploadsRequest()
        for file, upload in group:
            request.items.add(name=upload.name, data=Path(file.file).read_bytes())
        try:
            self._connection.call(UPLOADS, "BatchWriteUploads", request)
        except Failure:
            # Each alone goes on after a break, and says which file is wrong.
            for one in group:
                self._send(*one)
        else:
            self._meter.sent(sum(len(item.data) for item in request.items))
            self._meter.done(len(group))
        return group

    def _all(self, futures: list[Future[T]]) -> list[T]:
        """The results, in order, as soon as all are there; the first failure ends it."""
        running: set[Future[T]] = set(futures)
        while running:
            # In glances: the system may hand Ctrl-C to a thread that does not hear it.
            done, running = wait(running, GLANCE_SECONDS, FIRST_COMPLETED)
            self._hear()
            for one in done:
                one.result()
            self._meter.show()
        return [one.result() for one in futures]


def _groups(small: list[Opened]) -> Iterator[list[Opened]]:
    group: list[Opened] = []
    length = 0
    for one in small:
        size = one[1].size_bytes
        if group and length + size > GROUP_BYTES:
            yield group
            group, length = [], 0
        group.append(one)
        length += size
    if group:
        yield group
