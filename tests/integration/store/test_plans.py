"""Plans in real PostgreSQL: what is kept is what is committed, and for how long it is kept."""

import pytest

from contents import Attempt, Scene
from entrepot_core.domain.change import CommitMode, CommitRequest
from entrepot_core.domain.errors import PlanApprovedError, PlanMissingError
from entrepot_core.domain.task import State
from entrepot_core.domain.unit import EdgeScope
from entrepot_core.store import collector, commit, plans, queue, tasks
from entrepot_core.store.database import Database
from entrepot_core.store.plan_draft import PlanDraft
from queues import a_task


class _RollBack(Exception):  # noqa: N818  not an error
    pass


@pytest.fixture
def scene(database: Database) -> Scene:
    """A plugin with its types."""
    return Scene.build(database)


def plan(attempt: Attempt, mode: CommitMode = CommitMode.ADDITIVE) -> str:
    """Ends an attempt as a dry run; the task whose plan is kept."""
    request = CommitRequest(
        workspace_id=attempt.workspace_id,
        task_id=attempt.task_id,
        modes=dict.fromkeys(attempt.repository_ids, mode),
        states={"repository": b"seen"},
        dry_run=True,
        is_ready_made=True,
    )
    with PlanDraft(attempt.task_id) as draft:
        try:
            with attempt.database.transaction() as cursor:
                commit.commit(cursor, request, draft)
                raise _RollBack  # noqa: TRY301  the way to undo a transaction
        except _RollBack:
            pass
        with attempt.database.transaction() as cursor:
            draft.write(cursor)
            outcome = queue.Outcome(state=State.COMPLETED, changed=False)
            queue.finish(cursor, attempt.workspace_id, attempt.task_id, outcome)
    return attempt.task_id


def approve(scene: Scene, planned: str) -> Attempt:
    """An attempt of a new task that commits the plan, with all of it staged."""
    attempt = scene.attempt()
    with scene.database.transaction() as cursor:
        plans.approve(cursor, planned, attempt.task_id)
    with scene.database.transaction() as cursor:
        plans.stage(cursor, attempt.workspace_id, planned)
    return attempt


def commit_plan(attempt: Attempt, planned: str) -> None:
    """Commits what was staged of the plan."""
    with attempt.database.transaction() as cursor:
        request = CommitRequest(
            workspace_id=attempt.workspace_id,
            task_id=attempt.task_id,
            is_ready_made=True,
            plan=planned,
        )
        result = commit.commit(cursor, request)
        outcome = queue.Outcome(state=State.COMPLETED, changed=result.changed)
        queue.finish(cursor, attempt.workspace_id, attempt.task_id, outcome)


def state(scene: Scene, name: str) -> tuple[set[str], set[str], object]:
    """What a repository has, what of it was asked for by name, and relations, all of its own."""
    repository_id = scene.repository(name).repository_id
    relations = scene.database.fetch(
        "SELECT source, kind, target, added_in, removed_in FROM scoped_edge"
        " WHERE repository_id = %s ORDER BY 1, 2, 3, 4",
        (repository_id,),
    )
    return scene.members(name), scene.explicit(name), relations


@pytest.mark.parametrize("mode", [CommitMode.ADDITIVE, CommitMode.REPLACE])
def test_a_plan_does_what_its_dry_run_would_have_done(scene: Scene, mode: CommitMode) -> None:
    """Units that come and leave along, reasons and relations: a plan ends as the commit would."""
    scoped = EdgeScope.VERSION
    first = (
        scene.node("top", needs=["leaf"]),
        scene.node("leaf", implied=True),
        scene.node("old", needs=["gone"]),
        scene.node("gone", implied=True),
        scene.node("group", context=["leaf"], scope=scoped),
        scene.file("a", "one"),
        scene.file("b"),
    )
    second = (
        scene.node("leaf"),
        scene.node("new", needs=["base"]),
        scene.node("base", implied=True),
        scene.node("group", context=["new"], scope=scoped),
        scene.file("a", "two"),
        scene.file("c"),
    )
    removes = [scene.node("old")] if mode is CommitMode.ADDITIVE else []
    for name in ("straight", "planned"):
        attempt = scene.attempt(name)
        attempt.stage(*first)
        attempt.commit(is_ready_made=True)
    straight = scene.attempt("straight")
    straight.stage(*second, removes=removes)
    straight.commit(mode, is_ready_made=True)

    attempt = scene.attempt("planned")
    attempt.stage(*second, removes=removes)
    before = state(scene, "planned")
    planned = plan(attempt, mode)
    assert state(scene, "planned") == before
    new = scene.attempt("planned")
    with scene.database.transaction() as cursor:
        plans.approve(cursor, planned, new.task_id)
    with scene.database.transaction() as cursor:
        plans.stage(cursor, new.workspace_id, planned)
        assert list(plans.hints(cursor, planned).values()) == [b"seen"]
    commit_plan(new, planned)

    assert state(scene, "planned") == state(scene, "straight")
    counts = "SELECT unit_count, added, removed, set_digest FROM version WHERE number = 2"
    assert len(set(scene.database.fetch(counts.replace("set_digest", "set_digest::text")))) == 1


def test_the_collector_keeps_what_is_planned(scene: Scene) -> None:
    """Units that only a plan has are no orphans until the plan is gone."""
    attempt = scene.attempt()
    attempt.stage(scene.file("a"))
    planned = plan(attempt)
    scene.database.fetch("DELETE FROM staged")

    assert collector.mark(scene.database) == 0
    scene.database.fetch("UPDATE plan SET expires_at = now()")
    with scene.database.transaction() as cursor:
        while plans.forget(cursor, 1):
            pass
        assert plans.find(cursor, planned) is None
    assert collector.mark(scene.database) == 1
    assert (
        scene.database.fetch("SELECT 1 FROM plan_repository UNION SELECT 2 FROM plan_unit") == []
    )


def test_a_plan_is_kept_while_it_is_committed(scene: Scene) -> None:
    """A plan whose time is up after its approval is committed all the same."""
    attempt = scene.attempt()
    attempt.stage(scene.file("a"))
    planned = plan(attempt)
    new = approve(scene, planned)
    scene.database.fetch("UPDATE plan SET expires_at = now()")

    with scene.database.transaction() as cursor:
        assert plans.forget(cursor, 100) == 0
    commit_plan(new, planned)

    assert scene.members() == {"a=a"}
    with scene.database.transaction() as cursor:
        assert plans.forget(cursor, 100) == 3


def test_only_one_may_approve(scene: Scene) -> None:
    """A plan that is approved stays so unless its commit fails; one whose time is up is gone."""
    attempt = scene.attempt()
    attempt.stage(scene.file("a"))
    planned = plan(attempt)
    first = approve(scene, planned)

    with scene.database.transaction() as cursor:
        other = a_task(cursor)
        with pytest.raises(PlanApprovedError, match=f"tasks/{first.task_id} commits it"):
            plans.approve(cursor, planned, other)
    with scene.database.transaction() as cursor:
        outcome = queue.Outcome(state=State.FAILED, error=b"")
        queue.finish(cursor, first.workspace_id, first.task_id, outcome)
    with scene.database.transaction() as cursor:
        plans.approve(cursor, planned, other)
        assert tasks.get(cursor, other).commits == planned
    scene.database.fetch("UPDATE plan SET expires_at = now()")
    with (
        scene.database.transaction() as cursor,
        pytest.raises(PlanMissingError, match="not kept any more"),
    ):
        plans.approve(cursor, planned, other)
