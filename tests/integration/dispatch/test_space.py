"""core/reclaims and core/repairs: bytes that can be fetched again go, and come."""

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from byte_rows import Rows
from core_under_test import Core, a_config, running_api, running_dispatch
from entrepot.core.v1 import serving_service_pb2, serving_service_pb2_grpc, task_service_pb2
from entrepot.core.v1.tasks_pb2 import (
    ReclaimSpace,
    ReclaimSpaceResult,
    RepairBlobs,
    RepairBlobsResult,
)
from entrepot_core.domain.errors import ServiceError
from entrepot_core.store import reclaiming
from entrepot_core.store.blob_collection import remove_blobs
from entrepot_sdk.testing import Upstream

Task = task_service_pb2.Task


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """An upstream without paths."""
    with Upstream() as upstream:
        yield upstream


class Space:
    """A core, the bytes that it stores, and units that have them."""

    def __init__(self, core: Core, blobs: Path, upstream: Upstream) -> None:
        self.core = core
        self.upstream = upstream
        self.rows = Rows(core.database)
        self._blobs = blobs
        self._repositories: dict[str, int] = {}

    def path(self, data: bytes) -> Path:
        """Where bytes are stored."""
        name = hashlib.sha256(data).hexdigest()
        return self._blobs / "sha256" / name[:2] / name[2:4] / name

    def has(self, *data: bytes) -> list[bool]:
        """Which bytes are stored, by file and row alike."""
        found = []
        for one in data:
            row = self.core.database.fetch(
                "SELECT 1 FROM blob WHERE digest = %s", (hashlib.sha256(one).digest(),)
            )
            assert bool(row) == self.path(one).exists()
            found.append(bool(row))
        return found

    def store(self, data: bytes) -> None:
        """Stores bytes."""
        self.path(data).parent.mkdir(parents=True, exist_ok=True)
        self.path(data).write_bytes(data)
        self.rows.run(
            "INSERT INTO blob (digest, size_bytes) VALUES (%s, %s)",
            (hashlib.sha256(data).digest(), len(data)),
        )

    def add(
        self, data: bytes, *policies: str, repository: str = "foo", stored: bool = True
    ) -> int:
        """A unit of a repository, with a source of a remote for each policy."""
        path = data.decode()
        if repository not in self._repositories:
            self._repositories[repository] = self.rows.repository(repository)
        if stored:
            self.store(data)
        url = self.upstream.add(f"/{path}", data)
        sources = [
            (self.rows.remote(f"{path}-{policy}", policy, max_retries=0), url)
            for policy in policies
        ]
        unit = self.rows.unit(path, data, sources=sources)
        self.rows.member(self._repositories[repository], unit, path)
        return unit

    def serve(self, data: bytes) -> list[str]:
        """What core does for a client of a file of foo: "chunk" and "stored"."""
        stub = serving_service_pb2_grpc.ServingServiceStub(self.core.channel)
        request = serving_service_pb2.StreamFileRequest(
            content_set=f"v:{self._repositories['foo']}:1", path=data.decode()
        )
        answers = stub.StreamFile(request, metadata=self.core.metadata, timeout=30)
        return ["stored" if answer.HasField("stored") else "chunk" for answer in answers]

    def reclaim(self, *, dry_run: bool = False, **fields: object) -> ReclaimSpaceResult:
        """What core/reclaims did."""
        parameters = ReclaimSpace(**fields)  # type: ignore[arg-type]
        parameters.older_than.FromSeconds(0)
        result = ReclaimSpaceResult()
        self._done(self.core.create(parameters, wait=60, dry_run=dry_run)).result.Unpack(result)
        return result

    def repair(self, *, dry_run: bool = False, **fields: object) -> RepairBlobsResult:
        """What core/repairs did."""
        result = RepairBlobsResult()
        parameters = RepairBlobs(**fields)  # type: ignore[arg-type]
        self._done(self.core.create(parameters, wait=60, dry_run=dry_run)).result.Unpack(result)
        return result

    @staticmethod
    def _done(task: Task) -> Task:
        assert task.state == Task.STATE_COMPLETED, task
        return task


@pytest.fixture
def space(core_dsn: str, tmp_path: Path, upstream: Upstream) -> Iterator[Space]:
    """A core with a dispatcher."""
    with running_api(a_config(core_dsn, tmp_path)) as core, running_dispatch(core.config):
        yield Space(core, tmp_path / "blobs", upstream)


