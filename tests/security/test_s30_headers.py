"""S30: no text becomes a line of a head, or ends the worker (CVE-2019-6802, CVE-2026-42545)."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from entrepot.core.v1 import distribution_service_pb2, repository_service_pb2, task_service_pb2
from entrepot.core.v1.serving_service_pb2 import ListFolderResponse, ResolvePointerResponse
from entrepot_core.domain.names import user_segment
from entrepot_core.domain.paths import check_base_path, fault_of
from entrepot_rpc.errors import Code, ServiceError
from gateway_core import TOKEN
from gateway_process import GatewayProcess, fields_of, status
from served import Entry, Resolved, a_file

BEARER = b"Authorization: Bearer " + TOKEN.encode()
EVIL = (
    "a\r\nX-Evil: 1",
    "a\nX-Evil: 1",
    "a\r",
    "a\0b",
    "a\x7f",
    "\x1b[31m",
    "\u0085",
    "\u2028",
    "é",
    "\xff",
    "🦫",
    '"',
    "\\",
    "x" * 4096,
)


def is_clean(answer: bytes) -> bool:
    """Whether an answer is one, and its head has nothing that was smuggled in."""
    head = answer.partition(b"\r\n\r\n")[0]
    return (
        status(answer) > 0
        and "x-evil" not in fields_of(answer)
        and head.isascii()
        and head.replace(b"\r\n", b"").isascii()
        and not any(byte < 32 or byte == 127 for byte in head.replace(b"\r\n", b""))
    )


@pytest.mark.parametrize("text", EVIL)
def test_what_core_says_of_a_file_cannot_break_an_answer(
    content: GatewayProcess, text: str
) -> None:
    """Media type, digest and name: each is sent in plain ASCII, or not at all."""
    name = text.translate(dict.fromkeys([*range(32), *range(127, 160), ord("\\")], "_"))[:200]
    content.files["type"] = a_file(media_type=text)
    content.files["far-type"] = a_file(Resolved.KIND_FETCHABLE, media_type=text)
    content.files[name] = a_file(media_type="application/x-evil")
    content.files["digest"] = a_file(sha256=text)
    content.files["far-digest"] = a_file(Resolved.KIND_FETCHABLE, sha256=text)
    quoted = "".join(f"%{byte:02X}" for byte in name.encode())

    found = {
        target: content.ask(f"/dev/{target}".encode(), method)
        for target in ("type", "far-type", quoted, "digest", "far-digest")
        for method in (b"HEAD", b"GET")
        if method == b"HEAD" or not target.startswith("far")
    }

    assert all(is_clean(answer) for answer in found.values()), found
    assert status(found["type"]) == status(found[quoted]) == 200


@pytest.mark.parametrize("text", EVIL)
def test_what_core_says_of_a_distribution_cannot_break_an_answer(
    content: GatewayProcess, text: str
) -> None:
    """A listing, a redirect to a folder and a refusal, whatever base path and names there are."""
    usual = content.core.answers["ResolvePointer"]
    content.core.on(
        "ResolvePointer",
        ResolvePointerResponse(distribution="d", base_path="dev", content_set=text, fault=text),
    )

    async def listed(_: Any) -> AsyncIterator[ListFolderResponse]:  # noqa: ANN401
        yield ListFolderResponse(entries=[Entry(name=text)])

    content.core.on("ListFolder", listed)
    try:
        for target in (b"/dev/", b"/dev/a", b"/dev", b"/dev?x=%0d%0aX-Evil:1", b"/dev/a?\xe9"):
            for form in (b"text/html", b"application/json"):
                assert is_clean(content.ask(target, b"GET", b"Accept: " + form)), (target, text)
    finally:
        content.core.on("ResolvePointer", usual)


@pytest.mark.parametrize("text", EVIL)
def test_what_an_upstream_said_cannot_break_an_answer(content: GatewayProcess, text: str) -> None:
    """The error of a download names the host, in text, and never in the head."""
    content.files["far"] = a_file(Resolved.KIND_FETCHABLE)
    content.core.on(
        "StreamFile",
        ServiceError.of(
            Code.UNAVAILABLE,
            "DOWNLOAD_FAILED",
            text,
            metadata={"url": f"http://{text}/x", "http_status": text},
        ),
    )

    answer = content.ask(b"/dev/far")

    assert is_clean(answer)
    assert status(answer) == 502
    assert answer.isascii()


@pytest.mark.parametrize("text", EVIL)
def test_what_core_says_of_a_resource_cannot_break_an_answer(
    api: GatewayProcess, text: str
) -> None:
    """ETag, Location, and what is repeated of a request."""
    repository = repository_service_pb2.Repository(
        name=f"repositories/zoo/{text}", plugin="zoo", etag=text
    )
    api.core.on(
        "GetRepository", repository_service_pb2.GetRepositoryResponse(repository=repository)
    )
    distribution = distribution_service_pb2.Distribution(
        name=f"distributions/zoo/{text}", plugin="zoo", base_path=text
    )
    api.core.on(
        "CreateDistribution",
        distribution_service_pb2.CreateDistributionResponse(distribution=distribution),
    )
    task = task_service_pb2.Task(name=f"tasks/{text}")
    api.core.on("CreateTask", task_service_pb2.CreateTaskResponse(task=task))
    repeated = b"X-Request-Id: " + text.encode().translate(None, b"\r\n\0")
    body = b'{"name": "x", "base_path": "x"}'
    length = b"Content-Length: %d\r\n\r\n%s" % (len(body), body)

    for answer in (
        api.ask(b"/api/v3/repositories/zoo/x/", b"GET", BEARER, repeated),
        api.ask(b"/api/v3/distributions/zoo/", b"POST", BEARER, length),
        api.ask(b"/api/v3/tasks/zoo/feedings/", b"POST", BEARER, length),
    ):
        assert is_clean(answer), answer


@pytest.mark.parametrize("byte", [*range(32), 127, *range(128, 160)])
def test_control_characters_are_in_no_path(content: GatewayProcess, byte: int) -> None:
    """Of what is asked for, 400; of what would be stored, refused by core."""
    quoted = "".join(f"%{one:02x}" for one in chr(byte).encode())

    assert status(content.ask(f"/dev/a{quoted}b".encode())) == 400
    assert fault_of(f"a{chr(byte)}b")
    with pytest.raises(ServiceError):
        check_base_path(f"a{chr(byte)}b")
    with pytest.raises(ServiceError):
        user_segment(f"a{chr(byte)}b", "repositories", "zoo")
