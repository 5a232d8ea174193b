"""The messages that plugins declare."""

import pytest
from google.protobuf import descriptor_pb2

from entrepot.plugin.v1 import describe_pb2
from entrepot_rpc.declaration import DeclaredMessages, by_name, pool_of
from gateway_declarations import a_plugin


def files(**imports: list[str]) -> list[descriptor_pb2.FileDescriptorProto]:
    """Proto files of these names, with what each imports."""
    return [
        descriptor_pb2.FileDescriptorProto(name=name, package=name, dependency=imported)
        for name, imported in imports.items()
    ]


def test_files_may_come_in_any_order() -> None:
    """What a file imports can stand behind it."""
    pool = pool_of(files(a=["b"], b=["c"], c=[]))

    assert pool.FindFileByName("a").dependencies[0].name == "b"


@pytest.mark.parametrize(
    ("imports", "fault"),
    [
        ({"a": ["b"], "b": ["a"]}, "import each other: "),
        ({"a": ["gone"]}, "a is broken: "),
    ],
)
def test_files_that_do_not_fit_together_are_refused(
    imports: dict[str, list[str]], fault: str
) -> None:
    """The fault names the files."""
    with pytest.raises(ValueError, match=fault):
        pool_of(files(**imports))


def test_a_declared_message_must_be_there() -> None:
    """A declaration that names a message it does not bring is not taken."""
    declaration = a_plugin()
    declaration.task_types.add(collection="walks", parameters_message="acme.zoo.v1.Walk")

    with pytest.raises(ValueError, match=r"acme\.zoo\.v1\.Walk is not in its proto files"):
        DeclaredMessages(declaration)


def test_only_what_is_declared_can_be_in_an_any() -> None:
    """Parameters, results, attributes and specs are; what they are made of is not."""
    assert set(by_name([DeclaredMessages(a_plugin())])) == {
        f"acme.zoo.v1.{name}" for name in ("Feeding", "FeedingResult", "Animal", "Habitat")
    }


def test_plugins_do_not_share_messages() -> None:
    """Two plugins with a file of one name have each their own; the first has the name."""
    one, other = DeclaredMessages(a_plugin()), DeclaredMessages(a_plugin())
    name = "acme.zoo.v1.Feeding"

    assert one.message(name) is not other.message(name)
    assert by_name([one, other])[name] is one.message(name)


def test_the_fields_of_a_resource() -> None:
    """A kind of resource has the plugin's own fields, or none."""
    messages = DeclaredMessages(a_plugin())
    habitat = messages.spec(describe_pb2.RESOURCE_KIND_REPOSITORY)

    assert habitat is messages.message("acme.zoo.v1.Habitat")
    assert messages.spec(describe_pb2.RESOURCE_KIND_REMOTE) is None
