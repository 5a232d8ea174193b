"""WorkspaceService: who may stage, and what a batch may have."""

import pytest

from declarations import FILE, file_plugin
from entrepot.core.v1 import workspace_service_pb2, workspace_service_pb2_grpc
from entrepot.plugins.file.v1 import file_pb2
from entrepot.type.v1 import content_pb2, digest_pb2
from entrepot_core.api.content_message import decode_units
from entrepot_core.api.workspace_service import (
    MAX_BATCH_BYTES,
    MAX_UNITS,
    WorkspaceService,
    check_batch,
)
from entrepot_core.domain.errors import BatchTooLargeError, FieldInvalidError
from unconnected_core import (
    API,
    ATTEMPT,
    CONTENT,
    DeclaredPlugins,
    Servicing,
    fields,
    no_cursor,
    no_database,
    pack,
    refusal,
)

Digest = digest_pb2.Digest
Edge = content_pb2.Edge
Artifact = content_pb2.Artifact
HEX = "ab" * 32
SHA256 = Digest(algorithm=Digest.ALGORITHM_SHA256, hex=HEX)
FILES = pack(file_pb2.File(relative_path="a", sha256=HEX))
UNIT = f"content/file/files/{HEX}"
URL = "http://upstream.test/a"
CATALOG = DeclaredPlugins(file_plugin()).catalog()


@pytest.fixture(scope="module")
def servicing() -> Servicing:
    """The servicer, with a plugin for files."""
    return Servicing(
        workspace_service_pb2.DESCRIPTOR.services_by_name["WorkspaceService"],
        workspace_service_pb2_grpc.add_WorkspaceServiceServicer_to_server,
        WorkspaceService(no_database(), DeclaredPlugins(file_plugin())),
    )


@pytest.mark.parametrize("method", ["OpenWorkspace", "StageChanges", "StageFiles", "ReadContent"])
@pytest.mark.parametrize(
    ("authorization", "reason"),
    [
        (None, "UNAUTHENTICATED"),
        (API, "UNAUTHENTICATED"),
        (CONTENT, "PERMISSION_DENIED"),
        ("Bearer some-token", "UNAUTHENTICATED"),
        (ATTEMPT, "DATABASE_UNAVAILABLE"),
    ],
)
def test_a_workspace_is_for_its_attempt(
    servicing: Servicing, method: str, authorization: str | None, reason: str
) -> None:
    """Not even a user gets in, and the token of an attempt is looked up."""
    request = getattr(workspace_service_pb2, f"{method}Request")()
    call = servicing.read if method == "ReadContent" else servicing.call

    error = refusal(lambda: call(method, request, authorization))

    assert reason == error.reason


@pytest.mark.parametrize("sequence", [0, -1])
def test_a_batch_has_a_sequence(sequence: int) -> None:
    """Without one, a repetition could not be told from another batch."""
    request = workspace_service_pb2.StageChangesRequest(sequence=sequence)

    with pytest.raises(FieldInvalidError) as refused:
        check_batch(request, 1, sequence)

    assert ["sequence"] == fields(refused.value)


@pytest.mark.parametrize(
    ("count", "size", "is_allowed"),
    [
        (0, 0, True),
        (MAX_UNITS, 0, True),
        (MAX_UNITS + 1, 0, False),
        (1, MAX_BATCH_BYTES - 100, True),
        (1, MAX_BATCH_BYTES, False),
    ],
)
def test_a_batch_has_limits(count: int, size: int, is_allowed: bool) -> None:
    """So many units and so many bytes are taken at once, and not one more."""
    request = workspace_service_pb2.StageFilesRequest(sequence=1, repository_role="r" * size)

    try:
        check_batch(request, count, 1)
    except BatchTooLargeError:
        was_allowed = False
    else:
        was_allowed = True

    assert is_allowed == was_allowed


def an_edge(**given: object) -> Edge:
    """A relation that is right but for what is given."""
    known: dict[str, object] = {
        "kind": Edge.KIND_NEEDS,
        "scope": Edge.SCOPE_GLOBAL,
        "target": Edge.Target(name=UNIT),
    }
    return Edge(**{**known, **given})  # type: ignore[arg-type]


