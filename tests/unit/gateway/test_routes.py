"""Requests through the whole API, to a core that does what the test says."""

import asyncio
from typing import Any

import grpc
import pytest

from entrepot.core.v1 import (
    content_service_pb2,
    distribution_service_pb2,
    plugin_service_pb2,
    repository_service_pb2,
    status_service_pb2,
)
from entrepot_gateway.app import Api
from entrepot_gateway.binding import core_bindings
from entrepot_gateway.body import MAX_BYTES
from entrepot_gateway.core import Core
from entrepot_gateway.template import Template, split_path
from entrepot_rpc.comment import core_files
from entrepot_rpc.errors import Code, ServiceError, Violation
from gateway_client import Client
from gateway_core import TOKEN, FakeCore

Repository = repository_service_pb2.Repository
REPOSITORY = Repository(name="repositories/zoo/foo", plugin="zoo", etag="e1")


def test_every_annotated_rpc_has_a_route() -> None:
    """A service that is added to core's protos is added to the gateway too."""
    annotated = {
        f"{file.package}.{service.name}.{rpc.name}"
        for file in core_files().file
        for service in file.service
        for rpc in service.method
        if rpc.options.ByteSize() and file.package == "entrepot.core.v1"
        if "google.api.http" in str(rpc.options)
    }

    assert annotated == {binding.rpc.full_name for binding in core_bindings()}


def test_templates_bind_and_fill() -> None:
    """A variable may span segments, and leads back to the canonical path."""
    template = Template.parse("/api/v3/{name=repositories/*/*}/versions")
    segments = split_path("/api/v3/repositories/zoo/a%20b/versions/")
    assert segments is not None

    values = template.match(segments)

    assert values == {"name": "repositories/zoo/a b"}
    assert template.fill(values) == "/api/v3/repositories/zoo/a%20b/versions/"


@pytest.mark.parametrize(
    "path",
    ["/a//b", "/a/../b", "/a/%2e%2e/b", "/a/%2fb", "/a/%5cb", "/a/%00", "/%ff", "a", "//", "/./"],
)
def test_evil_paths_are_none(path: str) -> None:
    """What could be read in two ways is no path."""
    assert split_path(path) is None


@pytest.mark.parametrize("path", ["/api/v3/repositories/zoo/foo", "/api/v3/repositories/zoo/foo/"])
async def test_both_forms_of_a_path_are_answered(
    client: Client, core: FakeCore, path: str
) -> None:
    """With and without the slash at the end, and no redirect."""
    core.on("GetRepository", repository_service_pb2.GetRepositoryResponse(repository=REPOSITORY))

    answer = await client.request("GET", path)

    assert answer.status == 200
    assert answer.json["href"] == "/api/v3/repositories/zoo/foo/"
    assert core.last("GetRepository").name == "repositories/zoo/foo"


async def test_a_resource_is_created(client: Client, core: FakeCore) -> None:
    """201, its address, its entity tag, and the plugin's fields packed for core."""
    core.on(
        "CreateRepository", repository_service_pb2.CreateRepositoryResponse(repository=REPOSITORY)
    )

    answer = await client.request(
        "POST", "/api/v3/repositories/zoo/", {"name": "foo", "climate": "hot"}
    )

    request = core.last("CreateRepository")
    assert answer.status == 201
    assert answer.headers["location"] == "/api/v3/repositories/zoo/foo/"
    assert answer.headers["etag"] == '"e1"'
    assert request.parent == "repositories/zoo"
    assert request.repository.name == "foo"
    assert request.repository.spec.type_url == "type.googleapis.com/acme.zoo.v1.Habitat"


@pytest.mark.parametrize("path", ["/", "/healthz", "/api/v3/nothing/"])
async def test_a_document_ends_its_line(client: Client, path: str) -> None:
    """Answers and problems leave the cursor of a terminal at the start of a line."""
    answer = await client.request("GET", path)

    assert answer.body.endswith(b"}\n")


