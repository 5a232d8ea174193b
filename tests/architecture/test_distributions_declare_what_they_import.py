"""A distribution can be installed alone, because it declares whatever it imports."""

import ast
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from workspace import Distribution, distributions

# Two distributions share the folder `google`.
GOOGLE = {
    "google.api": "googleapis-common-protos",
    "google.protobuf": "protobuf",
    "google.rpc": "googleapis-common-protos",
}

OURS = {one.package.name: one.name for one in distributions()}
INSTALLED = packages_distributions()


def imported_modules(path: Path) -> Iterator[str]:
    """Yield the full names that a file imports, wherever in the file it does."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def providers(module: str) -> set[str]:
    """Name the distributions that could have provided a module."""
    top, *rest = module.split(".")
    if top in sys.stdlib_module_names:
        return set()
    if top in OURS:
        return {OURS[top]}
    if top == "google":
        return {GOOGLE[".".join((top, *rest[:1]))]}
    return {canonicalize_name(name) for name in INSTALLED.get(top, [top])}


@pytest.mark.parametrize("distribution", distributions(), ids=lambda one: one.name)
def test_imports_are_declared(distribution: Distribution) -> None:
    """Each module that a distribution imports comes from itself or from a declared dependency."""
    declared = {canonicalize_name(one.name) for one in distribution.requirements()}
    known = declared | {distribution.name}

    undeclared = {
        f"{path.relative_to(distribution.folder)} imports {module}"
        for path in distribution.package.rglob("*.py")
        for module in imported_modules(path)
        if (needed := providers(module)) and not needed & known
    }

    assert undeclared == set()
