"""Memory of the stack, by program."""

from collections.abc import Iterator
from pathlib import Path

from figure import Figure
from process import proportional_bytes
from size import MIB, Size
from stack import ROLES, Stack
from target import at_most

__all__ = ["memory"]


def memory(stack: Stack, size: Size) -> Iterator[Figure]:
    """Memory of a stack that has nothing to do, by program."""
    del size
    by_role: dict[str, float] = {}
    for process in stack.processes():
        role = _role_of(process.command)
        by_role[role] = by_role.get(role, 0) + proportional_bytes(process.pid) / MIB
    database = by_role.pop("postgres", 0.0)
    whole = Figure(
        "idle memory without PostgreSQL (PSS)", "MiB", [sum(by_role.values())], digits=0
    )
    whole.target = at_most(250, "MiB")
    yield whole
    for role, amount in sorted(by_role.items()):
        yield Figure(f"  {role}", "MiB", [amount], digits=0)
    yield Figure("idle memory of PostgreSQL (PSS)", "MiB", [database], digits=0)


def _role_of(command: tuple[str, ...]) -> str:
    names = {Path(argument).name for argument in command}
    for role, words in ROLES.items():
        if names.issuperset(words):
            return role
    text = " ".join(command)
    if text.startswith("postgres:"):
        return "postgres"
    return "up" if "up" in names else Path(command[0]).name
