"""S25: a task has the rights of who created it: when it is created, starts, and commits."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from attempt_session import SYNC, Session, Task, a_file, run
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
from entrepot.core.v1 import task_service_pb2
from entrepot_core.config import Config
from entrepot_core.domain.errors import ServiceError
from fake_plugin import FakePlugin
from polling import until

__all__ = ["core_dsn", "core_schema", "database"]


@pytest.fixture
def plugin() -> Iterator[FakePlugin]:
    """A plugin that does what a test says."""
    plugin = FakePlugin().start()
    yield plugin
    plugin.stop()


@pytest.fixture
def config(core_dsn: str, tmp_path: Path) -> Config:
    """Settings of the processes."""
    return a_config(core_dsn, tmp_path)


@pytest.fixture
def core(config: Config, plugin: FakePlugin) -> Iterator[Core]:
    """A core with a repository and a remote, and no dispatcher."""
    with running_api(config) as core:
        core.register(plugin)
        a_repository(core.database)
        a_remote(core.database)
        yield core


def add(session: Session, text: str) -> None:
    """An attempt brings a file."""
    session.write(text.encode())
    session.stage(a_file(text))


def latest(core: Core) -> int:
    """The latest version of the repository."""
    ((number,),) = core.database.fetch("SELECT latest FROM repository WHERE name = 'foo'")
    return int(number)


def test_what_a_task_does_belongs_to_who_created_it(
    core: Core, config: Config, plugin: FakePlugin
) -> None:
    """S25: the task says whose token it was, also where another one canceled it."""
    ci = core.called_by("ci")
    with running_dispatch(config):
        done = run(ci, plugin, lambda session: add(session, "a"))

    assert (done.state, done.principal) == (Task.STATE_COMPLETED, "ci")
    waiting = ci.create(SYNC)
    assert "ops canceled" in core.called_by("ops").cancel(waiting.name).error.message
    assert core.read(waiting.name).principal == "ci"


def test_who_was_revoked_starts_nothing(core: Core, config: Config, plugin: FakePlugin) -> None:
    """S25: a task that waited while its token was revoked fails, and its plugin hears nothing."""
    task = core.called_by("ci").create(SYNC)
    core.revoke("ci")

    with running_dispatch(config):
        ended = core.read(task.name, wait=30)

    assert ended.state == Task.STATE_FAILED
    assert "token ci" in ended.error.message
    assert plugin.executed == []


def test_who_was_revoked_commits_nothing(core: Core, config: Config, plugin: FakePlugin) -> None:
    """S25: a task whose token is revoked while it runs changes nothing, and gives up its locks."""
    ci = core.called_by("ci")

    def stage_and_lose_the_right(session: Session) -> None:
        add(session, "a")
        core.revoke("ci")

    with running_dispatch(config):
        task = run(ci, plugin, stage_and_lose_the_right)

        assert core.read(task.name, wait=30).state == Task.STATE_FAILED
        assert latest(core) == 0
        next_one = run(core, plugin, lambda session: add(session, "b"))
        assert next_one.state == Task.STATE_COMPLETED


def test_a_revoked_token_is_refused(core: Core) -> None:
    """S25: from a second after it was revoked at the latest, and its name is not given again."""
    ci = core.called_by("ci")
    ci.create(SYNC)
    core.revoke("ci")

    def is_refused() -> bool:
        try:
            ci.create(SYNC)
        except ServiceError as error:
            return error.reason == "UNAUTHENTICATED"
        return False

    until(is_refused, "the refusal of a revoked token", 5)
    with pytest.raises(ServiceError, match="was, a token ci"), errors_of_core():
        core.called_by("ci")


@pytest.mark.parametrize("method", ["ListTokens", "GetToken", "CreateToken", "DeleteToken"])
def test_tokens_are_for_the_administrator(core: Core, method: str) -> None:
    """S25: nobody gives rights to others, or to themselves again."""
    ci = core.called_by("ci")
    service = task_service_pb2.DESCRIPTOR.package + ".TokenService"

    call: Any = core.channel.unary_unary(f"/{service}/{method}")

    with pytest.raises(ServiceError) as refused, errors_of_core():
        call(b"", metadata=ci.metadata, timeout=20)

    assert refused.value.reason == "PERMISSION_DENIED"
