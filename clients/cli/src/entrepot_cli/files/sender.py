"""Bytes of one file to the server, going on where a connection broke."""

import hashlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from entrepot.core.v1 import upload_service_pb2
from entrepot_cli.files.meter import Meter
from entrepot_cli.outcome import Failure, Unreachable
from entrepot_cli.server.connection import Connection

UPLOADS = upload_service_pb2.DESCRIPTOR.services_by_name["UploadService"]
CHUNK_BYTES = 512 << 10
# How long a server may be away, and how often it is asked meanwhile.
AWAY_SECONDS = 60.0
PAUSE_SECONDS = 0.5
# From here on an upload is remembered, so that the same command goes on with it.
REMEMBERED_BYTES = 8 << 20

Upload = upload_service_pb2.Upload


class Sender:
    """Sends files; any number of threads may.

    Args:
        connection: To the server.
        meter: Hears of the bytes.
    """

    def __init__(self, connection: Connection, meter: Meter) -> None:
        self._connection = connection
        self._meter = meter
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Have every thread end where it is; what has come is kept by the server."""
        self._stopped.set()

    def send(self, file: str, upload: Upload) -> Upload:
        """Send what the server does not have, and return the complete upload.

        Raises:
            Failure: it cannot be sent, or is not what it was when it was hashed.
        """
        note = _note(self._connection, upload)
        if note is not None:
            upload = self._earlier(note, upload)
            _write(note, upload.name)
        self._meter.done(0, upload.received_bytes)
        try:
            upload = self._persist(file, upload)
        except Failure as failure:
            failure.message = f"{file}: {failure.message}"
            failure.args = (failure.message,)
            raise
        if note is not None:
            note.unlink(missing_ok=True)
        return upload

    def _persist(self, file: str, upload: Upload) -> Upload:
        away_since = None
        while not upload.complete:
            before = upload.received_bytes
            try:
                with Path(file).open("rb") as stream:
                    upload = self._connection.send(
                        UPLOADS, "WriteUpload", self._parts(stream, upload)
                    ).upload
            except Failure as failure:
                upload = self._ask(upload)
                if upload.received_bytes > before or upload.complete:
                    # The break itself was noticed later than we asked, or it got further.
                    away_since = None
                    continue
                away_since = away_since or time.monotonic()
                is_over = time.monotonic() - away_since > AWAY_SECONDS
                if not isinstance(failure, Unreachable) or is_over or self._stopped.is_set():
                    raise
                time.sleep(PAUSE_SECONDS)
        return upload

    def _ask(self, upload: Upload) -> Upload:
        request = upload_service_pb2.GetUploadRequest(name=upload.name)
        try:
            found: Upload = self._connection.call(UPLOADS, "GetUpload", request).upload
        except Unreachable:
            return upload
        return found

    def _earlier(self, note: Path, upload: Upload) -> Upload:
        """The upload of an earlier command for the same file, if more of that has come."""
        try:
            earlier = self._ask(Upload(name=note.read_text().strip()))
        except (Failure, OSError):
            return upload
        is_same = (earlier.sha256, earlier.size_bytes) == (upload.sha256, upload.size_bytes)
        return earlier if is_same and earlier.received_bytes > 0 else upload

    def _parts(
        self, stream: BinaryIO, upload: Upload
    ) -> Iterator[upload_service_pb2.WriteUploadRequest]:
        request = upload_service_pb2.WriteUploadRequest
        yield request(
            open=request.Open(
                name=upload.name,
                offset=upload.received_bytes,
                last=True,
                size_bytes=upload.size_bytes,
            )
        )
        stream.seek(upload.received_bytes)
        # A stream that ends early is refused for its length, and what has come is kept.
        while not self._stopped.is_set() and (chunk := stream.read(CHUNK_BYTES)):
            yield request(chunk=chunk)
            self._meter.sent(len(chunk))


def sha256_of(file: str) -> tuple[str, int]:
    """SHA-256 in hexadecimal, and the length in bytes, of what was read."""
    with Path(file).open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        return digest, stream.tell()


def _note(connection: Connection, upload: Upload) -> Path | None:
    if upload.size_bytes < REMEMBERED_BYTES or not upload.sha256:
        return None
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    server = hashlib.sha256(connection.settings.grpc.encode()).hexdigest()[:16]
    return cache / "entrepot" / "uploads" / f"{server}-{upload.sha256}"


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_text(text)
    except OSError:
        # Only for the speed of a next time.
        return
