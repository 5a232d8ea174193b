"""ServingService: what the content origin may ask, and when it hears of changes."""

from collections.abc import Iterator

import pytest

from entrepot.core.v1 import serving_service_pb2, serving_service_pb2_grpc
from entrepot_core.api.pointers import PointerWatch
from entrepot_core.api.serving_service import ServingService
from entrepot_core.blobs.directory import DirectoryBlobStore
from entrepot_core.domain.errors import FieldInvalidError
from entrepot_core.downloads.downloader import Downloader
from entrepot_core.downloads.index_files import IndexFiles
from entrepot_core.downloads.keeper import Keeper
from entrepot_core.downloads.on_demand import OnDemand
from entrepot_core.store.serving import parse_content_set
from remote_keys import remotes_of
from unconnected_core import API, ATTEMPT, CONTENT, Servicing, no_database, refusal

ID = "0199f0c2-7a51-7c3e-9d2b-5f0a4b6c7d8e"


@pytest.fixture
def watch() -> Iterator[PointerWatch]:
    """A watch over pointers that nobody changes."""
    watch = PointerWatch(no_database())
    yield watch
    watch.close()


@pytest.fixture
def servicing(
    watch: PointerWatch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Servicing]:
    """The servicer, with an empty store."""
    database = no_database()
    keeper = Keeper(database, DirectoryBlobStore(tmp_path_factory.mktemp("blobs")))
    downloader = Downloader(allow_loopback=False)
    yield Servicing(
        serving_service_pb2.DESCRIPTOR.services_by_name["ServingService"],
        serving_service_pb2_grpc.add_ServingServiceServicer_to_server,
        ServingService(
            database,
            OnDemand(keeper, downloader, remotes_of(keeper.database)),
            IndexFiles(keeper, lambda: iter(())),
            watch,
        ),
    )
    downloader.close()
    keeper.store.close()


@pytest.mark.parametrize("path", ["\0", "a\0", "a/\0/b"])
def test_nothing_is_at_a_path_with_a_nul(servicing: Servicing, path: str) -> None:
    """No base path has a NUL character, so the answer is empty, and the database is not asked."""
    request = serving_service_pb2.ResolvePointerRequest(path=path)

    response = servicing.call("ResolvePointer", request, CONTENT)

    assert serving_service_pb2.ResolvePointerResponse() == response


@pytest.mark.parametrize(
    ("name", "parsed"),
    [("v:7:3", (7, 3)), (f"p:{ID}", ID), (f"p:{ID.upper()}", ID), (ID, ID)],
)
def test_a_content_set_is_a_version_or_a_publication(name: str, parsed: object) -> None:
    """The names are those that ResolvePointer gives."""
    assert parsed == parse_content_set(name)


@pytest.mark.parametrize(
    "name", ["", "v:", "v:7", "v:-1:3", "v:7:3\n", f"v:{'9' * 19}:1", f"v:1:{'9' * 10}", "p:x"]
)
def test_what_is_no_content_set_is_refused(name: str) -> None:
    """Numbers that no column holds are refused as any other nonsense."""
    with pytest.raises(FieldInvalidError):
        parse_content_set(name)


def test_a_watch_begins_with_everything(servicing: Servicing, watch: PointerWatch) -> None:
    """What changed before is not told, so the first answer is that anything may have."""
    watch.close()

    answers = servicing.read("WatchPointers", serving_service_pb2.WatchPointersRequest(), CONTENT)

    assert [serving_service_pb2.WatchPointersResponse(all=True)] == answers


@pytest.mark.parametrize(
    ("authorization", "reason"),
    [
        (CONTENT, "DATABASE_UNAVAILABLE"),
        (API, "DATABASE_UNAVAILABLE"),
        (ATTEMPT, "PERMISSION_DENIED"),
        (None, "UNAUTHENTICATED"),
    ],
)
def test_serving_is_for_the_content_origin(
    servicing: Servicing, authorization: str | None, reason: str
) -> None:
    """The content origin and users may ask, and attempts may not."""
    request = serving_service_pb2.ListBasePathsRequest()

    error = refusal(lambda: servicing.call("ListBasePaths", request, authorization))

    assert reason == error.reason
