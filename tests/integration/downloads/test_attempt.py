"""The downloads of an attempt."""

import hashlib
import threading
from pathlib import Path

import pytest

from byte_rows import Rows
from entrepot_core.blobs.directory import DirectoryBlobStore
from entrepot_core.domain.errors import (
    CanceledError,
    DigestMismatchError,
    DownloadFailedError,
    StorageFullError,
)
from entrepot_core.downloads.attempt import AttemptDownloads, DownloadProgress
from entrepot_core.downloads.downloader import Downloader
from entrepot_core.downloads.keeper import Keeper
from remote_keys import remotes_of
from upstream import Upstream, answers, lies

WORKSPACE = 7


class Attempt:
    """An attempt with one lent remote."""

    def __init__(self, rows: Rows, keeper: Keeper, downloader: Downloader) -> None:
        self.rows = rows
        self.keeper = keeper
        self.downloader = downloader
        self.remote = rows.remote()
        rows.lend_remote(WORKSPACE, self.remote)
        self.progress: list[DownloadProgress] = []
        self.told = threading.Semaphore(0)
        self.failed = threading.Event()
        self.downloads = AttemptDownloads(
            keeper,
            downloader,
            remotes_of(keeper.database),
            WORKSPACE,
            self.report,
            self.failed.set,
        )

    def report(self, progress: DownloadProgress) -> None:
        """Keep what is told."""
        self.progress.append(progress)
        self.told.release()

    def stage(self, upstream: Upstream, *paths: str, sequence: int = 1) -> list[int]:
        """Files of the upstream, staged."""
        units = [
            self.rows.unit(
                path, upstream.files[path], sources=[(self.remote, upstream.url + path)]
            )
            for path in paths
        ]
        self.rows.stage(WORKSPACE, units, sequence)
        return units

    def stored(self) -> set[str]:
        """Digests of the blobs that have rows, each of which has a file."""
        found = {
            bytes(digest).hex()
            for (digest,) in self.rows.database.fetch("SELECT digest FROM blob")
        }
        assert found == {file.digest.hex() for file in self.keeper.store.files()}
        return found

    def run(self) -> None:
        """Start and finish."""
        self.downloads.start()
        self.downloads.finish()


@pytest.fixture
def attempt(rows: Rows, keeper: Keeper, downloader: Downloader) -> Attempt:
    """An attempt with nothing staged."""
    return Attempt(rows, keeper, downloader)


def test_what_is_staged_is_fetched(attempt: Attempt, upstream: Upstream) -> None:
    """Every staged file is stored, registered, and held by the attempt."""
    upstream.fill(30)
    attempt.stage(upstream, *upstream.files)

    attempt.run()

    assert attempt.stored() == set(upstream.digests().values())
    assert attempt.progress[-1] == DownloadProgress(30, 30, 30 * 64)
    held = attempt.rows.database.fetch("SELECT count(*) FROM attempt_blob WHERE workspace_id = 7")
    assert held == [(30,)]


def test_fetching_begins_while_the_plugin_still_stages(
    attempt: Attempt, upstream: Upstream
) -> None:
    """A file is asked for before finish is called, and what is staged later is fetched too."""
    upstream.fill(2)
    first, second = sorted(upstream.files)
    gate = upstream.hold(first)
    attempt.downloads.start()

    attempt.stage(upstream, first)
    gate.wait_entered()
    gate.open()
    attempt.stage(upstream, second, sequence=2)
    attempt.downloads.finish()

    assert attempt.stored() == set(upstream.digests().values())


def test_calls_that_overtake_each_other_are_all_seen(attempt: Attempt, upstream: Upstream) -> None:
    """A call that commits after one with a higher sequence is fetched like any other."""
    upstream.files = {"a": b"1", "b": b"2"}
    attempt.stage(upstream, "a", sequence=7)
    attempt.downloads.start()
    assert attempt.told.acquire(timeout=10)

    attempt.stage(upstream, "b", sequence=3)
    attempt.downloads.finish()

    assert attempt.stored() == set(upstream.digests().values())


