"""What is at a path of a content set, which never changes: an answer is kept for ever."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import grpc

from entrepot.core.v1 import serving_service_pb2, serving_service_pb2_grpc
from entrepot_gateway.content.media_type import media_type
from entrepot_gateway.core import service_error

if TYPE_CHECKING:
    from entrepot_gateway.core import Core

Kind = serving_service_pb2.ResolvePathResponse.Kind

MAX_FILES = 100_000
# Counted apart, so that who asks for what is not there does not make us forget what is.
MAX_ABSENT = 100_000
ASK_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class File:
    """What core said about a path."""

    kind: Kind.ValueType
    # Empty, and -1, if not known before the first fetch.
    sha256: str
    size: int
    media_type: str
    # When the unit was first stored, in seconds since 1970; zero: not known.
    time: int
    # The last segment of its path.
    name: str

    @property
    def tag(self) -> bytes:
        """Its entity tag: a strong one, made of its digest; empty if that is not known."""
        return b'"%s"' % self.sha256.encode("ascii") if self.sha256 else b""

    def stored(self, sha256: str, size: int) -> File:
        """The same file once its bytes are there."""
        return replace(self, kind=Kind.KIND_STORED, sha256=sha256, size=size)


ABSENT = File(Kind.KIND_ABSENT, "", -1, "", 0, "")


class Files:
    """Finds files, and remembers them; paths that hold nothing too."""

    def __init__(self, core: Core, max_files: int = MAX_FILES) -> None:
        self._core = core
        self._stub = serving_service_pb2_grpc.ServingServiceStub(core.channel)
        self._max_files = max_files
        self._known: OrderedDict[tuple[str, str], File] = OrderedDict()
        self._absent: OrderedDict[tuple[str, str], None] = OrderedDict()

    async def find(self, content_set: str, path: str) -> File:
        """What is there; of kind ABSENT if nothing is."""
        key = (content_set, path)
        known = self._known.get(key)
        if known is not None:
            self._known.move_to_end(key)
            return known
        if key in self._absent:
            self._absent.move_to_end(key)
            return ABSENT
        try:
            answer = await self._stub.ResolvePath(
                serving_service_pb2.ResolvePathRequest(content_set=content_set, path=path),
                metadata=self._core.own,
                timeout=ASK_SECONDS,
            )
        except grpc.RpcError as error:
            raise service_error(error) from None
        if answer.kind in (Kind.KIND_ABSENT, Kind.KIND_UNSPECIFIED):
            self._absent[key] = None
            if len(self._absent) > MAX_ABSENT:
                self._absent.popitem(last=False)
            return ABSENT
        file = File(
            answer.kind,
            answer.sha256,
            answer.size_bytes,
            media_type(answer.media_type, path),
            answer.time.seconds,
            path.rpartition("/")[2],
        )
        self.keep(content_set, path, file)
        return file

    def keep(self, content_set: str, path: str, file: File) -> None:
        """Remember a file."""
        self._known[content_set, path] = file
        if len(self._known) > self._max_files:
            self._known.popitem(last=False)

    def forget(self, content_set: str, path: str) -> None:
        """Ask core again next time."""
        self._known.pop((content_set, path), None)
