"""What a file is called in Content-Type, by the ending of its name: the same on every machine."""

from __future__ import annotations

import mimetypes
import re

UNKNOWN = "application/octet-stream"

_FORM = re.compile(
    r"[A-Za-z0-9!#$&^_.+-]{1,64}/[A-Za-z0-9!#$&^_.+-]{1,64}(?:; ?[a-z]+=[A-Za-z0-9._-]+)?"
)

_TYPES = mimetypes.MimeTypes(filenames=())
for _ending, _type in {
    ".asc": "application/pgp-signature",
    ".deb": "application/vnd.debian.binary-package",
    ".drpm": "application/x-rpm",
    ".jar": "application/java-archive",
    ".js": "text/javascript",
    ".md": "text/markdown",
    ".mjs": "text/javascript",
    ".rpm": "application/x-rpm",
    ".sig": "application/pgp-signature",
    ".toml": "application/toml",
    ".whl": "application/zip",
    ".xhtml": "application/xhtml+xml",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
}.items():
    _TYPES.add_type(_type, _ending)

# The bytes are sent as they are stored, so a compressed file is of the compression's type.
_COMPRESSIONS = {
    "gzip": "application/gzip",
    "bzip2": "application/x-bzip2",
    "xz": "application/x-xz",
    "br": UNKNOWN,
    "compress": "application/x-compress",
}


def media_type(declared: str, path: str) -> str:
    """The declared type if it is one, else by the ending, else bytes."""
    if _FORM.fullmatch(declared):
        return declared
    if path.endswith((".zst", ".zck")):
        return "application/zstd"
    guessed, encoding = _TYPES.guess_type(f"file:///{path.rpartition('/')[2]}")
    if encoding is not None:
        return _COMPRESSIONS.get(encoding, UNKNOWN)
    return guessed or UNKNOWN
