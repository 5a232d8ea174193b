"""Versions in paths, and what was served before a switch, as clients of the content origin see."""

from pathlib import Path
from typing import Any

import pytest

from entrepot.core.v1 import serving_service_pb2 as pb
from entrepot_gateway.content.app import Content
from entrepot_gateway.content.pointers import MAX_SELECTED, SELECTED_SECONDS, Pointers
from entrepot_gateway.core import Core
from gateway_client import Client
from gateway_core import TOKEN, FakeCore

Answered = pb.ResolvePointerResponse
Resolved = pb.ResolvePathResponse
FORGET_ALL = pb.WatchPointersResponse(all=True)


class Served:
    """What core says: a pointer for each beginning of a path, a kind for each file of a set."""

    def __init__(self, core: FakeCore) -> None:
        self.pointers: dict[str, Answered] = {}
        self.files: dict[tuple[str, str], Any] = {}
        core.on("ResolvePointer", self._pointer)
        core.on("ResolvePath", self._path)

    def point(self, base_path: str, content_set: str = "", **fields: Any) -> Answered:  # noqa: ANN401
        """Serve a set below a base path."""
        answer = Answered(
            distribution="distributions/zoo/dev",
            base_path=base_path,
            content_set=content_set,
            **fields,
        )
        self.pointers[base_path] = answer
        return answer

    def _pointer(self, request: pb.ResolvePointerRequest) -> Answered:
        return self.pointers.get(request.path.split("/")[0], Answered())

    def _path(self, request: pb.ResolvePathRequest) -> Resolved:
        size = self.files.get((request.content_set, request.path))
        kind = Resolved.KIND_ABSENT if size is None else Resolved.KIND_STREAMED
        return Resolved(kind=kind, size_bytes=size or 0)


@pytest.fixture
def served(core: FakeCore, content: Content) -> Served:
    """What core says; nothing yet."""
    del content
    return Served(core)


@pytest.fixture
def client(content: Content) -> Client:
    """A client of the content origin."""
    return Client(content, {})


async def size_of(client: Client, path: str) -> int:
    """The length of a file; the status if there is none."""
    answer = await client.request("HEAD", path)
    return int(answer.headers["content-length"]) if answer.status == 200 else answer.status


async def test_versions_lie_side_by_side(client: Client, served: Served, core: FakeCore) -> None:
    """Each spelling of a version has its own files, and is asked for once."""
    served.point("dev", "v3")
    served.point("dev@2", "v2", is_selected=True, is_immutable=True)
    served.point("dev@2026-11-01T00:00:00+02:00", "v1", is_selected=True)
    served.files = {("v1", "f"): 1, ("v2", "f"): 2, ("v3", "f"): 3}

    for _ in range(2):
        assert await size_of(client, "/dev/f") == 3
        assert await size_of(client, "/dev@2/f") == 2
        assert await size_of(client, "/dev%402/f") == 2
        assert await size_of(client, "/dev@2026-11-01T00:00:00+02:00/f") == 1
        assert await size_of(client, "/dev@2026-11-01T00%3A00%3A00%2B02:00/f") == 1
        assert await size_of(client, "/dev@2/g") == 404

    assert core.count("ResolvePointer") == 3


async def test_what_a_path_names_for_ever_need_not_be_asked_for_again(
    client: Client, served: Served
) -> None:
    """A version's number names its files; a distribution, a moment and a failure may move."""
    served.point("dev", "v3")
    served.point("dev@2", "v2", is_selected=True, is_immutable=True)
    served.point("dev@2026-11-01", "v2", is_selected=True)
    served.files = {("v2", "f"): 2, ("v3", "f"): 3}

    paths = ("/dev/f", "/dev@2/f", "/dev@2026-11-01/f", "/dev@2/g", "/dev@2/", "/nothing")
    found = {p: (await client.request("HEAD", p)).headers["cache-control"] for p in paths}

    assert found.pop("/dev@2/f") == "max-age=86400, immutable"
    assert set(found.values()) == {"no-cache"}


@pytest.mark.parametrize(
    ("fields", "status", "said"),
    [
        (
            {"fault": "dev has no version 9; it has 0 to 3."},
            404,
            "it has 0 to 3. Versions: /dev@/",
        ),
        ({"fault": "Version 9 of dev was deleted.", "is_gone": True}, 410, "was deleted."),
        ({"fault": '"\N{SNOWMAN}" is not a version.'}, 404, '"\\u2603" is not'),
    ],
)
async def test_a_version_that_is_not_there(
    client: Client, served: Served, fields: dict[str, Any], status: int, said: str
) -> None:
    """The answer says what is."""
    served.point("dev@9", "", is_selected=True, **fields)

    answer = await client.request("GET", "/dev@9/f")

    assert answer.status == status
    assert said in answer.body.decode()


