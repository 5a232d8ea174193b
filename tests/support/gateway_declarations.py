"""A plugin that exists nowhere else: a zoo, with a field of every kind, described by hand."""

from __future__ import annotations

import hashlib

from google.api import field_behavior_pb2
from google.protobuf import descriptor_pb2, struct_pb2

from declarations import proto_files
from entrepot.plugin.v1 import describe_pb2

Field = descriptor_pb2.FieldDescriptorProto

_TYPES = {
    "string": Field.TYPE_STRING,
    "bool": Field.TYPE_BOOL,
    "bytes": Field.TYPE_BYTES,
    "double": Field.TYPE_DOUBLE,
    "float": Field.TYPE_FLOAT,
    "int32": Field.TYPE_INT32,
    "int64": Field.TYPE_INT64,
    "uint32": Field.TYPE_UINT32,
    "uint64": Field.TYPE_UINT64,
}

FEEDING = (
    ("repository", "string", "required exclusive"),
    ("remote", "string", "alias:importer"),
    ("animals", "string", "repeated alias:add_animals"),
    ("count", "int64", ""),
    ("big", "uint64", ""),
    ("small", "int32", ""),
    ("ratio", "double", ""),
    ("happy", "bool", ""),
    ("mood", ".Mood", ""),
    ("moods", ".Mood", "repeated"),
    ("raw", "bytes", ""),
    ("at", ".google.protobuf.Timestamp", ""),
    ("pause", ".google.protobuf.Duration", ""),
    ("tags", "map", ""),
    ("cage", ".Cage", ""),
    ("cages", ".Cage", "repeated"),
    ("note", "string", "optional"),
    ("counts", "int64", "repeated"),
    ("half", "float", ""),
    ("few", "uint32", ""),
    ("mask", ".google.protobuf.FieldMask", ""),
    ("anything", ".google.protobuf.Struct", ""),
    ("inner", ".google.protobuf.Any", ""),
)


def a_plugin(name: str = "zoo") -> describe_pb2.DescribeResponse:
    """The declaration of a plugin with tasks `feedings` and content `animals`."""
    package = f"acme.{name}.v1"
    declaration = describe_pb2.DescribeResponse(
        name=name,
        version="1.2.3",
        descriptors=proto_files(
            "entrepot/plugin/v1/describe.proto",
            "google/api/field_behavior.proto",
            "google/protobuf/any.proto",
            "google/protobuf/field_mask.proto",
            "google/protobuf/timestamp.proto",
        ),
    )
    struct_pb2.DESCRIPTOR.CopyToProto(declaration.descriptors.file.add())
    declaration.descriptors.file.append(_file(name, package))
    declaration.task_types.add(
        collection="feedings",
        parameters_message=f"{package}.Feeding",
        result_message=f"{package}.FeedingResult",
    )
    declaration.content_types.add(
        name=f"{name}.animal",
        collection="animals",
        attributes_message=f"{package}.Animal",
        filterable_fields=["species", "legs", "wild", "mood"],
    )
    for kind, message in (
        (describe_pb2.RESOURCE_KIND_REPOSITORY, "Habitat"),
        (describe_pb2.RESOURCE_KIND_REMOTE, ""),
        (describe_pb2.RESOURCE_KIND_DISTRIBUTION, ""),
    ):
        declaration.resource_types.add(
            kind=kind, spec_message=f"{package}.{message}" * bool(message)
        )
    declaration.declaration_digest = hashlib.sha256(declaration.SerializeToString()).hexdigest()
    return declaration


def _file(name: str, package: str) -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name=f"acme/{name}/v1/{name}.proto",
        package=package,
        syntax="proto3",
        dependency=[
            "entrepot/plugin/v1/describe.proto",
            "google/api/field_behavior.proto",
            "google/protobuf/any.proto",
            "google/protobuf/duration.proto",
            "google/protobuf/field_mask.proto",
            "google/protobuf/struct.proto",
            "google/protobuf/timestamp.proto",
        ],
    )
    mood = file.enum_type.add(name="Mood")
    for number, value in enumerate(("UNSPECIFIED", "CALM", "VERY_ANGRY")):
        mood.value.add(name=f"MOOD_{value}", number=number)
    _message(file, "Cage", (("name", "string", ""), ("bars", "int32", "")))
    _message(file, "Feeding", FEEDING)
    _message(file, "FeedingResult", (("fed", "int64", ""),))
    animal = (("species", "string", ""), ("legs", "int32", ""), ("wild", "bool", ""))
    _message(file, "Animal", (*animal, ("mood", ".Mood", ""), ("secret", "string", "")))
    _message(file, "Habitat", (("climate", "string", ""), ("max_animals", "int32", "")))
    location = file.source_code_info.location.add(path=[4, 1])
    location.leading_comments = " Feeds the animals.\n All of them.\n"
    location = file.source_code_info.location.add(path=[4, 1, 2, 7])
    location.leading_comments = " Whether they like it.\n"
    return file


def _message(
    file: descriptor_pb2.FileDescriptorProto, name: str, fields: tuple[tuple[str, str, str], ...]
) -> None:
    message = file.message_type.add(name=name)
    for number, (field_name, kind, words) in enumerate(fields, 1):
        field = message.field.add(name=field_name, number=number, label=Field.LABEL_OPTIONAL)
        if kind == "map":
            entry = message.nested_type.add(name=f"{field_name.title()}Entry")
            entry.options.map_entry = True
            for index, part in enumerate(("key", "value"), 1):
                entry.field.add(
                    name=part, number=index, type=Field.TYPE_STRING, label=Field.LABEL_OPTIONAL
                )
            field.type_name = f".{file.package}.{name}.{entry.name}"
            field.type, field.label = Field.TYPE_MESSAGE, Field.LABEL_REPEATED
        elif kind in _TYPES:
            field.type = _TYPES[kind]
        else:
            is_foreign = kind.startswith(".google")
            field.type_name = kind if is_foreign else f".{file.package}{kind}"
            field.type = Field.TYPE_ENUM if kind == ".Mood" else Field.TYPE_MESSAGE
        _apply(message, field, words.split())


def _apply(
    message: descriptor_pb2.DescriptorProto,
    field: descriptor_pb2.FieldDescriptorProto,
    words: list[str],
) -> None:
    for word in words:
        if word == "repeated":
            field.label = Field.LABEL_REPEATED
        elif word == "optional":
            field.proto3_optional = True
            field.oneof_index = len(message.oneof_decl)
            message.oneof_decl.add(name=f"_{field.name}")
        elif word == "required":
            field.options.Extensions[field_behavior_pb2.field_behavior].append(
                field_behavior_pb2.REQUIRED
            )
        elif word == "exclusive":
            reference = field.options.Extensions[describe_pb2.reference]
            reference.kind = describe_pb2.RESOURCE_KIND_REPOSITORY
            reference.access = describe_pb2.Reference.ACCESS_EXCLUSIVE
        else:
            field.options.Extensions[describe_pb2.aliases].append(word.removeprefix("alias:"))
