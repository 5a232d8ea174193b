"""Messages to JSON and back."""

import json
from typing import Any

import pytest
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from entrepot.core.v1 import remote_service_pb2, repository_service_pb2
from entrepot_gateway.body import MAX_DEPTH, form, parse_body, parse_json
from entrepot_gateway.catalog import Catalog
from entrepot_gateway.decoder import Decoder
from entrepot_gateway.problem import InputRefusedError
from entrepot_rpc.encoder import Encoder
from entrepot_rpc.errors import ServiceError
from gateway_declarations import a_plugin

CATALOG = Catalog.of([a_plugin()])
FEEDING = CATALOG.task_type("zoo", "feedings").parameters
HABITAT = CATALOG.plugins["zoo"].messages.message("acme.zoo.v1.Habitat")
ON_DEMAND = remote_service_pb2.Remote.POLICY_ON_DEMAND
TEXT = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=20)
INT32 = st.integers(-(2**31), 2**31 - 1)
INT64 = st.integers(-(2**63), 2**63 - 1)


def decode(document: dict[str, Any], target: Message, **options: Any) -> list[str]:  # noqa: ANN401
    """Read a document into a message, or refuse it."""
    reader = Decoder(origin="http://api.test", resolve=CATALOG.message_class)
    named = reader.message(document, target, **options)
    reader.finish()
    return named


def refusals(
    document: dict[str, Any], target: Message, **options: Message
) -> list[tuple[str, str]]:
    """Where and why a document is refused."""
    with pytest.raises(InputRefusedError) as caught:
        decode(document, target, **options)
    return [(error.pointer, error.reason) for error in caught.value.errors]


@st.composite
def feedings(draw: st.DrawFn) -> Message:
    """Parameters with any values in any fields."""
    message: Any = FEEDING()
    message.repository = draw(TEXT.filter(bool).filter(lambda text: not text.startswith("/api")))
    message.animals.extend(draw(st.lists(TEXT, max_size=3)))
    message.count = draw(INT64)
    message.big = draw(st.integers(0, 2**64 - 1))
    message.small = draw(INT32)
    message.ratio = draw(st.floats(allow_nan=False))
    message.happy = draw(st.booleans())
    message.mood = draw(st.integers(0, 2))
    message.moods.extend(draw(st.lists(st.integers(1, 2), max_size=3)))
    message.raw = draw(st.binary(max_size=20))
    message.counts.extend(draw(st.lists(INT64, max_size=3)))
    message.tags.update(draw(st.dictionaries(TEXT, TEXT, max_size=3)))
    if draw(st.booleans()):
        message.at.FromNanoseconds(draw(st.integers(0, 4 * 10**18)))
        message.pause.FromNanoseconds(draw(st.integers(0, 10**15)))
        message.note = draw(TEXT)
        message.cage.name = draw(TEXT)
    for name in draw(st.lists(TEXT, max_size=3)):
        message.cages.add(name=name, bars=draw(INT32))
    return message  # type: ignore[no-any-return]


@given(feedings())
@settings(max_examples=150, deadline=None)
def test_what_is_written_can_be_read_back(message: Message) -> None:
    """Every message survives the way to JSON text and back unchanged."""
    text = json.dumps(Encoder(CATALOG.message_class).message(message))
    again = FEEDING()

    decode(parse_json(text.encode()), again)

    assert again == message


@pytest.mark.parametrize(
    "word", ["very_angry", "VERY_ANGRY", "MOOD_VERY_ANGRY", "mood_very_angry", " Very_Angry "]
)
def test_enum_values_are_understood_in_every_form(word: str) -> None:
    """With or without prefix, in either case."""
    message: Any = FEEDING()

    decode({"repository": "r", "mood": word}, message)

    assert message.mood == 2


@pytest.mark.parametrize("value", [7, "7", 7.0])
def test_integers_may_be_numbers_or_text(value: object) -> None:
    """A 64-bit integer can be sent as text, for those whose numbers are too short."""
    message: Any = FEEDING()

    decode({"repository": "r", "count": value}, message)

    assert message.count == 7


