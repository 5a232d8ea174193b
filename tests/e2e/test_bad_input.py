"""What bad input gets: a clear error that names field, unit and URL, and nothing half-visible."""

import pytest

from refusals import explained, failed, pointers, refused
from rest import Api, Json, Rest
from stack import Stack
from upstream import (
    Upstream,
)

NOBODY = f"content/file/files/{'0' * 64}"


# --- requests


@pytest.mark.parametrize(
    ("path", "body", "pointer"),
    [
        ("repositories/file/", {"name": "x", "colour": "red"}, "#/colour"),
        ("repositories/file/", {"name": "x", "retain_versions": "many"}, "#/retain_versions"),
        ("repositories/file/", {"name": "x", "labels": ["a"]}, "#/labels"),
        ("repositories/file/", {"name": "a/b/c/d"}, "#/name"),
        ("remotes/file/", {"name": "x"}, "#/url"),
        ("remotes/file/", {"name": "x", "url": "ftp://127.0.0.1/x"}, "#/url"),
        ("remotes/file/", {"name": "x", "url": "http://me:secret@127.0.0.1/"}, "#/url"),
        ("remotes/file/", {"name": "x", "url": "http://a/", "policy": "soon"}, "#/policy"),
        ("remotes/file/", {"name": "x", "url": "http://a/", "max_retries": 0.5}, "#/max_retries"),
        ("distributions/file/", {"name": "x", "base_path": "a/../b"}, "#/base_path"),
        ("distributions/file/", {"name": "x", "base_path": "v2/x"}, "#/base_path"),
        ("tasks/file/syncs/", {"remote": "x"}, "#/repository"),
        ("tasks/file/syncs/", {"mirror": "maybe"}, "#/mirror"),
        ("tasks/file/syncs/", {"mirrored": True}, "#/mirrored"),
        ("tasks/file/adds/", {"content": "not a list"}, "#/content"),
        ("tasks/file/syncs/?priority=urgent", {"remote": "x"}, "#/priority"),
        ("uploads/", {"size_bytes": -1}, "#/size_bytes"),
        ("limits/", {"name": "x", "task_type": "file/syncs"}, "#/max_running"),
        ("limits/", {"name": "x", "task_type": "file/syncs", "max_running": 0}, "#/max_running"),
        ("limits/", {"name": "x", "task_type": "file/jumps", "max_running": 1}, "#/task_type"),
        ("limits/", {"name": "x", "repository_label": "=web", "max_running": 1},
         "#/repository_label"),
    ],
)  # fmt: skip
def test_a_field_that_is_wrong(api: Api, path: str, body: Json, pointer: str) -> None:
    """An unknown, missing or mistyped field is refused, and pointed at."""
    problem = refused(api, api.post(path, body), 400, "FIELD_INVALID")

    assert pointer in pointers(problem)
    assert pointer.removeprefix("#/") in problem["detail"]
    assert "secret" not in str(problem)


@pytest.mark.parametrize("path", ["repositories/", "tasks/file/", "content/file/files/"])
def test_a_page_of_a_size_that_is_none(api: Api, path: str) -> None:
    """A negative size is refused wherever pages are, and zero means the usual one."""
    problem = refused(api, api.request("GET", f"{path}?page_size=-1"), 400, "FIELD_INVALID")

    assert pointers(problem) == ["#/page_size"]
    assert "zero means 100" in problem["detail"]
    assert "results" in api.get(f"{path}?page_size=0")


@pytest.mark.parametrize("field", ["resource", "created_resource"])
def test_a_filter_by_what_is_no_resource(api: Api, field: str) -> None:
    """Nonsense is refused, with what it should be; what is not there is in no task."""
    answer = api.request("GET", f"tasks/?{field}=nonsense")

    problem = refused(api, answer, 400, "FIELD_INVALID", "repositories/<plugin>/<name>")

    assert [(one["pointer"], one["in"]) for one in problem["errors"]] == [(f"#/{field}", "query")]
    assert api.get(f"tasks/?{field}=repositories/file/none")["results"] == []


def test_a_text_that_is_very_long(api: Api) -> None:
    """What is far too long is refused like anything else that is wrong, and shown shortened."""
    long = "é" * 4_000

    named = refused(api, api.post("repositories/file/", {"name": long}), 400, "FIELD_INVALID")
    absent = {"repository": "x", "remote": long}
    refused(api, api.post("tasks/file/syncs/", absent), 400, "FIELD_INVALID", "remote")
    refused(api, api.request("GET", f"remotes/file/{'x' * 6_000}/"), 404, "RESOURCE_NOT_FOUND")

    assert " … " in named["detail"]


def test_a_body_that_is_not_json(api: Api) -> None:
    """A body that cannot be parsed is refused, with the place where it goes wrong."""
    headers = {"Content-Type": "application/json"}

    answer = api.request("POST", "repositories/file/", b'{"name": "x",}', headers=headers)

    refused(api, answer, 400, "FIELD_INVALID", "line 1")


