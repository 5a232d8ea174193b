"""The lineage of a task: its originals, its clones, and how their parameters differ."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError

from entrepot.core.v1 import lineage_pb2
from entrepot_core.api.named_resource import timestamp
from entrepot_core.domain.errors import ResourceNotFoundError
from entrepot_core.domain.parameter_change import compare
from entrepot_core.store import lineages
from entrepot_rpc.encoder import Encoder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from entrepot_core.domain.parameter_change import ParameterChange
    from entrepot_core.plugins.catalog import Catalog
    from entrepot_core.store.database import Cursor
    from entrepot_core.store.lineages import Asked, Relative

__all__ = ["read_lineage"]


def read_lineage(cursor: Cursor, catalog: Catalog, task_id: str) -> lineage_pb2.Lineage:
    """The lineage of a task. Raises ResourceNotFoundError."""
    found = lineages.ancestors(cursor, task_id)
    if not found:
        raise ResourceNotFoundError.of_name(f"tasks/{task_id}")
    reader = _Reader(cursor, catalog)
    task, *before = found
    return lineage_pb2.Lineage(
        task=f"tasks/{task.task_id}",
        changes=reader.changes(task),
        ancestors=map(reader.relative, before[: lineages.MOST]),
        descendants=map(reader.relative, lineages.descendants(cursor, task_id)),
    )


class _Reader:
    def __init__(self, cursor: Cursor, catalog: Catalog) -> None:
        self._cursor = cursor
        self._catalog = catalog
        self._encoder = Encoder()

    def relative(self, one: Relative) -> lineage_pb2.Lineage.Relative:
        return lineage_pb2.Lineage.Relative(
            task=f"tasks/{one.task_id}",
            cloned_from=f"tasks/{one.cloned_from}" if one.cloned_from else "",
            dry_run=one.is_dry_run,
            create_time=timestamp(one.created_at),
            changes=self.changes(one),
        )

    def changes(self, one: Relative) -> Iterator[lineage_pb2.ParameterChange]:
        """How it differs from its original: two tasks at a time, however large the lineage."""
        if not one.differs or one.cloned_from is None:
            return
        before = lineages.asked(self._cursor, one.cloned_from)
        after = lineages.asked(self._cursor, one.task_id)
        for change in self._compare(before, after):
            yield lineage_pb2.ParameterChange(
                field=change.field, before=change.before, after=change.after
            )

    def _compare(self, before: Asked, after: Asked) -> Iterator[ParameterChange]:
        yield from compare(self._json(before), self._json(after))
        yield from compare({"dry_run": before.is_dry_run}, {"dry_run": after.is_dry_run})

    def _json(self, asked: Asked) -> dict[str, object]:
        # Of a plugin that is removed or upgraded as well: by its last declaration.
        declaration = self._catalog.any_plugin(asked.task_type.partition("/")[0])
        descriptor = declaration and declaration.descriptor(asked.parameters_type)
        if not declaration or not descriptor:
            return {}
        try:
            message = declaration.message_class(asked.parameters_type).FromString(asked.parameters)
        except DecodeError:
            return {}
        return self._encoder.message(message)