def an_artifact(**given: object) -> Artifact:
    """A file that is right but for what is given."""
    known: dict[str, object] = {"relative_path": "a", "digests": [SHA256]}
    return Artifact(**{**known, **given})  # type: ignore[arg-type]


def a_source(role: str = "remote", url: str = URL) -> content_pb2.RemoteSource:
    """A source at the remote that was lent."""
    return content_pb2.RemoteSource(remote_role=role, url=url)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"attributes": pack(file_pb2.Sync())}, "attributes"),
        ({"attributes": pack(file_pb2.File(relative_path="\0"))}, "attributes.relative_path"),
        ({"artifacts": [an_artifact()] * 2}, "artifacts[1]"),
        ({"artifacts": [an_artifact(digests=[])]}, "artifacts[0]"),
        (
            {"artifacts": [an_artifact(digests=[Digest(algorithm=99, hex=HEX)])]},  # type: ignore[arg-type]
            "artifacts[0].digests[0].algorithm",
        ),
        (
            {"artifacts": [an_artifact(digests=[Digest(hex=HEX)])]},
            "artifacts[0].digests[0].algorithm",
        ),
        (
            {"artifacts": [an_artifact(sources=[a_source("other")])]},
            "artifacts[0].sources[0].remote_role",
        ),
        (
            {"artifacts": [an_artifact(sources=[a_source(), a_source(url="file:///etc/x")])]},
            "artifacts[0].sources[1].url",
        ),
        ({"artifacts": [an_artifact(sources=[a_source()] * 33)]}, "artifacts[0].sources"),
        (
            {"artifacts": [an_artifact(relative_path=str(n)) for n in range(1001)]},
            "artifacts",
        ),
        ({"edges": [an_edge(kind=0)]}, "edges[0].kind"),
        ({"edges": [an_edge(kind=99)]}, "edges[0].kind"),
        ({"edges": [an_edge(), an_edge(scope=0)]}, "edges[1].scope"),
        ({"edges": [an_edge(target=Edge.Target())]}, "edges[0].target.name"),
        ({"edges": [an_edge(target=Edge.Target(name="content/x"))]}, "edges[0].target.name"),
        (
            {"edges": [an_edge(target=Edge.Target(key=pack(file_pb2.Sync())))]},
            "edges[0].target.key",
        ),
        ({"edges": [an_edge()] * 10_001}, "edges"),
    ],
)
def test_a_wrong_unit_is_named(given: dict[str, object], field: str) -> None:
    """Everything of a unit is refused under its own path, before types are looked up."""
    known: dict[str, object] = {"attributes": FILES, "artifacts": [an_artifact()]}
    wrong = content_pb2.ContentUnit(**{**known, **given})  # type: ignore[arg-type]
    right = content_pb2.ContentUnit(attributes=FILES, artifacts=[an_artifact()])

    with pytest.raises(FieldInvalidError) as refused:
        decode_units(no_cursor(), CATALOG, "file", [right, wrong], {"remote": 7})

    assert [f"adds[1].{field}"] == fields(refused.value)


@pytest.mark.parametrize("path", ["", "/a", "a/../b", "a//b", "a\0"])
def test_a_path_leads_nowhere_else(path: str) -> None:
    """A file's path is refused by the one rule for paths."""
    unit = content_pb2.ContentUnit(attributes=FILES, artifacts=[an_artifact(relative_path=path)])

    error = refusal(lambda: decode_units(no_cursor(), CATALOG, "file", [unit], {}))

    assert ("INVALID_ARGUMENT", "PATH_INVALID") == (error.code.name, error.reason)


def test_a_plugin_stages_its_own_types() -> None:
    """What another plugin declared is refused, as attributes and as what is needed."""
    unit = content_pb2.ContentUnit(attributes=FILES)

    error = refusal(lambda: decode_units(no_cursor(), CATALOG, "rpm", [unit], {}))

    assert ["adds[0].attributes"] == fields(error)
    assert f"{FILE}.File" in error.message
