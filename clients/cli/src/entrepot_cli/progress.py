"""How a running task looks: bars on a terminal, a line for each step elsewhere."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

from entrepot.core.v1 import task_service_pb2
from entrepot.type.v1 import progress_pb2
from entrepot_cli.server.name import short_name
from entrepot_rpc.field import enum_words

Show = Callable[[task_service_pb2.Task], None]

_STATE = task_service_pb2.Task.DESCRIPTOR.enum_types_by_name["State"]
_OVER = (
    task_service_pb2.Task.STATE_COMPLETED,
    task_service_pb2.Task.STATE_FAILED,
    task_service_pb2.Task.STATE_CANCELED,
)
# Off a terminal: at most so often about progress alone.
LINE_SECONDS = 5.0


@contextlib.contextmanager
def view(*, is_quiet: bool) -> Iterator[Show]:
    """What to call with the task each time it changes."""
    if is_quiet:
        yield lambda _task: None
    elif sys.stderr.isatty():
        with _bars() as show:
            yield show
    else:
        yield Lines().show


def is_over(task: task_service_pb2.Task) -> bool:
    """Say whether nothing more happens to a task."""
    return task.state in _OVER


def headline(task: task_service_pb2.Task) -> str:
    """The task in one line: what, in which state, and what it waits for."""
    state = enum_words(_STATE)[task.state]
    text = f"{task.task_type} {short_name(task.name)}: {state}"
    if task.cancel_requested and state in ("waiting", "running"):
        text += ", asked to stop"
    if task.attempt > 1:
        text += f", attempt {task.attempt}"
    if task.blocked_by:
        text += f" – {'; '.join(blocker.message for blocker in task.blocked_by)}"
    return text


class Lines:
    """Writes a line when the state or a phase changes, and now and then how far it is."""

    def __init__(self) -> None:
        self._last = ""
        # What was last said of each phase, and when another of them may be said.
        self._phases: dict[str, str] = {}
        self._next = 0.0

    def show(self, task: task_service_pb2.Task) -> None:
        """Write what is new."""
        # Of the end others say more.
        if not is_over(task) and (text := headline(task)) != self._last:
            self._last = text
            print(text, file=sys.stderr, flush=True)
        for phase in task.progress:
            text = f"  {phase.message}: {amount(phase)}{pace(phase)}"
            is_due = phase.code not in self._phases or time.monotonic() > self._next
            if self._phases.get(phase.code) != text and (is_due or _is_done(task, phase)):
                self._phases[phase.code] = text
                self._next = time.monotonic() + LINE_SECONDS
                print(text, file=sys.stderr, flush=True)


def _is_done(task: task_service_pb2.Task, phase: progress_pb2.Progress) -> bool:
    return is_over(task) or (phase.HasField("total") and phase.done >= phase.total)


def amount(phase: progress_pb2.Progress) -> str:
    """How much is done, and of how much."""
    from entrepot_cli.output import size

    form = size if phase.unit == progress_pb2.Progress.UNIT_BYTES else "{:,}".format
    total = f" of {form(phase.total)}" if phase.HasField("total") else ""
    return f"{form(phase.done)}{total}"


def pace(phase: progress_pb2.Progress) -> str:
    """How fast it goes on; empty if nobody knows."""
    from entrepot_cli.output import size

    if not phase.rate or (phase.HasField("remaining") and not phase.remaining):
        return ""
    if phase.unit == progress_pb2.Progress.UNIT_BYTES:
        return f", {size(int(phase.rate))}/s"
    return f", {phase.rate:,.0f}/s" if phase.rate >= 1 else f", {60 * phase.rate:,.0f}/min"


def remaining(phase: progress_pb2.Progress, now: float) -> str:
    """How long the rest takes, "0:04:30"; empty if nobody knows."""
    if not phase.HasField("estimated_end_time"):
        return ""
    left = phase.estimated_end_time.ToNanoseconds() / 1e9 - now
    return str(timedelta(seconds=max(0, round(left))))


@contextlib.contextmanager
def _bars() -> Iterator[Show]:
    # Slow to import, and only for a terminal.
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn
    from rich.table import Column
    from rich.text import Text

    phases: dict[str, progress_pb2.Progress] = {}

    class Amount(ProgressColumn):
        """How much is done, of how much, and how fast."""

        def render(self, row: Any) -> Text:  # noqa: ANN401, rich's own Task
            """The cell of a row."""
            phase = phases.get(row.fields.get("code", ""))
            if phase is None:
                return Text("")
            return Text(f"{amount(phase)}{pace(phase)}")

    class Remaining(ProgressColumn):
        """How long the rest takes, as the server sees it."""

        def render(self, row: Any) -> Text:  # noqa: ANN401, rich's own Task
            """The cell of a row."""
            phase = phases.get(row.fields.get("code", ""))
            return Text(remaining(phase, time.time()) if phase is not None else "")

    columns = (
        TextColumn("{task.description}", table_column=Column(ratio=2, no_wrap=True)),
        BarColumn(bar_width=24),
        Amount(),
        Remaining(),
    )
    rows: dict[str, Any] = {}
    console = Console(stderr=True)
    last = ""
    with Progress(*columns, console=console, transient=False) as progress:

        def show(task: task_service_pb2.Task) -> None:
            nonlocal last
            if not is_over(task) and (text := headline(task)) != last:
                last = text
                progress.console.print(text, markup=False, highlight=False)
            for phase in task.progress:
                phases[phase.code] = phase
                total = phase.total if phase.HasField("total") else None
                if phase.code not in rows:
                    label = phase.message.replace("[", r"\[")
                    rows[phase.code] = progress.add_task(label, total=total, code=phase.code)
                progress.update(rows[phase.code], completed=phase.done, total=total)

        yield show
