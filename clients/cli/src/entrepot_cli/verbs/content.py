"""`entrepot content`: the units of a version, or of a type."""

from entrepot.core.v1 import content_service_pb2 as messages
from entrepot_cli.arguments import Parser, add_limit, add_output, choose
from entrepot_cli.output import Column, Json, name_of
from entrepot_cli.server.declaration import Declarations
from entrepot_cli.server.name import full_name, version_name
from entrepot_cli.session import Session, session

SERVICE = messages.DESCRIPTOR.services_by_name["ContentService"]
VERBS = {
    "list": "list units: list file/foo@3, or list file/files",
    "get": "show one: get file/files/DIGEST",
}


def run(words: list[str]) -> int:
    """Do one of the verbs."""
    verb, words = choose("content", VERBS, words)
    return {"list": _list, "get": _get}[verb](words)


def _list(words: list[str]) -> int:
    parser = Parser(
        "content list", "Lists the units of a version, file/foo@3, or of a type, file/files."
    )
    parser.add_argument("parent", metavar="VERSION|TYPE")
    parser.add_argument(
        "--filter", default="", metavar="EXPRESSION", help="""such as 'relative_path = "a"'"""
    )
    parser.add_argument("--type", default="", metavar="TYPE", help="in a version: only file/files")
    add_limit(parser)
    add_output(parser)
    options = parser.parse_args(words)
    with session(options) as work:
        request = messages.ListContentRequest(
            parent=_parent(options.parent, work.declarations),
            filter=options.filter,
            content_type=_type(options.type, work.declarations),
        )
        found = work.connection.pages(SERVICE, "ListContent", request, options.limit)
        columns = [
            Column("PATH", _path),
            Column("UNIT", name_of),
            Column("STORED", lambda item: item.get("is_stored", False)),
        ]
        work.output.items((_flat(work, one) for one in found), columns)
    return 0


def _get(words: list[str]) -> int:
    parser = Parser("content get", "Shows one unit.")
    parser.add_argument("unit", metavar="UNIT")
    add_output(parser)
    options = parser.parse_args(words)
    request = messages.GetContentRequest(name=full_name(options.unit, "content"))
    with session(options) as work:
        response = work.connection.call(SERVICE, "GetContent", request)
        work.output.item(_flat(work, response.content))
    return 0


def _parent(text: str, declarations: Declarations) -> str:
    """A version if it has a number or is not a type of content."""
    plugin, _, collection = text.removeprefix("content/").strip("/").partition("/")
    known = declarations.plugins.get(plugin)
    if known and any(one.collection == collection for one in known.declaration.content_types):
        return f"content/{plugin}/{collection}"
    return version_name(text)


def _type(text: str, declarations: Declarations) -> str:
    """The server's name, `file.file`, for a type as it is listed, `file/files`."""
    plugin, _, collection = text.partition("/")
    if not collection:
        return text
    for one in declarations.plugin(plugin).declaration.content_types:
        if one.collection == collection:
            return one.name
    return text


def _flat(work: Session, content: messages.Content) -> Json:
    return work.json(content)


def _path(item: Json) -> str:
    artifacts = item.get("unit", {}).get("artifacts", [])
    attributes = item.get("unit", {}).get("attributes", {})
    if artifacts:
        return str(artifacts[0]["relative_path"])
    return str(attributes.get("relative_path", ""))
