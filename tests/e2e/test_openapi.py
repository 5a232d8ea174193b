"""The API describes itself: an OpenAPI document, and pages that need nothing from outside."""

import json
import re

from rest import Api, Rest

ELSEWHERE = re.compile(r"""(?:src|href)=["'](?:https?:)?//(?!127\.0\.0\.1)""")


def test_the_document_is_openapi_3_1(api: Api) -> None:
    """The document says which OpenAPI it is, and has what core and the plugin offer."""
    document = api.get("openapi.json")

    assert document["openapi"].startswith("3.1.")
    for path in (
        "/api/v3/tasks/",
        "/api/v3/tasks/file/syncs/",
        "/api/v3/repositories/file/",
        "/api/v3/content/file/files/",
        "/api/v3/status/",
    ):
        assert path in document["paths"], path


def test_comments_are_descriptions(api: Api) -> None:
    """What the plugin's proto says about a field is what the document says."""
    text = json.dumps(api.get("openapi.json"), ensure_ascii=False)

    assert "Brings the files that a remote lists into a repository" in text
    assert "Remove files that upstream no longer lists" in text


def test_every_reference_leads_somewhere(api: Api) -> None:
    """Each $ref of the document points at something in it."""
    document = api.get("openapi.json")

    for reference in set(re.findall(r'"\$ref": "([^"]+)"', json.dumps(document))):
        node = document
        for part in reference.removeprefix("#/").split("/"):
            node = node[part.replace("~1", "/").replace("~0", "~")]


def test_operations_have_names_of_their_own(api: Api) -> None:
    """No two operations have the same id, so that clients can be generated."""
    operations = [
        operation["operationId"]
        for path in api.get("openapi.json")["paths"].values()
        for method, operation in path.items()
        if method in ("get", "post", "put", "patch", "delete")
    ]

    assert len(set(operations)) == len(operations)


def test_the_pages_come_from_here(api: Api) -> None:
    """Swagger UI is served with all its parts, and loads nothing from another machine."""
    page = api.request("GET", "docs/")

    assert page.status == 200
    assert page.headers["Content-Type"].startswith("text/html")
    text = page.body.decode()
    assert not ELSEWHERE.search(text)
    parts = re.findall(r'(?:src|href)="([^"#][^"]*)"', text)
    assert parts
    for part in parts:
        path = part if part.startswith("/") else f"/api/v3/docs/{part.removeprefix('./')}"
        if not part.startswith("data:"):
            assert api.request("GET", path).status == 200, part


def test_pages_need_no_token(api: Api) -> None:
    """What every installation has in common can be read before there is a token."""
    anybody = Rest(api.origin)

    assert anybody.request("GET", "docs/").status == 200
    assert anybody.request("GET", "/problems/FIELD_INVALID").status == 200
