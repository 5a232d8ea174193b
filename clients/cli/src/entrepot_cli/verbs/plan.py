"""`entrepot task plan` and `entrepot task commit`: what a dry run found, and having it done."""

import argparse

from entrepot.core.v1 import plan_pb2, task_service_pb2
from entrepot_cli.arguments import Parser, add_limit, add_output, add_request_id
from entrepot_cli.conclusion import to_fetch
from entrepot_cli.duration import seconds
from entrepot_cli.follow import SERVICE
from entrepot_cli.output import Column, Json, column, size
from entrepot_cli.server.name import full_name, short_name
from entrepot_cli.session import session
from entrepot_cli.verbs import run as runs
from entrepot_rpc.field import enum_choices

# People look at the top of a long list.
LISTED = 50

_CHANGES = enum_choices(plan_pb2.PlannedUnit.DESCRIPTOR.enum_types_by_name["Change"])
_SIGNS = {"addition": "+", "replacement": "~", "removal": "-"}


def show(words: list[str]) -> int:
    """Show the plan of a dry run, and its units."""
    parser = Parser(
        "task plan",
        f"Shows what a dry run found that would change; {LISTED} units unless --limit says more. "
        "-o jsonl writes all of them.",
    )
    parser.add_argument("task", metavar="TASK")
    parser.add_argument("--change", choices=list(_CHANGES), help="only units with this change")
    add_limit(parser)
    add_output(parser)
    options = parser.parse_args(words)
    name = full_name(options.task, "tasks")
    with session(options) as work:
        is_table = work.output.form == "table"
        request = task_service_pb2.GetPlanRequest(name=name)
        plan = work.connection.call(SERVICE, "GetPlan", request).plan
        if is_table:
            print("\n".join(in_words(plan)))
            print()
        units = task_service_pb2.ListPlannedUnitsRequest(
            parent=name,
            change=_CHANGES.get(options.change, 0),  # type: ignore[arg-type]
        )
        limit = options.limit or (LISTED if is_table else 0)
        found = work.connection.pages(SERVICE, "ListPlannedUnits", units, limit)
        columns = [
            Column("", lambda item: _SIGNS[str(item["change"])]),
            column("PATH", "path"),
            Column("SIZE", lambda item: size(int(item["size_bytes"]))),
            Column("FROM", _source),
            Column("REPOSITORY", lambda item: short_name(str(item["repository"]))),
        ]
        work.output.items((work.json(one) for one in found), columns)
    return 0


def commit(words: list[str]) -> int:
    """Approve the plan of a dry run, and follow the task that commits it."""
    parser = Parser(
        "task commit",
        "Approves the plan of a dry run: a new task commits exactly that, "
        "or says what has changed since.",
    )
    parser.add_argument("task", metavar="TASK")
    add_request_id(parser, "task")
    parser.add_argument("--wait", action="store_true", default=True, help=argparse.SUPPRESS)
    parser.add_argument(
        "--timeout",
        type=seconds,
        default=0.0,
        metavar="DURATION",
        help="follow no longer than this; the task goes on",
    )
    add_output(parser)
    options = parser.parse_args(words)
    with session(options) as work:
        request = task_service_pb2.CommitPlanRequest(
            name=full_name(options.task, "tasks"), request_id=options.request_id
        )
        task = work.connection.call(SERVICE, "CommitPlan", request).task
        return runs.finish(work, task, options, follows=True)


def in_words(plan: plan_pb2.Plan) -> list[str]:
    """The plan for people: its counts, what it fetches, and whether it can be committed."""
    bases = ", ".join(
        f"{short_name(one.repository)}@{one.base_version}" for one in plan.differences
    )
    counts = f"{plan.additions:,} added, {plan.replacements:,} replaced, {plan.removals:,} removed"
    lines = [
        f"{bases} would change: {counts}" if bases else f"would change: {counts}",
        *to_fetch(plan.fetch_files, plan.fetch_bytes, plan.fetch_unknown_files),
        *(f"  warning: {warning.message}" for warning in plan.warnings),
    ]
    for move in plan.moves:
        repository = short_name(move.repository)
        now = "is gone" if move.latest_version < 0 else f"is at {move.latest_version} now"
        by = f", by task {short_name(move.task)}" if move.task else ""
        lines.append(f"  cannot be committed: {repository} {now}{by}")
    if plan.approved_by:
        lines.append(f"  approved: task {short_name(plan.approved_by)} commits it")
    elif not plan.moves and (not plan.differences or any(one.changed for one in plan.differences)):
        lines.append(f"  to have it done: entrepot task commit {short_name(plan.task)}")
    return lines


def _source(item: Json) -> str:
    if item["change"] == "removal":
        return ""
    return str(item["source_host"]) if item["fetch_files"] else "here"
