"""What bytes are, what they must be, and the only way to have them believed."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from entrepot_core.domain.digest import ALGORITHMS, new_hash
from entrepot_core.domain.errors import DigestMismatchError, FieldInvalidError, SizeMismatchError

__all__ = [
    "CHUNK_BYTES",
    "NOTHING_EXPECTED",
    "Blob",
    "Expected",
    "Verifier",
    "parse_digest",
]

CHUNK_BYTES = 1024 * 1024

_HEX = re.compile("[0-9a-f]+")


@dataclass(frozen=True, slots=True, order=True)
class Blob:
    """Bytes that have been verified: their SHA-256 and their length."""

    digest: bytes
    size_bytes: int

    @property
    def hex(self) -> str:
        """The digest in lowercase hexadecimal."""
        return self.digest.hex()


@dataclass(frozen=True, slots=True)
class Expected:
    """What bytes must be, as far as anybody has said: digests by algorithm, and length."""

    digests: tuple[tuple[str, bytes], ...] = ()
    size_bytes: int | None = None

    @property
    def sha256(self) -> bytes | None:
        """The address of the blob, if it is known beforehand."""
        return next((value for name, value in self.digests if name == "sha256"), None)

    def allows(self, blob: Blob) -> bool:
        """Whether a blob that is here already is what is meant, which only its SHA-256 can say."""
        sizes_agree = self.size_bytes is None or self.size_bytes == blob.size_bytes
        return sizes_agree and self.sha256 == blob.digest


NOTHING_EXPECTED = Expected()


class Verifier:
    """Reads bytes as they pass, and at their end says which blob they are or that they are wrong.

    Args:
        expected: What they must be.
        max_bytes: More than these are refused as soon as they come.
        url: Where they come from, and
        unit: what they are for; both only for messages.
    """

    def __init__(
        self,
        expected: Expected = NOTHING_EXPECTED,
        *,
        max_bytes: int | None = None,
        url: str = "",
        unit: str = "",
    ) -> None:
        self.size_bytes = 0
        self._expected = expected
        self._max_bytes = expected.size_bytes if expected.size_bytes is not None else max_bytes
        self._metadata = {k: v for k, v in (("url", url), ("unit", unit)) if v}
        self._address = hashlib.sha256()
        self._others = {name: new_hash(name) for name, _ in expected.digests if name != "sha256"}

    @property
    def expected_bytes(self) -> int | None:
        """How many there must be, if that is known."""
        return self._expected.size_bytes

    def update(self, chunk: bytes) -> None:
        """Takes the next bytes; SizeMismatchError if they are too many."""
        self.size_bytes += len(chunk)
        if self._max_bytes is not None and self.size_bytes > self._max_bytes:
            raise self._wrong_size(
                f"at most {self._max_bytes}", f"{self.size_bytes} or more", self._max_bytes
            )
        self._address.update(chunk)
        for other in self._others.values():
            other.update(chunk)

    def announce(self, size_bytes: int) -> None:
        """Takes a length that was told before the bytes; SizeMismatchError if it must be wrong."""
        exact = self._expected.size_bytes
        if exact is not None and size_bytes != exact:
            raise self._wrong_size(str(exact), str(size_bytes), exact)
        if self._max_bytes is not None and size_bytes > self._max_bytes:
            raise self._wrong_size(f"at most {self._max_bytes}", str(size_bytes), self._max_bytes)

    def finish(self) -> Blob:
        """The blob. SizeMismatchError or DigestMismatchError if it is not what it must be."""
        exact = self._expected.size_bytes
        if exact is not None and self.size_bytes != exact:
            raise self._wrong_size(str(exact), str(self.size_bytes), exact)
        for name, value in self._expected.digests:
            actual = (self._address if name == "sha256" else self._others[name]).digest()
            if actual != value:
                raise self._wrong_digest(name, value, actual)
        return Blob(self._address.digest(), self.size_bytes)

    def _wrong_size(self, expected: str, actual: str, limit: int) -> SizeMismatchError:
        return SizeMismatchError(
            f"{self._subject()} has {actual} bytes, not {expected}{self._purpose()}.",
            metadata={
                **self._metadata,
                "expected": str(limit),
                "actual": actual.partition(" ")[0],
            },
        )

    def _wrong_digest(self, name: str, expected: bytes, actual: bytes) -> DigestMismatchError:
        return DigestMismatchError(
            f"{self._subject()} has {name} {actual.hex()}, not {expected.hex()}{self._purpose()}.",
            metadata={**self._metadata, "expected": expected.hex(), "actual": actual.hex()},
        )

    def _subject(self) -> str:
        url = self._metadata.get("url")
        return f"What {url} sent" if url else "What was sent"

    def _purpose(self) -> str:
        unit = self._metadata.get("unit")
        return f" (for the file {unit})" if unit else ""


def parse_digest(algorithm: str, spelled: str, field: str) -> bytes:
    """The bytes of a digest in hexadecimal; FieldInvalidError if it is not one."""
    length = ALGORITHMS.get(algorithm)
    if length is None:
        raise FieldInvalidError.at(field, f"{algorithm or 'its algorithm'} is not known.")
    if not _HEX.fullmatch(spelled) or len(spelled) != 2 * length:
        raise FieldInvalidError.at(
            field, f"a {algorithm} is {2 * length} lowercase hexadecimal digits."
        )
    return bytes.fromhex(spelled)