def test_what_is_staged_no_more_is_not_fetched(attempt: Attempt, upstream: Upstream) -> None:
    """A unit that a later call takes back is not asked for."""
    upstream.files = {"a": b"1", "b": b"2"}
    taken_back, _ = attempt.stage(upstream, "a", "b")
    attempt.rows.run("UPDATE staged SET removed = true WHERE content_id = %s", (taken_back,))

    attempt.run()

    assert upstream.count("a") == 0
    assert upstream.count("b") == 1


def test_what_is_stored_is_not_asked_for(attempt: Attempt, upstream: Upstream) -> None:
    """Neither a blob that is here nor the same bytes under a second path are fetched (again)."""
    upstream.files = {"a": b"same", "b": b"same", "c": b"stored"}
    attempt.keeper.write([b"stored"])
    attempt.stage(upstream, "a", "b", "c")

    attempt.run()

    assert len(upstream.requests) == 1
    assert upstream.count("c") == 0


def test_a_file_without_a_digest_gets_one(attempt: Attempt, upstream: Upstream) -> None:
    """What a file of unknown digest turned out to be is written to its unit."""
    upstream.files = {"a": b"unknown"}
    unit = attempt.rows.unit(
        "a",
        sources=[(attempt.remote, upstream.url + "a")],
        is_known=False,
        other_digests={"sha1": hashlib.sha1(b"unknown", usedforsecurity=False).hexdigest()},
    )
    attempt.rows.stage(WORKSPACE, [unit])

    attempt.run()

    ((digest, size),) = attempt.rows.database.fetch("SELECT digest, size_bytes FROM artifact")
    assert bytes(digest) == hashlib.sha256(b"unknown").digest()
    assert size == 7


def test_only_remotes_that_are_lent_and_immediate_are_asked(
    attempt: Attempt, upstream: Upstream
) -> None:
    """On-demand files, and files of a remote that the task does not name, are left alone."""
    upstream.files = {"a": b"1", "b": b"2"}
    on_demand = attempt.rows.remote("later", "on_demand")
    attempt.rows.lend_remote(WORKSPACE, on_demand, "second")
    foreign = attempt.rows.remote("foreign")
    units = [
        attempt.rows.unit("a", b"1", sources=[(on_demand, upstream.url + "a")]),
        attempt.rows.unit("b", b"2", sources=[(foreign, upstream.url + "b")]),
    ]
    attempt.rows.stage(WORKSPACE, units)

    attempt.run()

    assert upstream.requests == []


def test_a_failure_is_raised_and_the_rest_is_kept(attempt: Attempt, upstream: Upstream) -> None:
    """One file that is not there fails the attempt; what was verified before stays."""
    upstream.fill(5)
    first, *rest = sorted(upstream.files)
    attempt.stage(upstream, *rest)
    attempt.downloads.start()
    while not attempt.progress or attempt.progress[-1].files < 4:
        assert attempt.told.acquire(timeout=60)
    upstream.behave(first, answers(404))
    attempt.stage(upstream, first, sequence=2)

    with pytest.raises(DownloadFailedError) as caught:
        attempt.downloads.finish()

    assert not caught.value.retryable
    assert caught.value.metadata["unit"] == first
    assert len(attempt.stored()) == 4


def test_a_repeat_fetches_only_the_rest(
    attempt: Attempt, upstream: Upstream, downloader: Downloader
) -> None:
    """After a failure, the next attempt asks for what was not verified, and nothing else."""
    upstream.fill(5)
    first, *rest = sorted(upstream.files)
    upstream.behave(first, answers(404, times=1))
    attempt.stage(upstream, *rest)
    attempt.downloads.start()
    while not attempt.progress or attempt.progress[-1].files < 4:
        assert attempt.told.acquire(timeout=60)
    attempt.stage(upstream, first, sequence=2)
    with pytest.raises(DownloadFailedError):
        attempt.downloads.finish()
    upstream.forget()

    again = AttemptDownloads(
        attempt.keeper, downloader, remotes_of(attempt.rows.database), WORKSPACE
    )
    again.start()
    again.finish()

    assert [request.path for request in upstream.requests] == [first]
    assert len(attempt.stored()) == 5


