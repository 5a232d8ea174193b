"""`entrepot task lineage`: where a task came from, and what came from it."""

from entrepot.core.v1 import lineage_pb2, task_service_pb2
from entrepot_cli.arguments import Parser, add_output
from entrepot_cli.follow import SERVICE
from entrepot_cli.server.name import full_name, short_name
from entrepot_cli.session import session


def show(words: list[str]) -> int:
    """Show the lineage of a task."""
    parser = Parser(
        "task lineage",
        "Shows what a task was cloned from, its clones, and how the parameters differ.",
    )
    parser.add_argument("task", metavar="TASK")
    add_output(parser)
    options = parser.parse_args(words)
    with session(options) as work:
        request = task_service_pb2.GetLineageRequest(name=full_name(options.task, "tasks"))
        lineage = work.connection.call(SERVICE, "GetLineage", request).lineage
        if work.output.form == "table":
            print("\n".join(in_words(lineage)))
        else:
            work.output.item(work.json(lineage))
    return 0


def in_words(lineage: lineage_pb2.Lineage) -> list[str]:
    """The oldest first; of each what differs from its original."""
    lines: list[str] = []
    for one in reversed(lineage.ancestors):
        lines += _one(one.task, one.cloned_from, list(one.changes))
    before = lineage.ancestors[0].task if lineage.ancestors else ""
    lines += _one(lineage.task, before, list(lineage.changes), mark=" (this)")
    for one in lineage.descendants:
        lines += _one(one.task, one.cloned_from, list(one.changes))
    return lines


def _one(
    task: str, origin: str, changes: list[lineage_pb2.ParameterChange], mark: str = ""
) -> list[str]:
    come = f", a clone of {short_name(origin)}" if origin else ""
    return [
        f"{short_name(task)}{mark}{come}",
        *(f"  {one.field}: {one.before or 'unset'} → {one.after or 'unset'}" for one in changes),
    ]
