"""`entrepot limit`: how many tasks of one kind run at once."""

from entrepot.core.v1 import limit_service_pb2 as messages
from entrepot_cli.arguments import (
    Parser,
    add_limit,
    add_output,
    add_request_id,
    add_yes,
    choose,
    confirm,
)
from entrepot_cli.flag import add_flags, fill
from entrepot_cli.output import Column, column, name_of
from entrepot_cli.server.name import full_name
from entrepot_cli.session import session
from entrepot_rpc.comment import core_files, read_comments
from entrepot_rpc.field import descriptor_of, is_output_only

SERVICE = messages.DESCRIPTOR.services_by_name["LimitService"]
VERBS = {
    "create": "create one: create NAME --task-type TYPE --max-running N",
    "list": "list them, and how many tasks run under each",
    "get": "show one",
    "update": "change some of its fields",
    "delete": "delete one; what waits for it may start",
}
# Not set by a flag: the argument, and what an update reads itself.
_NO_FLAGS = ("name", "etag")


def run(words: list[str]) -> int:
    """Do one of the verbs."""
    verb, words = choose("limit", VERBS, words)
    match verb:
        case "create" | "update":
            return _write(verb, words)
        case "list":
            return _list(words)
        case "get":
            return _get(words)
        case _:
            return _delete(words)


def _write(verb: str, words: list[str]) -> int:
    parser = Parser(f"limit {verb}", f"{verb.capitalize()}s a limit.")
    parser.add_argument("name", metavar="NAME")
    fields = [
        field
        for field in descriptor_of(messages.Limit).fields
        if field.name not in _NO_FLAGS and not is_output_only(field)
    ]
    comments = read_comments(core_files().file)
    add_flags(parser, fields, comments, title="fields", enforce=verb == "create")
    if verb == "create":
        add_request_id(parser, "limit")
    add_output(parser)
    options = parser.parse_args(words)
    limit = messages.Limit(name=full_name(options.name, "limits"))
    given = fill(limit, options)
    if verb == "update" and not given:
        parser.error("nothing to change: give at least one flag")
    with session(options) as work:
        if verb == "create":
            created = messages.CreateLimitRequest(limit=limit, request_id=options.request_id)
            response = work.connection.call(SERVICE, "CreateLimit", created)
        else:
            updated = messages.UpdateLimitRequest(limit=limit)
            updated.update_mask.paths.extend(given)
            response = work.connection.call(SERVICE, "UpdateLimit", updated)
        work.output.item(work.json(response.limit))
    return 0


def _list(words: list[str]) -> int:
    parser = Parser("limit list", "Lists the limits, by name.")
    add_limit(parser)
    add_output(parser)
    options = parser.parse_args(words)
    with session(options) as work:
        request = messages.ListLimitsRequest()
        found = work.connection.pages(SERVICE, "ListLimits", request, options.limit)
        columns = [
            Column("NAME", name_of),
            column("TYPE", "task_type"),
            column("LABEL", "repository_label"),
            column("RUNNING", "running_tasks"),
            column("MAX", "max_running"),
            column("DESCRIPTION", "description"),
        ]
        work.output.items((work.json(one) for one in found), columns)
    return 0


def _get(words: list[str]) -> int:
    parser = Parser("limit get", "Shows one limit.")
    parser.add_argument("name", metavar="NAME")
    add_output(parser)
    options = parser.parse_args(words)
    request = messages.GetLimitRequest(name=full_name(options.name, "limits"))
    with session(options) as work:
        work.output.item(work.json(work.connection.call(SERVICE, "GetLimit", request).limit))
    return 0


def _delete(words: list[str]) -> int:
    parser = Parser("limit delete", "Deletes a limit; what waits for it may start.")
    parser.add_argument("name", metavar="NAME")
    add_yes(parser)
    add_output(parser)
    options = parser.parse_args(words)
    confirm(options.name, options)
    request = messages.DeleteLimitRequest(name=full_name(options.name, "limits"))
    with session(options) as work:
        work.connection.call(SERVICE, "DeleteLimit", request)
    return 0
