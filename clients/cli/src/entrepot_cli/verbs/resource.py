"""`entrepot repository|remote|distribution`: three nouns with the same verbs.

Their flags are core's fields and the plugin's own, all from descriptors.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

from google.protobuf.descriptor import FieldDescriptor, ServiceDescriptor
from google.protobuf.message import Message

from entrepot.core.v1 import (
    distribution_service_pb2,
    remote_service_pb2,
    repository_service_pb2,
)
from entrepot.plugin.v1 import describe_pb2
from entrepot_cli.arguments import (
    Parser,
    add_limit,
    add_output,
    add_request_id,
    add_yes,
    choose,
    confirm,
    read_ahead,
)
from entrepot_cli.flag import add_flags, fill
from entrepot_cli.output import Column, column, moment, name_of
from entrepot_cli.server.name import resource_name
from entrepot_cli.session import Session, session
from entrepot_rpc.comment import core_files, read_comments
from entrepot_rpc.field import descriptor_of, is_output_only

VERBS = {
    "create": "create one: create PLUGIN/NAME --flag …",
    "list": "list them",
    "get": "show one",
    "update": "change some of its fields",
    "delete": "delete one",
}
# Not set by a flag: the argument, the plugin's message, and what an update reads itself.
_NO_FLAGS = ("name", "spec", "etag")


@dataclass(frozen=True, slots=True)
class Kind:
    """A noun: where the server keeps it, and what its messages are."""

    noun: str
    collection: str
    number: int
    messages: Any
    message: type[Message]
    columns: tuple[Column, ...]

    @property
    def title(self) -> str:
        """The noun as it stands in names of messages."""
        return self.noun.capitalize()

    @property
    def service(self) -> ServiceDescriptor:
        """The service."""
        found: ServiceDescriptor = self.messages.DESCRIPTOR.services_by_name[
            f"{self.title}Service"
        ]
        return found

    def request(self, verb: str, **fields: Any) -> Any:  # noqa: ANN401, one of many messages
        """A request of the service."""
        what = self.collection.capitalize() if verb == "List" else self.title
        return getattr(self.messages, f"{verb}{what}Request")(**fields)


_NAME = Column("NAME", name_of)
_CREATED = Column("CREATED", lambda item: moment(item.get("create_time")))
KINDS = {
    kind.noun: kind
    for kind in (
        Kind(
            "repository",
            "repositories",
            describe_pb2.RESOURCE_KIND_REPOSITORY,
            repository_service_pb2,
            repository_service_pb2.Repository,
            (
                _NAME,
                column("VERSION", "latest_version"),
                column("UNITS", "unit_count"),
                _CREATED,
                column("DESCRIPTION", "description"),
            ),
        ),
        Kind(
            "remote",
            "remotes",
            describe_pb2.RESOURCE_KIND_REMOTE,
            remote_service_pb2,
            remote_service_pb2.Remote,
            (_NAME, column("URL", "url"), column("POLICY", "policy"), _CREATED),
        ),
        Kind(
            "distribution",
            "distributions",
            describe_pb2.RESOURCE_KIND_DISTRIBUTION,
            distribution_service_pb2,
            distribution_service_pb2.Distribution,
            (
                _NAME,
                Column("SERVES", lambda item: next(
                    (name_of({"name": item[key]})
                     for key in ("repository", "version", "publication") if item.get(key)), "")),
                column("URL", "content_url"),
                _CREATED,
            ),
        ),
    )
}  # fmt: skip


def run(noun: str, words: list[str]) -> int:
    """Do one of the verbs."""
    kind = KINDS[noun]
    verb, words = choose(noun, VERBS, words)
    match verb:
        case "create" | "update":
            return _write(kind, verb, words)
        case "list":
            return _list(kind, words)
        case "get":
            return _get(kind, words)
        case _:
            return _delete(kind, words)


def _list(kind: Kind, words: list[str]) -> int:
    parser = Parser(f"{kind.noun} list", f"Lists {kind.collection}, by name.")
    parser.add_argument("plugin", nargs="?", default="", metavar="PLUGIN", help="only of this one")
    parser.add_argument("--label", default="", metavar="KEY[=VALUE]", help="only with this label")
    add_limit(parser)
    add_output(parser)
    options = parser.parse_args(words)
    with session(options) as work:
        parent = f"{kind.collection}/{options.plugin}" if options.plugin else ""
        request = kind.request("List", parent=parent, label=options.label)
        method = f"List{kind.collection.capitalize()}"
        found = work.connection.pages(kind.service, method, request, options.limit)
        first = list(islice(found, 1))
        if options.plugin and not first:
            # Nothing of a plugin that never was is a typing error.
            work.declarations.plugin(options.plugin)
        found = chain(first, found)
        work.output.items((work.json(one) for one in found), list(kind.columns))
    return 0


def _get(kind: Kind, words: list[str]) -> int:
    parser = Parser(f"{kind.noun} get", f"Shows one {kind.noun}.")
    parser.add_argument("name", metavar="PLUGIN/NAME")
    add_output(parser)
    options = parser.parse_args(words)
    name = resource_name(options.name, kind.collection)
    with session(options) as work:
        work.output.item(work.json(_read(kind, work, name)))
    return 0


def _delete(kind: Kind, words: list[str]) -> int:
    parser = Parser(f"{kind.noun} delete", f"Deletes a {kind.noun}.")
    parser.add_argument("name", metavar="PLUGIN/NAME")
    add_yes(parser)
    add_output(parser)
    options = parser.parse_args(words)
    name = resource_name(options.name, kind.collection)
    confirm(options.name, options)
    with session(options) as work:
        work.connection.call(
            kind.service, f"Delete{kind.title}", kind.request("Delete", name=name)
        )
    return 0


def _write(kind: Kind, verb: str, words: list[str]) -> int:
    usage = f"{verb.capitalize()}s a {kind.noun}: {verb} PLUGIN/NAME --flag …"
    if not words or words[0].startswith("-"):
        parser = _parser(kind, verb, usage)
        parser.parse_args(words)
        raise AssertionError
    name = resource_name(words[0], kind.collection)
    plugin = name.split("/")[1]
    # The plugin's fields decide which flags there are, so it is asked before they are read.
    with session(read_ahead(words[1:])) as work:
        declared = work.declarations.plugin(plugin)
        spec = declared.spec(kind.number)
        parser = _parser(kind, verb, usage, spec, {**_comments(), **declared.comments})
        options = parser.parse_args(words)
        resource: Any = kind.message(name=name)
        given = fill(resource, options, plugin)
        if spec is not None:
            own = spec()
            given += fill(own, options, plugin)
            resource.spec.Pack(own)
        if verb == "update":
            if not given:
                parser.error("nothing to change: give at least one flag")
            _merge_labels(kind, work, resource, given)
            request = kind.request("Update", **{kind.noun: resource})
            request.update_mask.paths.extend(dict.fromkeys(given))
            method = f"Update{kind.title}"
        else:
            parent = f"{kind.collection}/{plugin}"
            request = kind.request("Create", parent=parent, **{kind.noun: resource})
            request.request_id = options.request_id
            method = f"Create{kind.title}"
        response = work.connection.call(kind.service, method, request)
        work.output.item(work.json(getattr(response, kind.noun)))
    return 0


def _parser(
    kind: Kind,
    verb: str,
    usage: str,
    spec: type[Message] | None = None,
    comments: dict[str, str] | None = None,
) -> Parser:
    parser = Parser(f"{kind.noun} {verb}", usage)
    parser.add_argument("name", metavar="PLUGIN/NAME")
    is_whole = comments is not None
    fields = list(_settable(kind, spec))
    enforce = verb == "create" and is_whole
    add_flags(parser, fields, comments or _comments(), title="fields", enforce=enforce)
    if verb == "create":
        add_request_id(parser, kind.noun)
    add_output(parser)
    return parser


def _settable(kind: Kind, spec: type[Message] | None) -> Iterator[FieldDescriptor]:
    taken = kind.message.DESCRIPTOR.fields_by_name
    for field in descriptor_of(kind.message).fields:
        if field.name not in _NO_FLAGS and not is_output_only(field):
            yield field
    for field in descriptor_of(spec).fields if spec else ():
        if field.name not in taken:
            yield field


def _merge_labels(kind: Kind, work: Session, resource: Any, given: list[str]) -> None:  # noqa: ANN401
    """Change single labels; `--label key=` takes one away."""
    if "labels" not in given:
        return
    current = _read(kind, work, resource.name)
    merged = {**current.labels, **resource.labels}
    resource.labels.clear()
    resource.labels.update({key: value for key, value in merged.items() if value})
    # Nobody may have changed them since.
    resource.etag = current.etag


def _read(kind: Kind, work: Session, name: str) -> Any:  # noqa: ANN401, one of three messages
    request = kind.request("Get", name=name)
    return getattr(work.connection.call(kind.service, f"Get{kind.title}", request), kind.noun)


def _comments() -> dict[str, str]:
    return read_comments(core_files().file)
