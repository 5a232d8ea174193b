"""Errors as RFC 9457 documents."""

import pytest
from google.protobuf import descriptor_pb2

from entrepot.core.v1 import error_reason_pb2
from entrepot_gateway import problem
from entrepot_gateway.comment import first_sentence, read_comments
from entrepot_rpc.errors import Code, Precondition, ServiceError, Violation


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (Code.CANCELLED, 499),
        (Code.UNKNOWN, 500),
        (Code.INVALID_ARGUMENT, 400),
        (Code.DEADLINE_EXCEEDED, 504),
        (Code.NOT_FOUND, 404),
        (Code.ALREADY_EXISTS, 409),
        (Code.PERMISSION_DENIED, 403),
        (Code.RESOURCE_EXHAUSTED, 429),
        (Code.FAILED_PRECONDITION, 400),
        (Code.ABORTED, 409),
        (Code.OUT_OF_RANGE, 400),
        (Code.UNIMPLEMENTED, 501),
        (Code.INTERNAL, 500),
        (Code.UNAVAILABLE, 503),
        (Code.DATA_LOSS, 500),
        (Code.UNAUTHENTICATED, 401),
    ],
)
def test_the_status_follows_the_code(code: Code, status: int) -> None:
    """The table of google/rpc/code.proto, without exception."""
    assert problem.http_status(ServiceError.of(code, "X", "x")) == status


def test_every_code_has_a_status() -> None:
    """No code of gRPC is forgotten: what is not in the table is a fault of the server."""
    assert {problem.http_status(ServiceError.of(code, "X", "x")) for code in Code} <= {
        400, 401, 403, 404, 409, 429, 499, 500, 501, 503, 504
    }  # fmt: skip


@pytest.mark.parametrize("name", error_reason_pb2.ErrorReason.keys()[1:])
def test_every_reason_has_a_title(name: str) -> None:
    """The title is the first sentence of the reason's comment."""
    title = problem.title(name.removeprefix("ERROR_REASON_"), Code.INTERNAL)

    assert title
    assert not title.endswith(".")
    assert "Metadata" not in title


def test_a_plugins_reason_has_the_title_of_its_code() -> None:
    """Reasons of plugins are in no table of ours."""
    assert problem.title("URL_INVALID", Code.INVALID_ARGUMENT) == "Invalid argument"


def test_details_become_members() -> None:
    """Field violations, preconditions and metadata are in the document, in one shape."""
    error = ServiceError.of(
        Code.INVALID_ARGUMENT,
        "URL_INVALID",
        "The upstream URL must be http or https.",
        domain="file.plugins.entrepot",
        metadata={"url": "ftp://x"},
        violations=(Violation("parameters.sources[2].url", "scheme is ftp", "URL_INVALID"),),
        preconditions=(Precondition("REPOSITORY", "repositories/file/a", "in use"),),
        retry_after_seconds=1.2,
    )

    assert problem.document(error, "/api/v3/tasks/file/syncs/", "id") == {
        "type": "/problems/URL_INVALID",
        "title": "Invalid argument",
        "status": 400,
        "detail": "The upstream URL must be http or https.",
        "instance": "/api/v3/tasks/file/syncs/",
        "code": "INVALID_ARGUMENT",
        "reason": "URL_INVALID",
        "domain": "file.plugins.entrepot",
        "metadata": {"url": "ftp://x"},
        "errors": [
            {"pointer": "#/sources/2/url", "reason": "URL_INVALID", "detail": "scheme is ftp"}
        ],
        "preconditions": [
            {"type": "REPOSITORY", "subject": "repositories/file/a", "detail": "in use"}
        ],
        "request_id": "id",
    }
    assert problem.headers(error)["Retry-After"] == "2"


@pytest.mark.parametrize(
    ("field", "pointer"),
    [
        ("url", "#/url"),
        ("parameters.url", "#/url"),
        ("repository.spec.climate", "#/climate"),
        ("overrides.remote", "#/remote"),
        ("sources[2].url", "#/sources/2/url"),
        ("a/b.c~d", "#/a~1b/c~0d"),
        ("", "#"),
    ],
)
def test_pointers_lead_into_the_body_that_was_sent(field: str, pointer: str) -> None:
    """Over REST nothing is wrapped, so pointers are not either."""
    assert problem.pointer_of(field) == pointer


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
    """Not at the stop inside a number or a name."""
    assert first_sentence("Version 1.2 is new. More.") == "Version 1.2 is new."
