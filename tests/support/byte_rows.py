"""Rows that tests of downloads, blobs and serving begin with, without the code that makes them."""

import hashlib
import json
from collections.abc import Iterable

from entrepot_core.store.database import Database

CURRENT = 2147483647


class Rows:
    """Makes rows in a database, with numbers of its own."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._type_id = 0

    def one(self, query: str, parameters: object = None) -> int:
        """The number that a statement returns."""
        ((value,),) = self.database.fetch(query, parameters)
        return int(value)

    def run(self, query: str, parameters: object = None) -> None:
        """A statement that returns nothing."""
        self.database.fetch(query, parameters)

    def type_id(self) -> int:
        """The content type file.file."""
        if not self._type_id:
            self._type_id = self.one(
                "INSERT INTO content_type (plugin, name, collection)"
                " VALUES ('file', 'file.file', 'files') RETURNING type_id"
            )
        return self._type_id

    def remote(
        self,
        name: str = "bar",
        policy: str = "immediate",
        url: str = "http://127.0.0.1/",
        max_retries: int = 1,
        stall_timeout_seconds: int = 60,
    ) -> int:
        """A remote."""
        return self.one(
            "INSERT INTO remote"
            " (plugin, name, url, policy, max_retries, stall_timeout_seconds)"
            " VALUES ('file', %s, %s, %s, %s, %s) RETURNING remote_id",
            (name, url, policy, max_retries, stall_timeout_seconds),
        )

    def unit(
        self,
        path: str,
        data: bytes = b"",
        *,
        sources: Iterable[tuple[int, str]] = (),
        is_known: bool = True,
        other_digests: dict[str, str] | None = None,
    ) -> int:
        """A unit with one file; one that is not known has no SHA-256."""
        digest = hashlib.sha256(data).digest()
        key = hashlib.sha256(path.encode() + digest).digest()
        unit = self.one(
            "INSERT INTO content (type_id, key_digest, unit_digest, attributes)"
            " VALUES (%s, %s, %s, '') RETURNING content_id",
            (self.type_id(), key, key),
        )
        self.run(
            "INSERT INTO artifact VALUES (%s, %s, %s, %s, %s)",
            (
                unit,
                path,
                digest if is_known else None,
                len(data) if is_known else None,
                json.dumps(other_digests) if other_digests else None,
            ),
        )
        for position, (remote, url) in enumerate(sources):
            self.run(
                "INSERT INTO artifact_source VALUES (%s, %s, %s, %s, %s)",
                (unit, path, remote, position, url),
            )
        return unit

    def stage(self, workspace: int, units: Iterable[int], sequence: int = 1) -> None:
        """Units staged by one call."""
        ids = list(units)
        with self.database.transaction() as cursor:
            cursor.execute(
                "INSERT INTO stage_call VALUES (%s, %s, '', '', %s::bigint[])",
                (workspace, sequence, ids),
            )
            cursor.execute(
                "INSERT INTO staged SELECT %s, 1, unnest(%s::bigint[]), false, true, true, false",
                (workspace, ids),
            )

    def lend_remote(self, workspace: int, remote: int, role: str = "remote") -> None:
        """A remote lent to a workspace."""
        self.run("INSERT INTO lent_remote VALUES (%s, %s, %s)", (workspace, role, remote))

    def repository(self, name: str = "foo", latest: int = 1) -> int:
        """A repository with versions up to the latest."""
        repository = self.one(
            "INSERT INTO repository (plugin, name, latest, next_number)"
            " VALUES ('file', %s, %s, %s) RETURNING repository_id",
            (name, latest, latest + 1),
        )
        for number in range(latest + 1):
            self.run(
                "INSERT INTO version (repository_id, number, unit_count, added, removed,"
                " set_digest) VALUES (%s, %s, 0, 0, 0, '')",
                (repository, number),
            )
        return repository

    def member(
        self, repository: int, unit: int, path: str, added: int = 1, removed: int = CURRENT
    ) -> None:
        """A unit in some versions."""
        self.run(
            "INSERT INTO member VALUES (%s, %s, %s, %s, true, %s, NULL, %s)",
            (repository, unit, added, removed, self.type_id(), path),
        )

    def distribution(self, base_path: str, repository: int, number: int | None = None) -> None:
        """Something served at a base path."""
        self.run(
            "INSERT INTO distribution (plugin, name, base_path, repository_id, number)"
            " VALUES ('file', %s, %s, %s, %s)",
            (base_path.replace("/", "-"), base_path, repository, number),
        )
