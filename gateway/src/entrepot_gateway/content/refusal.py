"""What clients of the content origin are told when something fails: short, and for people."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import structlog

from entrepot_gateway import problem
from entrepot_rpc.errors import Code
from entrepot_rpc.problem import title

if TYPE_CHECKING:
    from starlette.types import Scope

    from entrepot_gateway.content.answer import Answer
    from entrepot_rpc.errors import ServiceError

log = structlog.get_logger()

# Reasons that are upstream's fault and not ours.
_UPSTREAM = frozenset({"DOWNLOAD_FAILED", "DIGEST_MISMATCH", "SIZE_MISMATCH", "ADDRESS_FORBIDDEN"})

# It is this process that core does not trust, and this installation that has lost bytes.
_NOT_THE_CLIENTS = frozenset(
    {Code.UNAUTHENTICATED, Code.PERMISSION_DENIED, Code.FAILED_PRECONDITION}
)


async def refuse(scope: Scope, answer: Answer, error: ServiceError) -> None:
    """Answer with what an error of core means to the client."""
    headers = [
        (name.lower().encode("ascii"), value.encode("ascii"))
        for name, value in problem.headers(error, bearer=False).items()
    ]
    if error.reason in _UPSTREAM:
        host = _host(error.metadata.get("url", ""))
        status = error.metadata.get("http_status", "")
        said = f"{host} answered {status}" if status.isdecimal() else f"{host} failed"
        log.info("content.upstream_failed", path=scope["path"], reason=error.reason, host=host)
        # Clients print it on terminals.
        text = f"{scope['path']}: {said}".encode("unicode_escape").decode("ascii")
        await answer.text(502, f"{text} ({error.reason}).\n", headers)
        return
    if error.code == Code.NOT_FOUND:
        await answer.text(404, "Not found.\n")
        return
    status_code = problem.http_status(error)
    if error.code in (Code.UNAUTHENTICATED, Code.PERMISSION_DENIED, Code.FAILED_PRECONDITION):
        # It is this process that core does not trust, or bytes that are lost: not the client.
        status_code = 503
    log.warning("content.refused", path=scope["path"], reason=error.reason)
    await answer.text(status_code, f"{title(error.reason, error.code)}.\n", headers)


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or "the upstream"
    except ValueError:
        return "the upstream"
