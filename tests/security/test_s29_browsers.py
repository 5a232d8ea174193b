"""S29: what strangers published cannot act in a browser (CVE-2024-36115)."""

import html
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from entrepot.core.v1.serving_service_pb2 import ListFolderResponse
from gateway_core import TOKEN
from gateway_process import GatewayProcess, fields_of, status
from served import Entry, a_file, store

ACTIVE = {
    "page.html": "text/html",
    "page.xhtml": "application/xhtml+xml",
    "drawing.svg": "image/svg+xml",
    "data.xml": "text/xml",
    "script.js": "text/javascript",
    "module.mjs": "text/javascript",
    "code.wasm": "application/wasm",
    "paper.pdf": "application/pdf",
    "mail.mht": "message/rfc822",
    "unknown": "application/octet-stream",
}
CREDENTIALS = (
    b"Authorization: Bearer " + TOKEN.encode(),
    b"Cookie: token=" + TOKEN.encode(),
    b"Authorization: Basic YWRtaW46c2VjcmV0",
)
SCRIPT = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"


@pytest.mark.parametrize("name", ACTIVE)
def test_active_files_are_locked_away(content: GatewayProcess, name: str) -> None:
    """Saved and not shown, of the type that is said and no other, in a sandbox without scripts."""
    data = SCRIPT.encode()
    content.files[name] = a_file(sha256=store(content.home, data), size_bytes=len(data))

    for method in (b"GET", b"HEAD"):
        fields = fields_of(content.ask(f"/dev/{name}".encode(), method))

        assert fields["x-content-type-options"] == "nosniff"
        assert fields["content-security-policy"] == "sandbox; default-src 'none'"
        assert fields["content-disposition"].startswith("attachment;")
        assert fields["content-type"].partition(";")[0] == ACTIVE[name]
        assert "access-control-allow-origin" not in fields
        assert "set-cookie" not in fields


@pytest.mark.parametrize("target", [b"/dev/none", b"/dev/%00", b"/dev/", b"/dev/a", b"/", b"/v2/"])
def test_every_answer_is_locked_away(content: GatewayProcess, target: bytes) -> None:
    """Errors, redirects and listings too: nothing is sniffed, and nothing runs."""
    fields = fields_of(content.ask(target))

    assert fields["x-content-type-options"] == "nosniff"
    assert fields["content-security-policy"].startswith("sandbox; default-src 'none'")


@pytest.mark.parametrize("credential", CREDENTIALS)
def test_the_content_origin_is_not_the_api(content: GatewayProcess, credential: bytes) -> None:
    """No credential does anything there, and nothing of the API is there."""
    for target in (b"/api/v3/", b"/api/v3/status/", b"/api/v3/openapi.json", b"/healthz"):
        assert status(content.ask(target, b"GET", credential)) == 404
    for method in (b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"):
        assert status(content.ask(b"/api/v3/tasks/", method, credential)) == 405
    assert {item.metadata.get("authorization") for item in content.core.received} == {
        f"Bearer {TOKEN}"
    }


@pytest.mark.parametrize("credential", CREDENTIALS[1:])
def test_the_api_takes_nothing_that_a_browser_sends_by_itself(
    api: GatewayProcess, credential: bytes
) -> None:
    """Neither cookies nor passwords; and no other origin may read its answers."""
    for origin in (b"null", b"http://127.0.0.1:8081"):
        answer = api.ask(b"/api/v3/status/", b"GET", credential, b"Origin: " + origin)

        assert status(answer) == 401
        assert "access-control-allow-origin" not in fields_of(answer)
        preflight = (b"Origin: " + origin, b"Access-Control-Request-Method: POST")
        answer = api.ask(b"/api/v3/tasks/", b"OPTIONS", *preflight)
        assert "access-control-allow-origin" not in fields_of(answer)


@pytest.mark.skipif(not shutil.which("chromium"), reason="no browser is installed here")
def test_a_listing_of_evil_names_runs_nothing(content: GatewayProcess, tmp_path: Path) -> None:
    """A real browser shows the names as they are, and not one of them as what it says."""
    names = [SCRIPT, "javascript:document.title='owned'", "\"onload=\"document.title='owned'"]

    async def listed(_: Any) -> AsyncIterator[ListFolderResponse]:  # noqa: ANN401
        yield ListFolderResponse(entries=[Entry(name=name) for name in names])

    content.core.on("ListFolder", listed)
    host, port = content.address
    browser = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    done = subprocess.run(
        [*browser, f"--user-data-dir={tmp_path}", f"http://{host}:{port}/dev/"],
        capture_output=True,
        check=True,
        timeout=60,
    )

    page = done.stdout.decode()
    assert "<title>/dev/</title>" in page
    assert "<script>" not in page
    assert all(html.escape(name, quote=False) in page for name in names)
