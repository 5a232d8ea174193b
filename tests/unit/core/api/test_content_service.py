"""ContentService: names, filters and positions, and how units are shown."""

from datetime import UTC, datetime

import pytest

from declarations import FILE, file_plugin
from entrepot.core.v1 import content_service_pb2, content_service_pb2_grpc
from entrepot.plugins.file.v1 import file_pb2
from entrepot.type.v1 import content_pb2, digest_pb2
from entrepot_core.api.content_message import encode_content, encode_unit
from entrepot_core.api.content_service import ContentService, either, read_version_position
from entrepot_core.api.named_resource import next_token
from entrepot_core.domain.errors import QueryInvalidError
from entrepot_core.domain.unit import Artifact, ContentType
from entrepot_core.plugins.descriptors import pack_bytes
from entrepot_core.plugins.filtering import condition_of, conditions_of
from entrepot_core.store.content import Condition, ContentRow, EdgeRow
from unconnected_core import DeclaredPlugins, Servicing, fields, no_database, refusal

HEX = "ab" * 32
TYPE = ContentType(5, "file", "file.file", "files")
REGISTRY = DeclaredPlugins(file_plugin())
CATALOG = REGISTRY.catalog()
VIEWS = CATALOG.content_types()
MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture(scope="module")
def servicing() -> Servicing:
    """The servicer, with a plugin for files."""
    return Servicing(
        content_service_pb2.DESCRIPTOR.services_by_name["ContentService"],
        content_service_pb2_grpc.add_ContentServiceServicer_to_server,
        ContentService(no_database(), REGISTRY),
    )


@pytest.mark.parametrize(
    "name",
    [
        "",
        HEX,
        f"files/{HEX}",
        f"content/file/files/{HEX}/",
        f"content/file/files/{HEX.upper()}",
        f"content/file/files/{HEX[:-1]}",
        f"content/file/files/{HEX}\n",
        f"content/file/packages/{HEX}",
        f"content/rpm/files/{HEX}",
    ],
)
def test_a_unit_is_named_by_type_and_digest(servicing: Servicing, name: str) -> None:
    """What is not the full name of a unit of a known type is refused under its field."""
    request = content_service_pb2.GetContentRequest(name=name)

    error = refusal(lambda: servicing.call("GetContent", request))

    assert ("FIELD_INVALID", ["name"]) == (error.reason, fields(error))


@pytest.mark.parametrize("page_size", [-1, 1001])
def test_a_page_has_a_size(servicing: Servicing, page_size: int) -> None:
    """Sizes out of range are refused, for a collection as for a version."""
    request = content_service_pb2.ListContentRequest(
        parent="content/file/files", page_size=page_size
    )

    error = refusal(lambda: servicing.call("ListContent", request))

    assert ["page_size"] == fields(error)


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("nothing=1", 0),
        ("relative_path", 13),
        ("relative_path=", 14),
        ("relative_path='a", 14),
        ("relative_path=a OR", 18),
        ("size_bytes=many", 0),
        ("size_bytes=NaN", 0),
        ("size_bytes=1e999", 0),
        ("size_bytes=1*", 0),
        ("(size_bytes=1", 0),
        ("relative_path='\0'", 0),
    ],
)
def test_a_bad_filter_says_where(text: str, position: int) -> None:
    """The error has the position of what cannot be read, or of the comparison that is wrong."""
    with pytest.raises(QueryInvalidError) as refused:
        condition_of(CATALOG, VIEWS[0], TYPE, text)

    assert str(position) == refused.value.metadata["position"]


def test_a_filter_holds_no_text_of_the_caller() -> None:
    """Names and values are parameters; the statement has placeholders only."""
    condition = condition_of(CATALOG, VIEWS[0], TYPE, 'relative_path="\'; DROP TABLE"')

    assert "DROP" not in condition.sql
    assert {"relative_path", "'; DROP TABLE"} == set(condition.parameters.values())


def test_a_filter_over_a_version_needs_a_type_with_its_fields() -> None:
    """A field that no type of the plugin has is refused, and not simply without result."""
    with pytest.raises(QueryInvalidError):
        conditions_of(CATALOG, VIEWS, {TYPE.name: TYPE}, "architecture=x86_64")


