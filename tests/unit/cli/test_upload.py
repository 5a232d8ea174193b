"""`upload`: bytes go to core, then a task of the plugin takes them."""

import hashlib
from pathlib import Path

import pytest

from entrepot.core.v1 import task_service_pb2, upload_service_pb2
from entrepot.plugins.file.v1 import file_pb2
from entrepot_cli.verbs.upload import CHUNK_BYTES
from scripted_core import Cli, a_task


@pytest.fixture
def uploads(cli: Cli) -> list[upload_service_pb2.WriteUploadRequest]:
    """Have core take uploads and tasks; the parts that were sent are kept here."""
    parts: list[upload_service_pb2.WriteUploadRequest] = []
    upload = upload_service_pb2.Upload(name="uploads/u1", complete=True)
    begun = upload_service_pb2.Upload(name="uploads/u1")

    def write(requests: list[upload_service_pb2.WriteUploadRequest]) -> object:
        parts.extend(requests)
        return upload_service_pb2.WriteUploadResponse(upload=upload)

    created = upload_service_pb2.CreateUploadResponse(upload=begun)
    task = task_service_pb2.CreateTaskResponse(task=a_task())
    cli.core.answers["CreateUpload"] = lambda _: created
    cli.core.answers["WriteUpload"] = write
    cli.core.answers["CreateTask"] = lambda _: task
    return parts


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES, CHUNK_BYTES + 1])
def test_a_file_is_sent_in_chunks(
    cli: Cli, uploads: list[upload_service_pb2.WriteUploadRequest], tmp_path: Path, size: int
) -> None:
    """The parts are the file, and core is told its length and digest beforehand."""
    data = b"x" * size
    (tmp_path / "a.bin").write_bytes(data)

    assert cli("upload", "file/foo", str(tmp_path / "a.bin")).status == 0

    (request,) = cli.core.asked(upload_service_pb2.CreateUploadRequest)
    assert request.upload.size_bytes == size
    assert request.upload.sha256 == hashlib.sha256(data).hexdigest()
    assert uploads[0].open.last
    assert b"".join(part.chunk for part in uploads[1:]) == data


@pytest.mark.parametrize("is_flag", [False, True])
def test_the_task_names_upload_and_repository(
    cli: Cli,
    uploads: list[upload_service_pb2.WriteUploadRequest],
    tmp_path: Path,
    *,
    is_flag: bool,
) -> None:
    """The plugin's task gets the upload, the repository, and the path if there is one."""
    file = tmp_path / "a.bin"
    file.write_bytes(b"x")
    where = ("--repository", "file/foo") if is_flag else ("file/foo",)

    cli("upload", *where, str(file), "--path", "docs/a.bin")

    (request,) = cli.core.asked(task_service_pb2.CreateTaskRequest)
    parameters = file_pb2.Upload()
    request.parameters.Unpack(parameters)
    assert parameters == file_pb2.Upload(
        repository="repositories/file/foo", upload="uploads/u1", relative_path="docs/a.bin"
    )


def test_what_is_no_file_is_refused_before_anything_is_sent(cli: Cli, tmp_path: Path) -> None:
    """A folder or a missing file ends with 2."""
    assert cli("upload", "file/foo", str(tmp_path)).status == 2
    assert cli("upload", "file/foo", str(tmp_path / "missing")).status == 2
    assert cli.core.asked(upload_service_pb2.CreateUploadRequest) == []


def test_one_path_is_for_one_file(cli: Cli, tmp_path: Path) -> None:
    """--path with two files is a usage error."""
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"x")

    result = cli("upload", "file/foo", str(tmp_path / "a"), str(tmp_path / "b"), "--path", "c")

    assert result.status == 2
