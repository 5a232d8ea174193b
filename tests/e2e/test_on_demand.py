"""Files that are fetched when a client first asks for them."""

import http.client
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from polling import until
from rest import Api, Json, Rest
from stack import Stack
from upstream import MANIFEST, Upstream, answers, lies, truncates

ONE = "files/000004.bin"


@dataclass(frozen=True)
class OnDemand:
    """A distribution of which no file is here yet."""

    content: Rest
    distribution: Json

    def path(self, path: str) -> str:
        """Where a file is on the content origin."""
        return f"/{self.distribution['base_path']}/{path}"


@pytest.fixture
def served(stack: Stack, api: Api, upstream: Upstream) -> OnDemand:
    """A repository synced on demand, and distributed."""
    repository = api.a_synced_repository(upstream, policy="on_demand")
    upstream.forget()
    return OnDemand(stack.content, api.a_distribution(repository))


def test_a_sync_fetches_the_manifest_only(api: Api, upstream: Upstream) -> None:
    """A sync on demand asks upstream for the manifest and nothing else."""
    repository = api.a_synced_repository(upstream, policy="on_demand")

    assert {request.path for request in upstream.requests} == {MANIFEST}
    assert upstream.digests() == api.files(repository)
    assert {unit["is_stored"] for unit in api.units(repository)} == {False}


def test_the_first_request_fetches_and_keeps(served: OnDemand, upstream: Upstream) -> None:
    """A file is fetched when it is asked for first, and not again."""
    first = served.content.request("GET", served.path(ONE))
    second = served.content.request("GET", served.path(ONE))

    assert upstream.files[ONE] == first.body == second.body
    assert upstream.count(ONE) == 1


def test_it_is_served_when_upstream_is_gone(served: OnDemand, upstream: Upstream) -> None:
    """What was fetched once is served whatever becomes of upstream; the rest is a clear error."""
    served.content.request("GET", served.path(ONE))
    for path in upstream.files:
        upstream.behave(path, answers(500))

    kept = served.content.request("GET", served.path(ONE))
    other = served.content.request("GET", served.path("files/000005.bin"))

    assert upstream.files[ONE] == kept.body
    assert other.status in (502, 503, 504)
    assert b"000005.bin" in other.body


def test_a_dead_upstream_is_not_asked_for_everything(served: OnDemand, upstream: Upstream) -> None:
    """While it is left alone clients are told at once, and when to come back."""
    upstream.behave(ONE, answers(503))
    other = "files/000005.bin"
    failed = served.content.request("GET", served.path(ONE))

    refused = served.content.request("GET", served.path(other))

    assert (failed.status, refused.status) == (502, 502)
    assert 0 < int(refused.headers["Retry-After"]) <= 10
    assert upstream.count(other) == 0


def test_head_tells_what_is_known(served: OnDemand) -> None:
    """HEAD answers length and digest of a file that is not here yet."""
    head = served.content.request("HEAD", served.path(ONE))

    assert head.status == 200
    assert head.headers["Content-Length"] == "64"


def test_many_clients_cost_one_fetch(served: OnDemand, upstream: Upstream) -> None:
    """Clients that ask for the same file at once are all served by one request upstream."""
    gate = upstream.hold(ONE)
    with ThreadPoolExecutor(5) as pool:
        asked = [pool.submit(served.content.request, "GET", served.path(ONE)) for _ in range(5)]
        gate.wait_entered()
        gate.open()
        bodies = {future.result(90).body for future in asked}

    assert bodies == {upstream.files[ONE]}
    assert upstream.count(ONE) == 1


def test_a_range_of_a_file_that_is_not_here_yet(served: OnDemand, upstream: Upstream) -> None:
    """The first request may be for a range, and gets just that."""
    answer = served.content.request("GET", served.path(ONE), headers={"Range": "bytes=5-9"})

    assert answer.status == 206
    assert upstream.files[ONE][5:10] == answer.body


@pytest.mark.parametrize("behavior", [lies(), truncates()], ids=lambda one: one.kind)
def test_wrong_bytes_never_end_well(
    served: OnDemand, upstream: Upstream, behavior: object
) -> None:
    """Bytes that are not what the manifest says are never a good answer, and never kept."""
    upstream.behaviors[ONE] = behavior  # type: ignore[assignment]  # parametrized

    status = _status_of_whole_answer(served.content, served.path(ONE))
    upstream.behaviors.clear()

    assert status != 200
    # It is not asked for again at once.
    until(
        lambda: served.content.request("GET", served.path(ONE)).body == upstream.files[ONE],
        "the right bytes",
    )


def test_streamed_files_are_never_kept(stack: Stack, api: Api, upstream: Upstream) -> None:
    """With the policy `streamed` each request goes to upstream, and nothing stays here."""
    repository = api.a_synced_repository(upstream, policy="streamed")
    served = OnDemand(stack.content, api.a_distribution(repository))
    upstream.forget()

    def asked_for() -> int:
        assert served.content.request("GET", served.path(ONE)).body == upstream.files[ONE]
        return upstream.count(ONE)

    assert asked_for() == 1
    # Who comes before the first has quite ended is sent what that one got.
    until(lambda: asked_for() == 2, "another request for what is not kept")
    assert {unit["is_stored"] for unit in api.units(repository)} == {False}


def test_a_sync_with_another_policy_fetches_what_is_missing(api: Api, upstream: Upstream) -> None:
    """When the remote becomes immediate, the next sync brings the files."""
    repository, remote = api.a_repository(), api.a_remote(upstream, policy="on_demand")
    names = {"repository": repository["name"], "remote": remote["name"]}
    api.completed("file/syncs", **names)
    api.patch(remote["href"], {"policy": "immediate"}).expect(200)

    api.completed("file/syncs", **names)

    assert {unit["is_stored"] for unit in api.units(repository)} == {True}


def test_the_generated_manifest_needs_no_file(served: OnDemand, upstream: Upstream) -> None:
    """The manifest of a version on demand is complete, though no file is here."""
    answer = served.content.request("GET", served.path(MANIFEST))

    assert sorted(upstream.manifest().splitlines()) == sorted(answer.body.splitlines())
    assert upstream.requests == []


def _status_of_whole_answer(content: Rest, path: str) -> int:
    try:
        return content.request("GET", path).status
    except (http.client.IncompleteRead, ConnectionError):
        return 0
