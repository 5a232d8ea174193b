"""Comments of proto files as documentation."""

from google.protobuf import descriptor_pb2

from entrepot_rpc.comment import first_sentence, read_comments


def test_comments_are_found_by_full_name() -> None:
    """Comments of messages, fields and values are read; those of options are not."""
    file = descriptor_pb2.FileDescriptorProto(package="a.v1")
    message = file.message_type.add(name="M")
    message.field.add(name="f")
    for path, text in (
        ([4, 0], " One.\n Two.\n\n Three.\n"),
        ([4, 0, 2, 0], "F"),
        ([4, 0, 1], "x"),
    ):
        file.source_code_info.location.add(path=path, leading_comments=text)

    assert read_comments([file]) == {"a.v1.M": "One. Two.\n\nThree.", "a.v1.M.f": "F"}


def test_the_first_sentence_ends_at_its_stop() -> None:
    """Not at the stop inside a number or a name; the stop itself is left out."""
    assert first_sentence("Version 1.2 is new. More.") == "Version 1.2 is new"
