"""S17: what was not verified is neither stored nor remembered, and never taken for the real file.

What is remembered belongs to a remote and a URL, and is given out only for the digest it has.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from byte_rows import Rows
from entrepot_core.blobs.directory import DirectoryBlobStore
from entrepot_core.domain.blob import NOTHING_EXPECTED, Expected
from entrepot_core.domain.errors import ServiceError
from entrepot_core.downloads.downloader import Downloader
from entrepot_core.downloads.fetching import Fetching, FetchItem, FetchOutcome
from entrepot_core.downloads.keeper import Keeper
from entrepot_core.downloads.on_demand import OnDemand
from entrepot_core.downloads.remote import Remote
from entrepot_core.downloads.request import Source
from entrepot_core.store.database import Database
from entrepot_sdk.testing import Upstream
from remote_keys import remotes_of

GOOD = b"the real file" * 100
EVIL = b"another file!" * 100


class Asker:
    """Attempts that fetch, and all that they leave behind."""

    def __init__(self, database: Database, keeper: Keeper, downloader: Downloader) -> None:
        self.rows = Rows(database)
        self.keeper = keeper
        self.remotes = [self.rows.remote("one"), self.rows.remote("two")]
        self._fetching = Fetching(keeper, downloader)

    def fetch(self, url: str, expected: Expected = NOTHING_EXPECTED, who: int = 0) -> FetchOutcome:
        """Asks for a URL, as one of the remotes."""
        remote = Remote(self.remotes[who], max_retries=0)
        (outcome,) = self._fetching.fetch(7, [FetchItem("a", (Source(url, remote),), expected)])
        return outcome

    def read(self, outcome: FetchOutcome) -> bytes:
        """The bytes that an attempt gets to see."""
        assert outcome.blob is not None, outcome.error
        return b"".join(self.keeper.store.read(outcome.blob.digest))

    def remembered(self) -> list[tuple[int, str, str]]:
        """Remote, URL and digest of what is remembered."""
        found = self.rows.database.fetch("SELECT remote_id, url, digest FROM fetch_cache")
        return [(remote, url, bytes(digest).hex()) for remote, url, digest in found]

    def stored(self) -> set[bytes]:
        """All bytes that are stored; rows and files agree."""
        rows = {bytes(one) for (one,) in self.rows.database.fetch("SELECT digest FROM blob")}
        files = {file.digest for file in self.keeper.store.files()}
        assert rows == files
        return {b"".join(self.keeper.store.read(digest)) for digest in files}


@pytest.fixture
def asker(database: Database, tmp_path: Path) -> Iterator[Asker]:
    """Somebody with two remotes."""
    store = DirectoryBlobStore(tmp_path / "blobs", reserve_bytes=0)
    downloader = Downloader(allow_loopback=True, backoff_seconds=0.001)
    yield Asker(database, Keeper(database, store), downloader)
    downloader.close()
    store.close()


def expecting(data: bytes) -> Expected:
    """What bytes must be."""
    return Expected((("sha256", hashlib.sha256(data).digest()),), len(data))


@pytest.mark.parametrize(
    "behaviour",
    [
        "error_page",
        "corrupted",
        "too_long",
        "empty",
        "gzipped",
        "truncated",
        "length_too_small",
        "length_too_large",
        "length_twice",
        "chunked_cut",
        "chunked_garbage",
        "chunked_with_length",
        "unasked_range",
    ],
)
def test_what_is_wrong_replaces_nothing(asker: Asker, upstream: Upstream, behaviour: str) -> None:
    """S17: after a good answer, a bad one is an error, and what is kept is the good one."""
    url = upstream.add("/a", GOOD, "etag")
    asker.fetch(url, expecting(GOOD))
    before = asker.remembered()
    upstream.add("/a", EVIL, behaviour)

    outcome = asker.fetch(url, expecting(GOOD))

    assert isinstance(outcome.error, ServiceError)
    assert asker.stored() == {GOOD}
    assert before == asker.remembered()


@pytest.mark.parametrize("behaviour", ["truncated", "chunked_cut", "chunked_garbage", "reset"])
def test_what_broke_off_is_nothing(asker: Asker, upstream: Upstream, behaviour: str) -> None:
    """S17: half an answer is not stored either when nobody said what it should be."""
    outcome = asker.fetch(upstream.add("/a", GOOD, behaviour))

    assert isinstance(outcome.error, ServiceError)
    assert asker.stored() == set()
    assert asker.remembered() == []


def test_a_part_is_not_the_whole(asker: Asker, upstream: Upstream) -> None:
    """S17: 206 to a request for everything is not kept, and neither is 304 to who had nothing."""
    part = asker.fetch(upstream.add("/a", GOOD, "unasked_range"))
    nothing = asker.fetch(upstream.add("/b", GOOD, "status", status=304))

    assert isinstance(part.error, ServiceError)
    assert isinstance(nothing.error, ServiceError)
    assert asker.stored() == set()
    assert asker.remembered() == []


def test_remotes_share_no_answers(asker: Asker, upstream: Upstream) -> None:
    """S17: what one remote got is not asked about, nor given out, for another at the same URL."""
    url = upstream.add("/a", GOOD, "etag")
    first = asker.fetch(url)
    upstream.add("/a", EVIL, "etag")

    second = asker.fetch(url, who=1)

    assert "if-none-match" not in upstream.requests[1].headers
    assert asker.read(first) == GOOD
    assert asker.read(second) == EVIL
    assert {remote for remote, *_ in asker.remembered()} == set(asker.remotes)


def test_not_modified_brings_nothing_else_back(asker: Asker, upstream: Upstream) -> None:
    """S17: what is remembered with another digest than is expected is not asked about."""
    url = upstream.add("/a", EVIL, "etag")
    asker.fetch(url)

    outcome = asker.fetch(url, expecting(GOOD))

    assert "if-none-match" not in upstream.requests[1].headers
    assert isinstance(outcome.error, ServiceError)
    assert asker.stored() == {EVIL}


def test_queries_are_other_files(asker: Asker, upstream: Upstream) -> None:
    """S17: a URL with another query, or another spelling, is another URL."""
    upstream.add("/a", GOOD, "etag")
    evil = upstream.add("/a?x=1", EVIL, "etag")

    outcomes = [asker.fetch(url) for url in (upstream.url + "/a", evil, upstream.url + "/a")]

    assert [asker.read(outcome) for outcome in outcomes] == [GOOD, EVIL, GOOD]
    assert outcomes[2].is_not_modified


def test_a_later_answer_is_not_taken_for_an_earlier_one(asker: Asker, upstream: Upstream) -> None:
    """S17: an answer without a validator is not asked about again, and takes the place of one."""
    url = upstream.add("/a", GOOD, "etag")
    asker.fetch(url)
    upstream.add("/a", EVIL)

    outcome = asker.fetch(url)

    assert asker.read(outcome) == EVIL
    assert asker.remembered() == []


def test_only_get_is_asked(asker: Asker, upstream: Upstream) -> None:
    """S17: an upstream that says something else to HEAD has nobody to say it to."""
    outcome = asker.fetch(upstream.add("/a", GOOD, "head_lies"), expecting(GOOD))

    assert asker.read(outcome) == GOOD
    assert {request.method for request in upstream.requests} == {"GET"}


def test_one_path_of_two_remotes(asker: Asker, upstream: Upstream) -> None:
    """S17: a file of one remote is not stored for the unit of another, though the URL is one."""
    url = upstream.add("/a", EVIL)
    good = asker.rows.unit("a", GOOD, sources=[(asker.remotes[0], url)])
    evil = asker.rows.unit("a", EVIL, sources=[(asker.remotes[1], url)])
    downloader = asker._fetching._downloader
    on_demand = OnDemand(asker.keeper, downloader, remotes_of(asker.rows.database))

    with pytest.raises(ServiceError):
        on_demand.fetch(good, "a")
    on_demand.fetch(evil, "a")
    with pytest.raises(ServiceError):
        on_demand.fetch(good, "a")

    assert asker.stored() == {EVIL}
