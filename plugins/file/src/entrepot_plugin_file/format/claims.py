"""Paths side by side: no two the same, and no file where another has a folder.

Of very many, only the first are remembered, so that memory is bounded. Core, which has a database
for it, refuses the others; what is found here can be named better.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from entrepot_plugin_file.format.path import PathError, check_path

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MAX_REMEMBERED", "Claims"]

MAX_REMEMBERED = 100_000


class Claims:
    """The paths that were taken so far, each with where that was.

    Args:
        place: How a place is called in messages, with {} for its number: "line {}".
        most: So many paths are remembered.
    """

    def __init__(self, place: str, most: int = MAX_REMEMBERED) -> None:
        self._place = place
        self._most = most
        # Where each path was taken, and for each folder where the first file in it was.
        self._files: dict[str, int] = {}
        self._folders: dict[str, int] = {}

    def add(self, path: str, number: int) -> None:
        """Take a path, or raise PathError for one that is none, or that has no room."""
        check_path(path)
        if path in self._files:
            raise PathError(f"the path is on {self._at(self._files[path])} already")
        if path in self._folders:
            where = self._at(self._folders[path])
            raise PathError(f"the path of this file is a folder of the one on {where}")
        is_kept = len(self._files) < self._most
        if is_kept:
            self._files[path] = number
        for folder in _folders(path):
            if folder in self._files:
                where = self._at(self._files[folder])
                raise PathError(f"the path lies below that of the file on {where}")
            if folder in self._folders:
                # So are all above it.
                return
            if is_kept:
                self._folders[folder] = number

    def _at(self, number: int) -> str:
        return self._place.format(number)


def _folders(path: str) -> Iterator[str]:
    """Yield the folders a path lies in, the innermost first."""
    end = path.rfind("/")
    while end > 0:
        yield path[:end]
        end = path.rfind("/", 0, end)
