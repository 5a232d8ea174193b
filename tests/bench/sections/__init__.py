"""What is measured, section by section. Each takes a running stack and yields figures."""

import os
import sys
from collections.abc import Callable, Collection, Iterator, Mapping

from figure import Figure
from sections.content import content
from sections.growth import growth
from sections.memory import memory
from sections.peer import peer
from sections.survival import survival
from sections.sync import sync
from sections.tasks import tasks
from sections.uploads import uploads
from sections.versions import versions
from sections.watchers import watchers
from size import Size
from stack import Stack

__all__ = ["SECTIONS", "measure"]

SECTIONS: Mapping[str, Callable[[Stack, Size], Iterator[Figure]]] = {
    # First, while it is idle.
    "memory": memory,
    "sync": sync,
    "versions": versions,
    "tasks": tasks,
    "peer": peer,
    "content": content,
    "uploads": uploads,
    "watchers": watchers,
    "survival": survival,
    # Last, as it leaves much behind: it has a stack of its own.
    "growth": growth,
}


def measure(stack: Stack, size: Size, names: Collection[str]) -> list[Figure]:
    """Some sections, in their order."""
    figures: list[Figure] = []
    for name in SECTIONS:
        if name in names:
            print(f"… {name}", file=sys.stderr, flush=True)
            # What the section before has left to the disk is none of this one's business.
            os.sync()
            for figure in SECTIONS[name](stack, size):
                figure.section = name
                figures.append(figure)
    return figures
