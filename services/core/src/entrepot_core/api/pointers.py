"""What base paths point at, watched: gateways keep pointers until told that one changed."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from entrepot_core.store import serving
from entrepot_core.store.listener import Listener

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from entrepot_core.store.database import Database

__all__ = ["CHANNEL", "PointerWatch"]

CHANNEL = "entrepot_pointers"

_SWEEP_SECONDS = 0.5


class PointerWatch:
    """Compares all pointers with those of the last look, when told and twice a second anyway."""

    def __init__(self, database: Database, *, sweep_seconds: float = _SWEEP_SECONDS) -> None:
        self._database = database
        self._known: dict[str, tuple[object, ...]] = {}
        self._pending: list[set[str]] = []
        self._changed = threading.Condition()
        self._is_closed = False
        self._listener = Listener(
            database.url, (CHANNEL,), self._look, sweep_seconds=sweep_seconds
        )

    def start(self) -> None:
        """Begins to watch."""
        with self._database.transaction() as cursor:
            self._known = serving.pointers(cursor)
        self._listener.start()

    def close(self) -> None:
        """Ends, with all who follow."""
        self._is_closed = True
        self._listener.stop()
        with self._changed:
            self._changed.notify_all()

    @contextmanager
    def follow(self) -> Iterator[Callable[[float], set[str]]]:
        """Lends a function that returns the base paths that changed since it was last called.

        It waits for some, at most as many seconds as it is given.
        """
        pending: set[str] = set()

        def take(seconds: float) -> set[str]:
            with self._changed:
                if not pending and not self._is_closed:
                    self._changed.wait(seconds)
                taken = set(pending)
                pending.clear()
                return taken

        with self._changed:
            self._pending.append(pending)
        try:
            yield take
        finally:
            with self._changed:
                self._pending = [one for one in self._pending if one is not pending]

    @property
    def is_closed(self) -> bool:
        """Whether the process is ending."""
        return self._is_closed

    def _look(self, _channels: set[str]) -> None:
        with self._database.transaction() as cursor:
            now = serving.pointers(cursor)
        changed = {
            base_path
            for base_path in self._known.keys() | now.keys()
            if self._known.get(base_path) != now.get(base_path)
        }
        self._known = now
        if changed:
            with self._changed:
                for pending in self._pending:
                    pending.update(changed)
                self._changed.notify_all()
