"""Artifacts and edges, as the contract wants them."""

import pytest

from entrepot.plugins.file.v1.file_pb2 import File
from entrepot.type.v1.content_pb2 import Edge
from entrepot.type.v1.digest_pb2 import Digest
from entrepot_sdk import TaskFailed, Unit, artifact, attaches, context, needs
from entrepot_sdk.testing import unit


def test_an_artifact_names_all_it_knows() -> None:
    """Every digest carries the size, and every URL the remote."""
    made = artifact(
        "a", sha256="0" * 64, size_bytes=3, digests={"md5": "1" * 32}, url=["u", "v"], remote="r"
    )

    assert [one.algorithm for one in made.digests] == [
        Digest.ALGORITHM_SHA256,
        Digest.ALGORITHM_MD5,
    ]
    assert {one.size_bytes for one in made.digests} == {3}
    assert [(one.remote_role, one.url) for one in made.sources] == [("r", "u"), ("r", "v")]


def test_an_unknown_algorithm_is_named() -> None:
    """A digest that cannot be verified fails the task, naming it and those that can."""
    for name in ("whirlpool", "SHA512", "unspecified", ""):
        with pytest.raises(TaskFailed, match=f'of the algorithm "{name}", which') as caught:
            artifact("a", digests={name: "1" * 32})

        assert caught.value.reason == "DIGEST_UNKNOWN"
        assert caught.value.metadata == {"path": "a", "algorithm": name}


def test_an_unknown_size_is_not_zero() -> None:
    """A size that is not known is left out."""
    (digest,) = artifact("a", sha256="0" * 64).digests

    assert not digest.HasField("size_bytes")


@pytest.mark.parametrize(
    ("edge", "kind", "scope"),
    [
        (needs("content/x"), Edge.KIND_NEEDS, Edge.SCOPE_GLOBAL),
        (attaches("content/x", "version"), Edge.KIND_ATTACHES, Edge.SCOPE_VERSION),
        (context("content/x"), Edge.KIND_CONTEXT, Edge.SCOPE_GLOBAL),
    ],
)
def test_edges_have_kind_and_scope(
    edge: Edge, kind: Edge.Kind.ValueType, scope: Edge.Scope.ValueType
) -> None:
    """Each helper makes its own kind, global unless said otherwise."""
    assert (edge.kind, edge.scope, edge.target.name) == (kind, scope, "content/x")


def test_a_target_may_be_named_by_its_key() -> None:
    """An edge to a message carries the message."""
    packed = File()

    assert needs(File(relative_path="a")).target.key.Unpack(packed)
    assert packed.relative_path == "a"


def test_a_unit_of_another_type_is_not_taken_for_one() -> None:
    """Reading a unit as what it is not is an error."""
    with pytest.raises(TypeError, match="is not a"):
        Unit.of(unit(Digest(hex="0"), name="content/x"), File)
