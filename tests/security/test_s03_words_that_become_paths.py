"""S03: every word of a format's metadata that becomes a path or a key is read as one.

A plugin that is added adds the fields of its format to the table.
"""

import hashlib
from collections.abc import Callable

import pytest

from entrepot.plugins.file.v1.file_pb2 import Upload
from entrepot_plugin_file.format.checksums import ChecksumReader
from entrepot_plugin_file.format.lines import LineReader, ManifestError
from entrepot_plugin_file.format.listing import ListingError, read_listing
from entrepot_plugin_file.format.manifest import ManifestReader
from entrepot_plugin_file.upload import check
from entrepot_sdk import Resources
from entrepot_sdk.testing import upload

SHA256 = hashlib.sha256(b"").hexdigest()

PATHS = [
    "/etc/passwd",
    "../../etc/passwd",
    "..",
    ".",
    "a/../../b",
    "a//b",
    "a/",
    "a\x00b",
    "a\x1b[31mb",
    "a\x9bb",
    "ü" * 600,
]
DIGESTS = ["", "../x", "0" * 63, "0" * 65, "g" * 64, "0" * 63 + "/", "０" * 64, f" {SHA256}\x00"]


def fed(reader: LineReader[object], line: str) -> None:
    """Have a reader read a line."""
    [*reader.feed(f"{line}\n".encode()), *reader.close()]


def page(name: str) -> None:
    """Read a page with a link whose name is encoded, so that it stays what it is."""
    spelled = "".join(f"%{byte:02X}" for byte in name.encode())
    list(read_listing(f'<a href="{spelled}">x</a>', "https://example.org/files/"))


def uploaded(relative_path: str = "", filename: str = "", url: str = "", sha256: str = "") -> None:
    """Check the parameters of an upload, and raise what is wrong."""
    resources = Resources([upload(SHA256, 0, filename=filename)])
    name = "" if url else "uploads/one"
    given = Upload(upload=name, relative_path=relative_path, url=url, sha256=sha256)
    for problem in check(given, resources):
        raise ValueError(problem.message)


def encoded(name: str) -> str:
    """A URL that ends in a name."""
    return "http://example.org/" + "".join(f"%{byte:02x}" for byte in name.encode())


PATH_FIELDS: dict[str, Callable[[str], None]] = {
    "PULP_MANIFEST": lambda word: fed(ManifestReader(), f"{word},{SHA256},0"),
    "SHA256SUMS": lambda word: fed(ChecksumReader(), f"{SHA256}  {word}"),
    "SHA256SUMS, tagged": lambda word: fed(ChecksumReader(), f"SHA256 ({word}) = {SHA256}"),
    "a page's link": page,
    "relative_path": lambda word: uploaded(relative_path=word),
    "filename": lambda word: uploaded(filename=word),
    "url": lambda word: uploaded(url=encoded(word)),
}
DIGEST_FIELDS: dict[str, Callable[[str], None]] = {
    "PULP_MANIFEST": lambda word: fed(ManifestReader(), f"a,{word},0"),
    "SHA256SUMS": lambda word: fed(ChecksumReader(), f"{word}  a"),
    "SHA256SUMS, tagged": lambda word: fed(ChecksumReader(), f"SHA256 (a) = {word}"),
    "sha256": lambda word: uploaded(url="http://example.org/a", sha256=word or "?"),
}
REFUSALS = (ManifestError, ListingError, ValueError)


@pytest.mark.parametrize("field", PATH_FIELDS)
@pytest.mark.parametrize("word", PATHS)
def test_no_word_is_a_path_by_accident(field: str, word: str) -> None:
    """S03: what leads out of its folder, or cannot be written down, is refused in every field."""
    with pytest.raises(REFUSALS):
        PATH_FIELDS[field](word)


@pytest.mark.parametrize("field", DIGEST_FIELDS)
@pytest.mark.parametrize("word", DIGESTS)
def test_no_word_is_a_digest_by_accident(field: str, word: str) -> None:
    """S03: a digest is 64 hexadecimal digits of ASCII, as it becomes the name of a blob."""
    with pytest.raises(REFUSALS):
        DIGEST_FIELDS[field](word)


@pytest.mark.parametrize("field", PATH_FIELDS)
def test_a_good_word_passes(field: str) -> None:
    """S03: the table refuses the words, and not all words."""
    PATH_FIELDS[field]("good name.txt")
