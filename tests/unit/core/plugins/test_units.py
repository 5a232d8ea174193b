"""Units as plugins send them: what core derives, and what it refuses."""

import hashlib

import pytest
from google.protobuf import any_pb2

from declarations import file_plugin
from entrepot.plugins.file.v1 import file_pb2
from entrepot_core.domain.errors import BatchTooLargeError, FieldInvalidError
from entrepot_core.plugins.catalog import Catalog
from entrepot_core.plugins.descriptors import Declaration
from entrepot_core.plugins.units import (
    attributes_any,
    parse_attributes,
    parse_key,
    parse_unit_name,
)

SHA = "ab" * 32


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    """A catalog with a plugin for files, whose size is no part of their key."""
    declaration = file_plugin()
    declaration.content_types[0].key_fields[:] = ["relative_path", "sha256"]
    return Catalog([Declaration(declaration)])


def packed(path: str = "a/b.txt", sha256: str = SHA, size_bytes: int = 7) -> any_pb2.Any:
    """Attributes of a file."""
    value = any_pb2.Any()
    value.Pack(file_pb2.File(relative_path=path, sha256=sha256, size_bytes=size_bytes))
    return value


def test_a_unit_is_named_by_the_digest_of_its_key(catalog: Catalog) -> None:
    """A name is the collection and the SHA-256 over the type's name, NUL, and the key fields."""
    unit = parse_attributes(catalog, packed(), "adds[0].attributes", plugin="file")

    key = file_pb2.File(relative_path="a/b.txt", sha256=SHA).SerializeToString(deterministic=True)
    assert (
        f"content/file/files/{hashlib.sha256(b'file.file' + bytes(1) + key).hexdigest()}"
        == unit.name
    )
    assert parse_unit_name(catalog, unit.name, "content[0]") == unit.key


def test_a_key_ignores_other_fields(catalog: Catalog) -> None:
    """A target named by key is the unit with these key fields, whatever else is set."""
    unit = parse_attributes(catalog, packed(size_bytes=7), "a")

    assert unit.key == parse_key(catalog, packed(size_bytes=9), "a")


def test_filters_keep_numbers_as_numbers(catalog: Catalog) -> None:
    """The filter document has the declared fields; a repository key of one field is plain."""
    unit = parse_attributes(catalog, packed(size_bytes=2**53 + 1), "a")

    assert unit.filter == {"relative_path": "a/b.txt", "sha256": SHA, "size_bytes": 2**53 + 1}
    assert unit.repository_key == "a/b.txt"


def test_attributes_survive(catalog: Catalog) -> None:
    """What is stored, packed again, is what came."""
    unit = parse_attributes(catalog, packed(), "a")

    assert packed() == attributes_any(unit.content_type, unit.attributes)


@pytest.mark.parametrize(
    ("value", "field"),
    [
        (any_pb2.Any(type_url="x/entrepot.plugins.file.v1.Sync"), "a"),
        (any_pb2.Any(type_url=packed().type_url, value=b"\x0a\xff"), "a"),
        (any_pb2.Any(type_url=packed().type_url, value=packed().value + b"\x78\x01"), "a"),
        (packed(path="", sha256=""), "a"),
        (packed(path="a\0b"), "a.relative_path"),
        (packed(path="x" * 1025), "a.relative_path"),
    ],
    ids=["other type", "broken bytes", "unknown field", "empty key", "NUL", "long key"],
)
def test_nonsense_is_refused(catalog: Catalog, value: any_pb2.Any, field: str) -> None:
    """What is not a well-formed unit is refused, with the field named."""
    with pytest.raises(FieldInvalidError) as caught:
        parse_attributes(catalog, value, "a")

    assert [field] == [violation.field for violation in caught.value.violations]


def test_huge_attributes_are_refused(catalog: Catalog) -> None:
    """Attributes over the limit are refused, with the limit named."""
    value = packed()
    value.value += b"\x0a" + bytes(300_000)

    with pytest.raises(BatchTooLargeError, match="262144"):
        parse_attributes(catalog, value, "a")
