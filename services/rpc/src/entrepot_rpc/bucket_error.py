"""What an error of obstore says: whether an object is absent, and the store's words for people."""

from __future__ import annotations

import re

__all__ = ["is_absent", "words"]

_NO_BUCKET = re.compile(r"NoSuchBucket|ContainerNotFound|bucket does not exist", re.IGNORECASE)
_CODE = re.compile(r"<Code>([^<]*)</Code>(?:\s*<Message>([^<]*)</Message>)?")
_QUERY = re.compile(r"\?\S*")


def is_absent(error: BaseException) -> bool:
    """Say whether there is no such object; one of a bucket that is not there is no such error."""
    return isinstance(error, FileNotFoundError) and not _NO_BUCKET.search(str(error))


def words(error: BaseException) -> str:
    """One line, without a full stop. Queries of addresses are left out: signed ones are keys."""
    said = str(error).partition("\n\nDebug source")[0]
    code = _CODE.search(said)
    if code is not None:
        said = f"{said.partition('<')[0]}{code[1]}: {code[2] or ''}"
    return " ".join(_QUERY.sub("", said).split()).rstrip(" .:")
