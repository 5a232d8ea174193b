"""`entrepot task`: what was asked for, what runs, what became of it."""

from argparse import Namespace

from entrepot.core.v1 import task_service_pb2
from entrepot_cli.arguments import Parser, add_limit, add_output, choose, read_ahead
from entrepot_cli.conclusion import conclude, in_words, nothing, result_in_words
from entrepot_cli.duration import seconds
from entrepot_cli.flag import fill
from entrepot_cli.follow import SERVICE, cancel, follow
from entrepot_cli.output import Column, Json, column, moment, name_of
from entrepot_cli.progress import amount
from entrepot_cli.server.name import full_name, short_name, version_name
from entrepot_cli.session import Session, session
from entrepot_cli.verbs import lineage, plan
from entrepot_cli.verbs import run as runs
from entrepot_rpc.field import enum_choices, enum_words

VERBS = {
    "create": "create one: create TYPE --flag …",
    "list": "list them, newest first",
    "get": "show one, and why it waits or failed",
    "why": "say why one waits, how far it is, or what became of it",
    "log": "show what one wrote for people",
    "failures": "show which units failed in one",
    "watch": "follow one to its end",
    "wait": "wait for its end, silently",
    "cancel": "ask one to stop",
    "clone": "create one like an earlier one",
    "lineage": "show where one came from, and its clones",
    "plan": "show what a dry run would change",
    "commit": "do exactly what a dry run has planned",
}
# People look at the top of a list that never ends.
LISTED = 50

# What `task get` says in sentences, above the fields.
_IN_WORDS = frozenset({"differences", "error", "lost_attempts", "progress", "warnings"})

_Task = task_service_pb2.Task
_STATE = _Task.DESCRIPTOR.enum_types_by_name["State"]
_STATES = enum_choices(_STATE)
# A task is running or completed, but it has failed and it was canceled.
_VERBS = {_Task.STATE_FAILED: "has", _Task.STATE_CANCELED: "was"}


def run(words: list[str]) -> int:
    """Do one of the verbs."""
    verb, words = choose("task", VERBS, words)
    verbs = {
        "create": runs.create,
        "list": _list,
        "get": _get,
        "why": _why,
        "log": _log,
        "failures": _failures,
        "watch": _watch,
        "wait": _wait,
        "cancel": _cancel,
        "clone": _clone,
        "lineage": lineage.show,
        "plan": plan.show,
        "commit": plan.commit,
    }
    return verbs[verb](words)


def _list(words: list[str]) -> int:
    parser = Parser("task list", f"Lists tasks, newest first; {LISTED} unless --limit says more.")
    parser.add_argument("--state", choices=list(_STATES), help="only in this state")
    parser.add_argument("--type", default="", metavar="TYPE", help="only file/syncs, or of file")
    parser.add_argument("--resource", default="", metavar="NAME", help="only those that use it")
    parser.add_argument("--cloned-from", default="", metavar="TASK", help="only clones of it")
    parser.add_argument(
        "--created", default="", metavar="NAME", help="only the one that made this"
    )
    parser.add_argument(
        "--priority", choices=list(runs.PRIORITIES), help="only those created with this one"
    )
    add_limit(parser)
    add_output(parser)
    options = parser.parse_args(words)
    origin = full_name(options.cloned_from, "tasks") if options.cloned_from else ""
    request = task_service_pb2.ListTasksRequest(
        state=_STATES.get(options.state, 0),  # type: ignore[arg-type]
        task_type=options.type,
        resource=_resource(options.resource),
        cloned_from=origin,
        created_resource=_resource(options.created),
        priority=runs.PRIORITIES.get(options.priority),  # type: ignore[arg-type]
    )
    with session(options) as work:
        limit = options.limit or LISTED
        found = work.connection.pages(SERVICE, "ListTasks", request, limit)
        columns = [
            Column("TASK", name_of),
            column("TYPE", "task_type"),
            column("STATE", "state"),
            Column("CREATED", lambda item: moment(item.get("create_time"))),
            Column("OUTCOME", _outcome),
        ]
        work.output.items((work.json(one) for one in found), columns)
    return 0


def _get(words: list[str]) -> int:
    options = _one("task get", "Shows one task.", words)
    with session(options) as work:
        task = read(work, options.task)
        if work.output.form == "table":
            shown = work.json(task)
            print("\n".join(in_words(task, shown.get("result"))))
            for warning in task.warnings:
                print(f"  warning: {warning.message}")
            for phase in task.progress:
                print(f"  {phase.message}: {amount(phase)}")
            if task.HasField("error"):
                print(f"  error: {task.error.message}")
            for one in task.lost_attempts:
                print(f"  attempt {one.number} ended: {one.reason}")
            print()
            work.output.item({key: one for key, one in shown.items() if key not in _IN_WORDS})
        else:
            work.output.item(work.json(task))
    return 0


def _why(words: list[str]) -> int:
    options = _one("task why", "Says why a task is where it is.", words)
    with session(options) as work:
        request = task_service_pb2.ExplainTaskRequest(task=full_name(options.task, "tasks"))
        explanation = work.connection.call(SERVICE, "ExplainTask", request).explanation
        if work.output.form != "table":
            work.output.item(work.json(explanation))
            return 0
        state = enum_words(_STATE)[explanation.state]
        verb = _VERBS.get(explanation.state, "is")
        print(f"Task {short_name(explanation.task)} {verb} {state}.")
        print("\n".join(f"  {sentence}" for sentence in explanation.sentences))
    return 0


