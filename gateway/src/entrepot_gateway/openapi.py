"""The OpenAPI 3.1 document: core's bindings and what plugins declare, with comments as text.

Made anew when the catalog changes, so that a plugin is in it as soon as it is registered.
"""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import version
from typing import TYPE_CHECKING

from starlette.responses import Response

from entrepot_gateway.binding import core_bindings
from entrepot_gateway.catalog import EMPTY
from entrepot_gateway.openapi_parts import PARAMETERS, PROBLEM
from entrepot_gateway.openapi_paths import Paths
from entrepot_gateway.schema import SchemaBook
from entrepot_rpc.comment import core_files, read_comments

if TYPE_CHECKING:
    from entrepot_gateway.call import Call
    from entrepot_gateway.catalog import Catalog
    from entrepot_gateway.openapi_parts import Json


class OpenApi:
    """Answers with the document of the current catalog."""

    def __init__(self) -> None:
        self._catalog: Catalog = EMPTY
        self._body = b""
        self._etag = ""

    def answer(self, call: Call) -> Response:
        """The document, or that it has not changed."""
        if not self._body or self._catalog is not call.catalog:
            self._catalog = call.catalog
            self._body = json.dumps(document(call.catalog), ensure_ascii=False).encode("utf-8")
            self._etag = f'"{hashlib.sha256(self._body).hexdigest()[:32]}"'
        headers = {"ETag": self._etag, "Cache-Control": "no-cache"}
        if call.request.headers.get("if-none-match") == self._etag:
            return Response(status_code=304, headers=headers)
        return Response(self._body, media_type="application/json", headers=headers)


def document(catalog: Catalog) -> Json:
    """The OpenAPI document of a catalog."""
    book = SchemaBook(read_comments(core_files().file))
    paths = Paths(book)
    for binding in core_bindings():
        paths.add_of_core(binding)
    paths.add_streams()
    for plugin in catalog.plugins.values():
        book.of_plugin(plugin.name, plugin.comments)
        paths.add_plugin(plugin)
    schemas = {"Problem": PROBLEM} | dict(sorted(book.schemas.items()))
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "Entrepot",
            "version": version("entrepot-gateway"),
            "description": (
                "Mirrors, versions, publishes and serves software repositories. "
                "Every change of a repository is a task."
            ),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}],
        "tags": [{"name": name, "description": text} for name, text in sorted(paths.tags.items())],
        "paths": dict(sorted(paths.by_address.items())),
        "components": {
            "schemas": schemas,
            "parameters": PARAMETERS,
            "responses": {
                "Problem": {
                    "description": "What went wrong.",
                    "content": {
                        "application/problem+json": {
                            "schema": {"$ref": "#/components/schemas/Problem"}
                        }
                    },
                }
            },
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "What is in the file `token` of `ENTREPOT_HOME`.",
                }
            },
        },
    }
