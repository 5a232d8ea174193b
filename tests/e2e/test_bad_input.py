"""What bad input gets: a clear error that names field, unit and URL, and nothing half-visible."""

import secrets
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pytest

from entrepot_sdk.testing import PluginProcess
from liar import Liar, honest_description
from polling import until
from rest import Answer, Api, Json, Rest
from stack import Stack
from upstream import (
    MANIFEST,
    Behavior,
    Upstream,
    answers,
    grows,
    lies,
    manifest_line,
    resets,
    stalls,
    truncates,
)

ONE = "files/000004.bin"
NOBODY = f"content/file/files/{'0' * 64}"


def refused(api: Api, answer: Answer, status: int, reason: str, *words: str) -> Json:
    """The problem, which must have this status and reason, say these words, and have its page."""
    assert answer.status == status, answer.body
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json
    assert problem["status"] == status
    explained(api, problem, reason, *words)
    return dict(problem)


def explained(api: Api, problem: Json, reason: str, *words: str) -> None:
    """Check reason and words of a problem, and that its `type` is a page with cause and cure."""
    assert problem["reason"] == reason, problem
    said = problem["detail"] + "".join(item["detail"] for item in problem.get("errors", []))
    for word in words:
        assert word in said, (word, problem)
    assert problem["type"].endswith(f"/problems/{reason}")
    page = Rest(api.origin).request("GET", f"/problems/{reason}")
    assert page.status == 200, f"there is no page /problems/{reason}"
    assert reason in page.body.decode()


def pointers(problem: Json) -> list[str]:
    """What the errors of a problem point at."""
    return [item["pointer"] for item in problem["errors"]]


@pytest.fixture
def names(api: Api, upstream: Upstream) -> Json:
    """A new repository and a remote of the upstream, as parameters of a sync."""
    repository, remote = api.a_repository(), api.a_remote(upstream, max_retries=0)
    return {"repository": repository["name"], "remote": remote["name"]}


def failed(api: Api, names: Json, task_type: str = "file/syncs", **more: object) -> Json:
    """The problem of a task that must fail, and leave no trace in its repository."""
    href = f"/api/v3/{names['repository']}/"
    before = api.get(href)["latest_version"]

    task = api.run(task_type, **names | more)

    assert task["state"] == "failed", task
    assert task["created_resource"] == ""
    assert "result" not in task
    assert before == api.get(href)["latest_version"]
    assert api.versions({"href": href})[-1] == before
    return dict(task["error"])


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


# --- manifests

GOOD = manifest_line("good.txt")

STRANGE = (
    "100%.txt",
    "%41.txt",
    "..%2f..%2fetc",
    "a+b,c.txt",
    "~tilde",
    " spaces ",
    "q?x=1&y=<b>",
    "a/#b",
    "http:/x",
    "-dash",
    "...",
    '"quote\'s"',
    "dev-disk\\x2dby.swap",
    "..\\up",
    "\u65e5\u672c/\u8a9e",
    "e\u0301.txt",
    "\u00e9.txt",
    "\U0001f642",
    "v2/token",
    "\u00e9" * 511,
)


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("this is not a line\n", "path,sha256,size"),
        ("a.txt,abc,1\n", "digest"),
        (manifest_line("a.txt").replace(",1\n", ",many\n"), "size"),
        (manifest_line("/etc/passwd"), "absolute"),
        (manifest_line("../up.txt"), ".."),
        (manifest_line("a/../../b.txt"), ".."),
        (manifest_line("a//b.txt"), "empty segment"),
        (manifest_line("a/./b.txt"), '"."'),
        (manifest_line("a\x07b.txt"), "control"),
        (manifest_line("good.txt/below"), "line 1"),
        (manifest_line("good.txt", b"other"), "line 1"),
        (manifest_line("good.txt"), "line 1"),
    ],
)
def test_a_line_of_a_manifest_that_is_wrong(
    api: Api, names: Json, upstream: Upstream, line: str, word: str
) -> None:
    """A manifest with a bad line is refused as a whole; the error has its URL and the line."""
    upstream.files = {"good.txt": b"x"}
    upstream.manifest_text = GOOD + line

    problem = failed(api, names)

    explained(api, problem, "MANIFEST_INVALID", upstream.manifest_url, "line 2", word)
    assert problem["metadata"]["line"] == "2"
    assert upstream.count("good.txt") <= 1


def test_a_folder_that_is_listed_after_its_file(api: Api, names: Json, upstream: Upstream) -> None:
    """A file at the path of a folder listed before is refused, whatever the order."""
    upstream.manifest_text = manifest_line("a/b/c") + manifest_line("a")

    problem = failed(api, names)

    explained(api, problem, "MANIFEST_INVALID", "line 2", "line 1")