def test_aliases_are_understood() -> None:
    """A field can be given by its other name, and only once."""
    message: Any = FEEDING()

    decode({"repository": "r", "importer": "bar"}, message)

    assert message.remote == "bar"
    assert refusals({"repository": "r", "importer": "a", "remote": "b"}, FEEDING()) == [
        ("#/remote", "FIELD_REPEATED")
    ]


@pytest.mark.parametrize(
    "reference",
    [
        "repositories/zoo/foo",
        "/api/v3/repositories/zoo/foo/",
        "http://api.test/api/v3/repositories/zoo/foo/",
    ],
)
def test_references_may_be_addresses(reference: str) -> None:
    """A name, an href and an absolute URL of this API are the same reference."""
    message: Any = FEEDING()

    decode({"repository": reference}, message)

    assert message.repository == "repositories/zoo/foo"


def test_everything_wrong_is_named_at_once() -> None:
    """One answer names every wrong field by a pointer, nested ones too."""
    document = {
        "mirrror": True,
        "happy": "yes",
        "small": 2**31,
        "mood": "angri",
        "animals": "one",
        "cages": [{"bars": "x"}, {"nme": "a"}, 3],
        "tags": {"a/b": 1},
        "raw": "?",
        "at": "yesterday",
        "pause": "-3s",
        "count": 1.5,
        "cage": [],
    }

    assert refusals(document, FEEDING()) == [
        ("#/mirrror", "FIELD_UNKNOWN"),
        ("#/happy", "FIELD_TYPE"),
        ("#/small", "FIELD_INVALID"),
        ("#/mood", "FIELD_INVALID"),
        ("#/animals", "FIELD_TYPE"),
        ("#/cages/0/bars", "FIELD_TYPE"),
        ("#/cages/1/nme", "FIELD_UNKNOWN"),
        ("#/cages/2", "FIELD_TYPE"),
        ("#/tags/a~1b", "FIELD_TYPE"),
        ("#/raw", "FIELD_TYPE"),
        ("#/at", "FIELD_INVALID"),
        ("#/pause", "FIELD_INVALID"),
        ("#/count", "FIELD_TYPE"),
        ("#/cage", "FIELD_TYPE"),
        ("#/repository", "FIELD_REQUIRED"),
    ]


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"cages": [{"bars": "x"}]}, "cages[0].bars must be a whole number"),
        ({"tags": {"a/b.c": 1}}, 'tags["a/b.c"] must be text'),
        ({"animals": ["a", "b\0"]}, "animals[1] has a NUL character, which is not allowed."),
        ({"remote": "\ud800"}, "remote has half a surrogate pair"),
    ],
)
def test_a_place_is_named_as_core_names_it(document: dict[str, object], words: str) -> None:
    """In words a place in a list is "cages[0].bars", as google.rpc.BadRequest writes it."""
    with pytest.raises(InputRefusedError) as refused:
        decode({"repository": "r", **document}, FEEDING())

    assert words in refused.value.message


@pytest.mark.parametrize(
    ("field", "hint"),
    [("reposiory", "Did you mean repository?"), ("add_animal", "Did you mean add_animals?")],
)
def test_a_near_name_is_offered(field: str, hint: str) -> None:
    """An unknown field comes with the nearest known one."""
    with pytest.raises(InputRefusedError, match=hint.replace("?", r"\?")):
        decode({"repository": "r", field: "x"}, FEEDING())


def test_a_key_given_twice_is_refused() -> None:
    """JSON in which a key stands twice is not guessed at."""
    document = parse_json(b'{"repository": "a", "repository": "b", "tags": {"x": "1", "x": "2"}}')

    assert refusals(document, FEEDING()) == [
        ("#/repository", "FIELD_REPEATED"),
        ("#/tags/x", "FIELD_REPEATED"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"a":' * (MAX_DEPTH + 2) + b"1" + b"}" * (MAX_DEPTH + 2),
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": ' + b"9" * 5000 + b"}",
        b"[]",
        b"null",
        b"{",
        b"\xff",
        b'{"a": "\x01"}',
        rb'{"a": {"\ud800": 1}}',
    ],
    ids=lambda text: text[:12].hex(),
)
def test_hostile_json_is_refused(text: bytes) -> None:
    """Nesting, endless numbers and what is not JSON end in a refusal that shows no insides."""
    with pytest.raises(InputRefusedError) as refused:
        parse_json(text)

    assert "sys." not in refused.value.message
    assert "codec" not in refused.value.message
    # What it says can be sent, whatever was in it.
    refused.value.message.encode()


