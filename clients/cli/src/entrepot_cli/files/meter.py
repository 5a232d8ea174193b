"""How far the sending of files is, in one line that a terminal rewrites."""

import sys
import threading
import time

from entrepot_cli.output import size
from entrepot_cli.progress import LINE_SECONDS

# On a terminal: often enough to be seen moving.
REWRITE_SECONDS = 0.2


class Meter:
    """Counts files and bytes from any thread; `show` writes the line when it is due.

    Args:
        files: How many files there are, and
        length: how many bytes they have together.
        is_quiet: Write nothing.
    """

    def __init__(self, files: int, length: int, *, is_quiet: bool) -> None:
        self._files, self._length = files, length
        self._is_quiet = is_quiet
        self._is_terminal = sys.stderr.isatty()
        self._guard = threading.Lock()
        self._start = self._shown = time.monotonic()
        self.done_files = 0
        self.done_bytes = 0
        self.sent_bytes = 0

    def sent(self, count: int) -> None:
        """So many bytes went over the line."""
        with self._guard:
            self.sent_bytes += count
            self.done_bytes += count

    def done(self, files: int, length: int = 0) -> None:
        """So many files need nothing more; `length` bytes of them did not have to be sent."""
        with self._guard:
            self.done_files += files
            self.done_bytes += length

    def show(self, *, is_last: bool = False) -> None:
        """Write the line, unless that was just done."""
        now = time.monotonic()
        pause = REWRITE_SECONDS if self._is_terminal else LINE_SECONDS
        if self._is_quiet or (not is_last and now - self._shown < pause):
            return
        self._shown = now
        start, end = ("\r", "\x1b[K") if self._is_terminal else ("", "\n")
        print(f"{start}{self.line(now)}{end}", end="", file=sys.stderr, flush=True)
        if is_last and self._is_terminal:
            print(file=sys.stderr)

    def line(self, now: float) -> str:
        """Files, bytes, bytes sent a second, and how long it will take at this speed."""
        seconds = max(now - self._start, 0.001)
        text = (
            f"  {self.done_files:,} of {self._files:,} files, "
            f"{size(min(self.done_bytes, self._length))} of {size(self._length)}, "
            f"{size(int(self.sent_bytes / seconds))}/s"
        )
        left = self._length - self.done_bytes
        if left > 0 and self.done_bytes > 0:
            rest = int(left * seconds / self.done_bytes)
            text += f", {rest // 60}:{rest % 60:02} left"
        return text