@pytest.mark.parametrize("policy", ["immediate", "on_demand"])
def test_strange_names_are_names(api: Api, stack: Stack, upstream: Upstream, policy: str) -> None:
    """What only looks odd is synced, served as it is, and listed in the manifest we generate."""
    upstream.files = {path: path.encode() + secrets.token_bytes(4) for path in STRANGE}
    repository = api.a_synced_repository(upstream, policy=policy)
    base_path = api.a_distribution(repository)["base_path"]

    for path, data in upstream.files.items():
        answer = stack.content.request("GET", f"/{base_path}/{quote(path)}")
        assert (answer.status, answer.body) == (200, data), path
    listed = stack.content.request("GET", f"/{base_path}/{MANIFEST}").body
    assert sorted(listed.split(b"\n")) == sorted(upstream.manifest().split(b"\n"))


@pytest.mark.parametrize("policy", ["immediate", "on_demand"])
def test_a_size_that_is_corrected(api: Api, upstream: Upstream, policy: str) -> None:
    """Who was told a wrong size once is not kept from the right one, here or elsewhere."""
    path, data = "a.txt", secrets.token_bytes(8)
    upstream.files = {path: data}
    upstream.manifest_text = manifest_line(path, data).replace(",8\n", ",9\n")
    misled = {
        "repository": api.a_repository()["name"],
        "remote": api.a_remote(upstream, policy=policy, max_retries=0)["name"],
    }
    if policy == "immediate":
        explained(api, failed(api, misled), "SIZE_MISMATCH", path)
    else:
        api.completed("file/syncs", **misled)
    upstream.manifest_text = None

    api.completed("file/syncs", **misled)
    other = api.a_synced_repository(upstream)

    assert upstream.digests() == api.files(other)
    assert upstream.digests() == api.files({"href": f"/api/v3/{misled['repository']}/"})


def test_a_size_that_stored_bytes_do_not_have(api: Api, names: Json, upstream: Upstream) -> None:
    """A manifest with a wrong size is refused too when the bytes are here already."""
    path, data = "a.txt", secrets.token_bytes(8)
    upstream.files = {path: data}
    api.a_synced_repository(upstream)
    upstream.manifest_text = manifest_line("b.txt", data).replace(",8\n", ",9\n")

    problem = failed(api, names)

    explained(api, problem, "SIZE_MISMATCH", "b.txt", "has 8 bytes, not 9")


def test_an_html_page_for_a_manifest(api: Api, names: Json, upstream: Upstream) -> None:
    """A sign-in page answered with 200 is not taken for an empty manifest."""
    upstream.manifest_text = "<!DOCTYPE html>\n<html><body>Please sign in</body></html>\n"

    problem = failed(api, names, mirror=True)

    explained(api, problem, "MANIFEST_INVALID", upstream.manifest_url, "line 1")


# --- upstreams


@dataclass(frozen=True)
class Trial:
    """A mirror sync of a second version that cannot go well."""

    upstream: Upstream
    names: Json
    task: Json
    before: dict[str, str]


@dataclass(frozen=True)
class Case:
    """What upstream does wrong, and what the error is."""

    path: str
    behavior: Behavior
    reason: str = "DOWNLOAD_FAILED"
    http_status: str = ""

    @property
    def name(self) -> str:
        """For people who look at the list of tests."""
        return f"{self.behavior.kind} {self.http_status} {self.path}".replace("  ", " ")


CASES = {
    case.name: case
    for path in (MANIFEST, "new.bin")
    for case in (
        *(Case(path, answers(status), http_status=str(status)) for status in (401, 403, 404, 500)),
        Case(path, truncates()),
        Case(path, resets()),
        Case(path, stalls()),
    )
}
CASES |= {
    case.name: case
    for case in (
        Case("new.bin", lies(), "DIGEST_MISMATCH"),
        Case("new.bin", grows(), "SIZE_MISMATCH"),
    )
}


@pytest.fixture(scope="module")
def trials(stack: Stack) -> Iterator[Mapping[str, Trial]]:
    """A trial of every case, all under way at once: some are repeated, and that takes a while."""
    with ExitStack() as upstreams:
        yield {
            name: _try(stack.api, case, upstreams.enter_context(Upstream().fill(3)))
            for name, case in CASES.items()
        }


def _try(api: Api, case: Case, upstream: Upstream) -> Trial:
    # Where nothing is to stall, nothing does, however busy the machine is.
    stalls_soon: Json = {"stall_timeout_seconds": 2} if case.behavior.kind == "stall" else {}
    repository = api.a_repository()
    remote = api.a_remote(upstream, max_retries=0, **stalls_soon)
    names = {"repository": repository["name"], "remote": remote["name"]}
    api.completed("file/syncs", **names)
    before = api.files(repository)
    upstream.fill(2)
    upstream.files["new.bin"] = upstream.files["files/000000.bin"][::-1]
    upstream.behave(case.path, case.behavior)
    return Trial(upstream, names, api.create("file/syncs", **names, mirror=True), before)