async def versions(_request: object) -> Any:  # noqa: ANN401  an asynchronous generator
    """Two batches."""
    for numbers in ((1003, 2), (0,)):
        response = pb.ListServedVersionsResponse()
        for number in numbers:
            version = response.versions.add(number=number, unit_count=1200, added=3, removed=1)
            version.create_time.seconds = 1_700_000_000
        yield response


async def test_versions_are_listed(client: Client, served: Served, core: FakeCore) -> None:
    """For people with links, for programs with counts and times."""
    served.point("dev@", asks_for_versions=True, is_selected=True)
    core.on("ListServedVersions", versions)

    page = await client.request("GET", "/dev@/", headers={"accept": "text/html"})
    document = await client.request("GET", "/dev@/", headers={"accept": "application/json"})

    assert '<a href="../dev%401003/">dev@1003/</a>' in page.body.decode()
    assert "1,200 (+3" in page.body.decode()
    assert "style-src 'sha256-" in page.headers["content-security-policy"]
    assert document.json["base_path"] == "dev"
    assert [item["path"] for item in document.json["versions"]] == ["dev@1003", "dev@2", "dev@0"]
    assert document.json["versions"][1] == {
        "path": "dev@2",
        "number": 2,
        "create_time": "2023-11-14T22:13:20Z",
        "unit_count": 1200,
        "added": 3,
        "removed": 1,
    }
    assert (await client.request("GET", "/dev@")).headers["location"] == "./dev%40/"
    assert (await client.request("GET", "/dev@/x")).status == 404


async def test_files_from_before_a_switch(client: Client, served: Served) -> None:
    """What only the content before has is found; what both have is the current one."""
    answer = served.point("dev", "new")
    for name in ("older", "oldest"):
        answer.previous.add(content_set=name).remaining.seconds = 60
    served.files = {
        ("new", "both"): 1,
        ("older", "both"): 2,
        ("older", "gone"): 3,
        ("oldest", "gone"): 4,
        ("oldest", "long-gone"): 5,
    }

    sizes = [await size_of(client, f"/dev/{name}") for name in ("both", "gone", "long-gone", "no")]

    assert sizes == [1, 3, 5, 404]
    assert await size_of(client, "/dev/gone/") == 404


class Clock:
    """Time that a test moves."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(content: Content, core: FakeCore, served: Served) -> Clock:
    """The clock of the pointers of that application."""
    del served
    clock = Clock()
    content.pointers = Pointers(Core(core.address, TOKEN), 60, clock)
    content.pointers.receive(FORGET_ALL)
    return clock


async def test_the_grace_ends(client: Client, served: Served, clock: Clock) -> None:
    """By itself, without a word from core."""
    answer = served.point("dev", "new")
    answer.previous.add(content_set="old").remaining.seconds = 60
    served.files[("old", "f")] = 7

    assert await size_of(client, "/dev/f") == 7
    clock.now += 59
    assert await size_of(client, "/dev/f") == 7
    clock.now += 2
    assert await size_of(client, "/dev/f") == 404


async def test_a_version_is_asked_for_again_after_a_minute(
    client: Client, served: Served, clock: Clock, core: FakeCore
) -> None:
    """Nothing else tells that it was deleted."""
    served.point("dev@2", "v2", is_selected=True, is_immutable=True)
    served.files[("v2", "f")] = 2

    assert await size_of(client, "/dev@2/f") == 2
    served.point("dev@2", "", is_selected=True, fault="Deleted.", is_gone=True)
    assert await size_of(client, "/dev@2/f") == 2
    clock.now += SELECTED_SECONDS
    assert await size_of(client, "/dev@2/f") == 410
    assert core.count("ResolvePointer") == 2


async def test_a_move_reaches_versions_in_paths(
    client: Client, served: Served, content: Content
) -> None:
    """A distribution that is pointed at another repository has other versions."""
    served.point("dev@2", "v2", is_selected=True)
    served.files = {("v2", "f"): 2, ("w2", "f"): 3}

    assert await size_of(client, "/dev@2/f") == 2
    served.point("dev@2", "w2", is_selected=True)
    content.pointers.receive(pb.WatchPointersResponse(base_paths=["other"]))
    assert await size_of(client, "/dev@2/f") == 2
    content.pointers.receive(pb.WatchPointersResponse(base_paths=["dev"]))
    assert await size_of(client, "/dev@2/f") == 3


async def test_spellings_are_not_kept_without_end(core: FakeCore, tmp_path: Path) -> None:
    """Who asks for ever more moments makes the oldest be forgotten."""
    del tmp_path
    core.on(
        "ResolvePointer",
        lambda request: Answered(
            distribution="d", base_path=request.path, content_set="v", is_selected=True
        ),
    )
    pointers = Pointers(Core(core.address, TOKEN), 60)
    pointers.receive(FORGET_ALL)

    names = [f"dev@{number}" for number in range(MAX_SELECTED + 10)]
    for name in names:
        await pointers.find(name)
    first = core.count("ResolvePointer")
    await pointers.find(names[-1])
    await pointers.find(names[0])

    assert (first, core.count("ResolvePointer")) == (len(names), len(names) + 1)
