"""SHA256SUMS: what sha256sum writes can be read, and nothing else gets through."""

import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot_plugin_file.format.checksums import Checksum, ChecksumReader
from entrepot_plugin_file.format.manifest import ManifestError

HEX = "ab" * 32


def read(text: str | bytes, piece: int = 1 << 20) -> list[Checksum]:
    """Read a list, in pieces of a length."""
    data = text.encode() if isinstance(text, str) else text
    reader = ChecksumReader()
    found: list[Checksum] = []
    for start in range(0, len(data), piece):
        found += reader.feed(data[start : start + piece])
    return [*found, *reader.close()]


@pytest.mark.parametrize("options", [(), ("--text",), ("--binary",), ("--tag",)])
def test_what_the_program_writes(options: tuple[str, ...], tmp_path: Path) -> None:
    """Also names with spaces, brackets, backslashes and everything else but control characters."""
    names = [
        "a",
        "a  b",
        " c",
        "(d) = e",
        "back\\slash\\n",
        "ümlaut",
        "*star",
        "#hash",
        "SHA256 (x)",
    ]
    for name in names:
        (tmp_path / name).write_bytes(name.encode())
    command = ["sha256sum", *options, "--", *names]
    written = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True).stdout

    assert [one.path for one in read(written)] == names
    assert [one.path for one in read(written, piece=7)] == names


def test_a_line_feed_in_a_name_is_refused(tmp_path: Path) -> None:
    """The program escapes it, so it is read, and cannot be served."""
    (tmp_path / "a\nb").write_bytes(b"")
    command = ["sha256sum", "a\nb"]
    written = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True).stdout

    with pytest.raises(ManifestError, match="line 1: the path holds a control character"):
        read(written)


def test_what_means_nothing_is_left_out() -> None:
    """Comments, blank lines, CR LF, upper case and the `./` of `find`."""
    text = f"\ufeff# comment\r\n\r\n{HEX.upper()}  ./a/b\r\n"

    assert read(text) == [Checksum("a/b", HEX)]


@pytest.mark.parametrize(
    "line",
    [
        "no digest",
        f"{HEX} one space",
        f"{HEX[:-2]}  short",
        f"MD5 (a) = {HEX[:32]}",
        f"SHA512 (a) = {HEX * 2}",
        f"\\{HEX}  bad\\escape",
        f"{HEX}  /absolute",
        f"{HEX}  ../up",
        f"{HEX}  a/../b",
        f"{HEX}  a//b",
        f"{HEX}  ",
        f"{HEX}  good",
        f"{HEX}  good/below",
        "-----BEGIN PGP SIGNED MESSAGE-----",
    ],
)
def test_the_line_is_named(line: str) -> None:
    """What is no line, or no path, or takes the place of another, is an error of its line."""
    with pytest.raises(ManifestError) as caught:
        read(f"{HEX}  good\n{line}\n")

    assert caught.value.line == 2


@given(st.binary(max_size=200))
def test_garbage_is_refused_or_read(data: bytes) -> None:
    """Whatever comes, it ends with entries or an error of a line."""
    with suppress(ManifestError):
        read(data, piece=13)
