"""The types that reflection answers for: core's own, and at any moment those of all plugins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf import descriptor_pool

if TYPE_CHECKING:
    from collections.abc import Callable

    from entrepot_core.plugins.catalog import Catalog

__all__ = ["ReflectionPool"]


class ReflectionPool:
    """Looks like a descriptor pool; asks core's own first, then those of the plugins."""

    def __init__(self, catalog: Callable[[], Catalog]) -> None:
        self._catalog = catalog

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if not name.startswith("Find"):
            raise AttributeError(name)

        def find(*arguments: Any) -> Any:  # noqa: ANN401  whatever the pool's method takes
            pools = [descriptor_pool.Default()]
            pools += [one.pool for one in self._catalog().declarations.values()]
            for pool in pools[:-1]:
                try:
                    return getattr(pool, name)(*arguments)
                except KeyError:
                    continue
            return getattr(pools[-1], name)(*arguments)

        return find
