"""PULP_MANIFEST: what is written can be read, and nothing else gets through."""

import hashlib
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot_plugin_file.format.manifest import (
    Entry,
    ManifestError,
    ManifestReader,
    write_manifest,
)
from entrepot_plugin_file.format.path import PathError, check_path

SHA256 = hashlib.sha256(b"").hexdigest()
OTHER_SHA256 = hashlib.sha256(b"x").hexdigest()


def read(data: bytes, *, piece: int = 0, **limits: int) -> list[Entry]:
    """Read a manifest, in pieces of a length if one is given."""
    reader = ManifestReader(**limits)
    step = piece or max(1, len(data))
    entries: list[Entry] = []
    for start in range(0, len(data), step):
        entries.extend(reader.feed(data[start : start + step]))
    return [*entries, *reader.close()]


def line_of(path: str) -> bytes:
    """Write a line whose path may be wrong."""
    return f"{path},{SHA256},1\n".encode()


def problem_of(data: bytes, **limits: int) -> ManifestError:
    """Return the error that a manifest leads to."""
    with pytest.raises(ManifestError) as caught:
        read(data, **limits)
    return caught.value


def is_servable(path: str) -> bool:
    """Say whether a path may be served, and a line that begins with it be read as one."""
    try:
        check_path(path)
    except PathError:
        return False
    return not path.startswith(("#", "\ufeff"))


def without_clashes(entries: Iterable[Entry]) -> list[Entry]:
    """Drop entries whose path is another's, or its folder."""
    kept: list[Entry] = []
    for entry in entries:
        if not any(
            entry.path == other.path
            or entry.path.startswith(f"{other.path}/")
            or other.path.startswith(f"{entry.path}/")
            for other in kept
        ):
            kept.append(entry)
    return kept


paths = st.one_of(
    st.text("ab,/#. ü", min_size=1, max_size=12),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
).filter(is_servable)
entries_ = st.lists(
    st.builds(
        Entry,
        path=paths,
        sha256=st.binary(min_size=32, max_size=32).map(bytes.hex),
        size_bytes=st.integers(0, 10**17),
    )
).map(without_clashes)


@given(entries_, st.integers(1, 64))
def test_what_is_written_can_be_read(entries: list[Entry], piece: int) -> None:
    """Reading gives the entries that were written, in whatever pieces the bytes come."""
    data = b"".join(write_manifest(entries))

    assert entries == read(data, piece=piece)


@given(entries_)
def test_line_ends_of_other_systems_are_understood(entries: list[Entry]) -> None:
    """A manifest with CR LF reads as one with LF."""
    data = b"".join(write_manifest(entries)).replace(b"\n", b"\r\n")

    assert entries == read(data)


@given(st.binary(max_size=200))
def test_nonsense_is_refused_by_line_or_harmless(data: bytes) -> None:
    """Bytes of any kind give an error with a line, or entries that may be served."""
    try:
        entries, line = read(data), 1
    except ManifestError as error:
        entries, line = [], error.line

    assert 1 <= line <= data.count(b"\n") + 1
    assert all(is_servable(entry.path) for entry in entries)


@given(st.lists(st.sampled_from(["a", "b", "a/b", "a/b/c", "a/c", "ab", "b/a"]), max_size=7))
def test_clashing_paths_never_get_through(names: list[str]) -> None:
    """A manifest is read whole if and only if no path is another's, or its folder."""
    entries = [Entry(name, SHA256, 1) for name in names]
    clashes = without_clashes(entries) != entries

    try:
        read(b"".join(line_of(name) for name in names))
    except ManifestError:
        assert clashes
    else:
        assert not clashes


def test_a_line_is_split_at_its_last_two_commas() -> None:
    """A path may hold commas."""
    data = f"a,b, c.txt,{SHA256},12\n".encode()

    assert [Entry("a,b, c.txt", SHA256, 12)] == read(data)


def test_comments_and_blank_lines_mean_nothing() -> None:
    """Lines that start with # and blank lines are skipped, and counted."""
    data = b"# a,b,c\n\n  \n" + line_of("a") + b"nonsense\n"

    assert problem_of(data).line == 5


