"""The same small change to a small and to a large repository."""

from collections.abc import Iterator
from functools import partial

from figure import Figure, timed
from setting import completed, listed_repository, names_of
from size import Size
from stack import Stack
from upstream import Upstream

__all__ = ["versions"]


def versions(stack: Stack, size: Size) -> Iterator[Figure]:
    """The same small change to a small and to a large repository."""
    api = stack.api
    with Upstream().list_only(10, folder="new") as upstream:
        units = names_of(api, api.a_synced_repository(upstream, policy="on_demand"))
    few, many = (listed_repository(stack, count) for count in (size.few, size.many))
    small = Figure(f"10 units added to a repository of {size.few:,}", "ms")
    large = Figure(f"10 units added to a repository of {size.many:,}", "ms")
    large.floor_is = f"the same to the one of {size.few:,}"
    for _ in range(5 * size.repeats):
        for figure, repository in ((small, few), (large, many)):
            body = {"repository": repository["name"], "content": units}
            add = partial(completed, api, "file/adds", body)
            figure.samples.append(1000 * timed(add))
            completed(api, "file/removes", body)
    large.floor = small.samples
    yield from (small, large)
