"""Relations at commit: closure, sweep, cascade and holders, by example and against brute force."""

import random
from collections.abc import Iterable

import pytest

from contents import Attempt, Scene, sha
from entrepot_core.domain.change import CommitMode
from entrepot_core.domain.errors import NeededUnitMissingError, UnitStillNeededError
from entrepot_core.domain.unit import EdgeScope, Unit
from entrepot_core.store import changes
from entrepot_core.store.changes import Selection
from entrepot_core.store.content import VersionRange
from entrepot_core.store.database import Database
from graph_model import Graph, Refused


@pytest.fixture
def scene(database: Database) -> Scene:
    """A plugin with its types."""
    return Scene.build(database)


def ids(scene: Scene, names: Iterable[str]) -> list[int]:
    """Numbers of nodes by name."""
    rows = scene.database.fetch(
        "SELECT content_id FROM content WHERE key_digest = ANY(%s::bytea[])",
        ([sha(name) for name in names],),
    )
    return [row[0] for row in rows]


def make(scene: Scene, *nodes: Unit) -> None:
    """Makes nodes without adding them anywhere."""
    attempt = scene.attempt()
    attempt.stage(*nodes, role="")
    attempt.commit()


def add(scene: Scene, *names: str, repository: str = "main") -> None:
    """Adds nodes that exist by name, as core's ready-made work does."""
    attempt = scene.attempt(repository)
    with scene.database.transaction() as cursor:
        changes.stage_add(
            cursor,
            attempt.workspace_id,
            scene.repository(repository).repository_id,
            ids(scene, names),
        )
    attempt.commit(is_ready_made=True)


def remove(scene: Scene, *names: str, cascade: bool = False) -> None:
    """Removes nodes by name."""
    attempt = scene.attempt()
    stage_removal(scene, attempt, names, cascade=cascade)
    attempt.commit(is_ready_made=True)


def stage_removal(
    scene: Scene, attempt: Attempt, names: Iterable[str], *, cascade: bool = False
) -> None:
    """Stages removals by name."""
    row = scene.repository()
    with scene.database.transaction() as cursor:
        changes.stage_remove(
            cursor,
            attempt.workspace_id,
            VersionRange(row.repository_id, row.latest),
            Selection(ids(scene, names)),
            cascade=cascade,
        )


def test_an_add_brings_what_is_needed(scene: Scene) -> None:
    """The closure over needs comes along, as implied; attached units and context do not."""
    make(
        scene,
        scene.node("index", needs=["manifest"], context=["note"]),
        scene.node("manifest", needs=["layer"]),
        scene.node("layer"),
        scene.node("note"),
        scene.node("signature", attaches=["manifest"]),
    )

    add(scene, "index")

    assert scene.members() == {"index", "manifest", "layer"}
    assert scene.explicit() == {"index"}


def test_needs_may_go_in_circles(scene: Scene) -> None:
    """Two units that need each other come together and leave together."""
    make(
        scene,
        scene.node("top", needs=["a"]),
        scene.node("a", needs=["b"]),
        scene.node("b", needs=["a"]),
    )
    add(scene, "top")
    assert scene.members() == {"top", "a", "b"}

    remove(scene, "top")

    assert scene.members() == set()


def test_a_missing_target_is_named(scene: Scene) -> None:
    """The error names holder and target, and nothing is written."""
    attempt = scene.attempt()
    attempt.stage(scene.node("holder", needs=["nowhere"]))

    with pytest.raises(NeededUnitMissingError) as refused:
        attempt.commit()

    assert refused.value.metadata["needs"].endswith(sha("nowhere").hex())
    assert refused.value.metadata["unit"] == scene.node("holder").name


def test_a_target_may_come_after_the_edge(scene: Scene) -> None:
    """A unit may name another that is staged later, or by another attempt."""
    attempt = scene.attempt()
    attempt.stage(scene.node("holder", needs=["late"], context=["never"]))
    attempt.stage(scene.node("late", implied=True))

    attempt.commit()

    assert scene.members() == {"holder", "late"}


def test_a_shared_target_stays(scene: Scene) -> None:
    """Removing one holder leaves what another needs."""
    make(
        scene,
        scene.node("one", needs=["base", "own"]),
        scene.node("two", needs=["base"]),
        scene.node("base"),
        scene.node("own"),
    )
    add(scene, "one", "two")

    remove(scene, "one")

    assert scene.members() == {"two", "base"}


def test_what_was_asked_for_by_name_stays(scene: Scene) -> None:
    """The sweep takes only what came along."""
    make(scene, scene.node("holder", needs=["target"]), scene.node("target"))
    add(scene, "holder", "target")

    remove(scene, "holder")

    assert scene.members() == {"target"}


def test_removing_what_is_needed_is_refused_naming_holders(scene: Scene) -> None:
    """Never a silent no-op: the answer says who needs it."""
    make(scene, scene.node("holder", needs=["target"]), scene.node("target"))
    add(scene, "holder", "target")

    with pytest.raises(UnitStillNeededError) as refused:
        remove(scene, "target")

    assert refused.value.metadata["holders"] == scene.node("holder").name
    assert refused.value.metadata["unit"] == scene.node("target").name
    assert scene.members() == {"holder", "target"}