def test_conditions_are_joined_without_mixing_parameters() -> None:
    """Each type keeps its own condition and values when several are asked for at once."""
    one = Condition((1,), "c.a = %(filter_0)s", {"filter_0": "x"})
    other = Condition((2,), "c.b = %(filter_0)s", {"filter_0": "y"})

    joined = either([one, other])

    assert {"c0_filter_0": "x", "c1_filter_0": "y"} == joined.parameters
    assert joined.sql == (
        "((c.type_id = 1 AND c.a = %(c0_filter_0)s) OR (c.type_id = 2 AND c.b = %(c1_filter_0)s))"
    )


@pytest.mark.parametrize(("conditions", "sql"), [([], "false"), ([Condition((1,), "a")], "a")])
def test_no_condition_matches_nothing(conditions: list[Condition], sql: str) -> None:
    """None at all is false, and a single one is itself."""
    assert sql == either(conditions).sql


@pytest.mark.parametrize("position", [(1, "a/b"), (2, 5, "key"), (3, 17)])
def test_a_position_in_a_version_comes_back(position: tuple[object, ...]) -> None:
    """A token of each of the three orders is read as what it was made of."""
    assert position == read_version_position(next_token(position))


@pytest.mark.parametrize(
    "position",
    [(0, 5), (1, 5), (2, 5), (4, 5), (2, "a"), (3, "a"), (1, 5, "a"), (3, 5, "a"), (3,), ()],
)
def test_a_position_of_another_form_is_refused(position: tuple[object, ...]) -> None:
    """The first number says which of the three orders it is, and what must follow."""
    with pytest.raises(QueryInvalidError):
        read_version_position(next_token(position))


def a_row(**given: object) -> ContentRow:
    """A unit of a file of which everything is known."""
    attributes = file_pb2.File(relative_path="a", sha256=HEX).SerializeToString()
    known: dict[str, object] = {
        "content_id": 1,
        "type": TYPE,
        "key_digest": bytes.fromhex(HEX),
        "repo_key": "a",
        "attributes": attributes,
        "created_at": MOMENT,
        "artifacts": (Artifact("a", bytes.fromhex(HEX), 3, {"md5": "cd" * 16, "crc": "0"}),),
        "edges": (EdgeRow(1, 2, "content/file/files/x"),),
    }
    return ContentRow(**{**known, **given})  # type: ignore[arg-type]


def test_a_unit_is_shown_whole() -> None:
    """Attributes, files with all known digests, and relations are in the message."""
    row = a_row()

    message = encode_content(CATALOG, row)

    algorithm = digest_pb2.Digest
    expected = content_service_pb2.Content(
        name=f"content/file/files/{HEX}",
        content_type="file.file",
        is_stored=True,
        unit=content_pb2.ContentUnit(
            name=f"content/file/files/{HEX}",
            attributes=pack_bytes(f"{FILE}.File", row.attributes),
            artifacts=[
                content_pb2.Artifact(
                    relative_path="a",
                    digests=[
                        algorithm(algorithm=algorithm.ALGORITHM_SHA256, hex=HEX, size_bytes=3),
                        algorithm(algorithm=algorithm.ALGORITHM_MD5, hex="cd" * 16, size_bytes=3),
                    ],
                )
            ],
            edges=[
                content_pb2.Edge(
                    target=content_pb2.Edge.Target(name="content/file/files/x"),
                    kind=content_pb2.Edge.KIND_NEEDS,
                    scope=content_pb2.Edge.SCOPE_VERSION,
                )
            ],
        ),
    )
    expected.create_time.FromDatetime(MOMENT)
    assert expected == message


def test_attributes_are_shown_alone_if_that_is_wanted() -> None:
    """Who asks for attributes only gets neither files nor relations."""
    message = encode_unit(CATALOG, a_row(is_explicit=False), attributes_only=True)

    assert (0, 0, True) == (len(message.artifacts), len(message.edges), message.implied)
    assert message.HasField("attributes")


def test_a_unit_of_a_forgotten_type_has_a_name() -> None:
    """If nobody declares its type any more, a unit is shown without attributes."""
    message = encode_unit(DeclaredPlugins().catalog(), a_row())

    assert (f"content/file/files/{HEX}", False) == (message.name, message.HasField("attributes"))
