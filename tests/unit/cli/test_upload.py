"""`upload`: bytes go to core, then a task of the plugin takes them."""

import hashlib
import os
import signal
from collections.abc import Iterable
from pathlib import Path

import pytest

from entrepot.core.v1 import repository_service_pb2, task_service_pb2, upload_service_pb2
from entrepot.plugins.file.v1 import file_pb2
from entrepot_cli.files import sender, transfer
from entrepot_rpc.errors import Code, ServiceError
from scripted_core import Cli, a_task

Upload = upload_service_pb2.Upload
Write = upload_service_pb2.WriteUploadRequest


class Uploads:
    """Core as far as uploads go, in memory."""

    def __init__(self, cli: Cli) -> None:
        self.core = cli.core
        self.there: dict[str, bytes] = {}
        self.absent: set[str] = set()
        self.stored: set[str] = set()
        self.received: dict[str, bytes] = {}
        self.opened: dict[str, Upload] = {}
        self.breaks = 0
        self.wholes = 0
        self.core.answers["LookupFiles"] = self._lookup
        self.core.answers["BatchCreateUploads"] = self._open
        self.core.answers["WriteUpload"] = self._write
        self.core.answers["BatchWriteUploads"] = self._write_whole
        self.core.answers["GetUpload"] = self._get
        task = task_service_pb2.CreateTaskResponse(task=a_task())
        self.core.answers["CreateTask"] = lambda _: task

    def parameters(self) -> list[file_pb2.Upload]:
        """What the tasks were asked."""
        found = []
        for request in self.core.asked(task_service_pb2.CreateTaskRequest):
            parameters = file_pb2.Upload()
            request.parameters.Unpack(parameters)
            found.append(parameters)
        return found

    def _lookup(
        self, request: repository_service_pb2.LookupFilesRequest
    ) -> repository_service_pb2.LookupFilesResponse:
        response = repository_service_pb2.LookupFilesResponse()
        for path in request.paths:
            if path in self.there:
                data = self.there[path]
                digest = hashlib.sha256(data).hexdigest()
                response.files.add(
                    path=path,
                    sha256=digest,
                    size_bytes=len(data),
                    is_stored=path not in self.absent,
                )
        return response

    def _open(
        self, request: upload_service_pb2.BatchCreateUploadsRequest
    ) -> upload_service_pb2.BatchCreateUploadsResponse:
        response = upload_service_pb2.BatchCreateUploadsResponse()
        for one in request.uploads:
            new = response.uploads.add()
            new.CopyFrom(one)
            new.name = f"uploads/u{len(self.opened) + 1}"
            new.complete = one.sha256 in self.stored
            self.opened[new.name] = new
            self.received[new.name] = b""
        return response

    def _write(self, requests: Iterable[Write]) -> upload_service_pb2.WriteUploadResponse:
        opening, *parts = requests
        name = opening.open.name
        assert opening.open.offset == len(self.received[name])
        assert opening.open.last
        self.received[name] += b"".join(part.chunk for part in parts)
        if self.breaks:
            self.breaks -= 1
            self.received[name] = self.received[name][: len(self.received[name]) // 2 + 1]
            raise ServiceError.of(Code.UNAVAILABLE, "UNAVAILABLE", "The connection broke.")
        return upload_service_pb2.WriteUploadResponse(upload=self.state(name, complete=True))

    def _write_whole(
        self, request: upload_service_pb2.BatchWriteUploadsRequest
    ) -> upload_service_pb2.BatchWriteUploadsResponse:
        self.wholes += 1
        if self.breaks:
            self.breaks -= 1
            raise ServiceError.of(Code.UNAVAILABLE, "UNAVAILABLE", "The connection broke.")
        for item in request.items:
            self.received[item.name] = item.data
        return upload_service_pb2.BatchWriteUploadsResponse(
            uploads=[self.state(item.name, complete=True) for item in request.items]
        )

    def _get(
        self, request: upload_service_pb2.GetUploadRequest
    ) -> upload_service_pb2.GetUploadResponse:
        return upload_service_pb2.GetUploadResponse(upload=self.state(request.name))

    def state(self, name: str, *, complete: bool = False) -> Upload:
        """An upload as it is."""
        upload = Upload()
        upload.CopyFrom(self.opened[name])
        upload.received_bytes = len(self.received[name])
        upload.complete = complete
        return upload


@pytest.fixture
def uploads(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Uploads:
    """A core that takes uploads and tasks."""
    monkeypatch.setattr(sender, "PAUSE_SECONDS", 0.0)
    return Uploads(cli)


@pytest.mark.parametrize("size", [0, 1, sender.CHUNK_BYTES, sender.CHUNK_BYTES + 1])
def test_a_file_is_sent_in_chunks(cli: Cli, uploads: Uploads, tmp_path: Path, size: int) -> None:
    """The parts are the file, and core is told its length and digest beforehand."""
    data = b"x" * size
    (tmp_path / "a.bin").write_bytes(data)

    assert cli("upload", "file/foo", str(tmp_path / "a.bin")).status == 0

    (opened,) = uploads.opened.values()
    assert (opened.size_bytes, opened.filename) == (size, "a.bin")
    assert opened.sha256 == hashlib.sha256(data).hexdigest()
    assert list(uploads.received.values()) == [data]


@pytest.mark.parametrize("is_flag", [False, True])
def test_the_task_names_upload_and_repository(
    cli: Cli, uploads: Uploads, tmp_path: Path, *, is_flag: bool
) -> None:
    """The plugin's task gets the upload, the repository, and the path."""
    file = tmp_path / "a.bin"
    file.write_bytes(b"x")
    where = ("--repository", "file/foo") if is_flag else ("file/foo",)

    cli("upload", *where, str(file), "--path", "docs/a.bin")

    assert uploads.parameters() == [
        file_pb2.Upload(
            repository="repositories/file/foo", upload="uploads/u1", relative_path="docs/a.bin"
        )
    ]


def test_a_folder_makes_one_task(cli: Cli, uploads: Uploads, tmp_path: Path) -> None:
    """All files below it are named by one task, at their paths; links are left out and said."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    for path in ("z.txt", "a/one", "a/b/ü +.txt"):
        (tmp_path / path).write_bytes(path.encode())
    (tmp_path / "a" / "link").symlink_to(tmp_path / "z.txt")
    (tmp_path / "loop").symlink_to(tmp_path)

    result = cli(
        "upload", "file/foo", str(tmp_path), "--base-path-in-repo", "/in/", "--parallel", "2"
    )

    (parameters,) = uploads.parameters()
    assert result.status == 0
    assert {
        one.relative_path: uploads.received[one.upload].decode() for one in parameters.files
    } == {f"in/{path}": path for path in ("z.txt", "a/one", "a/b/ü +.txt")}
    assert result.err.count("is a link") == 2


def test_small_files_go_together(cli: Cli, uploads: Uploads, tmp_path: Path) -> None:
    """They take a call for each MiB, and each goes alone if that fails."""
    files = {f"{n}": bytes([n]) * 50_000 for n in range(60)}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    uploads.breaks = 1

    assert cli("upload", "file/foo", str(tmp_path)).status == 0

    (parameters,) = uploads.parameters()
    assert files == {one.relative_path: uploads.received[one.upload] for one in parameters.files}
    assert uploads.wholes == 3


def test_what_is_there_is_not_sent(cli: Cli, uploads: Uploads, tmp_path: Path) -> None:
    """A file at its path is left out; one that is stored elsewhere is named without its bytes."""
    for name in ("same", "stored", "new", "changed"):
        (tmp_path / name).write_bytes(name.encode())
    uploads.there = {"same": b"same", "changed": b"before"}
    uploads.stored = {hashlib.sha256(b"stored").hexdigest()}

    assert cli("upload", "file/foo", str(tmp_path)).status == 0

    (parameters,) = uploads.parameters()
    sent = {one.relative_path: uploads.received[one.upload] for one in parameters.files}
    assert sent == {"changed": b"changed", "new": b"new", "stored": b""}


def test_nothing_to_do_makes_no_task(cli: Cli, uploads: Uploads, tmp_path: Path) -> None:
    """If all is there, that is said, and the exit status is 0."""
    (tmp_path / "same").write_bytes(b"same")
    uploads.there = {"same": b"same"}

    result = cli("upload", "file/foo", str(tmp_path))

    assert (result.status, uploads.opened, uploads.parameters()) == (0, {}, [])
    assert "file/foo has 1 of 1 files: nothing to do." in result.out


def test_a_file_whose_bytes_are_not_there_is_sent(
    cli: Cli, uploads: Uploads, tmp_path: Path
) -> None:
    """Bytes that were lost, or never fetched, are sent, though the repository has the file."""
    (tmp_path / "lost").write_bytes(b"lost")
    uploads.there = {"lost": b"lost"}
    uploads.absent = {"lost"}

    result = cli("upload", "file/foo", str(tmp_path))

    assert (result.status, list(uploads.received.values())) == (0, [b"lost"])


def test_a_plan_sends_nothing(cli: Cli, uploads: Uploads, tmp_path: Path) -> None:
    """--dry-run counts what would be sent."""
    for name in ("same", "new"):
        (tmp_path / name).write_bytes(name.encode())
    uploads.there = {"same": b"same"}

    result = cli("upload", "file/foo", str(tmp_path), "--dry-run")

    assert (result.status, uploads.opened) == (0, {})
    assert "file/foo has 1 of 2 files; 1 would be uploaded, 3 B." in result.out


def test_a_broken_connection_is_gone_on_with(cli: Cli, uploads: Uploads, tmp_path: Path) -> None:
    """After a break only what did not come is sent."""
    data = os.urandom(300_000)
    (tmp_path / "a").write_bytes(data)
    uploads.breaks = 3

    assert cli("upload", "file/foo", str(tmp_path / "a")).status == 0

    assert uploads.received == {"uploads/u1": data}


def test_the_same_command_goes_on_with_a_large_file(
    cli: Cli, uploads: Uploads, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a command before had sent of a large file is not sent again."""
    monkeypatch.setattr(sender, "REMEMBERED_BYTES", 1000)
    monkeypatch.setattr(sender, "AWAY_SECONDS", -1.0)
    data = os.urandom(100_000)
    (tmp_path / "a").write_bytes(data)
    uploads.breaks = 1000

    failed = cli("upload", "file/foo", str(tmp_path / "a"))
    uploads.breaks = 0
    before = len(uploads.received["uploads/u1"])
    done = cli("upload", "file/foo", str(tmp_path / "a"))

    assert (failed.status, done.status) == (1, 0)
    assert 0 < before < len(data) + 1
    assert uploads.received["uploads/u1"] == data
    assert uploads.parameters()[0].upload == "uploads/u1"


def test_ctrl_c_ends_the_sending(cli: Cli, uploads: Uploads, tmp_path: Path) -> None:
    """It ends with 130, makes no task, and says that the same command goes on."""
    (tmp_path / "a").write_bytes(b"x")
    answer = cli.core.answers["LookupFiles"]

    def pressed(request: object) -> object:
        os.kill(os.getpid(), signal.SIGINT)
        return answer(request)

    cli.core.answers["LookupFiles"] = pressed

    result = cli("upload", "file/foo", str(tmp_path / "a"))

    assert result.status == 130
    assert "the same command, which goes on from there" in result.err
    assert uploads.parameters() == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_ctrl_c_is_heard_wherever_it_comes(
    cli: Cli, uploads: Uploads, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is raised while something is finalized is lost, and the sending ends all the same."""
    (tmp_path / "a").write_bytes(b"x")

    class Finalized:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGINT)

    def groups(small: list[transfer.Opened]) -> list[list[transfer.Opened]]:
        Finalized()
        return [small]

    monkeypatch.setattr(transfer, "_groups", groups)

    result = cli("upload", "file/foo", str(tmp_path / "a"))

    assert result.status == 130
    assert uploads.parameters() == []


def test_what_is_no_file_is_refused_before_anything_is_sent(
    cli: Cli, uploads: Uploads, tmp_path: Path
) -> None:
    """A missing file, a name that cannot be served, and two files for one path end with 2."""
    (tmp_path / "bad\nname").write_bytes(b"x")
    (tmp_path / "good").write_bytes(b"x")

    missing = cli("upload", "file/foo", str(tmp_path / "missing"))
    unusual = cli("upload", "file/foo", str(tmp_path))
    twice = cli("upload", "file/foo", str(tmp_path / "good"), str(tmp_path / "good"))

    assert [2, 2, 2] == [one.status for one in (missing, unusual, twice)]
    assert "control character" in unusual.err
    assert "bad\\nname" in unusual.err
    assert uploads.opened == {}


def test_one_path_is_for_one_file(cli: Cli, uploads: Uploads, tmp_path: Path) -> None:
    """--path with two files is a usage error."""
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"x")

    result = cli("upload", "file/foo", str(tmp_path / "a"), str(tmp_path / "b"), "--path", "c")

    assert result.status == 2
