"""The digest of a set: its vectors are fixed for ever."""

import random

from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from entrepot_core.domain.set_digest import EMPTY, STATE_BYTES, changed, digest, element

ELEMENTS = st.lists(st.binary(min_size=1, max_size=8), unique=True, max_size=20)


def plain(elements: list[bytes]) -> bytes:
    """The sum lane by lane, as the definition has it."""
    lanes = [0] * (STATE_BYTES // 2)
    for one in elements:
        output = blake3(one).digest(length=STATE_BYTES)
        for lane in range(len(lanes)):
            lanes[lane] += int.from_bytes(output[2 * lane : 2 * lane + 2], "little")
    return b"".join((lane % 2**16).to_bytes(2, "little") for lane in lanes)


def test_known_digests_stay() -> None:
    """Another construction would make every digest that was ever shown incomparable."""
    one = element("file.file", b"\1" * 32, b"\2" * 32)

    assert one == b"\x09\x00file.file" + b"\1" * 32 + b"\2" * 32
    assert digest(EMPTY).hex() == (
        "e5a00aa9991ac8a5ee3109844d84a55583bd20572ad3ffcd42792f3c36b183ad"
    )
    assert digest(changed(EMPTY, [one])).hex() == (
        "a628c5094530875078cc4fa3a4119e9f51e70be52d3ff042a4af9962b5ff15d1"
    )


@settings(deadline=None, max_examples=30)
@given(ELEMENTS)
def test_it_is_the_sum_of_the_lanes(elements: list[bytes]) -> None:
    """The fast way of adding is the plain one."""
    assert plain(elements) == changed(EMPTY, elements)


@settings(deadline=None, max_examples=50)
@given(ELEMENTS, st.randoms(use_true_random=False))
def test_order_and_batches_do_not_matter(elements: list[bytes], rng: random.Random) -> None:
    """A set is a set, however it came about."""
    shuffled = rng.sample(elements, len(elements))
    cut = len(elements) // 2

    assert changed(EMPTY, elements) == changed(changed(EMPTY, shuffled[:cut]), shuffled[cut:])


@settings(deadline=None, max_examples=50)
@given(ELEMENTS, st.integers(0, 20))
def test_removing_undoes_adding(elements: list[bytes], cut: int) -> None:
    """What has left leaves no trace."""
    kept, gone = elements[:cut], elements[cut:]

    assert changed(EMPTY, kept) == changed(changed(EMPTY, elements), removed=gone)
    assert changed(EMPTY, kept) == changed(changed(EMPTY, gone), added=kept, removed=gone)


def test_sums_do_not_carry_over() -> None:
    """More elements than a lane has values are folded in time."""
    state = b"\xff\xff" * (STATE_BYTES // 2)
    one = [b"x"]

    assert changed(changed(state, one), removed=one) == state
    assert changed(EMPTY, [b"x"] * 65_536) == EMPTY
