"""Paths that may be served, and those that may not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot_plugin_file.format.path import MAX_PATH_BYTES, PathError, check_path


@pytest.mark.parametrize(
    "path",
    ["a", "a/b.txt", "a b/ü/日本.txt", "...", "a/..b", ".hidden/x", "a,b", "x" * MAX_PATH_BYTES],
)
def test_plain_paths_may_be_served(path: str) -> None:
    """A relative path of plain segments is accepted."""
    check_path(path)


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("", "empty"),
        ("/etc/passwd", "absolute"),
        ("//x", "absolute"),
        ("a//b", "empty segment"),
        ("a/", "empty segment"),
        (".", 'segment "."'),
        ("a/./b", 'segment "."'),
        ("..", 'segment ".."'),
        ("a/../../b", 'segment ".."'),
        ("a\x00b", "control character"),
        ("a\tb", "control character"),
        ("a\r\nb", "control character"),
        ("a\x7fb", "control character"),
        ("a\x85b", "control character"),
        ("a\udc80b", "not text"),
        ("x" * (MAX_PATH_BYTES + 1), "longer than"),
        ("ü" * MAX_PATH_BYTES, "longer than"),
    ],
)
def test_evil_paths_are_refused(path: str, problem: str) -> None:
    """Any other path is refused, and the message says why."""
    with pytest.raises(PathError, match=problem):
        check_path(path)


@given(st.text())
def test_what_is_accepted_stays_below_its_folder(path: str) -> None:
    """Whatever is accepted has only plain segments, so that joining it cannot leave the folder."""
    try:
        check_path(path)
    except PathError:
        return

    assert not {"", ".", ".."} & set(path.split("/"))
    assert path.isprintable() or not any(ord(one) < 32 for one in path)