async def test_a_resource_of_an_unknown_plugin_is_refused(client: Client) -> None:
    """404, and the plugins that there are."""
    answer = await client.request("POST", "/api/v3/repositories/zo/", {"name": "foo"})

    assert answer.status == 404
    assert answer.json["reason"] == "PLUGIN_UNKNOWN"
    assert answer.json["metadata"] == {"plugin": "zo", "plugins": "zoo"}


async def test_an_update_names_what_was_sent(client: Client, core: FakeCore) -> None:
    """The mask has the fields of the body, those of `spec` flat, and If-Match is the etag."""
    core.on(
        "UpdateRepository", repository_service_pb2.UpdateRepositoryResponse(repository=REPOSITORY)
    )

    answer = await client.request(
        "PATCH",
        "/api/v3/repositories/zoo/foo/",
        {"name": "foo", "description": "", "climate": "cold", "latest_version": 3},
        headers={"if-match": '"e0"'},
    )

    request = core.last("UpdateRepository")
    assert answer.status == 200
    assert list(request.update_mask.paths) == ["description", "climate"]
    assert request.repository.name == "repositories/zoo/foo"
    assert request.repository.etag == "e0"


async def test_a_name_cannot_be_changed(client: Client) -> None:
    """A PATCH with another name is refused, not ignored."""
    answer = await client.request("PATCH", "/api/v3/repositories/zoo/foo/", {"name": "bar"})

    assert answer.status == 400
    assert answer.pointers == ["#/name"]


@pytest.mark.parametrize("condition", ["", '"', '""', 'W/""', '"a", "b"', '"a b"'])
async def test_a_condition_that_is_none_is_refused(client: Client, condition: str) -> None:
    """An If-Match that names no entity tag changes nothing, rather than anything."""
    answer = await client.request(
        "DELETE", "/api/v3/repositories/zoo/foo/", headers={"if-match": condition}
    )

    assert answer.status == 400
    assert answer.pointers == ["#/If-Match"]


async def test_a_resource_is_deleted(client: Client, core: FakeCore) -> None:
    """204 without a body; If-Match reaches core."""
    core.on("DeleteRepository", repository_service_pb2.DeleteRepositoryResponse())

    answer = await client.request(
        "DELETE", "/api/v3/repositories/zoo/foo/", headers={"if-match": '"e1"'}
    )

    assert (answer.status, answer.body) == (204, b"")
    assert core.last("DeleteRepository").etag == "e1"


async def test_lists_are_results_and_a_token(client: Client, core: FakeCore) -> None:
    """The query fills the request, and every list has the same shape."""
    core.on(
        "ListRepositories",
        repository_service_pb2.ListRepositoriesResponse(
            repositories=[REPOSITORY], next_page_token="more"
        ),
    )

    answer = await client.request("GET", "/api/v3/repositories/?page_size=7&label=a%3Db")

    assert [item["name"] for item in answer.json["results"]] == ["repositories/zoo/foo"]
    assert answer.json["next_page_token"] == "more"
    assert core.last("ListRepositories").page_size == 7
    assert core.last("ListRepositories").label == "a=b"


