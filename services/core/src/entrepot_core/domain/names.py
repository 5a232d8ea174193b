"""Resource names: how they are spelled, read from what people type, and made."""

from __future__ import annotations

import os
import re
import time
import uuid
from urllib.parse import unquote, urlsplit

from entrepot_core.domain.errors import FieldInvalidError

__all__ = ["full_name", "new_id", "resource_name", "user_segment", "version_name"]

_SEGMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_API = "/api/v3/"
# What tasks lock and make. Core's own tasks lock their type.
_RESOURCE = re.compile(
    rf"(?:repositories|remotes|distributions|publications)/{_SEGMENT.pattern}/{_SEGMENT.pattern}"
    rf"|repositories/{_SEGMENT.pattern}/{_SEGMENT.pattern}/versions/[0-9]{{1,18}}"
    rf"|core/{_SEGMENT.pattern}"
)


def new_id() -> str:
    """A UUIDv7 (RFC 9562 section 5.7): sorts by time of creation."""
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds << 80) | int.from_bytes(os.urandom(10), "big")
    value = (value & ~(0xF << 76)) | (0x7 << 76)
    value = (value & ~(0x3 << 62)) | (0x2 << 62)
    return str(uuid.UUID(int=value))


def user_segment(name: str, collection: str, plugin: str, field: str = "name") -> str:
    """The last segment of the name of a new resource, given alone or in full.

    An empty plugin: the resource belongs to none, "limits/syncs".
    Raises FieldInvalidError if it is not 1 to 128 letters, digits, ".", "_" and "-", or if it
    names another plugin.
    """
    *parents, last = full_name(name, collection, plugin, field=field).split("/")
    expected = [collection, plugin] if plugin else [collection]
    if parents != expected:
        raise FieldInvalidError.at(
            field, f'"{name}" is not a name in {"/".join(expected)}: give the last segment alone.'
        )
    if not _SEGMENT.fullmatch(last):
        raise FieldInvalidError.at(
            field,
            f'"{last}" is not a usable name: it must be 1 to 128 letters, digits, ".", "_" '
            'and "-", and not start with "." or "-".',
        )
    return last


def full_name(given: str, collection: str, plugin: str = "", *, field: str) -> str:
    """The full name, "repositories/file/foo", of what somebody gave as name, href or last segment.

    Accepts "foo" (within the plugin), "file/foo", "repositories/file/foo",
    "/api/v3/repositories/file/foo/" and the same as an absolute URL; also "foo@3" and "foo@latest"
    for a version. Whether it exists is not looked at.
    """
    path, versions = _path(given, field)
    segments = path.split("/")
    if segments[0] != collection or len(segments) == 1:
        if len(segments) == 1:
            segments = [plugin, *segments] if plugin else segments
        segments = [collection, *segments]
    return "/".join((*segments, *versions))


def resource_name(given: str, *, field: str) -> str:
    """The full name of a resource of any collection, of what somebody gave as name or href.

    As `full_name`, but the collection must be said. Whether it exists is not looked at. Raises
    FieldInvalidError for what cannot be the name of anything that a task locks or makes.
    """
    path, versions = _path(given, field)
    name = "/".join((path, *versions))
    if not _RESOURCE.fullmatch(name):
        raise FieldInvalidError.at(
            field,
            f'"{given}" is not the name of a resource: write repositories/<plugin>/<name>, '
            "repositories/<plugin>/<name>/versions/<number>, remotes/<plugin>/<name>, "
            "distributions/<plugin>/<name> or publications/<plugin>/<id>.",
        )
    return name


def version_name(repository: str, number: int) -> str:
    """The name of a version: "repositories/file/foo/versions/3"."""
    return f"{repository}/versions/{number}"


def _path(given: str, field: str) -> tuple[str, list[str]]:
    """What stands in a name or an address, and of "foo@3" the segments of the version."""
    path = given.strip()
    if "://" in path:
        try:
            path = urlsplit(path).path
        except ValueError as error:
            raise FieldInvalidError.at(field, f"is not a URL: {error}.") from error
    if path.startswith(_API):
        path = unquote(path[len(_API) :])
    if "\0" in path:
        raise FieldInvalidError.at(field, "has a NUL character in it, which no name may have.")
    path = path.strip("/")
    if not path:
        raise FieldInvalidError.at(field, "is required.")
    path, at, version = path.partition("@")
    return path, ["versions", version] if at else []
