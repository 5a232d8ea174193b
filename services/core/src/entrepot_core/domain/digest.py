"""Hash functions by name: all that an upstream may name, and that can be verified."""

from __future__ import annotations

import hashlib
from functools import partial
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ALGORITHMS", "Hash", "new_hash"]


class Hash(Protocol):
    """A hash that is being computed."""

    def update(self, data: bytes, /) -> object: ...

    def digest(self) -> bytes: ...


# Name to length in bytes, as in the enum of the contract, in lower case.
ALGORITHMS = {
    "sha256": 32,
    "sha224": 28,
    "sha384": 48,
    "sha512": 64,
    "sha1": 20,
    "md5": 16,
    "sha3_224": 28,
    "sha3_256": 32,
    "sha3_384": 48,
    "sha3_512": 64,
    "blake2b_256": 32,
    "blake2b_512": 64,
    "blake2s_256": 32,
    "blake3": 32,
}

_OF_A_LENGTH: dict[str, Callable[[], Hash]] = {
    "blake2b_256": partial(hashlib.blake2b, digest_size=32),
    "blake2b_512": hashlib.blake2b,
    "blake2s_256": hashlib.blake2s,
}


def new_hash(name: str) -> Hash:
    """A hash of no bytes yet, by one of the names in ALGORITHMS."""
    if name == "blake3":
        from blake3 import blake3  # noqa: PLC0415  only where somebody names it

        return blake3()
    if name in _OF_A_LENGTH:
        return _OF_A_LENGTH[name]()
    return hashlib.new(name, usedforsecurity=False)
