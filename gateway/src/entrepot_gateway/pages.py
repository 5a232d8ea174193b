"""Pages for people: what this is, what a problem means, and the reference with a form to try it.

The pages of docs/problems are package data through the link `problems` in this folder, so that
there is one source; a reason that has no page yet shows its comment in the proto.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from starlette.responses import Response

from entrepot_gateway.answer import JsonAnswer
from entrepot_gateway.binding import core_bindings
from entrepot_gateway.problem import not_found
from entrepot_rpc.address import PREFIX
from entrepot_rpc.problem import reason_comments

if TYPE_CHECKING:
    from entrepot_gateway.call import Call

_REASON = re.compile(r"[A-Z][A-Z0-9_]{0,63}")

# The whole user interface comes from this server; its styles are set by script.
_DOCS_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; font-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

_DOCS = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Entrepot API</title>
<link rel="stylesheet" href="/api/v3/docs/swagger-ui.css">
<link rel="icon" href="/api/v3/docs/favicon-32x32.png">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/api/v3/docs/swagger-ui-bundle.js"></script>
<script src="/api/v3/docs/start.js"></script>
</body>
</html>
"""

_START = """window.ui = SwaggerUIBundle({
  url: "/api/v3/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  docExpansion: "none",
  filter: true,
  tryItOutEnabled: true,
  displayRequestDuration: true,
  persistAuthorization: false,
  validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis],
});
"""

_ASSETS = {
    "swagger-ui.css": "text/css; charset=utf-8",
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "favicon-32x32.png": "image/png",
}


def welcome(_call: Call) -> Response:
    """What answers here."""
    return JsonAnswer(
        {
            "name": "Entrepot",
            "description": "Mirrors, versions, publishes and serves software repositories.",
            "api": f"{PREFIX}/",
            "docs": f"{PREFIX}/docs/",
            "openapi": f"{PREFIX}/openapi.json",
        }
    )


def health(_call: Call) -> Response:
    """That this process answers; whether core does is for /api/v3/status/ to say."""
    return JsonAnswer({"status": "serving"}, headers={"Cache-Control": "no-store"})


def ready() -> Response:
    """What the probe for new requests answers while all is well."""
    return JsonAnswer({"status": "ready"}, headers={"Cache-Control": "no-store"})


def collections(call: Call) -> Response:
    """Every collection, by name, with its address; those of plugins among them."""
    found = {
        binding.template.segments[-1]: binding.template.fill({})
        for binding in core_bindings()
        if binding.http_method == "GET" and "*" not in binding.template.segments
    }
    for plugin in call.catalog.plugins.values():
        for task_type in plugin.tasks.values():
            found[f"tasks/{task_type.name}"] = f"{PREFIX}/tasks/{task_type.name}/"
        for item in plugin.contents.values():
            path = f"content/{item.plugin}/{item.collection}"
            found[path] = f"{PREFIX}/{path}/"
    found["uploads"] = f"{PREFIX}/uploads/"
    found["events"] = f"{PREFIX}/events/"
    found["openapi"] = f"{PREFIX}/openapi.json"
    found["docs"] = f"{PREFIX}/docs/"
    return JsonAnswer(dict(sorted(found.items())))


def problem_page(call: Call, reason: str) -> Response:
    """What a reason means, and what to do: Markdown."""
    text = problem_text(reason)
    if text is None:
        raise not_found("ROUTE_UNKNOWN", f"There is no page about {reason}.", path=call.path)
    wants_html = "text/html" in call.request.headers.get("accept", "")
    return Response(
        text,
        # Browsers offer Markdown for download, and show plain text.
        media_type="text/plain" if wants_html else "text/markdown",
        headers={"Vary": "Accept"},
    )


@cache
def problem_text(reason: str) -> str | None:
    """The Markdown about a reason; None if there is no such reason."""
    if not _REASON.fullmatch(reason):
        return None
    page = files("entrepot_gateway").joinpath("problems", f"{reason}.md")
    if page.is_file():
        return page.read_text("utf-8")
    comment = reason_comments().get(reason)
    return f"# {reason}\n\n{comment}\n" if comment else None


def has_docs(path: str) -> bool:
    """Say whether the reference has a file of this name."""
    return path in ("", "start.js") or path in _ASSETS


def docs(_call: Call, path: str) -> Response:
    """A file of the reference."""
    headers = {"Content-Security-Policy": _DOCS_POLICY}
    if path == "":
        return Response(_DOCS, media_type="text/html", headers=headers)
    if path == "start.js":
        return Response(_START, media_type="text/javascript", headers=headers)
    headers["Cache-Control"] = "max-age=86400"
    return Response(_asset(path), media_type=_ASSETS[path], headers=headers)


@cache
def _asset(name: str) -> bytes:
    return files("swagger_ui").joinpath("static", name).read_bytes()
