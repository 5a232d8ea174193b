"""`entrepot upload`: files of this machine into a repository, one task each."""

import hashlib
import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

from entrepot.core.v1 import task_service_pb2, upload_service_pb2
from entrepot_cli.arguments import Parser, add_output
from entrepot_cli.conclusion import conclude
from entrepot_cli.flag import add_flags, fill
from entrepot_cli.follow import SERVICE as TASKS
from entrepot_cli.follow import follow
from entrepot_cli.outcome import Failure, Status
from entrepot_cli.server.declaration import TaskType
from entrepot_cli.server.name import resource_name
from entrepot_cli.session import Session, session
from entrepot_rpc.field import descriptor_of

UPLOADS = upload_service_pb2.DESCRIPTOR.services_by_name["UploadService"]
CHUNK_BYTES = 512 << 10
USAGE = "Puts files into a repository: upload PLUGIN/NAME FILE…"
# What this verb sets itself in the parameters of a plugin's `uploads`.
_PATH = "relative_path"
_OURS = ("repository", "upload")


def run(words: list[str]) -> int:
    """Upload every file, then have the plugin take each into the repository."""
    early = _options(Parser("upload", is_whole=False)).parse_known_args(words)[0]
    if not early.words and not early.repository:
        _options(Parser("upload", USAGE)).parse_args(words)
        raise Failure("Where to, and which files?", status=Status.USAGE)
    repository = resource_name(early.repository or early.words[0], "repositories")
    plugin = repository.split("/")[1]
    with session(early) as work:
        kind = work.declarations.task_type(f"{plugin}/uploads")
        options = _parser(kind, work).parse_args(words)
        files = [Path(file) for file in options.words[0 if options.repository else 1 :]]
        _refuse_what_is_no_file(files)
        if options.path is not None and len(files) > 1:
            raise Failure("--path is for one file.", status=Status.USAGE)
        if options.path is not None and _PATH not in kind.parameters.DESCRIPTOR.fields_by_name:
            raise Failure(f"{kind.name} knows no path.", status=Status.USAGE)
        statuses = [_take(work, kind, repository, file, options) for file in files]
    return max(statuses)


def _options(parser: Parser) -> Parser:
    parser.add_argument("words", metavar="PLUGIN/NAME FILE", nargs="*")
    parser.add_argument(
        "--repository", metavar="PLUGIN/NAME", help="where to, if it is not the first word"
    )
    parser.add_argument("--path", metavar="PATH", help="where it goes; else the file's own name")
    add_output(parser)
    return parser


def _parser(kind: TaskType, work: Session) -> Parser:
    comments = work.declarations.plugins[kind.plugin].comments
    parser = _options(Parser("upload", comments.get(kind.parameters.DESCRIPTOR.full_name, "")))
    fields = [one for one in descriptor_of(kind.parameters).fields if one.name not in _OURS]
    add_flags(parser, fields, comments, title="parameters")
    return parser


def _refuse_what_is_no_file(files: list[Path]) -> None:
    if not files:
        raise Failure("No file was named.", status=Status.USAGE, suggestion="entrepot upload -h")
    for file in files:
        if not file.is_file():
            raise Failure(f"{file} is not a file.", status=Status.USAGE)


def _take(
    work: Session, kind: TaskType, repository: str, file: Path, options: Namespace
) -> Status:
    upload = send(work, file)
    parameters = kind.parameters(repository=repository, upload=upload.name)
    fill(parameters, options, kind.plugin)
    if options.path is not None:
        setattr(parameters, _PATH, options.path)
    request = task_service_pb2.CreateTaskRequest()
    request.parameters.Pack(parameters)
    task = work.connection.call(TASKS, "CreateTask", request).task
    task = follow(work.connection, task, is_quiet=work.output.form != "table")
    return conclude(work, task)


def send(work: Session, file: Path) -> upload_service_pb2.Upload:
    """Send a file's bytes, with their digest, so that a change on the way is found."""
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        length = stream.tell()
    new = upload_service_pb2.Upload(size_bytes=length, sha256=digest, filename=file.name)
    request = upload_service_pb2.CreateUploadRequest(upload=new)
    upload = work.connection.call(UPLOADS, "CreateUpload", request).upload
    if upload.complete:
        return upload  # type: ignore[no-any-return]
    if sys.stderr.isatty() and work.output.form == "table":
        print(f"sending {file}", file=sys.stderr)
    sent = work.connection.send(UPLOADS, "WriteUpload", _parts(upload.name, file))
    complete: upload_service_pb2.Upload = sent.upload
    return complete


def _parts(name: str, file: Path) -> Iterator[upload_service_pb2.WriteUploadRequest]:
    start = upload_service_pb2.WriteUploadRequest.Open(name=name, last=True)
    yield upload_service_pb2.WriteUploadRequest(open=start)
    with file.open("rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            yield upload_service_pb2.WriteUploadRequest(chunk=chunk)