def test_a_byte_order_mark_is_ignored() -> None:
    """JSON may begin with a byte order mark, as editors of Windows write it."""
    assert parse_json(b'\xef\xbb\xbf{"a": 1}') == {"a": 1}


@pytest.mark.parametrize("text", ["a=%ff", "&".join(["a=1"] * 10_001)])
def test_forms_that_cannot_be_read_are_refused(text: str) -> None:
    """A form that is not UTF-8, or has fields without end, is refused without insides."""
    with pytest.raises(InputRefusedError) as refused:
        form(text)

    assert "codec" not in refused.value.message
    assert "Max" not in refused.value.message


def test_text_that_is_none_is_refused() -> None:
    """NUL and half a surrogate pair have no place in a name."""
    document = parse_json(rb'{"repository": "a\u0000", "remote": "\ud800"}')

    assert refusals(document, FEEDING()) == [
        ("#/repository", "FIELD_INVALID"),
        ("#/remote", "FIELD_INVALID"),
    ]


def test_forms_are_read_by_the_fields_types() -> None:
    """`curl -d` sends words: repeated ones are a list, dots lead into maps and messages."""
    message: Any = FEEDING()

    decode(
        form(
            "repository=foo&importer=bar&animals=a&animals=b&happy=true&count=3&mood=calm"
            "&tags.a.b=1&cage.name=c&pause=2m"
        ),
        message,
    )

    assert (message.repository, message.remote, list(message.animals)) == (
        "foo",
        "bar",
        ["a", "b"],
    )
    assert (message.happy, message.count, message.mood) == (True, 3, 1)
    assert dict(message.tags) == {"a.b": "1"}
    assert message.cage.name == "c"
    assert message.pause.seconds == 120


def test_a_single_field_given_twice_in_a_form_is_refused() -> None:
    """Which of two values counts is not guessed."""
    assert refusals(form("repository=a&repository=b"), FEEDING()) == [
        ("#/repository", "FIELD_REPEATED")
    ]


def test_another_media_type_is_refused() -> None:
    """XML is not taken for JSON."""
    with pytest.raises(ServiceError, match="application/json") as caught:
        parse_body(b"<a/>", "application/xml")

    assert caught.value.reason == "MEDIA_TYPE_UNSUPPORTED"


def test_the_plugins_fields_of_a_resource_are_flat() -> None:
    """Fields of `spec` stand beside the others, in both directions."""
    repository = repository_service_pb2.Repository()
    document = {"name": "foo", "climate": "hot", "labels": {"a": "b"}}

    named = decode(document, repository, spec=HABITAT())
    written = Encoder(CATALOG.message_class).message(repository)

    assert sorted(named) == ["climate", "labels", "name"]
    assert written["climate"] == "hot"
    assert written["labels"] == {"a": "b"}
    assert "spec" not in written


def test_what_was_read_can_be_sent_back() -> None:
    """The href and the server's own fields are accepted, and ignored."""
    repository = repository_service_pb2.Repository(name="repositories/zoo/a", latest_version=7)
    document = Encoder(CATALOG.message_class).message(repository)

    again = repository_service_pb2.Repository()
    decode(document, again, spec=HABITAT())

    assert again.name == "repositories/zoo/a"
    assert again.latest_version == 0


def test_spec_itself_is_no_field() -> None:
    """There is one way to give the plugin's fields."""
    repository = repository_service_pb2.Repository()

    assert refusals({"spec": {}}, repository, spec=HABITAT()) == [("#/spec", "FIELD_UNKNOWN")]


def test_null_means_that_nothing_is_said() -> None:
    """A null is the default, but counts as named, so that an update can clear a field."""
    remote = remote_service_pb2.Remote(description="old")

    named = decode({"description": None}, remote, partial=True)

    assert named == ["description"]