def test_what_can_be_fetched_again_is_dropped(space: Space) -> None:
    """Of all that is stored, only what every unit can fetch, and nobody wants to be here."""
    space.add(b"on-demand", "on_demand")
    space.add(b"streamed", "streamed")
    space.add(b"immediate", "immediate")
    space.add(b"both", "on_demand", "immediate")
    space.add(b"uploaded")
    space.add(b"held", "on_demand")
    space.rows.run(
        "INSERT INTO upload (upload_id, digest, expires_at) VALUES"
        " (gen_random_uuid(), %s, now() + interval '1 day')",
        (hashlib.sha256(b"held").digest(),),
    )
    stored = (b"on-demand", b"streamed", b"immediate", b"both", b"uploaded", b"held")

    plan = space.reclaim(dry_run=True)
    untouched = space.has(*stored)
    done = space.reclaim()

    assert plan == done == ReclaimSpaceResult(blobs=2, blob_bytes=17)
    assert all(untouched)
    assert space.has(*stored) == [False, False, True, True, True, True]
    assert space.serve(b"on-demand") == ["stored"]
    assert space.has(b"on-demand") == [True]


def test_immediate_files_are_dropped_if_asked(space: Space) -> None:
    """And nothing that has no source."""
    space.add(b"immediate", "immediate")
    space.add(b"uploaded")

    assert space.reclaim(include_immediate=True).blobs == 1
    assert space.has(b"immediate", b"uploaded") == [False, True]


def test_only_repositories_that_are_named_are_looked_at(space: Space) -> None:
    """Their files go; those of others, and what was stored a moment ago, stay."""
    space.add(b"one", "on_demand")
    space.add(b"two", "on_demand", repository="bar")
    young = ReclaimSpace()
    young.older_than.FromSeconds(3600)

    assert space.core.create(young, wait=60).state == Task.STATE_COMPLETED
    before = space.has(b"one", b"two")
    space.reclaim(repositories=["repositories/file/bar"])

    assert (before, space.has(b"one", b"two")) == ([True, True], [True, False])


@pytest.mark.parametrize("kind", [ReclaimSpace, RepairBlobs])
@pytest.mark.parametrize(
    ("named", "reason"),
    [("file/nobody", "RESOURCE_NOT_FOUND"), ("repositories/nobody", "RESOURCE_NOT_FOUND"),
     ("", "FIELD_INVALID")],
)  # fmt: skip
def test_a_repository_that_is_not_there_is_refused(
    space: Space, kind: type[ReclaimSpace | RepairBlobs], named: str, reason: str
) -> None:
    """The task is not created, whether it is to be stored or only validated."""
    space.add(b"one", "on_demand")

    for is_only_validated in (True, False):
        with pytest.raises(ServiceError) as refused:
            space.core.create(
                kind(repositories=["file/foo", named]), validate_only=is_only_validated
            )

        assert refused.value.reason == reason
        assert [one.field for one in refused.value.violations] == ["repositories[1]"]


def test_who_begins_to_need_it_meanwhile_keeps_it(space: Space) -> None:
    """A unit without a source that names the blob while it is condemned has it in the end."""
    space.add(b"wanted", "on_demand")
    database = space.core.database
    condemned = threading.Event()

    class Files:
        """The store, which is not asked to take anything away."""

        def set_aside(self, digests: Iterator[bytes]) -> None:
            """Nothing is."""
            assert list(digests) == []

        def __getattr__(self, name: str) -> object:
            return lambda *_: ()

    def collect() -> None:
        which = reclaiming.reclaimable([], 0, include_immediate=False)
        remove_blobs(database, Files(), which)  # type: ignore[arg-type]
        condemned.set()

    with database.transaction() as cursor:
        # As a staging call does: it has a number, has seen the blob, and names it.
        cursor.execute("SELECT pg_current_xact_id()")
        thread = threading.Thread(target=collect)
        thread.start()
        cursor.execute(
            "INSERT INTO content (type_id, key_digest, unit_digest, attributes)"
            " VALUES (%s, %s, %s, '') RETURNING content_id",
            (space.rows.type_id(), bytes(32), bytes(32)),
        )
        (unit,) = cursor.fetchone() or (0,)
        cursor.execute(
            "INSERT INTO artifact VALUES (%s, 'mine', %s, 6, NULL)",
            (unit, hashlib.sha256(b"wanted").digest()),
        )
        while not database.fetch("SELECT 1 FROM blob WHERE state = 'condemned'"):
            pass
        assert not condemned.is_set()
    thread.join(30)

    assert database.fetch("SELECT state FROM blob") == [("live",)]