@pytest.mark.parametrize(("number", "heard"), [(2**31, 2**31 - 1), (10**30, 2**31 - 1), (-1, -1)])
async def test_core_tells_the_limits_of_a_number(
    client: Client, core: FakeCore, number: int, heard: int
) -> None:
    """What 32 bits cannot hold goes to core as the most they can: core knows the field's limit."""
    words = "page_size: must be from 1 to 1,000."
    refused = ServiceError.of(
        Code.INVALID_ARGUMENT, "FIELD_INVALID", words, violations=(Violation("page_size", words),)
    )
    core.on("ListRepositories", refused)

    answer = await client.request("GET", f"/api/v3/repositories/?page_size={number}")

    assert core.last("ListRepositories").page_size == heard
    assert answer.status == 400
    assert answer.json["errors"][0]["in"] == "query"
    assert "1,000" in answer.json["errors"][0]["detail"]


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("page_size=many", "#/page_size"),
        ("page_size=", "#/page_size"),
        ("page_sise=1", "#/page_sise"),
        ("parent=repositories/file", "#/parent"),
        ("page_size=1&page_size=2", "#/page_size"),
    ],
)
async def test_a_wrong_query_is_refused(client: Client, query: str, pointer: str) -> None:
    """The parameter is named, as one of the query."""
    answer = await client.request("GET", f"/api/v3/repositories/zoo/?{query}")

    assert answer.status == 400
    assert answer.json["errors"][0]["in"] == "query"
    assert answer.pointers == [pointer]


async def test_guides_are_a_list_too(client: Client, core: FakeCore) -> None:
    """A response of one repeated field has the shape of a list, even if it is never paged."""
    guide = distribution_service_pb2.ListGuidesResponse.Guide(client="curl")
    core.on("ListGuides", distribution_service_pb2.ListGuidesResponse(guides=[guide]))

    answer = await client.request("GET", "/api/v3/distributions/zoo/d/guides/")

    assert answer.json["results"][0]["client"] == "curl"


async def test_content_is_filtered_by_declared_fields(client: Client, core: FakeCore) -> None:
    """Parameters named after filterable fields become a filter, quoted."""
    core.on("ListContent", content_service_pb2.ListContentResponse())

    answer = await client.request(
        "GET",
        "/api/v3/content/zoo/animals/"
        "?species=a%22%5C&legs=4&wild=true&mood=calm&filter=legs%3E2&page_size=5",
    )

    request = core.last("ListContent")
    assert answer.status == 200
    assert request.parent == "content/zoo/animals"
    assert request.page_size == 5
    assert request.filter == (
        r'(legs>2) AND species = "a\"\\" AND legs = 4 AND wild = true AND mood = "MOOD_CALM"'
    )


async def test_a_filter_alone_is_passed_on_as_it_is(client: Client, core: FakeCore) -> None:
    """What core says of a position in a filter is true of what the client sent."""
    core.on("ListContent", content_service_pb2.ListContentResponse())

    await client.request("GET", "/api/v3/content/zoo/animals/?filter=((legs")

    assert core.last("ListContent").filter == "((legs"


async def test_several_values_are_alternatives(client: Client, core: FakeCore) -> None:
    """A parameter given twice matches either value; in a version too."""
    core.on("ListContent", content_service_pb2.ListContentResponse())

    await client.request(
        "GET", "/api/v3/repositories/zoo/foo/versions/latest/content/?species=a&species=b"
    )

    request = core.last("ListContent")
    assert request.parent == "repositories/zoo/foo/versions/latest"
    assert request.filter == '(species = "a" OR species = "b")'


async def test_other_fields_are_no_filter(client: Client) -> None:
    """What is not declared cannot be asked about, and the answer says what can."""
    answer = await client.request("GET", "/api/v3/content/zoo/animals/?secret=a&legs=many")

    assert answer.status == 400
    assert answer.pointers == ["#/secret", "#/legs"]
    assert "Filter by: species, legs, wild, mood." in answer.json["errors"][0]["detail"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/api/v3/tasks/zoo/feedings/", "GET, HEAD, POST"),
        ("POST", "/api/v3/status/", "GET, HEAD"),
        ("PUT", "/api/v3/repositories/zoo/foo/", "DELETE, GET, HEAD, PATCH"),
        ("OPTIONS", "/api/v3/openapi.json", "GET, HEAD"),
    ],
)
async def test_another_method_is_refused(
    client: Client, method: str, path: str, allowed: str
) -> None:
    """405, with the methods that there are."""
    answer = await client.request(method, path)

    assert answer.status == 405
    assert answer.headers["allow"] == allowed