def test_a_failure_is_told_while_there_is_still_staging(
    attempt: Attempt, upstream: Upstream
) -> None:
    """Whoever stages need not go on for hours: a hundred files that fail are enough."""
    upstream.fill(120)
    for path in upstream.files:
        upstream.behave(path, answers(404))
    attempt.stage(upstream, *upstream.files)

    attempt.downloads.start()

    assert attempt.failed.wait(timeout=60)
    with pytest.raises(DownloadFailedError):
        attempt.downloads.finish()


def test_a_canceled_attempt_has_not_failed(attempt: Attempt) -> None:
    """Who cancels is not told of a failure."""
    attempt.downloads.start()
    attempt.downloads.cancel()

    assert not attempt.failed.is_set()


def test_a_passing_failure_says_so(attempt: Attempt, upstream: Upstream) -> None:
    """An upstream that is down is a failure that may pass."""
    upstream.files = {"a": b"1"}
    upstream.behave("a", answers(503))
    attempt.stage(upstream, "a")

    with pytest.raises(DownloadFailedError) as caught:
        attempt.run()

    assert caught.value.retryable


def test_wrong_bytes_are_not_kept(attempt: Attempt, upstream: Upstream) -> None:
    """Bytes with another digest fail the attempt and are in no store."""
    upstream.files = {"a": b"1"}
    upstream.behave("a", lies())
    attempt.stage(upstream, "a")

    with pytest.raises(DigestMismatchError):
        attempt.run()

    assert attempt.stored() == set()


def test_cancelling_ends_at_once(attempt: Attempt, upstream: Upstream) -> None:
    """A download under way is given up, and leaves nothing."""
    upstream.files = {"a": b"1"}
    gate = upstream.hold("a")
    attempt.stage(upstream, "a")
    attempt.downloads.start()
    gate.wait_entered()

    attempt.downloads.cancel()

    assert isinstance(attempt.downloads.error, CanceledError)
    assert attempt.stored() == set()


def test_many_small_files_share_syncs(attempt: Attempt, upstream: Upstream) -> None:
    """A thousand files are recorded together in batches, not one by one."""
    upstream.fill(1000, 1024)
    attempt.stage(upstream, *upstream.files)

    attempt.run()

    assert len(attempt.stored()) == 1000
    assert len(attempt.progress) < 200


def test_a_full_disk_fails_the_attempt(
    rows: Rows, keeper: Keeper, downloader: Downloader, upstream: Upstream, tmp_path: Path
) -> None:
    """When the reserve would be touched, the attempt fails saying so, and nothing is stored."""
    full = Keeper(rows.database, DirectoryBlobStore(tmp_path / "full", reserve_bytes=1 << 60))
    attempt = Attempt(rows, full, downloader)
    upstream.files = {"a": b"1"}
    attempt.stage(upstream, "a")

    with pytest.raises(StorageFullError):
        attempt.run()

    assert attempt.stored() == set()
    full.store.close()


def test_bytes_that_one_unit_cannot_have_another_may(attempt: Attempt, upstream: Upstream) -> None:
    """Two units want the same bytes from different places: one that is broken fails alone."""
    upstream.files = {"a": b"same", "b": b"same"}
    upstream.behave("a", answers(404))
    failed: list[str] = []
    downloads = AttemptDownloads(
        attempt.keeper, attempt.downloader, remotes_of(attempt.keeper.database), WORKSPACE,
        keeps_going=True, failed_file=lambda one: failed.append(one.relative_path),
    )  # fmt: skip
    (broken, _) = attempt.stage(upstream, "a", "b")

    downloads.start()
    downloads.finish()

    assert failed == ["a"]
    assert downloads.left_out == (broken,)
    assert attempt.stored() == {hashlib.sha256(b"same").hexdigest()}