def _log(words: list[str]) -> int:
    parser = Parser("task log", "Shows the lines that a task wrote for people, oldest first.")
    parser.add_argument("task", metavar="TASK")
    parser.add_argument("--attempt", type=int, default=0, help="only of this attempt")
    add_limit(parser)
    add_output(parser)
    options = parser.parse_args(words)
    request = task_service_pb2.ListTaskLogsRequest(
        parent=full_name(options.task, "tasks"), attempt=options.attempt
    )
    with session(options) as work:
        found = work.connection.pages(SERVICE, "ListTaskLogs", request, options.limit)
        columns = [
            Column("TIME", lambda item: moment(item.get("time"))),
            column("ATTEMPT", "attempt"),
            column("LEVEL", "level"),
            column("MESSAGE", "message"),
        ]
        work.output.items((work.json(one) for one in found), columns)
    return 0


def _failures(words: list[str]) -> int:
    parser = Parser("task failures", "Shows which units failed in a task, and why.")
    parser.add_argument("task", metavar="TASK")
    add_limit(parser)
    add_output(parser)
    options = parser.parse_args(words)
    request = task_service_pb2.ListTaskFailuresRequest(parent=full_name(options.task, "tasks"))
    with session(options) as work:
        found = work.connection.pages(SERVICE, "ListTaskFailures", request, options.limit)
        columns = [
            Column("UNIT", lambda item: item.get("relative_path") or item.get("unit", "")),
            column("REASON", "reason"),
            Column("MAY PASS", lambda item: "yes" if item.get("retryable") else "no"),
            column("MESSAGE", "message"),
        ]
        work.output.items((work.json(one) for one in found), columns)
    return 0


def _watch(words: list[str]) -> int:
    options = _one("task watch", "Follows a task to its end.", words, has_timeout=True)
    with session(options) as work:
        task = read(work, options.task)
        task = follow(work.connection, task, seconds=options.timeout, is_quiet=options.quiet)
        return conclude(work, task)


def _wait(words: list[str]) -> int:
    options = _one("task wait", "Waits for the end of a task.", words, has_timeout=True)
    with session(options) as work:
        task = read(work, options.task)
        task = follow(work.connection, task, seconds=options.timeout, is_quiet=True)
        return conclude(work, task)


def _cancel(words: list[str]) -> int:
    options = _one("task cancel", "Asks a task to stop.", words)
    with session(options) as work:
        work.output.item(work.json(cancel(work.connection, full_name(options.task, "tasks"))))
    return 0


def _clone(words: list[str]) -> int:
    if not words or words[0].startswith("-"):
        parser = Parser("task clone", "Repeats a task; flags replace the earlier values.")
        parser.add_argument("task", metavar="TASK")
        parser.epilog = (
            "entrepot task clone TASK --help says which flags it has\n"
            "entrepot task list says which tasks there are"
        )
        parser.parse_args(words)
        raise AssertionError
    with session(read_ahead(words[1:])) as work:
        origin = read(work, words[0])
        kind = work.declarations.task_type(origin.task_type)
        prog = f"task clone {words[0]}"
        parser = runs.parser_for(prog, kind, work, follows=False, enforce=False)
        parser.add_argument(
            "--only-failures", action="store_true", help="do only what failed in the earlier task"
        )
        options = parser.parse_args(words[1:])
        overrides = kind.parameters()
        request = task_service_pb2.CloneTaskRequest(
            name=origin.name,
            dry_run=options.dry_run,
            request_id=options.request_id,
            priority=runs.PRIORITIES.get(options.priority),  # type: ignore[arg-type]
            on_failure=runs.policy(options),
            only_failures=options.only_failures,
            absorb=options.absorb,
        )
        request.override_paths.extend(fill(overrides, options, kind.plugin))
        if request.override_paths:
            request.overrides.Pack(overrides)
        response = work.connection.call(SERVICE, "CloneTask", request)
        task = response.task
        runs.tell_absorbed(task, options, is_absorbed=response.absorbed)
        return runs.finish(work, task, options, follows=options.wait)


def read(work: Session, text: str) -> task_service_pb2.Task:
    """The task of this id or name."""
    request = task_service_pb2.GetTaskRequest(name=full_name(text, "tasks"))
    task: task_service_pb2.Task = work.connection.call(SERVICE, "GetTask", request).task
    return task


def _one(prog: str, description: str, words: list[str], *, has_timeout: bool = False) -> Namespace:
    parser = Parser(prog, description)
    parser.add_argument("task", metavar="TASK")
    if has_timeout:
        parser.add_argument(
            "--timeout", type=seconds, default=0.0, metavar="DURATION", help="wait no longer"
        )
    add_output(parser)
    return parser.parse_args(words)


def _resource(text: str) -> str:
    if not text:
        return ""
    return version_name(text) if "@" in text else full_name(text, "repositories")


def _outcome(item: Json) -> str:
    if error := item.get("error"):
        return str(error.get("detail", ""))
    if item.get("created_resource"):
        return short_name(str(item["created_resource"]))
    if item.get("blocked_by"):
        return str(item["blocked_by"][0]["message"])
    is_unchanged = item.get("state") == "completed" and not item.get("changed")
    if is_unchanged:
        return nothing(is_plan=bool(item.get("dry_run")))
    if item.get("dry_run"):
        return "dry run"
    return result_in_words(item.get("result") or {})
