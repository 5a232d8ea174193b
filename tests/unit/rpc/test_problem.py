"""Errors as RFC 9457 documents, wherever they are shown."""

import pytest

from entrepot.core.v1 import error_reason_pb2
from entrepot_rpc import problem
from entrepot_rpc.errors import Code


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
    assert problem.http_status(code) == status


def test_every_code_has_a_status() -> None:
    """No code of gRPC is forgotten: what is not in the table is a fault of the server."""
    assert {problem.http_status(code) for code in Code} <= {
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


@pytest.mark.parametrize(
    ("field", "pointer"),
    [
        ("url", "#/url"),
        ("parameters.url", "#/url"),
        ("repository.spec.climate", "#/climate"),
        ("overrides.remote", "#/remote"),
        ("token.name", "#/name"),
        ("sources[2].url", "#/sources/2/url"),
        ("a/b.c~d", "#/a~1b/c~0d"),
        ('repository.labels["app.test/[x]"]', "#/labels/app.test~1[x]"),
        ("", "#"),
    ],
)
def test_pointers_lead_into_the_body_that_was_sent(field: str, pointer: str) -> None:
    """Over REST nothing is wrapped, so pointers are not either."""
    assert problem.pointer_of(field) == pointer
