"""The OpenAPI document: valid, complete, and made of the protos' own words."""

import re
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from entrepot_gateway.binding import core_bindings
from entrepot_gateway.catalog import EMPTY, Catalog
from entrepot_gateway.openapi import document
from gateway_client import Client
from gateway_declarations import a_plugin


@pytest.fixture(scope="module")
def api() -> dict[str, Any]:
    """The document with one plugin."""
    return document(Catalog.of([a_plugin()]))


@pytest.mark.parametrize("catalog", [EMPTY, Catalog.of([a_plugin(), a_plugin("aquarium")])])
def test_the_document_is_valid(catalog: Catalog) -> None:
    """By the schema of OpenAPI 3.1, with no plugin and with two."""
    assert list(OpenAPIV31SpecValidator(document(catalog)).iter_errors()) == []


def test_every_reference_leads_somewhere(api: dict[str, Any]) -> None:
    """And every schema is used."""
    used = set(re.findall(r"#/components/schemas/([\w.]+)", str(api)))

    assert used == set(api["components"]["schemas"])


def test_operations_have_one_name_each(api: dict[str, Any]) -> None:
    """Names that a generator of clients can keep."""
    names = [
        operation["operationId"] for path in api["paths"].values() for operation in path.values()
    ]

    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) for name in names)
    assert {"zoo_feedings_CreateTask", "zoo_CreateRepository", "GetTask"} <= set(names)


def test_every_group_of_operations_says_what_it_is(api: dict[str, Any]) -> None:
    """In the words of its service, or by the plugin that adds it; and none is empty."""
    used = {
        tag
        for path in api["paths"].values()
        for operation in path.values()
        for tag in operation["tags"]
    }
    described = {tag["name"]: tag["description"] for tag in api["tags"]}

    assert set(described) == used
    assert all(text.endswith(".") for text in described.values())
    assert described["zoo"] == "What the plugin zoo adds."


def test_every_rpc_is_in_it(api: dict[str, Any]) -> None:
    """Each binding of core's is an operation, for all plugins or for each."""
    names = {
        operation["operationId"].rpartition("_")[2]
        for path in api["paths"].values()
        for operation in path.values()
    }
    # The zoo has no publications.
    wanted = {item.rpc.name for item in core_bindings()} - {"GetPublication", "DeletePublication"}

    assert wanted <= names


def test_parameters_of_a_task_are_described(api: dict[str, Any]) -> None:
    """Types, words, comments, what is required, and what is a reference."""
    schema = api["components"]["schemas"]["zoo.Feeding"]
    properties = schema["properties"]

    assert schema["description"] == "Feeds the animals. All of them."
    assert schema["required"] == ["repository"]
    assert properties["happy"] == {"type": "boolean", "description": "Whether they like it."}
    assert properties["mood"] == {"type": "string", "enum": ["calm", "very_angry"]}
    assert properties["count"] == {"type": "integer", "format": "int64"}
    assert properties["raw"] == {"type": "string", "contentEncoding": "base64"}
    assert properties["tags"] == {"type": "object", "additionalProperties": {"type": "string"}}
    assert properties["cages"] == {
        "type": "array",
        "items": {"$ref": "#/components/schemas/zoo.Cage"},
    }
    assert properties["remote"]["description"] == "Also understood: importer."
    assert properties["repository"]["x-entrepot-reference"] == {
        "kind": "repository",
        "access": "exclusive",
    }


def test_resources_have_the_plugins_fields(api: dict[str, Any]) -> None:
    """Flat, in the collection of the plugin, and without requirements in an update."""
    schemas = api["components"]["schemas"]
    paths = api["paths"]

    assert "climate" in schemas["zoo.Repository"]["properties"]
    assert "climate" not in schemas["Repository"]["properties"]
    assert "spec" not in schemas["zoo.Repository"]["properties"]
    assert schemas["zoo.Repository"]["properties"]["latest_version"]["readOnly"] is True
    assert schemas["Remote"]["properties"]["password"]["writeOnly"] is True
    assert schemas["zoo.Remote"]["required"] == ["url"]
    assert "required" not in schemas["zoo.RemoteUpdate"]
    assert "/api/v3/repositories/zoo/{repository}/versions/{version}/diff/" in paths
    assert "/api/v3/publications/zoo/" not in paths


def test_content_can_be_filtered(api: dict[str, Any]) -> None:
    """Filterable fields are parameters, others are not."""
    operation = api["paths"]["/api/v3/content/zoo/animals/"]["get"]
    names = {parameter["name"] for parameter in operation["parameters"]}

    assert {"species", "legs", "filter", "page_size"} <= names
    assert "secret" not in names


def test_every_operation_can_fail(api: dict[str, Any]) -> None:
    """With a problem, which has a schema."""
    for path in api["paths"].values():
        for operation in path.values():
            assert operation["responses"]["default"] == {"$ref": "#/components/responses/Problem"}


async def test_the_document_is_not_sent_twice(client: Client) -> None:
    """Its entity tag is that of its content."""
    first = await client.request("GET", "/api/v3/openapi.json")
    second = await client.request(
        "GET", "/api/v3/openapi.json", headers={"if-none-match": first.headers["etag"]}
    )

    assert first.status == 200
    assert second.status == 304
