"""Lines that an attempt writes for people: a bounded number, of a bounded length, no secrets."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from entrepot.type.v1 import log_line_pb2
from entrepot_core.store.task_logs import Line
from entrepot_rpc.logs import without_secrets

if TYPE_CHECKING:
    from entrepot.type.v1.log_line_pb2 import LogLine

__all__ = ["MAX_LINES", "MAX_TEXT", "LogLines"]

MAX_LINES = 1_000
MAX_TEXT = 2_000

_Level = log_line_pb2.LogLine.Level


class LogLines:
    """What an attempt has written since it was last taken; of very many, the first are kept."""

    def __init__(self, attempt: int) -> None:
        self._attempt = attempt
        self._written = 0
        self._lines: list[Line] = []

    def add(self, line: LogLine) -> None:
        """Takes a line."""
        self._written += 1
        if self._written <= MAX_LINES:
            level = line.level if line.level in _Level.values() else 0
            text = line.message.replace("\0", "�")
            # Cut first: what is thrown away need not be looked through.
            text = without_secrets(" ".join(text[: 2 * MAX_TEXT].split()))
            cut = text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"
            self._lines.append(self._line(self._written, level or _Level.LEVEL_INFO, cut))

    def take(self) -> list[Line]:
        """The lines since the last time, and how many are left out by now, if any are."""
        lines, self._lines = self._lines, []
        if (more := self._written - MAX_LINES) > 0:
            text = f"{more:,} more lines are left out: of an attempt, {MAX_LINES:,} are kept."
            lines.append(self._line(MAX_LINES + 1, _Level.LEVEL_WARNING, text))
        return lines

    def put_back(self, lines: list[Line]) -> None:
        """Has lines that were taken be taken again."""
        self._lines = [one for one in lines if one.number <= MAX_LINES] + self._lines

    def _line(self, number: int, level: int, text: str) -> Line:
        return Line(self._attempt, number, datetime.now(UTC), level, text)