def test_a_parameter_that_is_unknown(api: Api) -> None:
    """An unknown query parameter is refused, and named."""
    answer = api.request("GET", "tasks/", query={"status": "waiting"})

    problem = refused(api, answer, 400, "FIELD_INVALID", "status")
    assert pointers(problem) == ["#/status"]


def test_a_state_that_is_unknown(api: Api) -> None:
    """A state that does not exist is refused, with those that do."""
    answer = api.request("GET", "tasks/", query={"state": "sleeping"})

    refused(api, answer, 400, "FIELD_INVALID", "waiting", "completed")


def test_an_address_that_is_unknown(api: Api) -> None:
    """A path the API does not have is a 404 with a reason."""
    refused(
        api, api.request("GET", "/api/v3/miracles/"), 404, "ROUTE_UNKNOWN", "/api/v3/miracles/"
    )


@pytest.mark.parametrize("field", ["repository", "remote"])
def test_a_resource_that_is_unknown(api: Api, names: Json, field: str) -> None:
    """A task that names a repository or a remote there is not is refused, and not stored."""
    answer = api.post("tasks/file/syncs/", names | {field: "nobody"})

    problem = refused(api, answer, 404, "RESOURCE_NOT_FOUND", f"{_plural(field)}/file/nobody")
    assert pointers(problem) == [f"#/{field}"]
    assert api.everything("tasks/", resource=names["repository"]) == []


def test_a_reference_of_the_wrong_kind(api: Api, names: Json) -> None:
    """The href of a remote where a repository belongs is refused, and pointed at."""
    answer = api.post("tasks/file/syncs/", names | {"repository": f"/api/v3/{names['remote']}/"})

    assert answer.status in (400, 404)
    assert pointers(answer.json) == ["#/repository"]


@pytest.mark.parametrize("kind", ["repositories", "remotes", "distributions"])
def test_a_plugin_that_is_unknown(api: Api, kind: str) -> None:
    """A resource of a plugin there is not is a 404 that says which there are."""
    refused(
        api, api.post(f"{kind}/docker/", {"name": "x"}), 404, "PLUGIN_UNKNOWN", "docker", "file"
    )


@pytest.mark.parametrize("kind", ["repositories", "remotes", "distributions"])
def test_a_name_that_is_taken(api: Api, kind: str) -> None:
    """A second resource with the name of the first is refused with 409, and named."""
    name = api.a_name()
    body: Json = {"name": name}
    if kind == "remotes":
        body["url"] = "http://127.0.0.1:1/PULP_MANIFEST"
    if kind == "distributions":
        body["base_path"] = name
    api.post(f"{kind}/file/", body).expect(201)
    if kind == "distributions":
        body["base_path"] = f"{name}-too"

    refused(api, api.post(f"{kind}/file/", body), 409, "NAME_TAKEN", f"{kind}/file/{name}")


@pytest.mark.parametrize("nested", ["{}", "{}/inside", "{}/deep/inside", "above"])
def test_base_paths_that_overlap(api: Api, nested: str) -> None:
    """A base path equal to, inside or above another is refused, and both are named."""
    taken = f"{api.a_name()}/middle"
    api.a_distribution(base_path=taken)
    asked = taken.removesuffix("/middle") if nested == "above" else nested.format(taken)

    body = {"name": api.a_name(), "base_path": asked}
    answer = api.post("distributions/file/", body)

    refused(api, answer, 400, "BASE_PATH_OVERLAPS", asked, taken)
    assert api.request("GET", f"distributions/file/{body['name']}/").status == 404


def test_an_etag_that_is_old(api: Api) -> None:
    """A change of what was changed meanwhile is refused with 409."""
    repository = api.a_repository()
    api.patch(repository["href"], {"description": "first"}).expect(200)

    body = {"description": "second", "etag": repository["etag"]}
    answer = api.patch(repository["href"], body)

    refused(api, answer, 409, "ETAG_MISMATCH", repository["name"])
    assert api.get(repository["href"])["description"] == "first"


def test_a_repository_that_is_served(api: Api) -> None:
    """A repository that a distribution serves cannot be deleted, and the answer names it."""
    repository = api.a_repository()
    distribution = api.a_distribution(repository)

    answer = api.delete(repository["href"])

    refused(api, answer, 400, "RESOURCE_IN_USE", distribution["name"])
    assert api.get(repository["href"])["name"] == repository["name"]


