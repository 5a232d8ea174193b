"""What became of a task, in words, and as an exit status."""

import sys

from entrepot.core.v1 import difference_pb2, task_service_pb2
from entrepot_cli.outcome import Failure, Status
from entrepot_cli.output import Json, size
from entrepot_cli.progress import headline, is_over
from entrepot_cli.server.failure import failure_of_error, status_of
from entrepot_cli.server.name import short_name
from entrepot_cli.session import Session
from entrepot_rpc.status import from_status

_Task = task_service_pb2.Task


def conclude(session: Session, task: task_service_pb2.Task) -> Status:
    """Write the task, in words for people, and return the exit status.

    Raises:
        Failure: the task failed or was canceled; said as any other error.
    """
    if session.output.form == "table":
        print("\n".join(in_words(task, session.json(task).get("result"))))
    else:
        session.output.item(session.json(task))
    for warning in task.warnings:
        print(f"warning: {warning.message}", file=sys.stderr)
    if task.state == _Task.STATE_FAILED:
        error = from_status(task.error)
        failure = failure_of_error(error, session.connection.settings)
        failure.status = (
            Status.REFUSED_BY_POLICY
            if status_of(error) == Status.REFUSED_BY_POLICY
            else Status.FAILED
        )
        failure.suggestion = f"entrepot task get {short_name(task.name)}"
        raise failure
    if task.state == _Task.STATE_CANCELED:
        raise Failure(
            f"Task {short_name(task.name)} was canceled.",
            suggestion=f"entrepot task clone {short_name(task.name)}",
        )
    return Status.GAPS if task.failures else Status.DONE


def in_words(task: task_service_pb2.Task, result: Json | None) -> list[str]:
    """The task for people: its state, and what it changed or would change."""
    lines = [headline(task) + (f" after {_length(task)}" if is_over(task) else "")]
    if task.created_resource:
        lines.append(f"  created {short_name(task.created_resource)}")
    if task.failures:
        lines.append(f"  {task.failures:,} unit{'s' if task.failures > 1 else ''} failed; see")
        lines.append(f"    entrepot task failures {short_name(task.name)}")
        if task.state == _Task.STATE_COMPLETED:
            lines.append("  and, to try these again,")
            lines.append(f"    entrepot task clone {short_name(task.name)} --only-failures --wait")
    for difference in task.differences:
        lines += _difference(difference, is_plan=task.dry_run)
    if task.dry_run and any(difference.changed for difference in task.differences):
        lines.append(f"  to have it done: entrepot task commit {short_name(task.name)}")
    if task.state == _Task.STATE_COMPLETED and not task.differences:
        words = result_in_words(result or {})
        lines += [f"  {words}"] if words else []
        lines += [f"  {line}" for line in _lists(result or {})]
        if not task.changed:
            why = f": {task.unchanged_reason}" if task.unchanged_reason else ""
            lines.append(f"  {nothing(is_plan=task.dry_run)}{why}")
    return lines


def nothing(*, is_plan: bool) -> str:
    """That a task had nothing to do, or, if it is a dry run, would have."""
    return "nothing would change" if is_plan else "nothing changed"


def result_in_words(result: Json) -> str:
    """What a task returned, for those that change no repository and so have no difference."""
    if "@type" in result:
        # Of a plugin that is gone; nobody can read it.
        return ""
    return ", ".join(
        f"{key.replace('_', ' ')}: {_measured(key, value)}"
        for key, value in result.items()
        if not isinstance(value, list)
    )


def _lists(result: Json) -> list[str]:
    """A line for each entry of the lists in a result."""
    return [
        f"{key.replace('_', ' ')}: {_entry(one)}"
        for key, value in result.items()
        if isinstance(value, list)
        for one in value
    ]


def _entry(one: object) -> str:
    if not isinstance(one, dict):
        return str(one)
    values = (", ".join(map(str, v)) if isinstance(v, list) else str(v) for v in one.values())
    return "; ".join(filter(None, values))


def _difference(difference: difference_pb2.Difference, *, is_plan: bool) -> list[str]:
    repository = short_name(difference.repository)
    if not difference.changed:
        reason = f": {difference.unchanged_reason}" if difference.unchanged_reason else ""
        return [f"  {repository}: {nothing(is_plan=is_plan)}{reason}"]
    counts = f"{difference.added:,} added, {difference.removed:,} removed"
    if difference.replaced:
        counts += f" ({difference.replaced:,} of them replaced)"
    head = f"{repository}@{difference.base_version}"
    if not is_plan:
        return [f"  {head} → {repository}@{difference.version}: {counts}"]
    lines = [f"  {head} would change: {counts}"]
    lines += to_fetch(
        difference.fetch_files, difference.fetch_bytes, difference.fetch_unknown_files
    )
    lines += _paths(difference)
    shown = len(difference.added_units) + len(difference.removed_units)
    if (more := difference.added + difference.removed - shown) > 0:
        lines.append(f"  … and {more:,} more: entrepot task plan TASK")
    return lines


def to_fetch(files: int, size_bytes: int, unknown: int) -> list[str]:
    """What would be downloaded; nothing if there is nothing."""
    if not files:
        return []
    more = f", and {unknown:,} of them of unknown size" if unknown else ""
    return [f"  to fetch: {files:,} file{'s' if files > 1 else ''}, {size(size_bytes)}{more}"]


def _measured(key: str, value: object) -> str:
    if not isinstance(value, int) or isinstance(value, bool):
        return str(value)
    return size(value) if key.endswith("_bytes") else f"{value:,}"


def _paths(difference: difference_pb2.Difference) -> list[str]:
    """What comes, what leaves and what is replaced, with the signs of `version diff`."""
    added = {one.path for one in difference.added_units}
    removed = {one.path for one in difference.removed_units}
    return [
        *(f"  + {one.path}" for one in difference.added_units if one.path not in removed),
        *(f"  - {one.path}" for one in difference.removed_units if one.path not in added),
        *(f"  ~ {one.path}" for one in difference.added_units if one.path in removed),
    ]


def _length(task: task_service_pb2.Task) -> str:
    start = task.start_time if task.HasField("start_time") else task.create_time
    seconds = (task.end_time.ToNanoseconds() - start.ToNanoseconds()) / 1e9
    return f"{max(0.0, seconds):.1f} s"
