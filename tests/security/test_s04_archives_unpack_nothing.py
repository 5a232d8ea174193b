"""S04, S05: no archive says where its members go: nothing of ours lets one unpack itself."""

import ast
from pathlib import Path

import pytest

from workspace import distributions

UNPACKING = {"extract", "extractall", "unpack_archive"}


def calls_in(text: str) -> list[str]:
    """The calls in a module whose name is one that unpacks."""
    return [
        f"line {node.lineno}: {name}"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call)
        and (name := getattr(node.func, "attr", getattr(node.func, "id", ""))) in UNPACKING
    ]


@pytest.mark.parametrize(
    "package",
    [one.package for one in distributions() if not one.is_generated],
    ids=lambda path: path.name,
)
def test_nothing_unpacks_an_archive(package: Path) -> None:
    """S04, S05: links, fifos and paths with ".." in archives lead nowhere, as none is followed."""
    found = {
        str(path.relative_to(package)): calls
        for path in package.rglob("*.py")
        if (calls := calls_in(path.read_text("utf-8")))
    }

    assert found == {}


@pytest.mark.parametrize("call", ["tar.extractall(p)", "z.extract(n)", "unpack_archive(a, b)"])
def test_the_rule_finds_what_it_forbids(call: str) -> None:
    """S04, S05: a module that unpacks would be seen."""
    assert len(calls_in(call)) == 1
