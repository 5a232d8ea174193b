"""`entrepot version`: the versions of a repository, and what differs between two."""

from entrepot.core.v1 import repository_service_pb2 as messages
from entrepot_cli.arguments import Parser, add_limit, add_output, add_yes, choose, confirm
from entrepot_cli.outcome import Failure, Status
from entrepot_cli.output import Column, Json, column, moment, name_of
from entrepot_cli.server.name import resource_name, version_name
from entrepot_cli.session import session

SERVICE = messages.DESCRIPTOR.services_by_name["RepositoryService"]
VERBS = {
    "list": "list the versions of a repository: list file/foo",
    "get": "show one: get file/foo@3, or @latest",
    "diff": "what differs: diff file/foo@3, or diff file/foo@1 file/foo@3",
    "delete": "delete one",
}
_SIGNS = {"added": "+", "removed": "-", "replaced": "~"}


def run(words: list[str]) -> int:
    """Do one of the verbs."""
    verb, words = choose("version", VERBS, words)
    return {"list": _list, "get": _get, "diff": _diff, "delete": _delete}[verb](words)


def _list(words: list[str]) -> int:
    parser = Parser("version list", "Lists the versions of a repository, newest first.")
    parser.add_argument("repository", metavar="PLUGIN/NAME")
    add_limit(parser)
    add_output(parser)
    options = parser.parse_args(words)
    request = messages.ListVersionsRequest(
        parent=resource_name(options.repository, "repositories")
    )
    with session(options) as work:
        found = work.connection.pages(SERVICE, "ListVersions", request, options.limit)
        columns = [
            Column("VERSION", name_of),
            column("UNITS", "unit_count"),
            column("ADDED", "added"),
            column("REMOVED", "removed"),
            Column("CREATED", lambda item: moment(item.get("create_time"))),
            Column("BY", lambda item: _origin(item, "principal")),
            Column("TASK TYPE", lambda item: _origin(item, "task_type")),
        ]
        work.output.items((work.json(one) for one in found), columns)
    return 0


def _get(words: list[str]) -> int:
    parser = Parser("version get", "Shows one version.")
    parser.add_argument("version", metavar="PLUGIN/NAME@N")
    add_output(parser)
    options = parser.parse_args(words)
    request = messages.GetVersionRequest(name=version_name(options.version))
    with session(options) as work:
        response = work.connection.call(SERVICE, "GetVersion", request)
        work.output.item(work.json(response.version))
    return 0


def _diff(words: list[str]) -> int:
    parser = Parser(
        "version diff", "Shows what differs between a version and the one before it, or two."
    )
    parser.add_argument("versions", metavar="PLUGIN/NAME@N", nargs="+")
    add_limit(parser)
    add_output(parser)
    options = parser.parse_args(words)
    names = [version_name(text) for text in options.versions]
    if len(names) > 2:  # noqa: PLR2004, that is what a difference is
        parser.error("a difference is between two versions")
    request = messages.CompareVersionsRequest(name=names[-1])
    with session(options) as work:
        if len(names) == 2:  # noqa: PLR2004, as above
            if names[0].split("/")[:3] != names[1].split("/")[:3]:
                raise Failure(
                    "Only versions of one repository can be compared.", status=Status.USAGE
                )
            base = messages.GetVersionRequest(name=names[0])
            request.base = work.connection.call(SERVICE, "GetVersion", base).version.number
        found = work.connection.pages(SERVICE, "CompareVersions", request, options.limit)
        changes = (work.json(one) for one in found)
        columns = [Column("", _sign), Column("KEY", _key)]
        work.output.items(changes, columns)
    return 0


def _delete(words: list[str]) -> int:
    parser = Parser("version delete", "Deletes a version; no other one changes.")
    parser.add_argument("version", metavar="PLUGIN/NAME@N")
    add_yes(parser)
    add_output(parser)
    options = parser.parse_args(words)
    if "@" not in options.version and "/versions/" not in options.version:
        parser.error("which version? write PLUGIN/NAME@N")
    confirm(options.version, options)
    request = messages.DeleteVersionRequest(name=version_name(options.version))
    with session(options) as work:
        work.connection.call(SERVICE, "DeleteVersion", request)
    return 0


def _origin(item: Json, field: str) -> str:
    return str((item.get("created_by") or {}).get(field, ""))


def _sign(item: Json) -> str:
    return _SIGNS.get(str(item.get("kind")), "?")


def _key(item: Json) -> str:
    return str(item.get("key") or item.get("new_unit") or item.get("old_unit") or "")