def test_cascade_takes_the_holders_too(scene: Scene) -> None:
    """What needs a removed unit leaves with it, and what only that needed."""
    make(
        scene,
        scene.node("top", needs=["middle"]),
        scene.node("middle", needs=["bottom", "side"]),
        scene.node("bottom"),
        scene.node("side"),
        scene.node("bystander", needs=["side"]),
    )
    add(scene, "top", "bystander")

    remove(scene, "bottom", cascade=True)

    assert scene.members() == {"bystander", "side"}


def test_what_is_attached_leaves_with_its_target(scene: Scene) -> None:
    """A signature is of no use without what it signs, also one that was asked for."""
    make(scene, scene.node("target"), scene.node("signature", attaches=["target"]))
    add(scene, "target", "signature")

    remove(scene, "target")

    assert scene.members() == set()


def test_a_replaced_unit_that_is_needed_is_refused(scene: Scene) -> None:
    """Taking the repository key of a needed unit is a removal like any other."""
    make(
        scene,
        scene.node("holder", needs=["old"]),
        scene.node("old", repo_key="key"),
    )
    add(scene, "holder")
    attempt = scene.attempt()
    attempt.stage(scene.node("new", repo_key="key"))

    with pytest.raises(UnitStillNeededError):
        attempt.commit()


def test_replace_keeps_what_staged_units_need(scene: Scene) -> None:
    """A mirror that stages only the top keeps its closure, as implied."""
    make(
        scene,
        scene.node("top", needs=["middle"]),
        scene.node("middle", needs=["bottom"]),
        scene.node("bottom"),
        scene.node("else"),
    )
    add(scene, "middle", "else")
    attempt = scene.attempt()
    attempt.stage(scene.node("top", needs=["middle"]))

    attempt.commit(CommitMode.REPLACE)

    assert scene.members() == {"top", "middle", "bottom"}
    assert scene.explicit() == {"top"}


def test_a_relation_may_hold_in_one_version_only(scene: Scene) -> None:
    """Scoped relations belong to the repository, and change with what is staged."""
    make(scene, scene.node("one"), scene.node("two"))
    attempt = scene.attempt()
    attempt.stage(scene.node("module", needs=["one"], scope=EdgeScope.VERSION))
    attempt.commit()
    assert scene.members() == {"module", "one"}

    attempt = scene.attempt()
    attempt.stage(scene.node("module", needs=["two"], scope=EdgeScope.VERSION))
    attempt.commit()

    assert scene.members() == {"module", "one", "two"}
    remove(scene, "one")
    with pytest.raises(UnitStillNeededError):
        remove(scene, "two")


def test_copies_take_along_what_belongs_to_them(scene: Scene) -> None:
    """Needed, attached and context units of the source version come along, as implied."""
    make(scene, scene.node("layer"), scene.node("other"))
    attempt = scene.attempt("source")
    attempt.stage(
        scene.node("manifest", needs=["layer"], context=["note"]),
        scene.node("note"),
        scene.node("signature", attaches=["manifest"]),
        scene.node("module", needs=["manifest"], scope=EdgeScope.VERSION),
        scene.node("other"),
    )
    attempt.commit()
    attempt = scene.attempt("target")
    source = scene.repository("source")
    with scene.database.transaction() as cursor:
        changes.stage_copy(
            cursor,
            attempt.workspace_id,
            VersionRange(source.repository_id, 1),
            scene.repository("target").repository_id,
            Selection(ids(scene, ["module"])),
        )

    attempt.commit(is_ready_made=True)

    assert scene.members("target") == {"module", "manifest", "layer", "note", "signature"}
    assert scene.explicit("target") == {"module"}
    rows = scene.database.fetch(
        "SELECT count(*) FROM scoped_edge WHERE repository_id = %s",
        (scene.repository("target").repository_id,),
    )
    assert rows == [(1,)]


@pytest.mark.parametrize("seed", range(40))
def test_random_graphs_agree_with_brute_force(database: Database, seed: int) -> None:
    """Closure, swept set, cascade and holders are those of a model that tries everything."""
    rng = random.Random(seed)  # noqa: S311  a seed makes it repeatable
    scene = Scene.build(database)
    names = [f"n{i}" for i in range(rng.randint(3, 9))]
    graph = Graph.random(rng, names)
    attempt = scene.attempt("elsewhere")
    attempt.stage(*(graph.unit(scene, name) for name in names))
    attempt.commit()
    members: dict[str, bool] = {}
    for _ in range(rng.randint(3, 7)):
        before = dict(members)
        if rng.random() < 0.5 or not members:
            chosen = rng.sample(names, rng.randint(1, 2))
            outcome: dict[str, bool] | Refused = graph.add(members, chosen)
            attempt = scene.attempt()
            attempt.stage(*(graph.unit(scene, name) for name in chosen))
            attempt.commit()
        else:
            chosen = rng.sample(sorted(members), rng.randint(1, min(2, len(members))))
            cascade = rng.random() < 0.3
            outcome = graph.remove(members, chosen, cascade=cascade)
            if isinstance(outcome, Refused):
                with pytest.raises(UnitStillNeededError) as refused:
                    remove(scene, *chosen, cascade=cascade)
                unit = refused.value.metadata["unit"]
                holders = set(refused.value.metadata["holders"].split(", "))
                by_name = {scene.node(n).name: n for n in names}
                assert {by_name[h] for h in holders} == outcome.holders[by_name[unit]]
                continue
            remove(scene, *chosen, cascade=cascade)
        assert not isinstance(outcome, Refused)
        members = outcome
        assert set(members) == scene.members(), (seed, before, chosen)
        assert {n for n, explicit in members.items() if explicit} == scene.explicit()
