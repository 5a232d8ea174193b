"""`entrepot explain`: the documentation of types and fields, from the server's own descriptors."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from entrepot_cli.arguments import Parser, add_output
from entrepot_cli.output import Column, Json, Output, column
from entrepot_cli.server.declaration import Declarations, Plugin, unknown
from entrepot_cli.session import session
from entrepot_cli.verbs.resource import KINDS
from entrepot_rpc.comment import core_files, first_sentence, read_comments
from entrepot_rpc.field import (
    aliases,
    descriptor_of,
    enum_choices,
    is_input_only,
    is_map,
    is_output_only,
    is_required,
    message_name,
)


@dataclass(frozen=True, slots=True)
class Subject:
    """Something to explain: the messages that make it up, and the comments on them."""

    name: str
    kind: str
    messages: tuple[type[Message], ...]
    comments: Mapping[str, str]

    @property
    def text(self) -> str:
        """What it is."""
        return self.comments.get(self.messages[0].DESCRIPTOR.full_name, "")

    @property
    def fields(self) -> dict[str, FieldDescriptor]:
        """Its fields by name; those of a plugin stand beside the others."""
        every = [field for message in self.messages for field in descriptor_of(message).fields]
        return {field.name: field for field in every if field.name != "spec"}

    def explained(self, field: FieldDescriptor) -> Json:
        """A field in words."""
        notes = ["required"] if is_required(field) else []
        notes += ["set by the server"] if is_output_only(field) else []
        notes += ["secret, never shown"] if is_input_only(field) else []
        notes += [f"also --{alias.replace('_', '-')}" for alias in aliases(field)]
        return {
            "name": field.name,
            "type": _type(field),
            "notes": notes,
            "text": self.comments.get(field.full_name, ""),
        }


def run(words: list[str]) -> int:
    """Explain one thing, or list what can be explained."""
    parser = Parser(
        "explain",
        "Explains a task type, file/syncs; a type of content, file/files; a noun, repository; "
        "what a plugin has, file; or one field of any: file/syncs.remote.",
    )
    parser.add_argument("subject", nargs="?", default="", metavar="TYPE[.FIELD]")
    add_output(parser)
    options = parser.parse_args(words)
    wanted, _, field = options.subject.partition(".")
    with session(options) as work:
        subjects = {one.name: one for one in _subjects(work.declarations)}
        if not wanted:
            _list(work.output, subjects.values())
        elif wanted in work.declarations.plugins:
            _list(work.output, _of_plugin(wanted, subjects.values()))
        elif wanted not in subjects:
            raise unknown("type", wanted, subjects, "entrepot explain")
        elif field:
            _explain_field(work.output, subjects[wanted], field)
        else:
            _explain(work.output, subjects[wanted])
    return 0


def _subjects(declarations: Declarations) -> Iterator[Subject]:
    own = read_comments(core_files().file)
    for noun, kind in KINDS.items():
        yield Subject(noun, "noun", (kind.message,), own)
        for plugin in declarations.plugins.values():
            if spec := plugin.spec(kind.number):
                both = {**own, **plugin.comments}
                yield Subject(f"{plugin.name}/{noun}", "noun", (kind.message, spec), both)
    for plugin in declarations.plugins.values():
        for task in plugin.task_types():
            yield Subject(task.name, "task", (task.parameters,), plugin.comments)
        yield from _contents(plugin)


def _contents(plugin: Plugin) -> Iterator[Subject]:
    for one in plugin.declaration.content_types:
        name = f"{plugin.name}/{one.collection}"
        message = plugin.messages.message(one.attributes_message)
        yield Subject(name, "content", (message,), plugin.comments)


def _list(output: Output, subjects: Iterable[Subject]) -> None:
    columns = [column("TYPE", "name"), column("IS A", "kind"), column("", "summary")]
    items = (
        {"name": one.name, "kind": one.kind, "summary": first_sentence(one.text)}
        for one in subjects
    )
    output.items(items, columns)


def _of_plugin(plugin: str, subjects: Iterable[Subject]) -> Iterator[Subject]:
    for one in subjects:
        if one.name.startswith(f"{plugin}/"):
            yield one


def _explain(output: Output, subject: Subject) -> None:
    fields = [subject.explained(field) for field in subject.fields.values()]
    if output.form != "table":
        output.item({"name": subject.name, "text": subject.text, "fields": fields})
        return
    print(f"{subject.name}\n\n{subject.text}\n")
    columns = [
        column("FIELD", "name"),
        column("TYPE", "type"),
        Column("", lambda item: ", ".join(item["notes"])),
        Column("", lambda item: first_sentence(str(item["text"]))),
    ]
    output.items(fields, columns)


def _explain_field(output: Output, subject: Subject, wanted: str) -> None:
    spelled = wanted.replace("-", "_")
    by_alias = {alias: one for one in subject.fields.values() for alias in aliases(one)}
    field = subject.fields.get(spelled) or by_alias.get(spelled)
    if field is None:
        where = f"entrepot explain {subject.name}"
        raise unknown("field", wanted, subject.fields, where, inside=f" in {subject.name}")
    item = subject.explained(field)
    if output.form != "table":
        output.item(item)
        return
    print(f"{subject.name}.{field.name}  {item['type']}  {', '.join(item['notes'])}".rstrip())
    print(f"\n{item['text']}")
    if (enum := field.enum_type) is not None:
        print()
        for word, number in enum_choices(enum).items():
            value = f"{enum.full_name}.{enum.values_by_number[number].name}"
            print(f"  {word:<12} {subject.comments.get(value, '')}".rstrip())


def _type(field: FieldDescriptor) -> str:
    if is_map(field):
        return "map"
    if field.enum_type is not None:
        return "|".join(enum_choices(field.enum_type))
    if name := message_name(field):
        word = name.rpartition(".")[2]
    else:
        types = descriptor_pb2.FieldDescriptorProto.Type.DESCRIPTOR.values_by_number
        word = types[field.type].name.removeprefix("TYPE_").lower()
    return f"{word}…" if field.is_repeated else word
