"""What the file plugin stages, and when it stages nothing."""

import hashlib
import sys
from collections.abc import Iterator

import pytest

from entrepot.plugin.v1.plugin_tasks_pb2 import Completed, Failed
from entrepot.plugins.file.v1.file_pb2 import File, Sync, SyncResult, Upload
from entrepot.type.v1.content_pb2 import ContentUnit
from entrepot_sdk.testing import (
    Attempt,
    FakeCore,
    PluginProcess,
    Scenario,
    remote,
    repository,
    upload,
)

URL = "https://example.org/files/PULP_MANIFEST"
SHA256 = hashlib.sha256(b"").hexdigest()
MANIFEST = f"a b/ü:1?#%.txt,{SHA256},0\nplain,{SHA256},0\n".encode()


@pytest.fixture(scope="module")
def core() -> Iterator[FakeCore]:
    """Start a scripted core."""
    with FakeCore() as core:
        yield core


@pytest.fixture(scope="module")
def plugin(core: FakeCore) -> Iterator[str]:
    """Start the plugin, and give its address."""
    command = [sys.executable, "-m", "entrepot_plugin_file"]
    with PluginProcess(command, core.address) as process:
        yield process.address


def a_sync(
    manifest: bytes = MANIFEST,
    *,
    mirror: bool = False,
    state: bytes = b"",
    url: str = URL,
    policy: str = "immediate",
) -> Scenario:
    """Make a sync."""
    return Scenario(
        name="sync",
        task_type="file/syncs",
        parameters=Sync(
            repository="repositories/file/one", remote="remotes/file/one", mirror=mirror
        ),
        resources=[repository(state=state), remote(url, policy=policy)],
        upstream={url: manifest},
    )


def an_upload(relative_path: str, filename: str = "") -> Scenario:
    """Make an upload of no bytes."""
    return Scenario(
        name="upload",
        task_type="file/uploads",
        parameters=Upload(
            repository="repositories/file/one", upload="uploads/one", relative_path=relative_path
        ),
        resources=[repository(), upload(SHA256, 0, filename=filename)],
        blobs=[b""],
    )


def completed(core: FakeCore, plugin: str, scenario: Scenario) -> tuple[Attempt, Completed]:
    """Run a task that succeeds."""
    attempt = core.lend(scenario)
    outcome = core.execute(plugin, attempt.request())
    assert outcome.verdict == "completed", outcome
    return attempt, outcome.events[-1].completed


def failed(core: FakeCore, plugin: str, scenario: Scenario) -> tuple[Attempt, Failed]:
    """Run a task that fails."""
    attempt = core.lend(scenario)
    outcome = core.execute(plugin, attempt.request())
    assert outcome.verdict == "failed", outcome
    return attempt, outcome.events[-1].failed


def units(attempt: Attempt) -> list[tuple[File, ContentUnit]]:
    """Return what was staged, with its attributes, by path."""
    staged = []
    for change in attempt.changes.values():
        for unit in change.adds:
            file = File()
            assert unit.attributes.Unpack(file)
            staged.append((file, unit))
    return sorted(staged, key=lambda one: one[0].relative_path)


def result_of(verdict: Completed) -> SyncResult:
    """Return the typed result."""
    result = SyncResult()
    assert verdict.result.Unpack(result)
    return result


def test_a_sync_stages_every_file(core: FakeCore, plugin: str) -> None:
    """Each line becomes a unit with one artifact: its path, digest, size and URL."""
    attempt, verdict = completed(core, plugin, a_sync())

    (odd, odd_unit), (plain, plain_unit) = units(attempt)
    assert odd == File(relative_path="a b/ü:1?#%.txt", sha256=SHA256, size_bytes=0)
    assert plain == File(relative_path="plain", sha256=SHA256, size_bytes=0)
    (artifact,) = odd_unit.artifacts
    assert artifact.relative_path == "a b/ü:1?#%.txt"
    assert artifact.digests[0].hex == SHA256
    assert artifact.digests[0].HasField("size_bytes")
    assert artifact.sources[0].remote_role == "remote"
    assert artifact.sources[0].url == "https://example.org/files/a%20b/%C3%BC%3A1%3F%23%25.txt"
    assert plain_unit.artifacts[0].sources[0].url == "https://example.org/files/plain"
    assert result_of(verdict).listed_files == 2
    assert verdict.commit_modes["repository"] == Completed.COMMIT_MODE_ADDITIVE


