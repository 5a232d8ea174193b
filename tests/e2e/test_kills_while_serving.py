"""Clients ask for everything while the programs that serve them are killed again and again.

ENTREPOT_TEST_REQUESTS says how many requests: 1,200 by default, 10,000 in the full run.
ENTREPOT_TEST_SEED repeats a run.
"""

import http.client
import json
import os
import random
import secrets
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle

import pytest

import patience
from polling import until
from rest import Answer, Json, Rest
from stack import Stack, StackFactory
from upstream import MANIFEST, Upstream, digest_of

REQUESTS = int(os.environ.get("ENTREPOT_TEST_REQUESTS", "1200"))
SEED = int(os.environ.get("ENTREPOT_TEST_SEED") or secrets.randbits(32))
CLIENTS = 8
# A restart follows a kill after a pause that grows: no program is killed too often for it to end.
KILLS = min(12, REQUESTS // 300)
ROLES = ("content", "api", "gateway", "dispatch")
FILES = 40
SIZES = (0, 1, 1_000, 70_000, 600_000)
# What a client may be told besides the truth: that it has to come again.
SORRY = (502, 503, 504)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(200 + REQUESTS / 10)]


@dataclass
class Mirror:
    """A served repository, and the bytes that may be at each of its paths."""

    base_path: str
    files: dict[str, set[bytes]]

    def path(self, path: str) -> str:
        """Where a file is on the content origin."""
        return f"/{self.base_path}/{path}"


@dataclass
class Tally:
    """What clients were answered; `answered` counts what was neither broken nor a sorry."""

    answered: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    guard: threading.Lock = field(default_factory=threading.Lock)

    def has_come_to(self, count: int) -> bool:
        """Say whether so many were answered, or something is wrong already."""
        return self.answered >= count or bool(self.wrong)

    def note(self, kind: str, fault: str | None = None, *, is_answer: bool = True) -> None:
        """Count one answer, or one connection that broke."""
        with self.guard:
            self.answered += is_answer
            self.kinds[kind] += 1
            if fault:
                self.wrong.append(fault)


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """Files of all sizes."""
    with Upstream() as upstream:
        noise = random.Random(upstream.salt)  # noqa: S311  not a secret
        for number in range(FILES):
            size = SIZES[number % len(SIZES)]
            upstream.files[f"f/{number:02d}.bin"] = noise.randbytes(size)
        yield upstream


def mirrored(stack: Stack, upstream: Upstream, policy: str) -> Mirror:
    """A distribution of all files, fetched as the policy says."""
    repository = stack.api.a_synced_repository(upstream, policy=policy)
    base = stack.api.a_distribution(repository)["base_path"]
    return Mirror(base, {path: {data} for path, data in upstream.files.items()})


def switching(stack: Stack, upstream: Upstream) -> tuple[Mirror, Json, list[list[str]]]:
    """A distribution of a repository, and the units of two states that it can be in."""
    repository = stack.api.a_repository()
    mirror = Mirror(stack.api.a_distribution(repository)["base_path"], {})
    states = []
    for salt in range(2):
        noise = random.Random(upstream.salt + salt)  # noqa: S311  as above
        with Upstream({f"s/{number}.bin": noise.randbytes(3_000) for number in range(5)}) as one:
            units = stack.api.units(stack.api.a_synced_repository(one))
            states.append([unit["unit"]["name"] for unit in units])
            for path, data in one.files.items():
                mirror.files.setdefault(path, set()).add(data)
    stack.api.completed("file/adds", repository=repository["name"], content=states[0])
    return mirror, repository, states


def ask(content: Rest, mirror: Mirror, dice: random.Random, tally: Tally) -> None:
    """One request of some kind, whose answer is judged."""
    path = dice.choice(sorted(mirror.files))
    right = mirror.files[path]
    size = max(len(data) for data in right)
    kind = dice.choice(("whole", "whole", "head", "range", "same", "absent", "index", "listing"))
    where, method, headers = mirror.path(path), "GET", {}
    if kind == "head":
        method = "HEAD"
    elif kind == "range":
        first = dice.randrange(size + 1)
        headers = {"Range": f"bytes={first}-{first + dice.randrange(5_000)}"}
    elif kind == "same":
        headers = {"If-None-Match": f'"{digest_of(dice.choice(sorted(right)))}"'}
    elif kind == "absent":
        where += ".nothing"
    elif kind == "index":
        where = mirror.path(MANIFEST)
    elif kind == "listing":
        where = mirror.path(path.partition("/")[0] + "/")
        headers = {"Accept": "application/json"}
    answer = content.request(method, where, headers=headers, timeout=30)
    if answer.status in SORRY:
        tally.note(f"{kind} {answer.status}", is_answer=False)
        until(lambda: is_well(content), "the content origin to be well", 60)
        return
    fault = judge(kind, answer, mirror, path, headers)
    tally.note(f"{kind} {answer.status}", fault and f"{method} {where} {headers}: {fault}")


