"""Names as people type them, and as the server knows them.

`file/foo` is a repository, a remote or a distribution, by where it stands; `file/foo@3` is a
version of a repository; hrefs and full names are understood as well.
"""

import re

from entrepot_cli.outcome import Failure, Status

_HREF = re.compile(r"(?:https?://[^/]+)?/api/v3/(.+?)/?")
_COLLECTIONS = ("repositories", "remotes", "distributions", "publications", "content", "tasks",
                "uploads", "plugins", "limits", "tokens")  # fmt: skip


def full_name(text: str, collection: str, plugin: str = "") -> str:
    """The server's name for `file/foo`, `foo` within a plugin, a full name or an href."""
    name = _bare(text)
    if name.split("/")[0] in _COLLECTIONS and "/" in name:
        return name
    if "/" in name:
        return f"{collection}/{name}"
    return f"{collection}/{plugin}/{name}" if plugin else f"{collection}/{name}"


def resource_name(text: str, collection: str) -> str:
    """The name of something that belongs to a plugin, which must be said.

    Raises:
        Failure: it has no plugin in it.
    """
    name = full_name(text, collection)
    if name.count("/") < 2:  # noqa: PLR2004, collection/plugin/name
        example = f"file/{name.partition('/')[2] or 'foo'}"
        raise Failure(
            f"{text} has no plugin in it: write PLUGIN/NAME, such as {example}.",
            status=Status.USAGE,
        )
    return name


def version_name(text: str, plugin: str = "", default: str = "latest") -> str:
    """The server's name for `file/foo@3`; without a number, the latest.

    Raises:
        Failure: nothing says which plugin.
    """
    name = _bare(text)
    if "/versions/" in name:
        return name
    repository, _, number = name.partition("@")
    if plugin:
        repository = full_name(repository, "repositories", plugin)
    else:
        repository = resource_name(repository, "repositories")
    return f"{repository}/versions/{number or default}"


def short_name(name: str) -> str:
    """What people type for a name of the server's."""
    parts = name.split("/")
    match parts:
        case ["repositories", plugin, repository, "versions", number]:
            return f"{plugin}/{repository}@{number}"
        case [collection, *rest] if rest and collection in _COLLECTIONS:
            return "/".join(rest)
        case _:
            return name


def _bare(text: str) -> str:
    match = _HREF.fullmatch(text)
    return match[1] if match else text.strip("/")
