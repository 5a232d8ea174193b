"""Which kind of upstream a remote is: as it says, or else as its URL looks."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from entrepot.plugins.file.v1.file_pb2 import RemoteSpec

if TYPE_CHECKING:
    from entrepot_sdk import Remote

__all__ = ["kind_of"]

_CHECKSUMS = re.compile(r"sha256sum.*|.*\.sha256(sum)?s?", re.IGNORECASE)


def kind_of(remote: Remote) -> RemoteSpec.Kind.ValueType:
    """Return the kind; never the unspecified one."""
    said = remote.spec_as(RemoteSpec).kind
    if said != RemoteSpec.KIND_UNSPECIFIED:
        return said
    last = urlsplit(remote.url).path.rpartition("/")[2]
    if not last:
        return RemoteSpec.KIND_LISTING
    return RemoteSpec.KIND_CHECKSUMS if _CHECKSUMS.fullmatch(last) else RemoteSpec.KIND_MANIFEST