@pytest.mark.parametrize(
    "path", ["/nope", "/api/v3/nope/", "/api/v2/", "/api/v3//tasks/", "/%2e%2e/"]
)
async def test_nothing_is_at_other_addresses(client: Client, path: str) -> None:
    """404 as a problem."""
    answer = await client.request("GET", path)

    assert answer.status == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json["reason"] == "ROUTE_UNKNOWN"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        (binding.http_method, "/" + "/".join(binding.template.segments).replace("*", "x") + "/")
        for binding in core_bindings()
    ]
    + [
        ("GET", "/api/v3/"),
        ("GET", "/api/v3/events/"),
        ("GET", "/api/v3/tasks/01/events/"),
        ("PUT", "/api/v3/uploads/01/"),
        ("POST", "/api/v3/tasks/zoo/feedings/"),
        ("GET", "/api/v3/content/zoo/animals/"),
        ("GET", "/api/v3/tasks/nothere/feedings/"),
        ("GET", "/api/v3/nothere/"),
    ],
)
async def test_nothing_is_told_without_a_token(app: Api, method: str, path: str) -> None:
    """401 for every operation there is, derived from the descriptors."""
    answer = await Client(app, {}).request(method, path)

    assert answer.status == 401
    assert answer.headers["www-authenticate"] == 'Bearer realm="entrepot"'
    assert answer.json["reason"] == "UNAUTHENTICATED"


@pytest.mark.parametrize(
    "header",
    [
        {"authorization": "Bearer wrong"},
        {"authorization": TOKEN},
        {"authorization": f"Basic {TOKEN}"},
        {"remote-user": "admin", "remote_user": "admin", "x-remote-user": "admin"},
        {"cookie": f"token={TOKEN}"},
    ],
)
async def test_no_other_header_field_opens_the_door(app: Api, header: dict[str, str]) -> None:
    """Only the right bearer token counts."""
    assert (await Client(app, header).request("GET", "/api/v3/tasks/")).status == 401


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/healthz",
        "/livez",
        "/readyz",
        "/api/v3/openapi.json",
        "/api/v3/docs/",
        "/api/v3/docs",
        "/problems/NAME_TAKEN",
    ],
)
async def test_documentation_is_open(app: Api, path: str) -> None:
    """What tells nothing about this installation needs no token."""
    assert (await Client(app, {}).request("GET", path)).status == 200


@pytest.mark.parametrize("size", [4_097, 17_000, 100_000])
async def test_a_token_that_is_too_long_is_refused_as_such(
    app: Api, core: FakeCore, size: int
) -> None:
    """431 as a problem that names the field, not its value; core is not asked."""
    long = {"authorization": f"Bearer {'a' * (size - 7)}"}
    at_most = {"authorization": f"Bearer {'a' * 4_089}"}

    refused = await Client(app, long).request("GET", "/api/v3/tasks/")
    wrong = await Client(app, at_most).request("GET", "/api/v3/tasks/")

    assert (refused.status, wrong.status) == (431, 401)
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json["reason"] == "REQUEST_TOO_LARGE"
    assert "Authorization" in refused.json["detail"]
    assert "a" * 40 not in refused.body.decode()
    assert core.count("ListTasks") == 1


async def test_who_has_no_database_is_not_ready(app: Api, core: FakeCore) -> None:
    """503 with the reason, while the process lives; however many ask, core is asked once."""
    words = "The database cannot be reached."
    core.on("ListPlugins", ServiceError.of(Code.UNAVAILABLE, "DATABASE_UNAVAILABLE", words))
    anybody = Client(app, {})

    answers = await asyncio.gather(*(anybody.request("GET", "/readyz") for _ in range(20)))

    assert {(one.status, one.json["reason"]) for one in answers} == {(503, "DATABASE_UNAVAILABLE")}
    assert core.count("ListPlugins") == 1
    assert (await anybody.request("GET", "/livez")).status == 200


