"""What is staged and returned: of declared types, for what was lent, and fit to be served."""
# ruff: noqa: S101  these are tests

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from entrepot.plugin.v1 import describe_pb2
from entrepot.type.v1.content_pb2 import Edge
from entrepot.type.v1.digest_pb2 import Digest
from entrepot_sdk.testing.contract.subject import Subject

if TYPE_CHECKING:
    from collections.abc import Iterator

    from entrepot.plugin.v1.describe_pb2 import DescribeResponse
    from entrepot.type.v1.content_pb2 import Artifact, ContentUnit
    from entrepot_sdk.testing.attempt import Attempt
    from entrepot_sdk.testing.fake_core import FakeCore
    from entrepot_sdk.testing.scenario import Scenario

__all__ = ["StagingContract"]

_MAX_PATH_BYTES = 1024
_MAX_STATE_BYTES = 4096
_BAD_PATH = re.compile(r"^/|(^|/)(\.{0,2})(/|$)|[\x00-\x1f\x7f-\x9f]")
_HEX_DIGITS = {
    Digest.ALGORITHM_MD5: 32,
    Digest.ALGORITHM_SHA1: 40,
    Digest.ALGORITHM_SHA224: 56,
    Digest.ALGORITHM_SHA256: 64,
    Digest.ALGORITHM_SHA384: 96,
    Digest.ALGORITHM_SHA512: 128,
    Digest.ALGORITHM_SHA3_224: 56,
    Digest.ALGORITHM_SHA3_256: 64,
    Digest.ALGORITHM_SHA3_384: 96,
    Digest.ALGORITHM_SHA3_512: 128,
    Digest.ALGORITHM_BLAKE2B_256: 64,
    Digest.ALGORITHM_BLAKE2B_512: 128,
    Digest.ALGORITHM_BLAKE2S_256: 64,
    Digest.ALGORITHM_BLAKE3: 64,
}


class StagingContract(Subject):
    """What a plugin proposes."""

    def test_the_result_is_of_the_declared_type(
        self, core: FakeCore, plugin: str, description: DescribeResponse, scenario: Scenario
    ) -> None:
        """A result has the declared type, and is there if and only if one was declared."""
        _, outcome = self.run(core, plugin, scenario)
        if outcome.verdict != "completed":
            return
        declared = {
            f"{description.name}/{one.collection}": one.result_message
            for one in description.task_types
        }

        assert outcome.events[-1].completed.result.TypeName() == declared[scenario.task_type]

    def test_modes_and_states_are_for_lent_repositories(
        self, core: FakeCore, plugin: str, scenario: Scenario
    ) -> None:
        """How to commit, and what to keep, is said of lent repositories alone."""
        _, outcome = self.run(core, plugin, scenario)
        if outcome.verdict != "completed":
            return
        completed = outcome.events[-1].completed
        lent = _roles(scenario, describe_pb2.RESOURCE_KIND_REPOSITORY)

        assert completed.commit_modes.keys() <= lent
        assert completed.states.keys() <= lent
        assert all(len(state) <= _MAX_STATE_BYTES for state in completed.states.values())

    def test_only_what_was_lent_is_changed(
        self, core: FakeCore, plugin: str, scenario: Scenario
    ) -> None:
        """Units are staged for lent repositories, or for none, and files for lent versions."""
        attempt, _ = self.run(core, plugin, scenario)
        repositories = _roles(scenario, describe_pb2.RESOURCE_KIND_REPOSITORY)
        versions = _roles(scenario, describe_pb2.RESOURCE_KIND_REPOSITORY_VERSION)

        assert {one.repository_role for one in attempt.changes.values()} <= repositories | {""}
        assert {one.repository_role for one in attempt.files.values()} <= repositories | versions

    def test_units_are_of_declared_types(
        self, core: FakeCore, plugin: str, description: DescribeResponse, scenario: Scenario
    ) -> None:
        """The attributes of each unit, and the key of each target, are of declared types."""
        attempt, _ = self.run(core, plugin, scenario)
        declared = {one.attributes_message for one in description.content_types}

        for unit in _units(attempt):
            assert unit.attributes.TypeName() in declared
            for edge in unit.edges:
                assert edge.kind != Edge.KIND_UNSPECIFIED
                assert edge.scope != Edge.SCOPE_UNSPECIFIED
                assert edge.target.name or edge.target.key.TypeName() in declared

    def test_files_can_be_served(self, core: FakeCore, plugin: str, scenario: Scenario) -> None:
        """Each path is relative and plain, each digest is one, each source is an HTTP URL."""
        attempt, _ = self.run(core, plugin, scenario)
        remotes = _roles(scenario, describe_pb2.RESOURCE_KIND_REMOTE)

        for path in _paths(attempt):
            assert path
            assert not _BAD_PATH.search(path), path
            assert len(path.encode()) <= _MAX_PATH_BYTES
        for artifact in _artifacts(attempt):
            for digest in artifact.digests:
                assert re.fullmatch(r"[0-9a-f]*", digest.hex)
                assert len(digest.hex) == _HEX_DIGITS[digest.algorithm]
            for source in artifact.sources:
                assert source.remote_role in remotes
                assert re.match(r"https?://[^/@]+/", source.url), source.url


def _roles(scenario: Scenario, kind: describe_pb2.ResourceKind.ValueType) -> set[str]:
    return {one.role for one in scenario.resources if one.kind == kind}


def _units(attempt: Attempt) -> Iterator[ContentUnit]:
    for change in attempt.changes.values():
        yield from change.adds


def _artifacts(attempt: Attempt) -> Iterator[Artifact]:
    for unit in _units(attempt):
        yield from unit.artifacts


def _paths(attempt: Attempt) -> Iterator[str]:
    yield from (artifact.relative_path for artifact in _artifacts(attempt))
    for batch in attempt.files.values():
        yield from (file.path for file in batch.files)
