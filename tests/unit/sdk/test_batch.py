"""Batches: how large, how many at once, and what becomes of failures."""

import asyncio

import pytest

from entrepot_sdk._batch import Batcher, Flight


class Sender:
    """Keeps what is sent, and lets go of it when told."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.under_way = 0
        self.most_under_way = 0
        self.four_under_way = asyncio.Event()
        self.gate = asyncio.Event()

    async def send(self, items: list[str]) -> None:
        self.batches.append(items)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        if self.under_way == 4:
            self.four_under_way.set()
        await self.gate.wait()
        self.under_way -= 1


def batcher(flight: Flight, sender: Sender, *, items: int = 3, size: int = 100) -> Batcher[str]:
    """Make a batcher with small limits."""
    return Batcher(flight, sender.send, max_items=items, max_bytes=size)


async def test_batches_have_at_most_so_many_items() -> None:
    """Items go out in order, in batches of the limit, and the rest at the end."""
    flight, sender = Flight(), Sender()
    sender.gate.set()
    batches = batcher(flight, sender)

    for item in "abcdefg":
        await batches.put(item, 1)
    await batches.flush()
    await flight.land()

    assert sorted(sender.batches) == [["a", "b", "c"], ["d", "e", "f"], ["g"]]


async def test_the_first_batches_are_small() -> None:
    """Core begins while the author still reads; then batches grow up to the limit."""
    flight, sender = Flight(), Sender()
    sender.gate.set()
    batches = batcher(flight, sender, items=180, size=10_000)

    for _ in range(50 + 100 + 180 + 180 + 7):
        await batches.put("a", 1)
    await batches.flush()
    await flight.land()

    assert [len(batch) for batch in sender.batches] == [50, 100, 180, 180, 7]


async def test_batches_have_at_most_so_many_bytes() -> None:
    """A batch goes out before an item would make it too large."""
    flight, sender = Flight(), Sender()
    sender.gate.set()
    batches = batcher(flight, sender, items=10)

    for item, size in (("a", 60), ("b", 40), ("c", 1), ("d", 200)):
        await batches.put(item, size)
    await batches.flush()
    await flight.land()

    assert sorted(sender.batches) == [["a", "b"], ["c"], ["d"]]


async def test_four_batches_are_under_way_at_most() -> None:
    """The fifth batch waits until one of the first four has arrived."""
    flight, sender = Flight(), Sender()
    batches = batcher(flight, sender, items=1)

    async def put_all() -> None:
        for item in "abcdefgh":
            await batches.put(item, 1)
        await flight.land()

    putting = asyncio.create_task(put_all())
    await sender.four_under_way.wait()
    sender.gate.set()
    await putting

    assert sender.most_under_way == 4
    assert len(sender.batches) == 8


async def test_a_failure_is_raised_at_the_next_batch() -> None:
    """What went wrong in the background is raised where the author waits."""

    async def refuse(_items: list[str]) -> None:
        raise ValueError("refused")

    flight = Flight()
    batches = Batcher(flight, refuse, max_items=1, max_bytes=100)

    await batches.put("a", 1)

    with pytest.raises(ValueError, match="refused"):
        await flight.land()
    with pytest.raises(ValueError, match="refused"):
        await batches.put("b", 1)


async def test_nothing_is_sent_for_nothing() -> None:
    """Flushing an empty batcher sends no batch."""
    flight, sender = Flight(), Sender()

    await batcher(flight, sender).flush()
    await flight.land()

    assert sender.batches == []