@pytest.mark.parametrize("piece", [1, 3, 100])
def test_a_byte_order_mark_is_none_of_the_path(piece: int) -> None:
    """What some editors put before the first line is skipped, there and nowhere else."""
    data = b"\xef\xbb\xbf" + line_of("a") + line_of("\ufeffb")

    assert [Entry("a", SHA256, 1), Entry("\ufeffb", SHA256, 1)] == read(data, piece=piece)


def test_the_last_line_needs_no_end() -> None:
    """A manifest may end without a line end."""
    assert [Entry("a", SHA256, 1)] == read(line_of("a").rstrip())


def test_digests_are_made_lowercase() -> None:
    """A digest in upper case is the same digest."""
    assert [Entry("a", SHA256, 1)] == read(f"a,{SHA256.upper()},1\n".encode())


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"a", "path,sha256,size"),
        (b"<!DOCTYPE HTML>", 'a page, for which the remote needs kind "listing"'),
        (b"0" * 64 + b"  a", 'checksums, for which the remote needs kind "checksums"'),
        (b"a,1", "path,sha256,size"),
        (b"a," + b"0" * 63 + b",1", "64 hexadecimal digits"),
        (b"a," + b"g" * 64 + b",1", "64 hexadecimal digits"),
        (b"a,,1", "64 hexadecimal digits"),
        (b"a," + b"0" * 64 + b",", "not a number"),
        (b"a," + b"0" * 64 + b",-1", "not a number"),
        (b"a," + b"0" * 64 + b",1.5", "not a number"),
        (b"a," + b"0" * 64 + b"," + b"9" * 19, "not a number"),
        (b"a," + b"0" * 64 + ",٣".encode(), "not a number"),
        (b"a\xff," + b"0" * 64 + b",1", "byte 2 is not UTF-8"),
        (b"/a," + b"0" * 64 + b",1", "absolute"),
        (b"a/../b," + b"0" * 64 + b",1", '".."'),
        (b"./a," + b"0" * 64 + b",1", '"."'),
        (b"a//b," + b"0" * 64 + b",1", "empty segment"),
        (b"a\x01," + b"0" * 64 + b",1", "control character"),
        (b"," + b"0" * 64 + b",1", "empty"),
        (b"x" * 1025 + b"," + b"0" * 64 + b",1", "longer than 1024 bytes"),
        (b"x" * 9000, "longer than 8192 bytes"),
    ],
)
def test_a_broken_line_is_named(line: bytes, problem: str) -> None:
    """A line that is wrong is named by its number, and the message says what is wrong."""
    error = problem_of(line_of("good") + line + b"\n" + line_of("later"))

    assert error.line == 2
    assert problem in error.problem
    assert str(error).startswith("line 2: ")


@pytest.mark.parametrize(
    ("names", "line", "problem"),
    [
        (["a", "b", "a"], 3, "on line 1 already"),
        (["a", "a/b"], 2, "below that of the file on line 1"),
        (["a/b/c", "d", "a/b"], 3, "a folder of the one on line 1"),
        (["a/b/c", "a/d", "a"], 3, "a folder of the one on line 1"),
    ],
)
def test_clashes_name_both_lines(names: list[str], line: int, problem: str) -> None:
    """Two paths that cannot both be served are named by both lines."""
    error = problem_of(b"".join(line_of(name) for name in names))

    assert line == error.line
    assert problem in error.problem


def test_a_line_without_end_is_not_collected() -> None:
    """A line that is too long is refused before it has come to its end."""
    reader = ManifestReader(max_line_bytes=100)
    list(reader.feed(b"x" * 100))

    with pytest.raises(ManifestError, match="line 1: the line is longer than 100 bytes"):
        list(reader.feed(b"x"))


def test_an_endless_manifest_is_refused() -> None:
    """A manifest with more bytes than the limit is refused."""
    error = problem_of(b"#\n" * 51, max_bytes=100)

    assert "longer than 100 bytes" in error.problem


@pytest.mark.parametrize("path", ["../a", "#a", "\ufeffa"])
def test_paths_that_could_not_be_read_are_not_written(path: str) -> None:
    """Writing refuses what reading would refuse, or take for a comment."""
    with pytest.raises(PathError):
        list(write_manifest([Entry(path, OTHER_SHA256, 1)]))