@pytest.mark.parametrize("name", CASES)
def test_an_upstream_that_fails(api: Api, trials: Mapping[str, Trial], name: str) -> None:
    """A manifest or file that is refused, cut or wrong fails the task, by URL, and only that."""
    case, trial = CASES[name], trials[name]
    repository = {"href": f"/api/v3/{trial.names['repository']}/"}

    task = api.finished(trial.task, wait=150)

    assert task["state"] == "failed"
    explained(api, task["error"], case.reason, trial.upstream.url + case.path, case.http_status)
    metadata = task["error"]["metadata"]
    assert metadata["url"] == trial.upstream.url + case.path
    assert metadata.get("http_status", "") == case.http_status
    if case.reason != "DOWNLOAD_FAILED":
        assert metadata["expected"] != metadata["actual"]
    # What may pass is repeated, and what will not is not.
    is_passing = case.http_status == "500" or case.behavior.kind in ("truncate", "reset", "stall")
    assert task["attempt"] == (3 if is_passing else 1)
    assert api.versions(repository) == [0, 1]
    assert trial.before == api.files(repository)
    trial.upstream.behaviors.clear()
    assert api.completed("file/syncs", **trial.names, mirror=True)["created_resource"]
    assert trial.upstream.digests() == api.files(repository)


def test_an_upstream_that_is_not_there(api: Api) -> None:
    """A port that nobody listens on fails the task, with the URL."""
    with Upstream() as gone:
        url = gone.manifest_url
    names = {"repository": api.a_repository()["name"], "remote": api.a_remote(url)["name"]}

    problem = failed(api, names)

    explained(api, problem, "DOWNLOAD_FAILED", url)


def test_a_passing_failure_is_tried_again(api: Api, upstream: Upstream) -> None:
    """An upstream that fails once is asked again, and the task completes."""
    repository, remote = api.a_repository(), api.a_remote(upstream, max_retries=3)
    upstream.behave(ONE, answers(503, times=1))
    upstream.behave("files/000005.bin", truncates(times=1))

    api.completed("file/syncs", repository=repository["name"], remote=remote["name"])

    assert upstream.digests() == api.files(repository)
    assert upstream.count(ONE) == 2


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


# --- plugins


@pytest.fixture
def liar(stack: Stack, api: Api) -> Iterator[Liar]:
    """A plugin that does not keep the contract, registered until the end of the test."""
    with Liar(stack.grpc) as liar:
        api.post("plugins/", {"target": liar.address}).expect(201)
        until(lambda: api.request("GET", "tasks/liar/lies/").status == 200, "its routes")
        yield liar
        liar.release.set()
        stack.settle()
        api.delete("plugins/liar/").expect(200, 204)


@pytest.fixture
def lied(api: Api, liar: Liar) -> Json:
    """A new repository of the lying plugin, as a parameter of its task."""
    return {"repository": api.a_repository("liar")["name"]}


@pytest.fixture
def node(api: Api, graph: PluginProcess) -> Json:
    """A new repository of the graph plugin, as a parameter of its tasks."""
    return {"repository": api.a_repository("graph")["name"]}


@pytest.mark.parametrize("kind", ["two_verdicts", "wrong_result"])
def test_a_plugin_that_breaks_the_contract(api: Api, node: Json, kind: str) -> None:
    """Two verdicts, or a result of a type that nobody declared, fail the task, and are told."""
    problem = failed(api, node, "graph/mischiefs", kind=kind)

    explained(api, problem, "PLUGIN_CONTRACT_VIOLATION", "graph")


@pytest.mark.parametrize("kind", ["no_verdict", "break_stream", "fail_retryable"])
def test_a_plugin_that_fails_in_passing(api: Api, node: Json, kind: str) -> None:
    """A stream that ends without a verdict is an accident: repeated, then it goes well."""
    task = api.completed("graph/mischiefs", **node, kind=kind, times=1)

    assert task["attempt"] == 2
    assert [lost["number"] for lost in task["lost_attempts"]] == [1]
    assert api.versions({"href": f"/api/v3/{node['repository']}/"}) == [0, 1]


NONSENSE = (
    "no_verdict", "foreign_token", "evil_path", "big_batch", "reuse_sequence",
    "wrong_content_type", "wrong_role",
)  # fmt: skip