def test_damaged_and_missing_files_come_again(space: Space) -> None:
    """What is wrong is told by a dry run, then fetched; who cannot be helped is named."""
    for data in (b"whole", b"rotten", b"short", b"gone"):
        space.add(data, "on_demand")
    space.add(b"never-came", "immediate", stored=False)
    space.add(b"absent", "on_demand", stored=False)
    space.add(b"mine")
    space.path(b"rotten").write_bytes(b"rotteN")
    space.path(b"short").write_bytes(b"shor")
    space.path(b"gone").unlink()
    space.path(b"mine").write_bytes(b"Mine")

    plan = space.repair(dry_run=True)
    rotten = space.path(b"rotten").read_bytes()
    done = space.repair()
    again = space.repair()

    assert rotten == b"rotteN"
    assert [(one.damaged_blobs, one.missing_blobs) for one in (plan, done)] == [(3, 2)] * 2
    assert (plan.repaired_blobs, plan.unrepaired_blobs) == (0, 1)
    assert (done.repaired_blobs, done.unrepaired_blobs, done.checked_blobs) == (4, 1, 6)
    (lost,) = done.unrepaired
    assert lost.sha256 == hashlib.sha256(b"mine").hexdigest()
    assert list(lost.paths) == ["mine"]
    assert lost.units[0].startswith("content/file/files/")
    for data in (b"whole", b"rotten", b"short", b"gone", b"never-came"):
        assert space.path(data).read_bytes() == data
    assert space.has(b"mine", b"absent") == [False, False]
    assert (again.missing_blobs, again.unrepaired_blobs) == (1, 1)


def test_an_approved_repair_looks_at_what_was_planned(space: Space) -> None:
    """Damage that the plan did not know stays, and what was repaired since counts as done."""
    for data in (b"rotten", b"healed", b"later"):
        space.add(data, "on_demand")
    for data in (b"rotten", b"healed"):
        space.path(data).write_bytes(data.upper())
    planned = space.core.create(RepairBlobs(), wait=60, dry_run=True)
    space.path(b"later").write_bytes(b"LATER")
    space.path(b"healed").write_bytes(b"healed")

    task = space.core.commit_plan(planned.name, wait=60)

    result = RepairBlobsResult()
    assert task.result.Unpack(result), task
    assert (result.checked_blobs, result.damaged_blobs, result.repaired_blobs) == (2, 1, 1)
    stored = [space.path(data).read_bytes() for data in (b"rotten", b"healed", b"later")]
    assert stored == [b"rotten", b"healed", b"LATER"]


def test_a_repair_that_upstream_refuses_is_told(space: Space) -> None:
    """The damaged bytes are served no more, and a later run tries again."""
    space.add(b"rotten", "on_demand")
    space.path(b"rotten").write_bytes(b"rotteN")
    space.upstream.add("/rotten", b"rotten", "status", status=404)

    refused = space.repair()
    space.upstream.add("/rotten", b"rotten")

    assert "404" in refused.unrepaired[0].reason
    assert space.has(b"rotten") == [False]
    assert space.serve(b"rotten") == ["stored"]


def test_a_file_that_came_back_is_recorded_again(space: Space) -> None:
    """Bytes that a version needs, and of which only the row was lost, need no upstream."""
    space.add(b"mine")
    space.add(b"other")
    away = space.path(b"mine").with_suffix(".away")
    space.path(b"mine").rename(away)

    lost = space.repair(repositories=["file/foo"])
    away.rename(space.path(b"mine"))
    found = space.repair()

    assert (lost.unrepaired_blobs, found.missing_blobs, found.repaired_blobs) == (1, 1, 1)
    assert space.has(b"mine") == [True]


def test_lengths_alone_can_be_compared(space: Space) -> None:
    """Without reading: a changed byte is not seen, a missing one is."""
    space.add(b"rotten", "on_demand")
    space.add(b"short", "on_demand")
    space.path(b"rotten").write_bytes(b"rotteN")
    space.path(b"short").write_bytes(b"shor")

    done = space.repair(only_sizes=True)

    assert (done.damaged_blobs, done.repaired_blobs) == (1, 1)
    assert space.path(b"rotten").read_bytes() == b"rotteN"


def test_an_empty_store_is_not_repaired(space: Space) -> None:
    """A disk that is not mounted must not be taken for the loss of everything."""
    space.add(b"mine")
    space.path(b"mine").unlink()

    task = space.core.create(RepairBlobs(), wait=60)

    assert task.state == Task.STATE_FAILED
    assert space.core.database.fetch("SELECT count(*) FROM blob") == [(1,)]
