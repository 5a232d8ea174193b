"""What the lock queues are to do, said as simply as can be: the reference for their tests."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field


@dataclass
class ModelTask:
    """A task that is not over."""

    locks: dict[int, bool]
    plugin: str
    state: str = "waiting"
    is_parked: bool = False
    is_to_stop: bool = False
    counted: int = 0
    attempt: int = 0


@dataclass
class LockModel:
    """Tasks in the order of their queues."""

    tasks: dict[str, ModelTask] = field(default_factory=dict)

    def granted(self) -> dict[tuple[int, str], bool]:
        """Of each resource and task that asked for it: whether it has it.

        First come, first served: the first of a queue, and after one who shares, the others who
        share, up to the next who does not.
        """
        found: dict[tuple[int, str], bool] = {}
        for resource in {resource for task in self.tasks.values() for resource in task.locks}:
            is_open, is_first = True, True
            for name, task in self.tasks.items():
                if resource not in task.locks:
                    continue
                is_exclusive = task.locks[resource]
                found[resource, name] = is_open and (is_first or not is_exclusive)
                is_open = is_open and not is_exclusive
                is_first = False
        return found

    def waits_for(self) -> dict[str, int]:
        """How many locks each task still waits for."""
        missing = dict.fromkeys(self.tasks, 0)
        for (_, name), has in self.granted().items():
            missing[name] += not has
        return missing

    def ready(self, plugin: str) -> list[str]:
        """Tasks of a plugin that may start."""
        missing = self.waits_for()
        return [
            name
            for name, task in self.tasks.items()
            if task.plugin == plugin
            and task.state == "waiting"
            and not task.is_parked
            and not missing[name]
        ]

    def running(self, plugin: str = "") -> list[str]:
        """Tasks that an attempt works on."""
        return [
            name
            for name, task in self.tasks.items()
            if task.state == "running" and plugin in {"", task.plugin}
        ]


@dataclass(frozen=True)
class Run:
    """A task that ran: its place in the queues, its locks, its first claim and its end."""

    seq: int
    locks: dict[int, bool]
    started: float
    ended: float


def overtakers(runs: Iterable[Run]) -> Iterator[tuple[int, Run]]:
    """Tasks that started before a conflicting one ahead of them had ended, with the resource.

    Finds overlap and overtaking at once.
    """
    last_end: dict[int, float] = {}
    last_exclusive_end: dict[int, float] = {}
    for run in sorted(runs, key=lambda one: one.seq):
        for resource, is_exclusive in run.locks.items():
            before = last_end if is_exclusive else last_exclusive_end
            if run.started < before.get(resource, run.started):
                yield resource, run
        for resource, is_exclusive in run.locks.items():
            last_end[resource] = max(last_end.get(resource, 0), run.ended)
            if is_exclusive:
                last_exclusive_end[resource] = max(last_exclusive_end.get(resource, 0), run.ended)
