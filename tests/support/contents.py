"""Building repositories, units and attempts straight in the store, without plugins."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from entrepot_core.domain.change import CommitMode, CommitRequest, CommitResult
from entrepot_core.domain.task import State
from entrepot_core.domain.unit import (
    Artifact,
    ContentType,
    Edge,
    EdgeKind,
    EdgeScope,
    Source,
    Unit,
)
from entrepot_core.store import (
    commit,
    content_types,
    lending,
    queue,
    remotes,
    repositories,
    staging,
)
from entrepot_core.store.database import Cursor, Database
from entrepot_core.store.intervals import CURRENT
from entrepot_core.store.lending import LentRepository
from entrepot_core.store.repositories import RepositoryRow
from queues import a_dispatcher, a_plugin, a_task, claim


def sha(text: str) -> bytes:
    """The SHA-256 of a text."""
    return hashlib.sha256(text.encode()).digest()


@dataclass
class Attempt:
    """An attempt that stages into repositories, by role."""

    database: Database
    workspace_id: int
    task_id: str
    repository_ids: dict[str, int]
    sequence: int = 0

    def stage(
        self,
        *units: Unit,
        role: str = "repository",
        removes: Sequence[Unit] = (),
        cascade: bool = False,
        sequence: int = 0,
    ) -> staging.StageAnswer:
        """Stages one batch."""
        self.sequence = sequence or self.sequence + 1
        names = tuple(staging.UnitName(unit.type, unit.key_digest) for unit in removes)
        with self.database.transaction() as cursor:
            return staging.stage(
                cursor,
                staging.StageRequest(
                    workspace_id=self.workspace_id,
                    repository_id=self.repository_ids[role] if role else 0,
                    sequence=self.sequence,
                    request_digest=sha(repr((units, names, cascade))),
                    units=units,
                    removes=names,
                    cascade=cascade,
                ),
            )

    def commit(
        self,
        mode: CommitMode = CommitMode.ADDITIVE,
        *,
        dry_run: bool = False,
        states: dict[str, bytes] | None = None,
        is_ready_made: bool = False,
    ) -> CommitResult:
        """Commits and completes the task."""
        request = CommitRequest(
            workspace_id=self.workspace_id,
            task_id=self.task_id,
            modes=dict.fromkeys(self.repository_ids, mode),
            states=states or {},
            dry_run=dry_run,
            is_ready_made=is_ready_made,
        )
        if dry_run:
            return self._rehearse(request)
        with self.database.transaction() as cursor:
            result = commit.commit(cursor, request)
            queue.finish(
                cursor,
                self.workspace_id,
                self.task_id,
                queue.Outcome(
                    state=State.COMPLETED,
                    changed=result.changed,
                    created_resource=result.created_resource,
                ),
            )
        return result

    def _rehearse(self, request: CommitRequest) -> CommitResult:
        found = []
        try:
            with self.database.transaction() as cursor:
                found.append(commit.commit(cursor, request))
                raise _RollBack  # noqa: TRY301  the way to undo a transaction
        except _RollBack:
            return found[0]

    def abandon(self) -> None:
        """Ends the attempt as if it had been taken over."""
        self.database.fetch("DELETE FROM workspace WHERE workspace_id = %s", (self.workspace_id,))


class _RollBack(Exception):  # noqa: N818  not an error
    pass


@dataclass
class Scene:
    """A database with a plugin "test", its content types and repositories."""

    database: Database
    types: dict[str, ContentType] = field(default_factory=dict)
    dispatcher_id: int = 0
    repository_rows: dict[str, RepositoryRow] = field(default_factory=dict)

    @classmethod
    def build(cls, database: Database) -> "Scene":
        """A scene with the types test.file, test.node and test.other."""
        with database.transaction() as cursor:
            a_plugin(cursor)
            types = content_types.number(
                cursor, [("test", f"test.{n}", f"{n}s") for n in ("file", "node", "other")]
            )
        return cls(database, types, a_dispatcher(database))

    def repository(self, name: str = "main") -> RepositoryRow:
        """The repository of this name as it is, made if it is new."""
        with self.database.transaction() as cursor:
            return repositories.find(cursor, f"repositories/test/{name}") or repositories.create(
                cursor, {"plugin": "test", "name": name}
            )

    def remote(self, name: str = "up", policy: str = "on_demand") -> int:
        """The number of the remote of this name, made if it is new."""
        with self.database.transaction() as cursor:
            row = remotes.find(cursor, f"remotes/test/{name}") or remotes.create(
                cursor,
                {"plugin": "test", "name": name, "url": "http://up.test/", "policy": policy},
            )
        return row.remote_id

    def blob(self, *texts: str) -> None:
        """Says that the blobs with these texts are stored."""
        with self.database.transaction() as cursor:
            cursor.executemany(
                "INSERT INTO blob (digest, size_bytes) VALUES (%s, %s) ON CONFLICT DO NOTHING",
                [(sha(text), len(text)) for text in texts],
            )

    def attempt(self, *names: str, read: Iterable[str] = ()) -> Attempt:
        """An attempt that may write to these repositories (role "repository" if there is one)."""
        with self.database.transaction() as cursor:
            task_id = a_task(cursor)
        (claimed,) = claim(self.database, self.dispatcher_id)
        assert claimed.task_id == task_id
        roles = {"repository" if len(names) < 2 else n: n for n in (names or ("main",))}
        ids = {}
        for role, name in {**roles, **{f"read_{n}": n for n in read}}.items():
            row = self.repository(name)
            with self.database.transaction() as cursor:
                lending.lend_repository(
                    cursor,
                    claimed.workspace_id,
                    LentRepository(role, row.repository_id, row.latest, role in roles),
                )
            if role in roles:
                ids[role] = row.repository_id
        return Attempt(self.database, claimed.workspace_id, task_id, ids)

    def file(self, path: str, text: str = "", *, implied: bool = False) -> Unit:
        """A unit with one file that is stored, whose path is its repository key."""
        self.blob(text or path)
        return self.unfetched(path, text, implied=implied)

    def unfetched(
        self, path: str, text: str = "", *, implied: bool = False, sources: tuple[Source, ...] = ()
    ) -> Unit:
        """The same, without a blob."""
        text = text or path
        return Unit(
            type=self.types["test.file"],
            key_digest=sha(f"{path}\0{text}"),
            attributes=f"{path}={text}".encode(),
            repo_key=path,
            filter={"path": path, "size": len(text)},
            artifacts=(Artifact(path, sha(text), len(text), sources=sources),),
            implied=implied,
        )

    def node(
        self,
        name: str,
        needs: Iterable[str] = (),
        attaches: Iterable[str] = (),
        context: Iterable[str] = (),
        *,
        scope: EdgeScope = EdgeScope.GLOBAL,
        implied: bool = False,
        repo_key: str | None = None,
    ) -> Unit:
        """A unit without files, related to others by name."""
        node_type = self.types["test.node"]
        edges = tuple(
            Edge(kind, scope, node_type.type_id, node_type.name, sha(target))
            for kind, targets in (
                (EdgeKind.NEEDS, needs),
                (EdgeKind.ATTACHES, attaches),
                (EdgeKind.CONTEXT, context),
            )
            for target in targets
        )
        return Unit(
            type=node_type,
            key_digest=sha(name),
            attributes=name.encode(),
            repo_key=repo_key,
            filter={"name": name},
            edges=edges,
            implied=implied,
        )

    def members(self, name: str = "main", number: int | None = None) -> set[str]:
        """What is in a version (the latest), by attributes."""
        row = self.repository(name)
        number = row.latest if number is None else number
        rows = self.database.fetch(
            "SELECT convert_from(c.attributes, 'UTF8') FROM member JOIN content c"
            " USING (content_id)"
            " WHERE repository_id = %s AND added_in <= %s AND removed_in > %s",
            (row.repository_id, number, number),
        )
        found = [row[0] for row in rows]
        assert len(set(found)) == len(found)
        return set(found)

    def explicit(self, name: str = "main") -> set[str]:
        """The current members that were asked for by name."""
        rows = self.database.fetch(
            "SELECT convert_from(c.attributes, 'UTF8') FROM member JOIN content c"
            " USING (content_id) WHERE repository_id = %s AND removed_in = %s AND explicit",
            (self.repository(name).repository_id, CURRENT),
        )
        return {row[0] for row in rows}


def content_id(cursor: Cursor, unit: Unit) -> int:
    """The number of a unit."""
    cursor.execute(
        "SELECT content_id FROM content WHERE type_id = %s AND key_digest = %s",
        (unit.type.type_id, unit.key_digest),
    )
    row = cursor.fetchone()
    assert row is not None
    return int(row[0])
