"""`entrepot plugin`: who may run tasks."""

from datetime import timedelta

from entrepot.core.v1 import plugin_service_pb2 as messages
from entrepot_cli.arguments import (
    Parser,
    add_limit,
    add_output,
    add_yes,
    choose,
    confirm,
    positive,
)
from entrepot_cli.duration import seconds
from entrepot_cli.output import Column, Json, column, moment, name_of
from entrepot_cli.server.name import full_name
from entrepot_cli.session import Session, session

SERVICE = messages.DESCRIPTOR.services_by_name["PluginService"]
VERBS = {
    "create": "register one: create NAME --target HOST:PORT",
    "list": "list them, with their health",
    "get": "show one, and what it can do",
    "update": "change its address, its share, or how long its attempts may take",
    "delete": "remove one; its repositories stay",
}


def run(words: list[str]) -> int:
    """Do one of the verbs."""
    verb, words = choose("plugin", VERBS, words)
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
    parser = Parser(
        f"plugin {verb}",
        "Registers a plugin that listens there."
        if verb == "create"
        else "Changes the address or the share of a plugin, or how long its attempts may take.",
    )
    parser.add_argument("name", metavar="NAME")
    parser.add_argument(
        "--target",
        default="",
        required=verb == "create",
        metavar="HOST:PORT",
        help="where it listens",
    )
    parser.add_argument(
        "--weight",
        type=positive,
        default=0,
        metavar="N",
        help="its share of the room for tasks, 1 to 1000",
    )
    parser.add_argument(
        "--attempt-timeout",
        type=seconds,
        metavar="TIME",
        help="longest time of one attempt, such as 30m; 0 for what its task types say",
    )
    add_output(parser)
    options = parser.parse_args(words)
    plugin = messages.Plugin(
        name=full_name(options.name, "plugins"), target=options.target, weight=options.weight
    )
    if options.attempt_timeout is not None:
        plugin.attempt_timeout.FromTimedelta(timedelta(seconds=options.attempt_timeout))
    with session(options) as work:
        if verb == "create":
            created = messages.CreatePluginRequest(plugin=plugin)
            response = work.connection.call(SERVICE, "CreatePlugin", created)
        else:
            updated = messages.UpdatePluginRequest(plugin=plugin)
            response = work.connection.call(SERVICE, "UpdatePlugin", updated)
        _show(work, response.plugin)
    return 0


def _list(words: list[str]) -> int:
    parser = Parser("plugin list", "Lists the plugins.")
    add_limit(parser)
    add_output(parser)
    options = parser.parse_args(words)
    with session(options) as work:
        request = messages.ListPluginsRequest()
        found = work.connection.pages(SERVICE, "ListPlugins", request, options.limit)
        columns = [
            Column("NAME", name_of),
            Column("VERSION", _version),
            column("HEALTH", "health"),
            column("TARGET", "target"),
            Column("SEEN", lambda item: moment(item.get("seen_time"))),
            column("MESSAGE", "message"),
        ]
        work.output.items((work.json(one) for one in found), columns)
    return 0


def _get(words: list[str]) -> int:
    parser = Parser("plugin get", "Shows one plugin.")
    parser.add_argument("name", metavar="NAME")
    add_output(parser)
    options = parser.parse_args(words)
    request = messages.GetPluginRequest(name=full_name(options.name, "plugins"))
    with session(options) as work:
        _show(work, work.connection.call(SERVICE, "GetPlugin", request).plugin)
    return 0


def _delete(words: list[str]) -> int:
    parser = Parser("plugin delete", "Removes a plugin; its repositories stay.")
    parser.add_argument("name", metavar="NAME")
    add_yes(parser)
    add_output(parser)
    options = parser.parse_args(words)
    confirm(options.name, options)
    request = messages.DeletePluginRequest(name=full_name(options.name, "plugins"))
    with session(options) as work:
        work.connection.call(SERVICE, "DeletePlugin", request)
    return 0


def _show(work: Session, plugin: messages.Plugin) -> None:
    item = work.json(plugin)
    if work.output.form == "table" and (declaration := item.pop("declaration", None)):
        name = declaration["name"]
        item |= {
            "version": declaration["version"],
            "task_types": [f"{name}/{one['collection']}" for one in declaration["task_types"]],
            "content_types": [
                f"{name}/{one['collection']}" for one in declaration["content_types"]
            ],
        }
    work.output.item(item)


def _version(item: Json) -> str:
    return str(item.get("declaration", {}).get("version", ""))
