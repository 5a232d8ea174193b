"""Paths that have no room beside each other."""

import pytest

from entrepot_plugin_file.format.claims import Claims
from entrepot_plugin_file.format.path import PathError


@pytest.mark.parametrize("clash", ["a", "a/x", "b"])
def test_only_the_first_are_remembered(clash: str) -> None:
    """However many paths come, memory is bounded; each is still held against the first ones."""
    claims = Claims("line {}", most=2)
    for number, path in enumerate(["a", "b/c", "d", "d", "e/f", "e"], start=1):
        claims.add(path, number)

    with pytest.raises(PathError):
        claims.add(clash, 7)
