"""The public surface is explicit, and true."""

import ast
import importlib
from pathlib import Path

import pytest

from workspace import distributions

# The packages that strangers import.
PUBLIC = {"entrepot_rpc", "entrepot_sdk"}


def declared(path: Path) -> bool:
    """Say whether a module declares `__all__`."""
    return any(
        isinstance(target, ast.Name) and target.id == "__all__"
        for node in ast.parse(path.read_text("utf-8")).body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
    )


def modules_with_public_names() -> list[str]:
    """Name every module of ours that declares `__all__`."""
    return sorted(
        ".".join(path.relative_to(one.package.parent).with_suffix("").parts).removesuffix(
            ".__init__"
        )
        for one in distributions()
        if not one.is_generated
        for path in one.package.rglob("*.py")
        if declared(path)
    )


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_public_packages_say_what_is_public(name: str) -> None:
    """A package that strangers import declares `__all__`."""
    assert hasattr(importlib.import_module(name), "__all__")


@pytest.mark.parametrize("name", modules_with_public_names())
def test_public_names_exist(name: str) -> None:
    """Every name in `__all__` can be imported, and is there once."""
    module = importlib.import_module(name)

    missing = [public for public in module.__all__ if not hasattr(module, public)]

    assert missing == []
    assert len(set(module.__all__)) == len(module.__all__)
