"""ServingService as gateways call it."""

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from byte_rows import Rows
from entrepot.core.v1 import serving_service_pb2 as pb
from entrepot.core.v1 import serving_service_pb2_grpc
from entrepot_core.api.pointers import PointerWatch
from entrepot_core.api.serving_service import ServingService
from entrepot_core.downloads.downloader import Downloader
from entrepot_core.downloads.index_files import IndexFiles, IndexTemplate
from entrepot_core.downloads.keeper import Keeper
from entrepot_core.downloads.on_demand import OnDemand
from entrepot_core.store.database import Database
from remote_keys import remotes_of
from rpc import raises, serving
from upstream import Upstream, answers, lies

MANIFEST = IndexTemplate("file.file", "PULP_MANIFEST", "{path},{sha256},{size_bytes}")
Kind = pb.ResolvePathResponse


def hex_of(data: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


@dataclass
class Gateway:
    """A client of the service, over a repository that is served at base path "dev"."""

    stub: serving_service_pb2_grpc.ServingServiceStub
    rows: Rows
    keeper: Keeper

    def pointer(self, path: str) -> pb.ResolvePointerResponse:
        """Which distribution serves a path."""
        answer = self.stub.ResolvePointer(pb.ResolvePointerRequest(path=path))
        assert isinstance(answer, pb.ResolvePointerResponse)
        return answer

    def resolve(self, content_set: str, path: str) -> pb.ResolvePathResponse:
        """What is at a path."""
        answer = self.stub.ResolvePath(pb.ResolvePathRequest(content_set=content_set, path=path))
        assert isinstance(answer, pb.ResolvePathResponse)
        return answer

    def kind(self, content_set: str, path: str) -> str:
        """The kind of what is at a path."""
        return Kind.Kind.Name(self.resolve(content_set, path).kind).removeprefix("KIND_").lower()

    def names(self, content_set: str, folder: str = "") -> list[str]:
        """Names in a folder, those of folders with a slash."""
        return [
            entry.name + ("/" if entry.is_folder else "")
            for answer in self.stub.ListFolder(
                pb.ListFolderRequest(content_set=content_set, path=folder)
            )
            for entry in answer.entries
        ]

    def fetch(self, content_set: str, path: str) -> pb.FetchFileResponse:
        """Have a file stored."""
        answer = self.stub.FetchFile(pb.FetchFileRequest(content_set=content_set, path=path))
        assert isinstance(answer, pb.FetchFileResponse)
        return answer

    def stream(self, content_set: str, path: str) -> bytes:
        """The bytes of a file."""
        request = pb.StreamFileRequest(content_set=content_set, path=path)
        return b"".join(answer.chunk for answer in self.stub.StreamFile(request))

    def blob(self, sha256: str) -> bytes:
        """The bytes of a blob."""
        return b"".join(self.keeper.store.read(bytes.fromhex(sha256)))

    def add(self, repository: int, *paths: str, added: int = 1, stored: bool = True) -> None:
        """Units whose bytes are their path."""
        for path in paths:
            if stored:
                self.keeper.write([path.encode()])
            unit = self.rows.unit(path, path.encode())
            self.rows.member(repository, unit, path, added=added)

    def add_remote_file(
        self,
        upstream: Upstream,
        path: str,
        data: bytes = b"remote",
        *,
        policy: str = "on_demand",
        is_known: bool = True,
    ) -> str:
        """A repository with one file that is not here; returns its content set."""
        upstream.files[path] = data
        repository = self.rows.repository(f"of-{path}")
        remote = self.rows.remote(f"of-{path}", policy)
        unit = self.rows.unit(
            path, data, sources=[(remote, upstream.url + path)], is_known=is_known
        )
        self.rows.member(repository, unit, path)
        return f"v:{repository}:1"


@pytest.fixture
def gateway(
    database: Database, keeper: Keeper, downloader: Downloader, rows: Rows
) -> Iterator[Gateway]:
    """A client of the service."""
    watch = PointerWatch(database, sweep_seconds=0.05)
    watch.start()
    servicer = ServingService(
        database,
        OnDemand(keeper, downloader, remotes_of(keeper.database)),
        IndexFiles(keeper, lambda: [MANIFEST]),
        watch,
    )
    with serving(
        "entrepot.core.v1.ServingService",
        lambda server: serving_service_pb2_grpc.add_ServingServiceServicer_to_server(
            servicer, server
        ),
    ) as channel:
        yield Gateway(serving_service_pb2_grpc.ServingServiceStub(channel), rows, keeper)
        watch.close()


def test_the_longest_base_path_serves(gateway: Gateway) -> None:
    """A path belongs to the distribution whose base path is a whole-segment prefix of it."""
    repository = gateway.rows.repository(latest=3)
    gateway.rows.distribution("dev/stable", repository, 2)
    gateway.rows.distribution("dev/latest", repository)

    found = gateway.pointer("dev/stable/a/b.txt")

    assert found.distribution == "distributions/file/dev-stable"
    assert found.base_path == "dev/stable"
    assert found.content_set == f"v:{repository}:2"
    assert found.HasField("time")
    assert gateway.pointer("dev/latest").content_set == f"v:{repository}:3"
    assert gateway.pointer("dev/stables/x").distribution == ""
    assert gateway.pointer("dev").distribution == ""
    assert gateway.pointer("x/" * 5000).distribution == ""


def test_a_version_serves_what_it_has(gateway: Gateway) -> None:
    """A path is there in the versions from the one that added it to the one that removed it."""
    repository = gateway.rows.repository(latest=3)
    gateway.keeper.write([b"old"])
    gateway.keeper.write([b"newer"])
    old = gateway.rows.unit("f", b"old")
    new = gateway.rows.unit("f", b"newer")
    gateway.rows.member(repository, old, "f", added=1, removed=3)
    gateway.rows.member(repository, new, "f", added=3)

    sets = [f"v:{repository}:{number}" for number in range(4)]

    assert [gateway.kind(one, "f") for one in sets] == ["absent", "stored", "stored", "stored"]
    assert [gateway.resolve(one, "f").sha256 for one in sets[1:]] == [
        hex_of(b"old"),
        hex_of(b"old"),
        hex_of(b"newer"),
    ]
    assert gateway.resolve(sets[3], "f").size_bytes == 5
    assert gateway.resolve(sets[3], "f").HasField("time")
    assert gateway.kind(f"v:{repository}:4", "f") == "absent"


@pytest.mark.parametrize(
    "path", ["../f", "f/../f", "/f", "a//f", "f\0", "f/.", "\x01", "a" * 2000]
)
def test_odd_paths_are_absent(gateway: Gateway, path: str) -> None:
    """What no file can be called is not there, and no error."""
    repository = gateway.rows.repository()
    gateway.add(repository, "f")

    assert gateway.kind(f"v:{repository}:1", path) == "absent"


def test_an_odd_content_set_is_refused(gateway: Gateway) -> None:
    """What ResolvePointer never said is a malformed field."""
    for name in ("", "x", "v:1", "v:1:2:3", "p:1", "v:-1:2"):
        with raises("FIELD_INVALID"):
            gateway.resolve(name, "f")


def test_folders(gateway: Gateway) -> None:
    """Folders are there when something is in them; they list each name once."""
    repository = gateway.rows.repository()
    gateway.add(
        repository,
        *("a/b/1", "a/b/2", "a/c", "a.txt", "a0", "b/deep/er/still", "z"),
        *(f"many/{number:04d}" for number in range(1200)),
        stored=False,
    )
    version = f"v:{repository}:1"

    assert gateway.names(version) == ["PULP_MANIFEST", "a.txt", "a/", "a0", "b/", "many/", "z"]
    assert gateway.names(version, "a") == ["b/", "c"]
    assert gateway.names(version, "b/deep") == ["er/"]
    assert gateway.names(version, "many") == [f"{number:04d}" for number in range(1200)]
    assert [gateway.kind(version, path) for path in ("", "a", "a/", "a/b", "a/x", "man")] == [
        "folder",
        "folder",
        "folder",
        "folder",
        "absent",
        "absent",
    ]
    for absent in ("x", "a/b/1"):
        with raises("PATH_NOT_FOUND"):
            gateway.names(version, absent)


def test_entries_say_what_is_known(gateway: Gateway) -> None:
    """A file's entry has its size and digest, also when it is not stored."""
    repository = gateway.rows.repository()
    gateway.add(repository, "file", stored=False)

    (answer,) = gateway.stub.ListFolder(pb.ListFolderRequest(content_set=f"v:{repository}:1"))
    entry = answer.entries[1]

    assert (entry.name, entry.size_bytes, entry.sha256) == ("file", 4, hex_of(b"file"))
    assert entry.HasField("time")


def test_an_empty_version_lists_nothing(gateway: Gateway) -> None:
    """The top of an empty version is an empty folder without an index."""
    repository = gateway.rows.repository()

    assert gateway.names(f"v:{repository}:0") == []
    assert gateway.kind(f"v:{repository}:0", "") == "folder"
    assert gateway.kind(f"v:{repository}:0", "PULP_MANIFEST") == "absent"


def test_a_publication_passes_through(gateway: Gateway) -> None:
    """A publication serves its own files first, then those of its version."""
    repository = gateway.rows.repository()
    gateway.add(repository, "pool/a", "shown")
    gateway.keeper.write([b"index"])
    publication = "01900000-0000-7000-8000-000000000001"
    gateway.rows.run(
        "INSERT INTO publication (publication_id, plugin, repository_id, number, file_count,"
        " pass_through) VALUES (%s, 'file', %s, 1, 2, true)",
        (publication, repository),
    )
    for path in ("meta/index", "shown"):
        gateway.rows.run(
            "INSERT INTO published_file VALUES (%s, %s, %s, NULL, NULL, 'text/x-index')",
            (publication, path, hashlib.sha256(b"index").digest()),
        )
    served = f"p:{publication}"

    assert gateway.names(served) == ["PULP_MANIFEST", "meta/", "pool/", "shown"]
    assert gateway.resolve(served, "shown").sha256 == hex_of(b"index")
    assert gateway.resolve(served, "shown").media_type == "text/x-index"
    assert gateway.resolve(served, "pool/a").sha256 == hex_of(b"pool/a")
    gateway.rows.run("UPDATE publication SET pass_through = false")
    assert gateway.names(served) == ["meta/", "shown"]
    assert gateway.kind(served, "pool/a") == "absent"


def test_an_index_is_made_when_asked_for(gateway: Gateway) -> None:
    """The index of a version lists its files in order of path, is made once, and kept."""
    repository = gateway.rows.repository(latest=2)
    gateway.add(repository, "b", "a{size_bytes}", stored=False)
    gateway.add(repository, "later", added=2, stored=False)
    version = f"v:{repository}:1"

    before = gateway.kind(version, "PULP_MANIFEST")
    made = gateway.fetch(version, "PULP_MANIFEST")
    after = gateway.resolve(version, "PULP_MANIFEST")

    assert (before, after.kind) == ("fetchable", Kind.KIND_STORED)
    assert made.sha256 == after.sha256 == gateway.fetch(version, "PULP_MANIFEST").sha256
    assert gateway.blob(made.sha256).decode().splitlines() == [
        f"{path},{hex_of(path.encode())},{len(path)}" for path in ("a{size_bytes}", "b")
    ]
    assert made.size_bytes == after.size_bytes == len(gateway.blob(made.sha256))


def test_a_real_file_hides_the_index(gateway: Gateway) -> None:
    """A unit at the path of the index is served as it is."""
    repository = gateway.rows.repository()
    gateway.add(repository, "PULP_MANIFEST", "x")

    assert gateway.resolve(f"v:{repository}:1", "PULP_MANIFEST").sha256 == hex_of(b"PULP_MANIFEST")
    assert gateway.names(f"v:{repository}:1") == ["PULP_MANIFEST", "x"]


def test_a_file_on_demand_is_fetched_once(gateway: Gateway, upstream: Upstream) -> None:
    """Many who ask at once wait for one download, after which the file is stored."""
    version = gateway.add_remote_file(upstream, "f")
    gate = upstream.hold("f")
    assert gateway.resolve(version, "f").sha256 == hex_of(b"remote")
    assert gateway.kind(version, "f") == "fetchable"
    answers_: list[str] = []

    threads = [
        threading.Thread(target=lambda: answers_.append(gateway.fetch(version, "f").sha256))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    gate.wait_entered()
    gate.open()
    for thread in threads:
        thread.join()

    assert answers_ == [hex_of(b"remote")] * 4
    assert upstream.count("f") == 1
    assert gateway.kind(version, "f") == "stored"
    assert gateway.blob(hex_of(b"remote")) == b"remote"


def test_wrong_bytes_are_not_kept(gateway: Gateway, upstream: Upstream) -> None:
    """A file with another digest fails, stays absent, and is not asked for again at once."""
    version = gateway.add_remote_file(upstream, "f")
    upstream.behave("f", lies())

    with raises("DIGEST_MISMATCH"):
        gateway.fetch(version, "f")
    with raises("DIGEST_MISMATCH") as caught:
        gateway.fetch(version, "f")

    assert 0 < (caught[0].retry_after_seconds or 0) <= 5
    assert upstream.count("f") == 1
    assert gateway.kind(version, "f") == "fetchable"


def test_an_upstream_that_fails_is_left_alone_for_a_while(
    gateway: Gateway, upstream: Upstream
) -> None:
    """The failure stands for seconds, however many ask."""
    version = gateway.add_remote_file(upstream, "f")
    upstream.behave("f", answers(404))

    with raises("DOWNLOAD_FAILED"):
        gateway.fetch(version, "f")
    with raises("DOWNLOAD_FAILED") as caught:
        gateway.fetch(version, "f")

    assert caught[0].metadata["http_status"] == "404"
    assert upstream.count("f") == 1


def test_a_file_without_a_remote_is_missing(gateway: Gateway) -> None:
    """When the bytes are gone and so is the remote, that is what is said."""
    repository = gateway.rows.repository()
    gateway.add(repository, "f", stored=False)

    with raises("BLOB_MISSING"):
        gateway.fetch(f"v:{repository}:1", "f")
    with raises("PATH_NOT_FOUND"):
        gateway.fetch(f"v:{repository}:1", "absent")


def test_streamed_files_are_not_kept(gateway: Gateway, upstream: Upstream) -> None:
    """A file of policy streamed comes from upstream each time, and is stored nowhere."""
    data = bytes(range(256)) * 10_000
    version = gateway.add_remote_file(upstream, "f", data, policy="streamed")

    assert gateway.kind(version, "f") == "streamed"
    assert gateway.stream(version, "f") == data
    assert gateway.stream(version, "f") == data
    assert upstream.count("f") == 2
    with raises("FIELD_INVALID"):
        gateway.fetch(version, "f")
    assert list(gateway.keeper.store.files()) == []


def test_a_file_without_a_digest_is_streamed(gateway: Gateway, upstream: Upstream) -> None:
    """What nothing can verify is not kept, whatever the policy."""
    version = gateway.add_remote_file(upstream, "f", is_known=False)

    assert gateway.kind(version, "f") == "streamed"
    assert gateway.stream(version, "f") == b"remote"


def test_a_stream_of_wrong_bytes_never_ends_well(gateway: Gateway, upstream: Upstream) -> None:
    """The last chunk of wrong bytes does not come; an error does."""
    data = bytes(300_000)
    version = gateway.add_remote_file(upstream, "f", data, policy="streamed")
    upstream.behave("f", lies())
    received = 0

    with raises("DIGEST_MISMATCH"):
        for answer in gateway.stub.StreamFile(pb.StreamFileRequest(content_set=version, path="f")):
            received += len(answer.chunk)

    assert received < len(data)


def test_changed_pointers_are_told(gateway: Gateway) -> None:
    """After "forget all", every base path whose pointer changes is told."""
    repository = gateway.rows.repository()
    gateway.rows.distribution("dev", repository)
    gateway.rows.distribution("fixed", repository, 0)
    watched = gateway.stub.WatchPointers(pb.WatchPointersRequest(), timeout=20)
    assert next(watched).all
    # What the rows above changed may be told as well.
    gateway.rows.run("UPDATE distribution SET base_path = base_path || '/x' WHERE number = 0")
    while "fixed/x" not in next(watched).base_paths:
        pass

    gateway.rows.run(
        "INSERT INTO version (repository_id, number, unit_count, added, removed, set_digest)"
        " VALUES (%s, 2, 0, 0, 0, '')",
        (repository,),
    )
    gateway.rows.run("UPDATE repository SET latest = 2, next_number = 3")
    told = next(watched).base_paths
    watched.cancel()

    assert list(told) == ["dev"]
    assert gateway.pointer("dev").content_set == f"v:{repository}:2"


def test_base_paths_are_listed(gateway: Gateway) -> None:
    """All base paths come in order."""
    repository = gateway.rows.repository()
    for base_path in ("b", "a/c", "a/b"):
        gateway.rows.distribution(base_path, repository)

    assert list(gateway.stub.ListBasePaths(pb.ListBasePathsRequest()).base_paths) == [
        "a/b",
        "a/c",
        "b",
    ]
