"""What a recording disk was told, and the disks that a power cut may have left of it."""

import os
import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import mounts
from recorder import FLUSH, RECORD

SECTOR_BYTES = 512
# How much of what no flush has covered gets through; drawn anew for each cut.
_SHARES = (0.0, 0.0, 0.1, 0.5, 0.9, 1.0)
# Of what does not get through whole, so much is torn.
_TORN = 0.3


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes for one place of the disk."""

    at: float
    offset: int
    length: int
    # Where in the log they are.
    place: int


@dataclass(frozen=True, slots=True)
class Flush:
    """All that was written before is durable: so many writes."""

    at: float
    writes: int


class Recording:
    """A log, in its order; times are of the monotonic clock."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.writes: list[Write] = []
        self.flushes: list[Flush] = []
        place, size = 0, log.stat().st_size
        with log.open("rb", buffering=0) as file:
            while place < size:
                at, offset, length = RECORD.unpack(os.pread(file.fileno(), RECORD.size, place))
                place += RECORD.size
                if offset == FLUSH:
                    self.flushes.append(Flush(at, len(self.writes)))
                else:
                    self.writes.append(Write(at, offset, length, place))
                place += length

    def until(self, flush: int) -> float:
        """When the next flush after this one came, or the end."""
        after = self.flushes[flush + 1 : flush + 2]
        return after[0].at if after else float("inf")

    def pending(self, flush: int) -> list[Write]:
        """What was written between this flush and the next."""
        after = self.flushes[flush + 1 : flush + 2]
        return self.writes[self.flushes[flush].writes : after[0].writes if after else None]


class Image:
    """The disk as it is for sure after one flush, and then after a later one.

    Args:
        recording: Of the disk.
        blank: What it was when the recording began.
        path: Where to keep it.
    """

    def __init__(self, recording: Recording, blank: Path, path: Path) -> None:
        self._recording = recording
        self._path = path
        self._done = 0
        mounts.copy(blank, path)

    def advance(self, flush: int) -> None:
        """Write all that came before a flush, which is none that was earlier."""
        end = self._recording.flushes[flush].writes
        with self._path.open("r+b", buffering=0) as disk, self._recording.log.open("rb") as log:
            for write in self._recording.writes[self._done : end]:
                _put(disk.fileno(), log.fileno(), write, 0, write.length)
        self._done = end

    def cut(self, flush: int, path: Path, dice: random.Random) -> Counter[str]:
        """Make the disk that a power cut before the next flush left; says what came of writes.

        Each of them is kept, lost, or torn between two sectors, of which either side may be new.
        """
        mounts.copy(self._path, path)
        fates: Counter[str] = Counter(kept=0, lost=0, torn=0)
        share = dice.choice(_SHARES)
        with path.open("r+b", buffering=0) as disk, self._recording.log.open("rb") as log:
            for write in self._recording.pending(flush):
                first, last = 0, write.length
                sectors = write.length // SECTOR_BYTES
                if dice.random() < share:
                    fates["kept"] += 1
                elif sectors > 1 and 0 < share < 1 and dice.random() < _TORN:
                    fates["torn"] += 1
                    edge = dice.randrange(1, sectors) * SECTOR_BYTES
                    first, last = dice.choice([(0, edge), (edge, write.length)])
                else:
                    fates["lost"] += 1
                    continue
                _put(disk.fileno(), log.fileno(), write, first, last)
        return fates


def _put(disk: int, log: int, write: Write, first: int, last: int) -> None:
    data = os.pread(log, last - first, write.place + first)
    os.pwrite(disk, data, write.offset + first)