def test_a_plugin_that_never_does_it_right(api: Api, graph: PluginProcess) -> None:
    """What core refuses is in no version, however often it is tried; then the task is given up."""
    repositories = {kind: api.a_repository("graph") for kind in NONSENSE}
    tasks = {
        kind: api.create("graph/mischiefs", repository=repository["name"], kind=kind)
        for kind, repository in repositories.items()
    }

    for kind, task in tasks.items():
        ended = api.finished(task, wait=150)

        assert (kind, ended["state"]) == (kind, "failed")
        assert ended["attempt"] <= 3
        assert ended["created_resource"] == ""
        assert ended["error"]["reason"] in ("ATTEMPT_LOST", "PLUGIN_CONTRACT_VIOLATION")
        explained(api, ended["error"], ended["error"]["reason"])
        assert api.versions(repositories[kind]) == [0]


def test_a_task_that_must_not_be_repeated(api: Api, node: Json) -> None:
    """When an attempt with effects outside is lost, its task says that nobody knows."""
    problem = failed(api, node, "graph/pushes", kind="break_stream", times=1)

    explained(api, problem, "OUTCOME_UNKNOWN")


def test_a_plugin_that_stages_with_another_token(api: Api, liar: Liar, lied: Json) -> None:
    """The token of an attempt that is over opens nothing."""
    api.run("liar/lies", **lied, behavior="keep_token")
    assert liar.token

    problem = failed(api, lied, "liar/lies", behavior="foreign_token")

    assert problem["reason"] in ("ATTEMPT_SUPERSEDED", "UNAUTHENTICATED", "PERMISSION_DENIED")


def test_a_plugin_that_makes_up_a_token(api: Api, liar: Liar, lied: Json) -> None:
    """A token that core never gave opens nothing."""
    liar.token = "A" * 43

    problem = failed(api, lied, "liar/lies", behavior="foreign_token")

    assert problem["reason"] in ("ATTEMPT_SUPERSEDED", "UNAUTHENTICATED", "PERMISSION_DENIED")


def test_a_plugin_that_is_down(stack: Stack, api: Api, liar: Liar, lied: Json) -> None:
    """New tasks of a plugin that is down are refused; when it is back, they are taken."""
    liar.stop()

    answer = api.post("tasks/liar/lies/", lied | {"behavior": "complete"})

    refused(api, answer, 503, "PLUGIN_UNAVAILABLE", "liar")
    assert int(answer.headers["Retry-After"]) >= 1
    liar.serve(liar.address)
    task = until(lambda: _created(api, lied), "the plugin to be taken back")
    assert api.finished(task)["state"] == "completed"


def test_tasks_wait_for_a_plugin_that_went_down(
    stack: Stack, api: Api, liar: Liar, lied: Json
) -> None:
    """A task that lost its plugin waits, says for what, and runs when the plugin is back."""
    task = api.create("liar/lies", **lied, behavior="wait")
    assert liar.started.wait(60)
    liar.stop()

    waiting = until(lambda: _waits_for_plugin(api, task), "the task to wait for its plugin", 60)

    assert waiting["resource"].endswith("liar")
    told = stack.cli("task", "why", task["name"]).stdout
    assert "The plugin liar does not take tasks." in " ".join(told.split())
    liar.release.set()
    liar.serve(liar.address)
    assert api.finished(task)["state"] == "completed"


@pytest.mark.parametrize("lie", ["descriptors", "message", "name", "version"])
def test_a_plugin_that_describes_nonsense(stack: Stack, api: Api, lie: str) -> None:
    """A plugin whose description makes no sense is not registered, and the answer says why."""
    description: Any = honest_description()
    if lie == "descriptors":
        description.ClearField("descriptors")
    elif lie == "message":
        description.task_types[0].parameters_message = "no.such.Message"
    elif lie == "version":
        description.version = "1\0"
    else:
        description.name = "../liar"
    before = api.everything("plugins/")
    with Liar(stack.grpc) as liar:
        liar.description = description

        answer = api.post("plugins/", {"target": liar.address})

    refused(api, answer, 400, "PLUGIN_CONTRACT_VIOLATION")
    after = api.everything("plugins/")
    assert [item["name"] for item in before] == [item["name"] for item in after]


def test_a_plugin_that_does_not_answer(api: Api) -> None:
    """Registering an address at which nobody answers is refused."""
    answer = api.post("plugins/", {"target": "127.0.0.1:1"})

    refused(api, answer, 503, "PLUGIN_UNAVAILABLE", "127.0.0.1:1")


def _created(api: Api, lied: Json) -> Json | None:
    answer = api.post("tasks/liar/lies/", lied | {"behavior": "complete"})
    return answer.json if answer.status == 201 else None


def _waits_for_plugin(api: Api, task: Json) -> Json | None:
    blockers = api.get(task["href"])["blocked_by"]
    return next((item for item in blockers if item["cause"] == "plugin_down"), None)


def _plural(field: str) -> str:
    return {"repository": "repositories", "remote": "remotes"}[field]


def _escaped(target: str) -> str:
    return "".join(char if ord(char) < 128 else f"%{ord(char):02x}" for char in target)
