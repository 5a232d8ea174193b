"""What relations mean, tried out on every set of units: slow, and plain enough to be believed."""

import random
from collections.abc import Iterable
from dataclasses import dataclass, field

from contents import Scene, sha
from entrepot_core.domain.unit import Edge, EdgeScope, Unit

NEEDS, ATTACHES = 1, 2


@dataclass
class Refused:
    """A removal that is refused: who needs what would leave."""

    holders: dict[str, set[str]]


@dataclass
class Graph:
    """Relations between named units; those of one repository hold once their source is in it."""

    edges: set[tuple[str, int, str, EdgeScope]] = field(default_factory=set)

    @classmethod
    def random(cls, rng: random.Random, names: list[str]) -> "Graph":
        """Any relations, also in circles."""
        edges = set()
        for _ in range(rng.randint(0, 2 * len(names))):
            source, target = rng.sample(names, 2)
            kind = rng.choice([NEEDS, NEEDS, ATTACHES])
            edges.add((source, kind, target, rng.choice(list(EdgeScope))))
        return cls(edges)

    def targets(self, source: str, kind: int, scope: EdgeScope) -> list[str]:
        """What a unit is related to."""
        return sorted(t for s, k, t, c in self.edges if (s, k, c) == (source, kind, scope))

    def unit(self, scene: Scene, name: str) -> Unit:
        """The unit with its relations of both scopes."""
        node = scene.types["test.node"]
        unit = scene.node(
            name,
            needs=self.targets(name, NEEDS, EdgeScope.GLOBAL),
            attaches=self.targets(name, ATTACHES, EdgeScope.GLOBAL),
        )
        scoped = tuple(
            Edge(kind, EdgeScope.VERSION, node.type_id, node.name, sha(target))
            for kind in (NEEDS, ATTACHES)
            for target in self.targets(name, kind, EdgeScope.VERSION)
        )
        return Unit(
            type=unit.type,
            key_digest=unit.key_digest,
            attributes=unit.attributes,
            filter=unit.filter,
            edges=unit.edges + scoped,
        )

    def holding(self, present: Iterable[str]) -> set[tuple[str, int, str]]:
        """The relations that hold: scoped ones of units that were staged here, and global ones.

        A unit that came along was not staged here, and has no scoped relations.
        """
        staged = self.staged & set(present)
        return {
            (s, k, t)
            for s, k, t, scope in self.edges
            if s in present and (scope is EdgeScope.GLOBAL or s in staged)
        }

    staged: set[str] = field(default_factory=set)

    def add(self, members: dict[str, bool], chosen: list[str]) -> dict[str, bool]:
        """Members after an add: what was named, and what is needed."""
        self.staged |= set(chosen)
        after = {**members, **dict.fromkeys(chosen, True)}
        while True:
            needed = {t for _, k, t in self.holding(after) if k == NEEDS} - set(after)
            if not needed:
                return after
            after |= dict.fromkeys(needed, False)

    def remove(
        self, members: dict[str, bool], chosen: list[str], *, cascade: bool
    ) -> dict[str, bool] | Refused:
        """Members after a removal, or who is against it."""
        gone = self._gone(members, set(chosen), cascade=cascade)
        holders: dict[str, set[str]] = {}
        for source, kind, target in self.holding(members):
            if kind == NEEDS and target in gone and source not in gone:
                holders.setdefault(target, set()).add(source)
        if holders:
            return Refused(holders)
        self.staged -= gone
        return {name: explicit for name, explicit in members.items() if name not in gone}

    def _gone(self, members: dict[str, bool], gone: set[str], *, cascade: bool) -> set[str]:
        edges = self.holding(members)
        while True:
            before = set(gone)
            for source, kind, target in edges:
                if target in gone and (kind == ATTACHES or cascade):
                    gone.add(source)
            if gone != before:
                continue
            gone |= self._unsupported(members, gone, edges)
            if gone == before:
                return gone

    @staticmethod
    def _unsupported(
        members: dict[str, bool], gone: set[str], edges: set[tuple[str, int, str]]
    ) -> set[str]:
        """Implied members that what leaves reached, and that nothing living supports."""
        reached = set(gone)
        while True:
            more = {t for s, k, t in edges if k == NEEDS and s in reached}
            more |= {s for s, k, t in edges if k == ATTACHES and t in reached}
            more = {name for name in more if name in members and not members[name]} - reached
            if not more:
                break
            reached |= more
        candidates = reached - gone
        alive = set(members) - gone - candidates
        while True:
            saved = {t for s, k, t in edges if k == NEEDS and s in alive and t in candidates}
            saved |= {s for s, k, t in edges if k == ATTACHES and t in alive and s in candidates}
            if saved <= alive:
                return candidates - alive
            alive |= saved
