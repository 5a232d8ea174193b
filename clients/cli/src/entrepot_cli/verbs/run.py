"""`entrepot run`, `entrepot plan` and `entrepot task create`: three ways to create a task."""

import argparse
import sys
from argparse import Namespace

from entrepot.core.v1 import task_service_pb2
from entrepot.type.v1.unit_failure_pb2 import UnitFailure
from entrepot_cli.arguments import Parser, add_output, add_request_id, read_ahead
from entrepot_cli.conclusion import conclude
from entrepot_cli.duration import seconds
from entrepot_cli.flag import add_flags, fill
from entrepot_cli.follow import SERVICE, follow
from entrepot_cli.server.declaration import TaskType
from entrepot_cli.server.name import short_name
from entrepot_cli.session import Session, session
from entrepot_rpc.field import descriptor_of, enum_choices

PRIORITIES = enum_choices(task_service_pb2.Task.DESCRIPTOR.enum_types_by_name["Priority"])

_ABOUT = {
    "run": "Creates a task and follows it to its end: run TYPE --flag …",
    "plan": "Shows what a task would do, and changes nothing: plan TYPE --flag …",
    "task create": "Creates a task and shows it: task create TYPE --flag …",
}


def run(words: list[str]) -> int:
    """Create a task and follow it to its end."""
    return _create("run", words, follows=True)


def plan(words: list[str]) -> int:
    """Run a task without changing anything, and show what it would change."""
    return _create("plan", words, follows=True, is_plan=True)


def create(words: list[str]) -> int:
    """Create a task and show it; with --wait, follow it."""
    return _create("task create", words, follows=False)


def _create(prog: str, words: list[str], *, follows: bool, is_plan: bool = False) -> int:
    if not words or words[0].startswith("-"):
        return _without_type(prog, words)
    # Which flags there are, the server knows; the type comes first, so that it can be asked.
    early = read_ahead(words[1:])
    with session(early) as work:
        kind = work.declarations.task_type(words[0])
        parser = parser_for(f"{prog} {kind.name}", kind, work, follows=follows)
        options = parser.parse_args(words[1:])
        parameters = kind.parameters()
        fill(parameters, options, kind.plugin)
        request = task_service_pb2.CreateTaskRequest(
            dry_run=is_plan or options.dry_run,
            request_id=options.request_id,
            priority=PRIORITIES.get(options.priority),  # type: ignore[arg-type]
            on_failure=policy(options),
            absorb=options.absorb,
        )
        request.parameters.Pack(parameters)
        response = work.connection.call(SERVICE, "CreateTask", request)
        task = response.task
        tell_absorbed(task, options, is_absorbed=response.absorbed)
        return finish(work, task, options, follows=follows or options.wait)


def policy(options: Namespace) -> UnitFailure.Policy.ValueType:
    """What is to become of the task if units fail."""
    if options.keep_going:
        return UnitFailure.POLICY_KEEP_GOING
    return UnitFailure.POLICY_STRICT if options.strict else UnitFailure.POLICY_UNSPECIFIED


def tell_absorbed(task: task_service_pb2.Task, options: Namespace, *, is_absorbed: bool) -> None:
    """Say on standard error that no task was created, as another one waits that will do."""
    if is_absorbed and not options.quiet:
        name = short_name(task.name)
        sys.stderr.write(f"Task {name} waits and would do the same, so none was created.\n")


def finish(
    work: Session, task: task_service_pb2.Task, options: Namespace, *, follows: bool
) -> int:
    """Follow the new task and say what became of it, or show it as it is."""
    if not follows:
        work.output.item(work.json(task))
        return 0
    is_quiet = work.output.form != "table" and options.quiet
    task = follow(work.connection, task, seconds=options.timeout, is_quiet=is_quiet)
    return conclude(work, task)


def parser_for(
    prog: str, kind: TaskType, work: Session, *, follows: bool, enforce: bool = True
) -> Parser:
    """The parser with the flags of a task type."""
    comments = work.declarations.plugins[kind.plugin].comments
    descriptor = descriptor_of(kind.parameters)
    parser = Parser(prog, comments.get(descriptor.full_name, ""))
    add_flags(parser, descriptor.fields, comments, title="parameters", enforce=enforce)
    return _options(parser, follows=follows)


def _options(parser: Parser, *, follows: bool) -> Parser:
    group = parser.add_argument_group("task")
    group.add_argument("--dry-run", action="store_true", help="change nothing")
    add_request_id(group, "task")
    group.add_argument(
        "--priority", choices=list(PRIORITIES), help="how urgent it is; unless said, as its type"
    )
    group.add_argument(
        "--absorb",
        action="store_true",
        help="create none if a task waits that would do the same",
    )
    failing = group.add_mutually_exclusive_group()
    failing.add_argument(
        "--keep-going",
        action="store_true",
        help="leave out units that fail, and complete with the rest",
    )
    failing.add_argument("--strict", action="store_true", help="fail if a unit fails: the default")
    text = argparse.SUPPRESS if follows else "follow it to its end"
    group.add_argument("--wait", action="store_true", default=follows, help=text)
    group.add_argument(
        "--timeout",
        type=seconds,
        default=0.0,
        metavar="DURATION",
        help="follow no longer than this; the task goes on",
    )
    add_output(parser)
    return parser


def _without_type(prog: str, words: list[str]) -> int:
    """Help without a type still says which types there are, if the server can be asked."""
    from entrepot_cli.outcome import Failure

    parser = _options(Parser(prog, _ABOUT[prog]), follows=prog != "task create")
    parser.add_argument("type", metavar="TYPE", help="such as file/syncs")
    try:
        with session(Namespace(verbose=False, quiet=False, output="table")) as work:
            types = ", ".join(work.declarations.task_types())
            parser.epilog = f"types: {types}\nentrepot {prog} TYPE --help says which flags it has"
    except Failure as failure:
        parser.epilog = f"types: {failure.message}"
    parser.parse_args(words)
    raise AssertionError
