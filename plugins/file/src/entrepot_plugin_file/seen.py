"""What a sync keeps with the version it made, for the next one: which manifest it was, and how.

The repository is then what that manifest says. The same manifest would make the same again, and
of another one only the difference has to be proposed.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from entrepot.plugins.file.v1.file_pb2 import Sync
    from entrepot_sdk import Fetched, Remote

__all__ = ["Seen"]


@dataclass(frozen=True, slots=True)
class Seen:
    """A manifest that was brought into the repository.

    Attributes:
        how: Equal if a sync of the same manifest would do the same.
        base: Equal if the files would be fetched from the same place.
        sha256: Of the manifest, in hexadecimal.
        files: How many it lists.
    """

    how: str
    base: str
    sha256: str
    files: int = 0

    @classmethod
    def of(cls, parameters: Sync, remote: Remote, url: str, sha256: str) -> Seen:
        """What this sync sees, at a URL after redirects; the files are not counted yet."""
        how = [remote.name, remote.url, remote.policy, parameters.mirror]
        return cls(_digest(how), _digest(url), sha256)

    @classmethod
    def read(cls, state: bytes) -> Seen | None:
        """What a sync has kept; None if none did."""
        words = state.decode("ascii", "replace").split(" ")
        if len(words) != len(cls.__slots__) or not words[-1].isdigit():
            return None
        return cls(words[0], words[1], words[2], int(words[3]))

    def write(self) -> bytes:
        """To be read again."""
        return f"{self.how} {self.base} {self.sha256} {self.files}".encode()

    def is_same(self, other: Seen) -> bool:
        """Say whether both make the same of a repository."""
        return (self.how, self.sha256) == (other.how, other.sha256)

    def is_earlier(self, manifest: Fetched, now: Seen) -> bool:
        """Say whether this is what the manifest was before, brought in as it is now."""
        return (
            manifest.previous is not None
            and manifest.previous.sha256 == self.sha256
            and (self.how, self.base) == (now.how, now.base)
        )


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