async def test_a_core_that_hangs_is_not_ready(app: Api, core: FakeCore) -> None:
    """The probe waits a second for core, no longer."""

    async def never(_request: Any) -> None:  # noqa: ANN401  of any rpc
        await asyncio.Event().wait()

    core.on("ListPlugins", never)

    async with asyncio.timeout(10):
        answer = await Client(app, {}).request("GET", "/readyz")

    assert answer.status == 503
    assert "database" in answer.json["detail"]


@pytest.mark.parametrize("path", ["/", "/api/v3/docs/", "/api/v3/nope", "/api/v3/"])
async def test_browsers_are_told_to_be_careful(client: Client, path: str) -> None:
    """Every answer, errors too, carries the header fields that keep other origins out."""
    headers = (await client.request("GET", path)).headers

    assert headers["x-content-type-options"] == "nosniff"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "access-control-allow-origin" not in headers


async def test_a_request_id_is_kept(client: Client, core: FakeCore) -> None:
    """The client's id is in the header and in the problem; one that is none is replaced."""
    core.on("GetStatus", ServiceError.of(Code.INTERNAL, "INTERNAL", "Oops."))

    mine = await client.request("GET", "/api/v3/status/", headers={"x-request-id": "abc-1"})
    theirs = await client.request("GET", "/api/v3/status/", headers={"x-request-id": "a b\x7f"})

    assert mine.headers["x-request-id"] == mine.json["request_id"] == "abc-1"
    assert len(theirs.json["request_id"]) == 32


async def test_a_core_that_is_down_is_said_so(client: Client, core: FakeCore) -> None:
    """503, Retry-After, and none of the transport's own words."""
    await core.stop()

    answer = await client.request("GET", "/api/v3/status/")

    assert answer.status == 503
    assert answer.headers["retry-after"] == "1"
    assert answer.json["reason"] == "CORE_UNAVAILABLE"
    assert "127.0.0.1" not in answer.body.decode()


async def test_a_core_that_ends_meanwhile_is_said_so(client: Client, core: FakeCore) -> None:
    """A call that core cancels as it ends was not canceled by who asked: 503, and try again."""
    core.on("GetStatus", grpc.StatusCode.CANCELLED)

    answer = await client.request("GET", "/api/v3/status/")

    assert (answer.status, answer.json["reason"]) == (503, "CORE_UNAVAILABLE")
    assert answer.headers["retry-after"] == "1"


