"""Index files, such as PULP_MANIFEST: made when somebody asks, and kept with the version."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from entrepot_core.domain.errors import PathNotFoundError
from entrepot_core.downloads.flights import Flights
from entrepot_core.store import version_index

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime

    from entrepot_core.domain.blob import Blob
    from entrepot_core.downloads.keeper import Keeper
    from entrepot_core.store.database import Cursor
    from entrepot_core.store.serving import ContentSet

__all__ = ["IndexFiles", "IndexTemplate"]

_FIELD = re.compile(r"\{(path|sha256|size_bytes)\}")


@dataclass(frozen=True, slots=True)
class IndexTemplate:
    """An index that a content type declares: where it is, and what one line of it is."""

    content_type: str
    path: str
    line: str


class IndexFiles:
    """Finds and makes the index files of versions; `declared` says which indexes there are now."""

    def __init__(self, keeper: Keeper, declared: Callable[[], Iterable[IndexTemplate]]) -> None:
        self._keeper = keeper
        self._declared = declared
        self._flights: Flights[Blob] = Flights()

    def paths(self, cursor: Cursor, where: ContentSet, folder: str = "") -> list[str]:
        """Paths of the indexes that a content set has in or below a folder, generated or not."""
        prefix = folder + "/" if folder else ""
        declared = [t for t in self._declared() if t.path.startswith(prefix)]
        if not where.has_version or not declared:
            return []
        present = version_index.types_present(
            cursor, where, sorted({template.content_type for template in declared})
        )
        return sorted({t.path for t in declared if t.content_type in present})

    def has(self, cursor: Cursor, where: ContentSet, path: str) -> bool:
        """Whether a content set has an index at a path, generated or not."""
        types = [t.content_type for t in self._declared() if t.path == path]
        return (
            where.has_version
            and bool(types)
            and bool(version_index.types_present(cursor, where, types))
        )

    def find(self, cursor: Cursor, where: ContentSet, path: str) -> tuple[Blob, datetime] | None:
        """The index at a path, and when it was made; None if it was not."""
        if not where.has_version:
            return None
        return version_index.find(cursor, where, path)

    def make(self, where: ContentSet, path: str) -> Blob:
        """The index at a path, made if need be. PathNotFoundError if there is none."""
        key = (where.repository_id, where.number, path)
        return self._flights.join(key, lambda: self._make(where, path))

    def _make(self, where: ContentSet, path: str) -> Blob:
        with self._keeper.database.transaction() as cursor:
            found = version_index.find(cursor, where, path)
            is_one = found is not None or self.has(cursor, where, path)
        if found is not None:
            return found[0]
        if not is_one:
            raise PathNotFoundError(f"Nothing is at {path}.", metadata={"path": path})
        templates = [template for template in self._declared() if template.path == path]
        return self._keeper.write(
            self._lines(where, templates),
            also=lambda cursor, blob: version_index.keep(cursor, where, path, blob),
        )

    def _lines(self, where: ContentSet, templates: list[IndexTemplate]) -> Iterator[bytes]:
        for template in templates:
            for batch in version_index.lines(self._keeper.database, where, template.content_type):
                text = "".join(_line(template.line, *file) + "\n" for file in batch)
                yield text.encode()


def _line(template: str, path: str, digest: bytes, size_bytes: int) -> str:
    values = {"path": path, "sha256": digest.hex(), "size_bytes": str(size_bytes)}
    # In one pass: what a path contains is not looked at for fields.
    return _FIELD.sub(lambda match: values[match[1]], template)
