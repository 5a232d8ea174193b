"""Failures: what they become for the person who started the task."""

import pytest

from entrepot_rpc.errors import CORE_DOMAIN, Code, ServiceError
from entrepot_sdk import FetchFailed, Refused, TaskFailed

DOMAIN = "file.plugins.entrepot"


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (TaskFailed("A", "No."), Code.FAILED_PRECONDITION),
        (TaskFailed("A", "No.", field="x"), Code.INVALID_ARGUMENT),
        (TaskFailed("A", "Later.", retryable=True), Code.UNAVAILABLE),
    ],
)
def test_the_code_follows_from_the_kind_of_failure(failure: TaskFailed, code: Code) -> None:
    """A field is the caller's fault, a retryable failure the world's, and the rest a state."""
    error = failure.to_error(DOMAIN)

    assert error.code == code
    assert error.domain == DOMAIN
    assert error.reason == "A"


def test_a_field_becomes_a_violation() -> None:
    """The field that caused the failure is named where clients look for it."""
    (violation,) = TaskFailed("A", "No.", field="sources[2].url").to_error(DOMAIN).violations

    assert violation.field == "sources[2].url"


def test_what_core_says_is_kept() -> None:
    """An error of core's reaches the task as core wrote it."""
    said = ServiceError.of(Code.ALREADY_EXISTS, "CONTENT_CONFLICT", "It is another.")

    assert Refused(said).to_error(DOMAIN) is said
    assert said.domain == CORE_DOMAIN


@pytest.mark.parametrize(
    ("code", "retryable"), [(Code.UNAVAILABLE, True), (Code.NOT_FOUND, False)]
)
def test_a_fetch_may_be_repeated_if_upstream_is_down(code: Code, *, retryable: bool) -> None:
    """A failed fetch is retryable if, and only if, the same request may work later."""
    said = ServiceError.of(code, "DOWNLOAD_FAILED", "No.", metadata={"http_status": "404"})
    failure = FetchFailed(said, "https://example.org/")

    assert failure.retryable == retryable
    assert failure.http_status == 404