def test_a_mirror_replaces(core: FakeCore, plugin: str) -> None:
    """A mirror tells core that what is staged is all there is to be."""
    _, verdict = completed(core, plugin, a_sync(mirror=True))

    assert verdict.commit_modes["repository"] == Completed.COMMIT_MODE_REPLACE


def test_the_same_manifest_again_stages_nothing(core: FakeCore, plugin: str) -> None:
    """A sync of what the last one saw says so, and gives the same state back."""
    _, first = completed(core, plugin, a_sync())
    state = first.states["repository"]

    attempt, second = completed(core, plugin, a_sync(state=state))

    assert attempt.changes == {}
    assert "ReadBlob" not in {call.rpc for call in attempt.calls}
    assert second.unchanged_reason == "The manifest has not changed since the last sync."
    assert second.states["repository"] == state
    assert result_of(second).manifest_unchanged
    assert result_of(second).listed_files == 2


@pytest.mark.parametrize(
    "other",
    [
        {"mirror": True},
        {"url": "https://example.org/other/PULP_MANIFEST"},
        {"policy": "on_demand"},
    ],
    ids=lambda other: next(iter(other)),
)
def test_anything_else_is_compared(core: FakeCore, plugin: str, other: dict[str, bytes]) -> None:
    """What was done in another mode, from another address or by another policy is done again."""
    _, first = completed(core, plugin, a_sync())

    attempt, _ = completed(core, plugin, a_sync(state=first.states["repository"], **other))  # type: ignore[arg-type]

    assert len(units(attempt)) == 2


def manifest_of(**files: bytes) -> bytes:
    """Make a manifest of files in the root."""
    return "".join(
        f"{path},{hashlib.sha256(data).hexdigest()},{len(data)}\n" for path, data in files.items()
    ).encode()


BEFORE = manifest_of(same=b"1", other=b"2", gone=b"3")
AFTER = manifest_of(new=b"4", other=b"5", same=b"1")


@pytest.mark.parametrize("mirror", [True, False])
def test_of_another_manifest_the_difference_is_staged(
    core: FakeCore, plugin: str, *, mirror: bool
) -> None:
    """What the manifest listed before is left alone; a mirror removes what it lists no more."""
    core.forget_fetches()
    _, first = completed(core, plugin, a_sync(BEFORE, mirror=mirror))

    attempt, second = completed(
        core, plugin, a_sync(AFTER, mirror=mirror, state=first.states["repository"])
    )

    assert [file.relative_path for file, _ in units(attempt)] == ["new", "other"]
    removed = set()
    for change in attempt.changes.values():
        for key in change.remove_keys:
            file = File()
            assert key.Unpack(file)
            removed.add((file.relative_path, file.size_bytes, file.sha256))
    expected = {
        (path, 1, hashlib.sha256(data).hexdigest())
        for path, data in (("gone", b"3"), ("other", b"2"))
    }
    assert removed == (expected if mirror else set())
    assert "repository" not in second.commit_modes
    assert result_of(second).listed_files == 3