@pytest.mark.parametrize("path", ["repositories/", "tasks/", "plugins/", "uploads/", "status/"])
@pytest.mark.parametrize("authorization", ["", "Bearer wrong", "Basic YTpi", "Bearer "])
def test_a_token_that_is_missing_or_wrong(api: Api, path: str, authorization: str) -> None:
    """Without the token nothing is answered but how to bring it."""
    headers = {"Authorization": authorization} if authorization else {}
    method = "POST" if path == "uploads/" else "GET"

    answer = Rest(api.origin).request(method, path, headers=headers)

    refused(api, answer, 401, "UNAUTHENTICATED")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_a_filter_that_cannot_be_read(api: Api) -> None:
    """A filter with a mistake is refused, with the place where it is."""
    answer = api.request("GET", "content/file/files/", query={"filter": "size_bytes >"})

    problem = refused(api, answer, 400, "QUERY_INVALID")
    assert problem["metadata"]["position"]


def test_a_page_token_that_cannot_be_read(api: Api) -> None:
    """A page token that this list never gave is refused."""
    answer = api.request("GET", "repositories/", query={"page_token": "nonsense"})

    refused(api, answer, 400, "QUERY_INVALID")


# --- units


def test_removing_what_is_not_there(api: Api, upstream: Upstream) -> None:
    """Removing a unit that the repository does not have is an error that names it."""
    source, empty = api.a_synced_repository(upstream), api.a_repository()
    unit = api.units(source)[0]["name"]

    problem = failed(api, {"repository": empty["name"]}, "file/removes", content=[unit])

    explained(api, problem, "UNIT_NOT_IN_REPOSITORY", unit)


def test_adding_what_nobody_has(api: Api) -> None:
    """Adding a unit that there is not is refused at once, and names it."""
    body = {"repository": api.a_repository()["name"], "content": [NOBODY]}

    answer = api.post("tasks/file/adds/", body)

    problem = refused(api, answer, 404, "RESOURCE_NOT_FOUND", NOBODY)
    assert pointers(problem) == ["#/content/0"]


def test_copying_what_the_source_does_not_have(api: Api, upstream: Upstream) -> None:
    """Copying a unit that is not in the source is an error that names it."""
    unit = api.units(api.a_synced_repository(upstream))[0]["name"]
    source, target = api.a_repository(), api.a_repository()
    names = {"repository": target["name"]}

    problem = failed(api, names, "file/copies", source=source["name"], content=[unit])

    explained(api, problem, "UNIT_NOT_IN_REPOSITORY", unit)


def test_a_file_where_a_folder_is(api: Api) -> None:
    """A file cannot be added at a path that is a folder of another: both are named."""
    with Upstream({"a/b": b"below"}) as one, Upstream({"a": b"above"}) as other:
        repository, second = api.a_synced_repository(one), api.a_synced_repository(other)
    unit = api.units(second)[0]["name"]

    problem = failed(api, {"repository": repository["name"]}, "file/adds", content=[unit])

    explained(api, problem, "PATH_OVERLAPS", "a/b")
    assert list(api.files(repository)) == ["a/b"]


@pytest.mark.parametrize("path", ["/etc/passwd", "../up", "a//b", "a/./b", "a\nb", "a/", ""])
def test_an_upload_at_a_bad_path(api: Api, path: str) -> None:
    """A path that may not be served is refused before the task is stored."""
    repository = api.a_repository()
    upload = api.post("uploads/", {"size_bytes": 1}).expect(201)
    api.request("PUT", upload["href"], b"x").expect(200)
    body = {"repository": repository["name"], "upload": upload["name"], "relative_path": path}

    answer = api.post("tasks/file/uploads/", body)

    assert answer.status == 400, answer.body
    assert "relative_path" in answer.json["detail"]
    assert "#/relative_path" in pointers(answer.json)
    assert api.versions(repository) == [0]


# --- content


@pytest.mark.parametrize(
    "path",
    [
        "../../etc/passwd",
        "..%2f..%2fetc/passwd",
        "%2e%2e/%2e%2e/etc/passwd",
        "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "..%5c..%5cetc%5cpasswd",
        "%252e%252e/%252e%252e/etc/passwd",
        "files/../../../../etc/passwd",
        "files//000004.bin",
        "./files/000004.bin",
        "files/%00",
        "files/\xff",
        "//etc/passwd",
    ],
)
def test_a_path_that_leaves_the_distribution(
    stack: Stack, api: Api, upstream: Upstream, path: str
) -> None:
    """A path with dots, empty segments or bytes that are no text is refused, encoded or not."""
    distribution = api.a_distribution(api.a_synced_repository(upstream))
    target = f"/{distribution['base_path']}/{path}".encode("latin-1").decode("latin-1")

    answer = Rest(stack.content_url).request("GET", _escaped(target))

    assert answer.status in (400, 404)
    assert b"root:" not in answer.body


def _plural(field: str) -> str:
    return {"repository": "repositories", "remote": "remotes"}[field]


def _escaped(target: str) -> str:
    return "".join(char if ord(char) < 128 else f"%{ord(char):02x}" for char in target)
