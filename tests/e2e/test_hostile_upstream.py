"""Syncs from upstreams that mean harm, or are broken: a clear error by URL, or the right bytes."""

import hashlib
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from entrepot_sdk.testing import Upstream
from entrepot_sdk.testing.upstream import Exchange
from rest import Api, Json
from stack import Stack

MIB = 1024 * 1024
FILE = bytes(range(256)) * 4096 * 3 + b"and a bit"
SMALL = b"a small file\n"

Behaviour = str | Callable[[Exchange], Awaitable[None]]


def listing(data: bytes) -> bytes:
    """A manifest of one file."""
    return f"a.bin,{hashlib.sha256(data).hexdigest()},{len(data)}\n".encode()


async def a_gibibyte(exchange: Exchange) -> None:
    """The beginning of a GiB."""
    await exchange.send(200, b"", length=1024 * MIB)
    while True:
        await exchange.write(b"x" * 65536)


async def a_mebibyte(exchange: Exchange) -> None:
    """A MiB of what is asked for, then the end of the connection."""
    offset, size = exchange.request.offset or 0, len(exchange.body)
    headers = [("ETag", '"one"')]
    if offset:
        headers.append(("Content-Range", f"bytes {offset}-{size - 1}/{size}"))
    rest = exchange.body[offset:]
    await exchange.send(206 if offset else 200, rest[:MIB], headers, length=len(rest))


@dataclass(frozen=True)
class Case:
    """What a manifest or a file does wrong, and what the task says; no reason: it completes."""

    manifest: Behaviour = "ok"
    file: Behaviour = "ok"
    reason: str = ""
    word: str = ""
    listed: bytes = listing(SMALL)
    data: bytes = SMALL
    options: Mapping[str, Any] = field(default_factory=dict)


LARGE = {"listed": listing(FILE), "data": FILE}
FAILED, INVALID = "DOWNLOAD_FAILED", "MANIFEST_INVALID"
CASES = {
    "a manifest of a GiB": Case(a_gibibyte, reason="SIZE_MISMATCH", word="268435456"),
    "a line of 10 MB": Case(reason=INVALID, word="line 1", listed=b"a" * 10_000_000),
    "a compressed manifest": Case("gzipped", reason=INVALID, word="line 1"),
    "a bomb for a manifest": Case("bomb", reason=INVALID, word="line 1", options={"size": MIB}),
    "a page for a manifest": Case("error_page", reason=INVALID, word="line 1"),
    "a manifest that trickles": Case("trickle", reason=FAILED, word="total_timeout_seconds"),
    "a file that trickles": Case(file="trickle", reason=FAILED, word="total_timeout_seconds"),
    "two lengths": Case("length_twice", reason=FAILED, word="not HTTP"),
    "a length below zero": Case(file="length_negative", reason=FAILED, word="not HTTP"),
    "a length that is too large": Case(file="length_too_large", reason="SIZE_MISMATCH"),
    "headers without end": Case("endless_headers", reason=FAILED, word="not HTTP"),
    "a loop": Case("redirect_loop", reason=FAILED, word="more than 5 redirects"),
    "a chain": Case(file="redirect_chain", reason=FAILED, word="more than 5 redirects"),
    "to file:": Case("redirect", reason=FAILED, options={"location": "file:///etc/passwd"}),
    "to ftp:": Case(
        file="redirect", reason=FAILED, options={"location": "ftp://127.0.0.1/x"}, word="ftp"
    ),
    "to an inner address": Case(
        "redirect",
        reason="ADDRESS_FORBIDDEN",
        options={"location": "http://169.254.169.254/latest/meta-data"},
    ),
    "a file to an inner address": Case(
        file="redirect", reason="ADDRESS_FORBIDDEN", options={"location": "http://[fe80::1]/"}
    ),
    "a file that changed": Case(reason="DIGEST_MISMATCH", data=SMALL[::-1]),
    "a file that grew": Case(reason="SIZE_MISMATCH", data=SMALL + b"!"),
    "a compressed file": Case(file="gzipped", reason="SIZE_MISMATCH"),
    "a page for a file": Case(file="error_page", reason="SIZE_MISMATCH"),
    "a part for a file": Case(file="unasked_range", reason=FAILED, word="206"),
    "closes again and again": Case(file=a_mebibyte, **LARGE),  # type: ignore[arg-type]
    "closes, and ignores ranges": Case(file="ignores_range", **LARGE),  # type: ignore[arg-type]
    "closes, and has changed": Case(file="changing", **LARGE),  # type: ignore[arg-type]
    "another range": Case(file="wrong_range", reason=FAILED, word="another part of the file"),
}


@dataclass(frozen=True)
class Trial:
    """A sync that is under way."""

    url: str
    repository: Json
    task: Json


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    """An upstream with a folder for each case."""
    with Upstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def trials(stack: Stack, upstream: Upstream) -> Mapping[str, Trial]:
    """A sync of every case, all under way at once."""
    return {
        name: _try(stack.api, upstream, f"/{number}", case)
        for number, (name, case) in enumerate(CASES.items())
    }


def _try(api: Api, upstream: Upstream, folder: str, case: Case) -> Trial:
    url = upstream.add(f"{folder}/PULP_MANIFEST", case.listed, case.manifest, **case.options)
    upstream.add(f"{folder}/a.bin", case.data, case.file, **case.options)
    trickles = "trickle" in (case.manifest, case.file)
    remote = api.a_remote(url, max_retries=1, total_timeout_seconds=4 if trickles else 0)
    repository = api.a_repository()
    names = {"repository": repository["name"], "remote": remote["name"]}
    return Trial(url, repository, api.create("file/syncs", **names))


@pytest.mark.parametrize("name", CASES)
def test_a_hostile_upstream(api: Api, trials: Mapping[str, Trial], name: str) -> None:
    """The task says what is wrong with which URL and shows nothing, or the bytes are right."""
    case, trial = CASES[name], trials[name]
    is_of_the_file = case.file != "ok" or case.data != SMALL
    url = trial.url.replace("PULP_MANIFEST", "a.bin") if is_of_the_file else trial.url

    task = api.finished(trial.task, wait=150)

    if not case.reason:
        assert task["state"] == "completed", task
        assert api.files(trial.repository) == {"a.bin": hashlib.sha256(FILE).hexdigest()}
        return
    assert task["state"] == "failed"
    assert task["error"]["reason"] == case.reason, task["error"]
    assert case.word in task["error"]["detail"]
    assert task["error"]["metadata"]["url"] == url
    assert api.versions(trial.repository) == [0]


def test_an_upstream_that_is_gone_ends_the_task_at_once(api: Api) -> None:
    """A host that refuses connections fails the task in its first attempt, and says why."""
    with Upstream() as gone:
        url = gone.url + "/PULP_MANIFEST"
    remote = api.a_remote(url, max_retries=1)

    task = api.run("file/syncs", repository=api.a_repository()["name"], remote=remote["name"])

    assert task["state"] == "failed"
    assert task["attempt"] == 1
    assert "cannot be reached: Connection refused" in task["error"]["detail"]
    assert task["error"]["code"] == "FAILED_PRECONDITION"