def judge(
    kind: str, answer: Answer, mirror: Mirror, path: str, headers: dict[str, str]
) -> str | None:
    """What is wrong with an answer that claims to be a good one."""
    right = mirror.files[path]
    if kind == "absent":
        return None if answer.status == 404 else f"{answer.status} for nothing"
    if kind == "index":
        known = {
            f"{name},{digest_of(data)},{len(data)}"
            for name, all_data in mirror.files.items()
            for data in all_data
        }
        lines = answer.body.decode().splitlines()
        is_right = set(lines) <= known and len(lines) == len(mirror.files)
        return None if answer.status == 200 and is_right else f"index {answer.status}"
    if kind == "listing":
        names = {entry["name"] for entry in json.loads(answer.body)["entries"]}
        wanted = {name.partition("/")[2] for name in mirror.files}
        return None if answer.status == 200 and names == wanted else f"listing {answer.status}"
    if answer.status == 304:
        return None if kind == "same" else "304 unasked"
    if answer.status == 416:
        return None if kind == "range" else "416 unasked"
    if kind == "head":
        etags = {f'"{digest_of(data)}"' for data in right}
        return None if answer.status == 200 and answer.headers["ETag"] in etags else "HEAD"
    if answer.status == 206:
        first, last = headers["Range"].removeprefix("bytes=").split("-")
        parts = {data[int(first) : int(last) + 1] for data in right}
        return None if answer.body in parts else "206 with wrong bytes"
    if answer.status != 200:
        return f"{answer.status}"
    return None if answer.body in right else "200 with wrong bytes"


def client(content: Rest, mirrors: list[Mirror], tally: Tally, seed: int) -> None:
    """Ask until enough was answered."""
    dice = random.Random(seed)  # noqa: S311  as above
    while tally.answered < REQUESTS and not tally.wrong:
        try:
            ask(content, dice.choice(mirrors), dice, tally)
        except (http.client.HTTPException, OSError):
            tally.note("broken", is_answer=False)
            until(lambda: is_well(content), "the content origin to be well", 60)


def is_well(content: Rest) -> bool:
    """Say whether the content origin answers, and core behind it."""
    try:
        return content.request("GET", "/").status == 200
    except (OSError, http.client.HTTPException):
        return False


def test_no_wrong_byte_is_served_while_programs_are_killed(
    a_stack: StackFactory, upstream: Upstream
) -> None:
    """Whatever is killed while clients ask, they get right bytes, a broken answer, or a sorry."""
    stack = a_stack()
    mirrors = [
        mirrored(stack, upstream, policy) for policy in ("immediate", "on_demand", "streamed")
    ]
    switched, repository, states = switching(stack, upstream)
    mirrors.append(switched)
    tally = Tally()
    clients = [
        threading.Thread(target=client, args=(stack.content, mirrors, tally, SEED + number))
        for number in range(CLIENTS)
    ]
    for thread in clients:
        thread.start()

    tasks = []
    roles, contents = cycle(ROLES), cycle(states[::-1])
    for number in range(1, KILLS + 1):
        due = number * REQUESTS // (KILLS + 1)
        until(partial(tally.has_come_to, due), "requests to be answered", 120)
        content = next(contents)
        tasks.append(
            patience.create(stack, "file/adds", repository=repository["name"], content=content)
        )
        stack.process(next(roles)).kill()
    for thread in clients:
        thread.join(120)

    print(f"seed {SEED}: {tally.answered} answers: {dict(sorted(tally.kinds.items()))}")
    assert tally.wrong == [], f"seed {SEED}"
    assert tally.answered >= REQUESTS
    ended = [patience.finished(stack, task) for task in tasks]
    assert {task["state"] for task in ended} == {"completed"}
    assert stack.api.versions(repository) == list(range(KILLS + 2))
    patience.restored(stack)
    stack.check()
