"""Errors as RFC 9457 documents."""

from entrepot_gateway import problem
from entrepot_rpc.errors import Code, Precondition, ServiceError, Violation


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
