"""The rule for paths."""

import pytest

from entrepot_core.domain.errors import FieldInvalidError, PathInvalidError
from entrepot_core.domain.paths import check_base_path, check_path


@pytest.mark.parametrize(
    "path",
    [
        "a",
        "a/b",
        ".hidden",
        "a..b",
        "...",
        "a b",
        "back\\slash",
        "naïve/日本語",
        "e\N{COMBINING ACUTE ACCENT}",
        "%2e%2e",
        "a" * 1024,
    ],
)
def test_a_usable_path_is_itself(path: str) -> None:
    """Everything that cannot lead out of its folder is allowed, as it is."""
    assert path == check_path(path)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/a",
        "a/",
        "a//b",
        ".",
        "..",
        "a/..",
        "../a",
        "a/./b",
        "a\0b",
        "a\nb",
        "\x7f",
        "\x85",
        "\ud800",
        "a" * 1025,
        "é" * 513,
    ],
)
def test_any_other_path_is_refused_and_named(path: str) -> None:
    """The error names the path, without what would disturb a terminal."""
    with pytest.raises(PathInvalidError) as refused:
        check_path(path)

    assert "path" in refused.value.metadata
    assert refused.value.message.isprintable()


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("dev", "dev"),
        ("a/b/", "a/b"),
        ("v2x/y", "v2x/y"),
        ("npm/@scope/x", "npm/@scope/x"),
        ("me@home/x", "me@home/x"),
    ],
)
def test_a_base_path_loses_the_slash_at_its_end(given: str, kept: str) -> None:
    """People write both."""
    assert kept == check_base_path(given)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/a",
        "a//b",
        "a/../b",
        "v2",
        "V3/x",
        "token",
        ".well-known/x",
        "a b",
        "a?b",
        "é",
        "a" * 256,
        "dev@3",
        "dev@/x",
        "x/dev@2026-11-01",
        "a@b@1",
    ],
)
def test_any_other_base_path_is_refused(path: str) -> None:
    """The field is named."""
    with pytest.raises(FieldInvalidError) as refused:
        check_base_path(path, "distribution.base_path")

    assert refused.value.violations[0].field == "distribution.base_path"


def test_a_long_base_path_is_told_its_own_limit() -> None:
    """Also if it is longer than any path may be."""
    for length in (256, 5000):
        with pytest.raises(FieldInvalidError, match="longer than 255 bytes"):
            check_base_path("a" * length)
