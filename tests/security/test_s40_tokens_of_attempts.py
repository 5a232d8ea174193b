"""S40: the token of an attempt opens that attempt alone, and only as long as it lasts."""

import hashlib
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from attempt_session import SYNC, Session, a_file, run
from core_database import core_dsn, core_schema, database
from core_under_test import (
    Core,
    a_config,
    a_remote,
    a_repository,
    errors_of_core,
    running_api,
    running_dispatch,
)
from entrepot.core.v1 import (
    blob_service_pb2,
    task_service_pb2,
    workspace_service_pb2,
)
from entrepot.plugin.v1 import plugin_tasks_pb2
from entrepot.plugins.file.v1 import file_pb2
from entrepot_core.domain.errors import ServiceError
from entrepot_core.store import queue, workspaces
from fake_plugin import FakePlugin, completed
from polling import until

__all__ = ["core_dsn", "core_schema", "database"]

Task = task_service_pb2.Task
GUESSES = 2_000


@pytest.fixture
def plugin() -> Iterator[FakePlugin]:
    """A plugin that does what a test says."""
    plugin = FakePlugin().start()
    yield plugin
    plugin.stop()


@pytest.fixture
def core(core_dsn: str, tmp_path: Path, plugin: FakePlugin) -> Iterator[Core]:
    """A core with two repositories."""
    config = a_config(core_dsn, tmp_path)
    with running_api(config) as core, running_dispatch(config):
        core.register(plugin)
        for name in ("foo", "other"):
            a_repository(core.database, name)
        a_remote(core.database)
        yield core
        plugin.released.set()


def open_workspace(session: Session) -> object:
    """OpenWorkspace."""
    request = workspace_service_pb2.OpenWorkspaceRequest()
    return session.workspace.OpenWorkspace(request, metadata=session.metadata, timeout=20)


def write(session: Session) -> object:
    """BatchWriteBlobs."""
    return session.write(b"x")


def stage(session: Session) -> object:
    """StageChanges."""
    return session.stage(a_file("late.txt"))


def read(session: Session) -> object:
    """ReadContent."""
    return session.read(version={"repository_role": "repository"})


def find(session: Session) -> object:
    """FindMissingBlobs."""
    request = blob_service_pb2.FindMissingBlobsRequest()
    return session.blobs.FindMissingBlobs(request, metadata=session.metadata, timeout=20)


CALLS = (open_workspace, write, stage, read, find)


def refusal(call: Callable[[Session], object], session: Session) -> str:
    """The reason for which a call is refused; empty if it is not."""
    try:
        with errors_of_core():
            call(session)
    except ServiceError as error:
        return error.reason
    return ""


def taken(core: Core, plugin: FakePlugin, end: Callable[[str], None]) -> tuple[str, list[str]]:
    """A token whose attempt is ended from outside, and what each call says while it lasts."""
    tokens: list[str] = []
    before: list[str] = []

    def execute(
        request: plugin_tasks_pb2.ExecuteRequest, _context: grpc.ServicerContext
    ) -> Iterator[plugin_tasks_pb2.ExecuteResponse]:
        before.extend(refusal(call, Session(core, request.attempt_token)) for call in CALLS)
        tokens.append(request.attempt_token)
        plugin.released.wait(20)
        yield completed()

    plugin.execute = execute
    task = core.create(SYNC)
    until(lambda: bool(tokens), "the attempt")
    end(task.name)
    return tokens[0], before


def test_a_token_dies_with_the_commit(core: Core, plugin: FakePlugin) -> None:
    """S40: after the task is over its token is refused everywhere."""
    tokens: list[Session] = []
    before: list[str] = []

    def work(session: Session) -> None:
        # Used, so that what was known of it then is known to all who might remember.
        before.extend(refusal(call, session) for call in CALLS if call is not stage)
        tokens.append(session)

    task = run(core, plugin, work)

    assert task.state == Task.STATE_COMPLETED
    assert set(before) == {""}
    assert {refusal(call, tokens[0]) for call in CALLS} == {"ATTEMPT_SUPERSEDED"}


def test_a_token_dies_with_a_cancel(core: Core, plugin: FakePlugin) -> None:
    """S40: after a cancel the token is refused, though the plugin still runs."""

    def cancel(name: str) -> None:
        core.cancel(name)
        assert core.read(name, wait=20).state == Task.STATE_CANCELED

    token, before = taken(core, plugin, cancel)

    assert set(before) == {""}
    assert {refusal(call, Session(core, token)) for call in CALLS} == {"ATTEMPT_SUPERSEDED"}


