"""Messages as JSON."""

from typing import Any

import pytest
from google.protobuf import any_pb2, struct_pb2
from google.rpc import code_pb2

from entrepot.core.v1 import remote_service_pb2, repository_service_pb2, task_service_pb2
from entrepot_rpc.declaration import DeclaredMessages, by_name, type_name
from entrepot_rpc.encoder import Encoder
from entrepot_rpc.errors import Code, ServiceError
from entrepot_rpc.status import to_status
from gateway_declarations import a_plugin

MESSAGES = DeclaredMessages(a_plugin())
DECLARED = by_name([MESSAGES])
FEEDING = MESSAGES.message("acme.zoo.v1.Feeding")


def write(message: Any) -> dict[str, Any]:  # noqa: ANN401, every message
    """A message as JSON, with what one plugin declares."""
    return Encoder(lambda url: DECLARED.get(type_name(url))).message(message)


def test_names_numbers_and_words() -> None:
    """JSON has the proto's names, integers as numbers, and enum values as short words."""
    message: Any = FEEDING(repository="r", big=2**64 - 1, mood=2, raw=b"\xff", note="")
    message.pause.FromMilliseconds(1500)
    message.at.FromJsonString("2026-01-31T12:00:00Z")

    document = write(message)

    assert document["big"] == 2**64 - 1
    assert document["mood"] == "very_angry"
    assert document["raw"] == "/w=="
    assert document["pause"] == "1.500s"
    assert document["at"] == "2026-01-31T12:00:00Z"
    assert document["note"] == ""
    assert document["happy"] is False
    assert "cage" not in document


def test_an_unset_enum_is_left_out() -> None:
    """A value that means "unspecified" is not shown."""
    assert "mood" not in write(FEEDING())


def test_resources_carry_their_address() -> None:
    """The href stands next to name, wherever there is an address."""
    document = write(
        remote_service_pb2.Remote(
            name="remotes/zoo/a", policy=remote_service_pb2.Remote.POLICY_ON_DEMAND
        )
    )

    assert list(document)[:2] == ["name", "href"]
    assert document["href"] == "/api/v3/remotes/zoo/a/"
    assert document["policy"] == "on_demand"


def test_tasks_have_plain_parameters_results_and_errors() -> None:
    """What Any and Status hold is written as objects, without "@type"."""
    task = task_service_pb2.Task(name="tasks/01", state=task_service_pb2.Task.STATE_FAILED)
    task.parameters.Pack(FEEDING(repository="r"))
    task.result.Pack(MESSAGES.message("acme.zoo.v1.FeedingResult")(fed=3))
    error = ServiceError.of(Code.ABORTED, "VERSION_CONFLICT", "It moved.")
    task.error.CopyFrom(to_status(error))

    document = write(task)

    assert document["parameters"]["repository"] == "r"
    assert document["result"] == {"fed": 3}
    assert document["error"] == {
        "type": "/problems/VERSION_CONFLICT",
        "title": "The repository changed while the task ran",
        "status": 409,
        "detail": "It moved.",
        "instance": "/api/v3/tasks/01/",
        "code": code_pb2.Code.Name(code_pb2.ABORTED),
        "reason": "VERSION_CONFLICT",
        "domain": "entrepot",
    }


def test_an_unknown_message_keeps_its_bytes() -> None:
    """What no plugin declares any more is shown with its type, as base64."""
    task = task_service_pb2.Task(name="tasks/01")
    task.parameters.CopyFrom(any_pb2.Any(type_url="type.googleapis.com/gone.Thing", value=b"\x08"))

    assert write(task)["parameters"] == {
        "@type": "type.googleapis.com/gone.Thing",
        "value": "CA==",
    }


def test_bytes_that_are_no_message_keep_their_bytes() -> None:
    """An Any that lies about its type is no fault of ours."""
    packed = any_pb2.Any()
    packed.Pack(FEEDING())
    packed.value = b"\xff\xff"
    task = task_service_pb2.Task(name="tasks/01")
    task.parameters.CopyFrom(packed)

    assert write(task)["parameters"]["value"] == "//8="


def test_types_with_a_form_of_their_own_are_written_in_it() -> None:
    """google.protobuf.Struct is an object."""
    struct = struct_pb2.Struct()
    struct.update({"a": [1, None]})

    assert Encoder()._embedded(struct, "") == {"a": [1.0, None]}


@pytest.mark.parametrize(
    ("number", "text"),
    [(float("nan"), "NaN"), (float("inf"), "Infinity"), (float("-inf"), "-Infinity")],
)
def test_numbers_that_json_has_not_are_words(number: float, text: str) -> None:
    """What is no number in JSON is written as protobuf's own JSON has it."""
    assert write(FEEDING(ratio=number))["ratio"] == text


def test_the_plugins_fields_stand_beside_the_others() -> None:
    """Fields of `spec` are fields of the resource, whose own win."""
    repository = repository_service_pb2.Repository(name="repositories/zoo/a")
    repository.spec.Pack(MESSAGES.message("acme.zoo.v1.Habitat")(climate="hot"))

    document = write(repository)

    assert document["climate"] == "hot"
    assert "spec" not in document
