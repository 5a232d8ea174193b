"""What a task works with: it reads, fetches and proposes here, and core commits all or nothing.

Lives in the author's loop. What crosses to core goes through `_Session`, which authors do not see.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message

from entrepot.core.v1.blob_service_pb2 import FetchBlobsRequest
from entrepot.core.v1.workspace_service_pb2 import (
    ArtifactReference,
    PublishedFile,
    ReadContentRequest,
    StageChangesRequest,
    StageFilesRequest,
)
from entrepot.plugin.v1.plugin_tasks_pb2 import Completed
from entrepot.type.v1.content_pb2 import ContentUnit, RemoteSource
from entrepot.type.v1.log_line_pb2 import LogLine
from entrepot.type.v1.progress_pb2 import Progress
from entrepot.type.v1.unit_failure_pb2 import UnitFailure
from entrepot_rpc.failpoints import failpoint
from entrepot_sdk._batch import Batcher, Flight
from entrepot_sdk._failures import FailureCount
from entrepot_sdk.content import Unit, sha256_digest
from entrepot_sdk.diagnostic import warning
from entrepot_sdk.fetched import Fetched

if TYPE_CHECKING:
    from collections.abc import (
        AsyncIterable,
        AsyncIterator,
        Awaitable,
        Callable,
        Mapping,
        Sequence,
    )

    from entrepot.plugin.v1.plugin_tasks_pb2 import WorkspaceLimits
    from entrepot.type.v1.content_pb2 import Artifact, Edge
    from entrepot.type.v1.diagnostic_pb2 import Diagnostic
    from entrepot.type.v1.digest_pb2 import Digest
    from entrepot_sdk._bridge import Bridge
    from entrepot_sdk._core import BlobWriter, Core
    from entrepot_sdk.errors import TaskFailed
    from entrepot_sdk.resource import Resources

__all__ = ["Mode", "Workspace"]

M = TypeVar("M", bound=Message)
T = TypeVar("T")
Mode = Literal["additive", "replace"]
Level = Literal["debug", "info", "warning", "error"]

_MAX_UNITS = 500
_MAX_BYTES = 1 << 20
_MAX_NAMES = 1000
_MAX_STATE_BYTES = 4096
# What a batch costs beside its items: each has a header, and there is a role.
_ITEM_OVERHEAD_BYTES = 8
_BATCH_OVERHEAD_BYTES = 1024

_MODES = {
    "additive": Completed.COMMIT_MODE_ADDITIVE,
    "replace": Completed.COMMIT_MODE_REPLACE,
}
_LEVELS = {
    "debug": LogLine.LEVEL_DEBUG,
    "info": LogLine.LEVEL_INFO,
    "warning": LogLine.LEVEL_WARNING,
    "error": LogLine.LEVEL_ERROR,
}
_MAX_LINE = 4_000
# Core keeps fewer, and says how many it left out; nobody needs to send it millions.
_MAX_LINES = 100_000
_COUNTED = {"items": Progress.UNIT_ITEMS, "bytes": Progress.UNIT_BYTES}


@dataclass(frozen=True, slots=True)
class _Session:
    """The way from a workspace to the attempt it belongs to."""

    bridge: Bridge
    core: Core
    limits: WorkspaceLimits
    content_types: Mapping[str, str]
    record: Callable[[Progress], None]
    warn: Callable[[Diagnostic], None]
    log: Callable[[LogLine], None]
    fail: Callable[[UnitFailure], None]


class Workspace:
    """The uncommitted work of a task.

    Nothing in it is visible to anybody until the task has completed; when it fails, nothing
    remains.

    Attributes:
        resources: What the parameters name: repositories, remotes, uploads.
        dry_run: Core will report what would change and discard it; nothing is to be done
            differently.
        keeps_going: Units that fail are left out; without, one that fails fails the task.
        gaps: What failed in an earlier task and is to be done again, and nothing else; each has
            the unit's name, if it has one, and its path. Empty: everything is to be done.
    """

    def __init__(
        self,
        session: _Session,
        resources: Resources,
        *,
        dry_run: bool,
        keeps_going: bool = False,
        gaps: tuple[UnitFailure, ...] = (),
    ) -> None:
        self.resources = resources
        self.dry_run = dry_run
        self.keeps_going = keeps_going
        self.gaps = gaps
        self._failures = FailureCount(keeps_going=keeps_going)
        self._lines = 0
        self._session = session
        self._flight = Flight()
        self._sequences = itertools.count(1)
        self._adds: dict[str, Batcher[ContentUnit]] = {}
        self._removes: dict[tuple[str, bool], Batcher[str | Any]] = {}
        self._files: dict[str, Batcher[PublishedFile]] = {}
        self._hidden: set[str] = set()
        self._completed = Completed()

    # --- reading --------------------------------------------------------------------------------

    async def fetch(
        self,
        url: str | Sequence[str],
        role: str = "remote",
        *,
        sha256: str = "",
        size_bytes: int | None = None,
        max_bytes: int = 0,
    ) -> Fetched:
        """A metadata file from upstream, which core downloads if it has changed.

        Core has the remote's credentials, proxies and limits; nobody else needs them. Raises
        FetchFailed, which may be left to fail the task.

        Args:
            url: Absolute; several are tried in order.
            role: The remote it belongs to; empty for a URL that the parameters name and that is
                to be asked without a remote.
            sha256: What the bytes must be, if known.
            size_bytes: How many they must be, if known.
            max_bytes: Refuse more than this; zero means core's own limit of 1 GiB.
        """
        urls = [url] if isinstance(url, str) else url
        item = FetchBlobsRequest.Item(
            item_id="1",
            sources=[RemoteSource(remote_role=role, url=one) for one in urls],
            expected=[sha256_digest(sha256, size_bytes)] if sha256 else [],
            max_bytes=max_bytes,
        )
        got = await self._session.bridge.run(self._session.core.fetch(item))
        final_url = got.final_url or urls[0]
        previous = None
        if got.HasField("previous"):
            previous = Fetched(
                got.previous,
                not_modified=False,
                final_url=final_url,
                chunks=lambda: self.read_blob(got.previous),
            )
        return Fetched(
            got.blob,
            not_modified=got.not_modified,
            final_url=final_url,
            previous=previous,
            chunks=lambda: self.read_blob(got.blob),
        )

    def read_blob(self, digest: Digest) -> AsyncIterator[bytes]:
        """The bytes of an artifact, an upload or a fetched file that belongs to this task."""
        session = self._session
        return session.bridge.iterate(session.core.read_blob(digest))

    async def read(
        self,
        attributes: type[M],
        role: str | None = None,
        *,
        filter: str = "",  # noqa: A002  the field's name
        attributes_only: bool = False,
    ) -> AsyncIterator[Unit[M]]:
        """The units of one type in a version, or in a repository as the task found it.

        Args:
            attributes: The type of unit, by its message.
            role: Which repository; may be left out if there is only one.
            filter: AIP-160 over the type's filterable fields.
            attributes_only: Leave out artifacts and edges, which keeps a big read small.
        """
        selection = ReadContentRequest.VersionSelection(repository_role=role or self._to_read())
        request = ReadContentRequest(
            version=selection,
            content_types=[self._session.content_types[attributes.DESCRIPTOR.full_name]],
            filter=filter,
            attributes_only=attributes_only,
        )
        async for unit in self._read(request):
            yield Unit.of(unit, attributes)

    async def read_named(
        self, attributes: type[M], names: Sequence[str]
    ) -> AsyncIterator[Unit[M]]:
        """The units of one type that the parameters name."""
        for start in range(0, len(names), _MAX_NAMES):
            chosen = ReadContentRequest.NameSelection(names=names[start : start + _MAX_NAMES])
            async for unit in self._read(ReadContentRequest(names=chosen)):
                yield Unit.of(unit, attributes)

    async def _read(self, request: ReadContentRequest) -> AsyncIterator[ContentUnit]:
        session = self._session
        async for batch in session.bridge.iterate(session.core.read_content(request)):
            for unit in batch:
                yield unit

    # --- changing a repository ------------------------------------------------------------------

    async def add(
        self,
        attributes: Message,
        *,
        artifacts: Sequence[Artifact] = (),
        edges: Sequence[Edge] = (),
        implied: bool = False,
        role: str | None = None,
    ) -> None:
        """Proposes a unit for a repository; one that core has already is recognised by its key.

        Args:
            attributes: The unit's own message, with its key fields set.
            artifacts: Its files, see `artifact`.
            edges: What it has to do with others, see `needs`, `attaches` and `context`.
            implied: It came along because another needs it, and leaves when nothing does.
            role: Which repository; may be left out if there is only one.
        """
        unit = ContentUnit(artifacts=artifacts, edges=edges, implied=implied)
        unit.attributes.Pack(attributes, deterministic=True)
        await self._add(self._to_change() if role is None else role, unit)

    async def create(
        self,
        attributes: Message,
        *,
        artifacts: Sequence[Artifact] = (),
        edges: Sequence[Edge] = (),
    ) -> None:
        """Proposes a unit that is in no repository yet."""
        await self.add(attributes, artifacts=artifacts, edges=edges, role="")

    async def remove(
        self, unit: str | Message, *, cascade: bool = False, role: str | None = None
    ) -> None:
        """Proposes to take a unit out of a repository.

        Args:
            unit: The unit's name, as `read` yields it, or its attributes with at least the key
                fields set.
            cascade: Take out what needs it as well, instead of failing.
            role: Which repository; may be left out if there is only one.
        """
        key = (role or self._to_change(), cascade)
        if key not in self._removes:
            self._removes[key] = self._batcher(
                lambda units: self._stage(
                    StageChangesRequest(
                        repository_role=key[0],
                        removes=[one for one in units if isinstance(one, str)],
                        remove_keys=[one for one in units if isinstance(one, Any)],
                        cascade=key[1],
                    )
                )
            )
        if isinstance(unit, str):
            await self._removes[key].put(unit, len(unit) + _ITEM_OVERHEAD_BYTES)
            return
        packed = Any()
        packed.Pack(unit, deterministic=True)
        await self._removes[key].put(packed, packed.ByteSize() + _ITEM_OVERHEAD_BYTES)

    def mode(self, role: str, mode: Mode) -> None:
        """What a repository becomes: more ("additive"), or exactly what was added ("replace")."""
        self._completed.commit_modes[role] = _MODES[mode]

    # --- publishing and writing -----------------------------------------------------------------

    async def publish(
        self,
        path: str,
        *,
        blob: Digest | None = None,
        unit: str = "",
        artifact: str = "",
        media_type: str = "",
        role: str | None = None,
    ) -> None:
        """Proposes a file of a publication: at this path, these bytes.

        Args:
            path: Where it is served below the distribution.
            blob: The bytes, as `write` has stored them.
            unit: Or: the name of a unit, of which
            artifact: the file with this relative path is served.
            media_type: Empty: by the path's ending.
            role: Which version; may be left out if there is only one.
        """
        if (blob is None) == (not unit):
            raise ValueError("a published file is either a blob or an artifact of a unit")
        role = role or self._to_read()
        file = PublishedFile(path=path, media_type=media_type)
        if blob is not None:
            file.blob.CopyFrom(blob)
        else:
            file.artifact.CopyFrom(ArtifactReference(unit=unit, relative_path=artifact))
        if role not in self._files:
            self._files[role] = self._batcher(lambda files: self._stage_files(role, files))
        await self._files[role].put(file, file.ByteSize() + _ITEM_OVERHEAD_BYTES)

    def hide_version(self, role: str | None = None) -> None:
        """Serves only the published files: nothing passes through to the version."""
        self._hidden.add(role or self._to_read())

    async def write(
        self, data: bytes | AsyncIterable[bytes], *, expected: Digest | None = None
    ) -> Digest:
        """Stores generated bytes, and returns their digest.

        Args:
            data: The bytes, or a stream of them.
            expected: What they must be, if known.
        """
        bridge, core = self._session.bridge, self._session.core
        if isinstance(data, bytes) and len(data) <= self._max_bytes:
            return await bridge.run(core.write_small(data, expected))
        writer = await bridge.run(_open_writer(core, expected))
        try:
            if isinstance(data, bytes):
                await bridge.run(writer.feed(data))
            else:
                async for chunk in data:
                    await bridge.run(writer.feed(chunk))
            return await bridge.run(writer.finish())
        except BaseException:
            await bridge.run(writer.abandon())
            raise

    # --- telling people -------------------------------------------------------------------------

    def progress(
        self,
        code: str,
        done: int,
        total: int | None = None,
        *,
        message: str = "",
        counted: Literal["items", "bytes"] = "items",
    ) -> None:
        """Says how far the task is. Call it as often as you like.

        Args:
            code: Stable and unique in the task, such as "sync.parse".
            done: How many are done, in all.
            total: How many there are, once known.
            message: What is counted, for a person: "Reading the manifest".
            counted: What the numbers are.
        """
        self._session.record(
            Progress(code=code, message=message, done=done, total=total, unit=_COUNTED[counted])
        )

    def warn(self, reason: str, message: str, field: str = "") -> None:
        """Keeps a warning with the task."""
        self._session.warn(warning(reason, message, field))

    def log(self, message: str, level: Level = "info") -> None:
        """Writes a line that users see with the task; of an attempt, the first 1,000.

        Args:
            message: One line without secrets; what is longer than 2,000 characters is cut off.
            level: How much it matters.
        """
        self._lines += 1
        # Core keeps no more; it counts those that it is told of, up to a bound of our own.
        if self._lines <= _MAX_LINES:
            self._session.log(LogLine(level=_LEVELS[level], message=message[:_MAX_LINE]))

    def failed(self, error: TaskFailed, *, path: str = "", url: str = "", unit: str = "") -> None:
        """Says that a unit could not be had, and is not proposed.

        A task that keeps going completes without it. Any other fails in the end, so that more of
        them can be named: raises the first error after 100, and at once one that may pass.

        Args:
            error: Why.
            path: The file that failed.
            url: Where it was to come from.
            unit: The unit's name, where it is known.
        """
        self._session.fail(
            UnitFailure(
                unit=unit,
                relative_path=path,
                url=url,
                reason=error.reason,
                message=error.message,
                retryable=error.retryable,
            )
        )
        self._failures.add(error)

    def unchanged(self, reason: str) -> None:
        """Says, for a person, why nothing was proposed: "the manifest has not changed"."""
        self._completed.unchanged_reason = reason

    # --- remembering ----------------------------------------------------------------------------

    def state(self, role: str | None = None) -> bytes:
        """What an earlier task kept with the very version this one starts from; may be empty."""
        return self.resources.repository(role or self._to_change()).state

    def set_state(self, state: bytes, role: str | None = None) -> None:
        """Keeps up to 4 KiB with the resulting version.

        The next task reads it with `state`, and may see at once that nothing has changed.
        """
        if len(state) > _MAX_STATE_BYTES:
            raise ValueError(f"{len(state)} bytes are more than the {_MAX_STATE_BYTES} core keeps")
        self._completed.states[role or self._to_change()] = state

    # --- behind the scenes ----------------------------------------------------------------------

    async def _finish(self, result: Message | None) -> Completed:
        """Brings everything to core, and says what is to become of it."""
        for adds in self._adds.values():
            await adds.flush()
        for removes in self._removes.values():
            await removes.flush()
        for files in self._files.values():
            await files.flush()
        for role in self._hidden - self._files.keys():
            await self._flight.launch(lambda role=role: self._stage_files(role, []))  # type: ignore[misc]
        await self._flight.land()
        self._failures.check()
        if result is not None:
            self._completed.result.Pack(result, deterministic=True)
        return self._completed

    async def _add(self, role: str, unit: ContentUnit) -> None:
        if role not in self._adds:
            self._adds[role] = self._batcher(
                lambda units: self._stage(StageChangesRequest(repository_role=role, adds=units))
            )
        await self._adds[role].put(unit, unit.ByteSize() + _ITEM_OVERHEAD_BYTES)

    async def _stage(self, request: StageChangesRequest) -> None:
        request.sequence = next(self._sequences)
        await self._session.bridge.run(self._session.core.stage_changes(request))
        failpoint("plugin.staged")

    async def _stage_files(self, role: str, files: list[PublishedFile]) -> None:
        request = StageFilesRequest(
            repository_role=role,
            sequence=next(self._sequences),
            files=files,
            hide_version=role in self._hidden,
        )
        await self._session.bridge.run(self._session.core.stage_files(request))
        failpoint("plugin.staged")

    def _batcher(self, send: Callable[[list[T]], Awaitable[None]]) -> Batcher[T]:
        limit = self._session.limits.max_units_per_batch or _MAX_UNITS
        return Batcher(
            self._flight, send, max_items=min(limit, _MAX_UNITS), max_bytes=self._max_bytes
        )

    @property
    def _max_bytes(self) -> int:
        limit = self._session.limits.max_batch_bytes or _MAX_BYTES
        return min(limit, _MAX_BYTES) - _BATCH_OVERHEAD_BYTES

    def _to_change(self) -> str:
        """The role of the only repository that can be changed."""
        return self._only(
            [one.role for one in self.resources.repositories() if not one.is_version]
        )

    def _to_read(self) -> str:
        """The role of the only version, or else of the only repository."""
        versions = [one.role for one in self.resources.repositories() if one.is_version]
        return self._only(versions or [one.role for one in self.resources.repositories()])

    def _only(self, roles: list[str]) -> str:
        if len(roles) != 1:
            raise ValueError(f"say which repository: role is one of {roles}")
        return roles[0]


async def _open_writer(core: Core, expected: Digest | None) -> BlobWriter:
    writer = core.write_stream(expected)
    await writer.open()
    return writer