async def test_a_gateway_that_never_met_core_says_so(
    core: FakeCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the first declarations nothing is known about plugins: 503, not 404."""
    monkeypatch.setattr("entrepot_gateway.plugins.FIRST_SECONDS", 0.01)
    app = Api(Core(core.address, TOKEN))

    answer = await Client(app).request("POST", "/api/v3/tasks/zoo/feedings/", {})
    await app.stop()

    assert answer.status == 503


async def test_a_fault_shows_no_trace(client: Client, core: FakeCore) -> None:
    """What core throws without a word becomes INTERNAL, and its words stay there."""
    core.on("GetStatus", RuntimeError("SELECT secret FROM everything"))

    answer = await client.request("GET", "/api/v3/status/")

    assert answer.status == 500
    assert answer.json["reason"] == "INTERNAL"
    assert "SELECT" not in answer.body.decode()


async def test_head_is_get_without_a_body(client: Client, core: FakeCore) -> None:
    """Same status and length."""
    core.on("GetStatus", status_service_pb2.GetStatusResponse(version="1"))

    whole = await client.request("GET", "/api/v3/status/")
    head = await client.request("HEAD", "/api/v3/status/")

    assert head.body == b""
    assert head.headers["content-length"] == whole.headers["content-length"]


async def test_an_unchanged_resource_is_not_sent_again(client: Client, core: FakeCore) -> None:
    """If-None-Match with the etag: 304."""
    core.on("GetRepository", repository_service_pb2.GetRepositoryResponse(repository=REPOSITORY))

    answer = await client.request(
        "GET", "/api/v3/repositories/zoo/foo/", headers={"if-none-match": '"e1"'}
    )

    assert (answer.status, answer.body) == (304, b"")


@pytest.mark.parametrize("declared", [True, False])
async def test_a_large_body_is_refused(client: Client, declared: bool) -> None:
    """413, by the length that is declared, or when too much has come."""
    headers = {"content-length": str(MAX_BYTES + 1)} if declared else {}
    body = [b" " * 1024 * 1024] * 5

    answer = await client.request(
        "POST", "/api/v3/tasks/zoo/feedings/", headers=headers, body=[b"{}"] if declared else body
    )

    assert answer.status == 413
    assert answer.json["reason"] == "REQUEST_TOO_LARGE"


async def test_an_etag_that_is_none_makes_no_header(client: Client, core: FakeCore) -> None:
    """A value with a line break is not written into a header field."""
    evil = Repository(name="repositories/zoo/foo", etag='a"\r\nx: y')
    core.on("GetRepository", repository_service_pb2.GetRepositoryResponse(repository=evil))

    answer = await client.request("GET", "/api/v3/repositories/zoo/foo/")

    assert answer.status == 200
    assert "etag" not in answer.headers


async def test_collections_are_listed(client: Client) -> None:
    """The root names every collection, those of plugins among them."""
    answer = await client.request("GET", "/api/v3/")

    assert answer.json["tasks/zoo/feedings"] == "/api/v3/tasks/zoo/feedings/"
    assert answer.json["repositories"] == "/api/v3/repositories/"


async def test_a_plugin_is_registered_over_rest(client: Client, core: FakeCore) -> None:
    """The declaration that core answers with is written like everything else."""
    plugin = plugin_service_pb2.Plugin(
        name="plugins/zoo", target="127.0.0.1:1", health=plugin_service_pb2.Plugin.HEALTH_SERVING
    )
    plugin.declaration.task_types.add(collection="feedings", creates=2)
    core.on("CreatePlugin", plugin_service_pb2.CreatePluginResponse(plugin=plugin))

    answer = await client.request("POST", "/api/v3/plugins/", {"target": "127.0.0.1:1"})

    task_type: dict[str, Any] = answer.json["declaration"]["task_types"][0]
    assert answer.status == 201
    assert answer.json["health"] == "serving"
    assert task_type["creates"] == "repository_version"


@pytest.mark.parametrize("name", ["NAME_TAKEN", "NOT_A_REASON", "..%2f..%2fsecret", "name_taken"])
async def test_a_reason_has_a_page(client: Client, name: str) -> None:
    """The page of a known reason is Markdown; of any other there is none."""
    answer = await client.request("GET", f"/problems/{name}")

    if name == "NAME_TAKEN":
        assert answer.headers["content-type"] == "text/markdown; charset=utf-8"
        assert answer.body.startswith(b"# NAME_TAKEN")
    else:
        assert answer.status == 404


@pytest.mark.parametrize(
    ("file", "media_type"),
    [
        ("", "text/html; charset=utf-8"),
        ("start.js", "text/javascript; charset=utf-8"),
        ("swagger-ui.css", "text/css; charset=utf-8"),
        ("swagger-ui-bundle.js", "text/javascript; charset=utf-8"),
    ],
)
async def test_the_reference_works_offline(client: Client, file: str, media_type: str) -> None:
    """Every file it needs comes from here, and the policy lets no other origin in."""
    answer = await client.request("GET", f"/api/v3/docs/{file}")

    assert answer.status == 200
    assert answer.headers["content-type"] == media_type
    assert "script-src 'self';" in answer.headers["content-security-policy"]
    if not file:
        assert b"http" not in answer.body
