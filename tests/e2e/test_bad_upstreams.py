"""What an upstream that lies gets: a clear error that names its URL, and no version."""

import secrets
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from urllib.parse import quote

import pytest

from refusals import explained, failed
from rest import Api, Json
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