@pytest.mark.parametrize("lost", ["the bytes", "the state"])
def test_without_the_last_manifest_all_is_staged(core: FakeCore, plugin: str, lost: str) -> None:
    """A difference is only made to what the repository is known to be: that very manifest."""
    core.forget_fetches()
    _, first = completed(core, plugin, a_sync(BEFORE, mirror=True))
    state = first.states["repository"]
    if lost == "the bytes":
        core.forget_fetches()
    else:
        # Somebody else has synced from the same remote since.
        completed(core, plugin, a_sync(BEFORE + b"# other\n"))

    attempt, second = completed(core, plugin, a_sync(AFTER, mirror=True, state=state))

    assert len(units(attempt)) == 3
    assert second.commit_modes["repository"] == Completed.COMMIT_MODE_REPLACE


def test_a_broken_manifest_names_the_line(core: FakeCore, plugin: str) -> None:
    """The error tells a person which file and line is wrong, and why; it is final."""
    _, verdict = failed(core, plugin, a_sync(MANIFEST + b"/etc/passwd," + b"0" * 64 + b",1\n"))

    assert verdict.status.message == f"{URL}, line 3: the path is absolute."
    assert not verdict.retryable


def test_a_missing_manifest_is_what_core_says(core: FakeCore, plugin: str) -> None:
    """When upstream does not have the manifest, core's own error is the task's."""
    scenario = a_sync()
    missing = Scenario(
        name="missing",
        task_type=scenario.task_type,
        parameters=scenario.parameters,
        resources=scenario.resources,
    )

    attempt, verdict = failed(core, plugin, missing)

    assert verdict.status.message == f"{URL} answered 404."
    assert attempt.changes == {}


@pytest.mark.parametrize(
    ("relative_path", "filename", "expected"),
    [("a/b", "name", "a/b"), ("", "name", "name")],
)
def test_an_upload_gets_its_path(
    core: FakeCore, plugin: str, relative_path: str, filename: str, expected: str
) -> None:
    """An upload becomes one unit, at the path asked for or under its own name."""
    attempt, _ = completed(core, plugin, an_upload(relative_path, filename))

    ((file, unit),) = units(attempt)
    assert file == File(relative_path=expected, sha256=SHA256, size_bytes=0)
    assert unit.artifacts[0].relative_path == expected
    assert list(unit.artifacts[0].sources) == []


def test_many_files_are_staged_in_one_go(core: FakeCore, plugin: str) -> None:
    """Uploads are told apart by name, and what a URL has is what core downloaded."""
    url = "https://example.org/a%20b.txt"
    attempt, _ = completed(
        core,
        plugin,
        Scenario(
            name="many",
            task_type="file/uploads",
            parameters=Upload(
                repository="repositories/file/one",
                files=[
                    Upload.Entry(upload="uploads/two", relative_path="z"),
                    Upload.Entry(upload="uploads/one"),
                    Upload.Entry(url=url),
                ],
            ),
            resources=[
                repository(),
                upload(SHA256, 0, "files.upload", filename="one"),
                upload(hashlib.sha256(b"2").hexdigest(), 1, "files.upload", name="uploads/two"),
            ],
            blobs=[b"", b"2"],
            upstream={url: b"333"},
        ),
    )

    assert [("a b.txt", 3), ("one", 0), ("z", 1)] == [
        (file.relative_path, file.size_bytes) for file, _ in units(attempt)
    ]
    assert len(attempt.changes) == 1


def test_an_upload_without_its_bytes_fails(core: FakeCore, plugin: str) -> None:
    """When core does not have the bytes after all, the task fails and the digest is named."""
    digest = "ab" * 32
    scenario = Scenario(
        name="upload",
        task_type="file/uploads",
        parameters=Upload(repository="repositories/file/one", upload="uploads/one"),
        resources=[repository(), upload(digest, 1, filename="name")],
    )

    _, verdict = failed(core, plugin, scenario)

    assert digest in verdict.status.message


def test_an_upload_with_an_evil_path_fails(core: FakeCore, plugin: str) -> None:
    """A path that leaves the repository fails the task even if nobody has validated it."""
    attempt, verdict = failed(core, plugin, an_upload("../evil"))

    assert "relative_path" in verdict.status.message
    assert attempt.changes == {}
