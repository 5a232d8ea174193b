"""A digest of a set that costs only its change: LtHash, 1,024 lanes of 16 bits over BLAKE3.

Each element is hashed to 2,048 bytes, read as 1,024 little-endian numbers; a set is the sum of its
elements, lane by lane, modulo 2^16. Adding and removing need no other element, and order does not
matter. The 2,048 bytes are kept for the newest version of a repository; what is shown and compared
is their SHA-256. (Lewi, Kim, Maykov, Weis: Securing Update Propagation with Homomorphic Hashing,
IACR ePrint 2019/227.) The construction is fixed for ever: another one would make every digest ever
shown incomparable.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from blake3 import blake3

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["EMPTY", "STATE_BYTES", "changed", "digest", "element"]

STATE_BYTES = 2048
EMPTY = bytes(STATE_BYTES)

# Even lanes stay in the low halves of 32-bit slots, odd ones are moved there: sums of up to 65,536
# do not carry over.
_LOW_HALVES = int.from_bytes(b"\xff\xff\x00\x00" * (STATE_BYTES // 4), "little")
_FOLD_EVERY = 65_000


def element(type_name: str, key_digest: bytes, unit_digest: bytes) -> bytes:
    """What is hashed of a unit: the name of its type, its key and its whole, unambiguously."""
    name = type_name.encode()
    return len(name).to_bytes(2, "little") + name + key_digest + unit_digest


def changed(state: bytes, added: Iterable[bytes] = (), removed: Iterable[bytes] = ()) -> bytes:
    """The state of the set after elements came and left.

    No element may come twice or leave without having come.
    """
    even, odd = _lanes(state)
    plus_even, plus_odd = _sum(added)
    minus_even, minus_odd = _sum(removed)
    # Each slot of the difference is made positive before the mask, so that no slot borrows from
    # its neighbour.
    borrow = _LOW_HALVES + (_LOW_HALVES // 0xFFFF)
    even = (((even + plus_even) & _LOW_HALVES) + borrow - minus_even) & _LOW_HALVES
    odd = (((odd + plus_odd) & _LOW_HALVES) + borrow - minus_odd) & _LOW_HALVES
    return (even | (odd << 16)).to_bytes(STATE_BYTES, "little")


def digest(state: bytes) -> bytes:
    """The 32 bytes that are shown and compared."""
    return hashlib.sha256(state).digest()


def _lanes(state: bytes) -> tuple[int, int]:
    number = int.from_bytes(state, "little")
    return number & _LOW_HALVES, (number >> 16) & _LOW_HALVES


def _sum(elements: Iterable[bytes]) -> tuple[int, int]:
    even = odd = 0
    since_fold = 0
    for one in elements:
        number = int.from_bytes(blake3(one).digest(length=STATE_BYTES), "little")
        even += number & _LOW_HALVES
        odd += (number >> 16) & _LOW_HALVES
        since_fold += 1
        if since_fold == _FOLD_EVERY:
            even &= _LOW_HALVES
            odd &= _LOW_HALVES
            since_fold = 0
    return even & _LOW_HALVES, odd & _LOW_HALVES
