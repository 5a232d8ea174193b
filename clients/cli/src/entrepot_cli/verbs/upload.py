"""`entrepot upload`: files and folders of this machine into a repository, as one version."""

import sys
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import replace

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from entrepot.core.v1 import task_service_pb2
from entrepot_cli.arguments import Parser, add_output, positive
from entrepot_cli.conclusion import conclude
from entrepot_cli.files.folder import Found, find
from entrepot_cli.files.meter import Meter
from entrepot_cli.files.transfer import Sent, Transfer
from entrepot_cli.flag import add_flags, fill
from entrepot_cli.follow import SERVICE as TASKS
from entrepot_cli.follow import follow
from entrepot_cli.outcome import Failure, Status
from entrepot_cli.output import size
from entrepot_cli.server.declaration import TaskType
from entrepot_cli.server.name import resource_name, short_name
from entrepot_cli.session import Session, session
from entrepot_rpc.field import descriptor_of, message_of

USAGE = "Puts files into a repository: upload PLUGIN/NAME FILE… or FOLDER…"
# What this verb sets itself in the parameters of a plugin's `uploads`.
_PATH = "relative_path"
_UPLOAD = "upload"
_FILES = "files"
_OURS = ("repository", _UPLOAD, _PATH, _FILES, "url", "sha256", "remote")
# What one task takes; more files make more versions.
TASK_FILES = 10_000
TASK_BYTES = 4 << 20
PARALLEL = 4


def run(words: list[str]) -> int:
    """Upload every file that is not there, then have the plugin take all into the repository."""
    early = _options(Parser("upload", is_whole=False)).parse_known_args(words)[0]
    if not early.words and not early.repository:
        _options(Parser("upload", USAGE)).parse_args(words)
        raise Failure("Where to, and which files?", status=Status.USAGE)
    repository = resource_name(early.repository or early.words[0], "repositories")
    plugin = repository.split("/")[1]
    with session(early) as work:
        kind = work.declarations.task_type(f"{plugin}/uploads")
        options = _parser(kind, work).parse_args(words)
        found = _find(options, kind)
        is_quiet = work.output.form != "table"
        meter = Meter(len(found.files), found.size, is_quiet=is_quiet)
        transfer = Transfer(
            work.connection, repository, options.parallel, meter, is_plan=options.dry_run
        )
        sent = transfer.run(found.files)
        if options.dry_run or not sent.uploads:
            return _tell(work, repository, found, sent, is_plan=options.dry_run)
        tasks = _parameters(kind, repository, sent, options)
        return max(_take(work, parameters) for parameters in tasks)


def _options(parser: Parser) -> Parser:
    parser.add_argument("words", metavar="PLUGIN/NAME FILE|FOLDER", nargs="*")
    parser.add_argument(
        "--repository", metavar="PLUGIN/NAME", help="where to, if it is not the first word"
    )
    parser.add_argument(
        "--path", "--relative-path", metavar="PATH", help="where one file goes; else its own name"
    )
    parser.add_argument(
        "--base-path-in-repo", metavar="PATH", default="", help="folder that all files go to"
    )
    parser.add_argument(
        "--parallel",
        metavar="N",
        type=positive,
        default=PARALLEL,
        help=f"how many files are sent at once (default {PARALLEL})",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would be sent, and send nothing"
    )
    add_output(parser)
    return parser


def _parser(kind: TaskType, work: Session) -> Parser:
    comments = work.declarations.plugins[kind.plugin].comments
    parser = _options(Parser("upload", comments.get(kind.parameters.DESCRIPTOR.full_name, "")))
    fields = [one for one in descriptor_of(kind.parameters).fields if one.name not in _OURS]
    add_flags(parser, fields, comments, title="parameters")
    return parser


def _find(options: Namespace, kind: TaskType) -> Found:
    words = options.words[0 if options.repository else 1 :]
    if not words:
        raise Failure("No file was named.", status=Status.USAGE, suggestion="entrepot upload -h")
    found = find(words, options.base_path_in_repo)
    if options.path is not None:
        if len(found.files) != 1:
            raise Failure("--path is for one file.", status=Status.USAGE)
        if _PATH not in descriptor_of(kind.parameters).fields_by_name:
            raise Failure(f"{kind.name} knows no path.", status=Status.USAGE)
    for text in found.skipped:
        print(f"left out: {text}", file=sys.stderr)
    if options.path is not None:
        (file,) = found.files
        return Found([replace(file, path=options.path)], found.skipped)
    return found


def _takes_many(parameters: Descriptor) -> bool:
    """Say whether one task takes many files, which then make one version."""
    field = parameters.fields_by_name.get(_FILES)
    if field is None or not field.is_repeated or field.message_type is None:
        return False
    return {_UPLOAD, _PATH} <= {one.name for one in message_of(field).fields}


def _parameters(
    kind: TaskType, repository: str, sent: Sent, options: Namespace
) -> Iterator[Message]:
    """Parameters of as many tasks as the files need, which is one unless they are very many."""
    empty = kind.parameters(repository=repository)
    fill(empty, options, kind.plugin)
    if len(sent.uploads) == 1 or not _takes_many(descriptor_of(kind.parameters)):
        for path, upload in sent.uploads:
            yield _of_one(empty, path, upload)
        return
    parameters = _copy(empty)
    for count, (path, upload) in enumerate(sent.uploads):
        # Their length takes a while to count.
        if count and (
            count % TASK_FILES == 0 or (count % 100 == 0 and parameters.ByteSize() > TASK_BYTES)
        ):
            yield parameters
            parameters = _copy(empty)
        getattr(parameters, _FILES).add(**{_UPLOAD: upload, _PATH: path})
    yield parameters


def _of_one(empty: Message, path: str, upload: str) -> Message:
    parameters = _copy(empty)
    setattr(parameters, _UPLOAD, upload)
    if _PATH in parameters.DESCRIPTOR.fields_by_name:
        setattr(parameters, _PATH, path)
    return parameters


def _copy(message: Message) -> Message:
    copy = type(message)()
    copy.CopyFrom(message)
    return copy


def _take(work: Session, parameters: Message) -> Status:
    request = task_service_pb2.CreateTaskRequest()
    request.parameters.Pack(parameters)
    task = work.connection.call(TASKS, "CreateTask", request).task
    task = follow(work.connection, task, is_quiet=work.output.form != "table")
    return conclude(work, task)


def _tell(work: Session, repository: str, found: Found, sent: Sent, *, is_plan: bool) -> Status:
    """Write what would be sent, or that nothing had to be."""
    if work.output.form == "table":
        text = f"{short_name(repository)} has {sent.present:,} of {len(found.files):,} files"
        if is_plan:
            text += f"; {sent.new:,} would be uploaded, {size(sent.new_bytes)}"
        print(f"{text}." if is_plan else f"{text}: nothing to do.")
    else:
        work.output.item(
            {
                "name": repository,
                "files": len(found.files),
                "present": sent.present,
                "new": sent.new,
                "new_bytes": sent.new_bytes,
            }
        )
    return Status.DONE