def test_a_token_dies_with_a_take_over(core: Core, plugin: FakePlugin) -> None:
    """S40: when another attempt owns the task, the old token is refused."""

    def take_over(name: str) -> None:
        with core.database.transaction() as cursor:
            number = name.partition("/")[2]
            cursor.execute(
                "SELECT workspace_id FROM workspace WHERE task_id = %s::uuid", (number,)
            )
            row = cursor.fetchone()
            assert row is not None
            queue.lock_workspace(cursor, row[0])
            cursor.execute("DELETE FROM workspace WHERE workspace_id = %s", row)

    token, before = taken(core, plugin, take_over)

    assert set(before) == {""}
    assert {refusal(call, Session(core, token)) for call in CALLS} == {"ATTEMPT_SUPERSEDED"}


def test_a_token_opens_no_other_task(core: Core, plugin: FakePlugin) -> None:
    """S40: with the token of one task nothing of another is named, read or changed."""
    sessions: list[Session] = []

    def second(session: Session) -> None:
        sessions.append(session)
        session.write(b"of the second")
        session.stage(a_file("second.txt", "of the second"))
        # The first is over, so its token can neither see nor touch this one.
        assert refusal(stage, sessions[0]) == "ATTEMPT_SUPERSEDED"
        with errors_of_core():
            request = workspace_service_pb2.OpenWorkspaceRequest()
            opened = session.workspace.OpenWorkspace(
                request, metadata=session.metadata, timeout=20
            )
        names.append(opened.task)

    names: list[str] = []
    run(core, plugin, sessions.append)
    task = run(core, plugin, second, file_pb2.Sync(repository="other", remote="bar"))

    assert names == [task.name]


def test_a_token_is_no_key_to_the_api(core: Core, plugin: FakePlugin) -> None:
    """S40: a live token of an attempt, however it is sent, is refused by services for users."""
    reasons: list[str] = []

    def work(session: Session) -> None:
        token = session.metadata[0][1].partition(" ")[2]
        for scheme in ("Attempt", "Bearer", "attempt", "Basic"):
            with pytest.raises(ServiceError) as caught, errors_of_core():
                core.tasks.ListTasks(
                    task_service_pb2.ListTasksRequest(),
                    metadata=(("authorization", f"{scheme} {token}"),), timeout=20,
                )  # fmt: skip
            reasons.append(caught.value.reason)

    run(core, plugin, work)

    assert set(reasons) <= {"PERMISSION_DENIED", "UNAUTHENTICATED"}
    assert len(reasons) == 4


def test_guesses_find_nothing(core: Core, plugin: FakePlugin) -> None:
    """S40: guessed, shortened, changed and hashed tokens are refused, all in the same words."""
    reasons: set[str] = set()

    def work(session: Session) -> None:
        token = session.metadata[0][1].partition(" ")[2]
        digest = hashlib.sha256(token.encode())
        near = [
            token[:-1], token + "A", token.swapcase(), token[::-1], digest.hexdigest(), "*", "%",
            "' OR ''='", digest.digest().hex(), f" {token}", "A" * 100_000,
        ]  # fmt: skip
        reasons.update(refusal(open_workspace, Session(core, one)) for one in near[:-1])
        guesses = [hashlib.sha256(secrets.token_bytes(32)).digest() for _ in range(GUESSES)]
        with core.database.transaction() as cursor:
            assert all(workspaces.find(cursor, guess) is None for guess in guesses)
            assert workspaces.find(cursor, digest.digest()) is not None

    run(core, plugin, work)

    assert reasons == {"ATTEMPT_SUPERSEDED"}


def test_only_a_digest_of_the_token_is_kept(
    core: Core, plugin: FakePlugin, capfd: pytest.CaptureFixture[str]
) -> None:
    """S40: neither a table, nor what is logged, nor what a task says has the token.

    It is looked up by its SHA-256, so how long an answer takes says nothing of the token.
    """
    tokens: list[str] = []
    dumps: list[str] = []

    def work(session: Session) -> None:
        tokens.append(session.metadata[0][1].partition(" ")[2])
        refusal(open_workspace, Session(core, f"{tokens[0]}x"))
        tables = core.database.fetch(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
        )
        for (table,) in tables:
            rows = core.database.fetch(f"SELECT t::text FROM {table} AS t")  # noqa: S608
            dumps.append("\n".join(str(row) for row in rows))

    task = run(core, plugin, work)

    said = capfd.readouterr()
    assert tokens[0] not in said.out + said.err + str(task) + "".join(dumps)
    assert hashlib.sha256(tokens[0].encode()).hexdigest() in "".join(dumps)
