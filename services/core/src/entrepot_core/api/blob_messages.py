"""Digests and remotes between messages and what core works with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from entrepot.type.v1 import digest_pb2
from entrepot_core.domain.blob import Expected, parse_digest
from entrepot_core.domain.digest import ALGORITHMS
from entrepot_core.domain.errors import FieldInvalidError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from entrepot_core.domain.blob import Blob

__all__ = ["decode_expected", "decode_sha256", "encode_blob"]

_PREFIX = "ALGORITHM_"
_NAMES = {
    number: name.removeprefix(_PREFIX).lower()
    for name, number in digest_pb2.Digest.Algorithm.items()
    if number
}


def encode_blob(blob: Blob) -> digest_pb2.Digest:
    """The digest of a blob, with its size."""
    return digest_pb2.Digest(
        algorithm=digest_pb2.Digest.ALGORITHM_SHA256, hex=blob.hex, size_bytes=blob.size_bytes
    )


def decode_sha256(digest: digest_pb2.Digest, field: str) -> bytes:
    """The address of a blob; FieldInvalidError if the digest is not a SHA-256."""
    if digest.algorithm != digest_pb2.Digest.ALGORITHM_SHA256:
        raise FieldInvalidError.at(f"{field}.algorithm", "must be ALGORITHM_SHA256.")
    return parse_digest("sha256", digest.hex, f"{field}.hex")


def decode_expected(digests: Iterable[digest_pb2.Digest], field: str) -> Expected:
    """What bytes must be; FieldInvalidError if it contradicts itself."""
    found: dict[str, bytes] = {}
    sizes: set[int] = set()
    for index, digest in enumerate(digests):
        where = f"{field}[{index}]"
        name = algorithm_name(digest, where)
        value = parse_digest(name, digest.hex, f"{where}.hex")
        if found.setdefault(name, value) != value:
            raise FieldInvalidError.at(where, f"another {name} is given as well.")
        if digest.HasField("size_bytes"):
            sizes.add(digest.size_bytes)
    if len(sizes) > 1 or any(size < 0 for size in sizes):
        raise FieldInvalidError.at(field, "the sizes differ, or are negative.")
    return Expected(tuple(found.items()), next(iter(sizes), None))


def algorithm_name(digest: digest_pb2.Digest, field: str) -> str:
    """The name of the digest's algorithm, such as "sha256"; FieldInvalidError if it has none."""
    known = _NAMES.get(digest.algorithm)
    if known is None:
        raise FieldInvalidError.at(
            f"{field}.algorithm",
            f"{digest.algorithm} is not an algorithm that can be verified; these can: "
            f"{', '.join(sorted(ALGORITHMS))}.",
        )
    return known


def algorithm_number(name: str) -> digest_pb2.Digest.Algorithm.ValueType:
    """The number of an algorithm."""
    return digest_pb2.Digest.Algorithm.Value(_PREFIX + name.upper())
