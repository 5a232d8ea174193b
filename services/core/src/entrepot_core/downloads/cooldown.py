"""Sources that have just failed, and for how long nobody who would rather hear so asks them."""

from __future__ import annotations

import copy
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from entrepot_core.downloads.failure import Failure

if TYPE_CHECKING:
    from collections.abc import Callable

    from entrepot_core.downloads.request import Source

__all__ = ["FILE_SECONDS", "FIRST_SECONDS", "LONGEST_SECONDS", "Cooldowns"]

# One file fails: it is left alone, and nothing else.
FILE_SECONDS = 5.0
# The host fails: all it has is left alone, for longer each time, until it answers again.
FIRST_SECONDS = 10.0
LONGEST_SECONDS = 60.0
# Of what an upstream says itself, in Retry-After, at most so much is believed.
LONGEST_ASKED_SECONDS = 300.0
_MOST_KNOWN = 10_000

_Key = tuple[int, str]


@dataclass(slots=True)
class _Cooling:
    until: float
    seconds: float
    failure: Failure


class Cooldowns:
    """What failed lately, by remote and host, or, where only one file failed, by remote and URL.

    For one event loop, whose time it goes by.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._known: OrderedDict[_Key, _Cooling] = OrderedDict()

    def __len__(self) -> int:
        now = self._now()
        return sum(one.until > now for one in tuple(self._known.values()))

    def refusal(self, source: Source) -> Failure | None:
        """Why the source is not to be asked now, and until when; None if it may be.

        When its time is over one may ask it, and the others wait for what becomes of that.
        """
        now = self._now()
        for key in (_host(source), _file(source)):
            cooling = self._known.get(key)
            if cooling is None:
                continue
            if cooling.until <= now:
                cooling.until = now + cooling.seconds
                continue
            return _copy(cooling.failure, cooling.until - now)
        return None

    def failed(self, source: Source, failure: Failure) -> float:
        """The source was asked in vain; returns for how many seconds it is left alone."""
        if failure.is_host_down:
            before = self._known.get(_host(source))
            seconds = FIRST_SECONDS if before is None else min(2 * before.seconds, LONGEST_SECONDS)
            asked = min(failure.wait_seconds or 0, LONGEST_ASKED_SECONDS)
            return self._remember(_host(source), max(seconds, asked), failure)
        # It answers.
        self._known.pop(_host(source), None)
        return self._remember(_file(source), FILE_SECONDS, failure)

    def succeeded(self, source: Source) -> None:
        """The source has sent what it was asked for."""
        self._known.pop(_host(source), None)
        self._known.pop(_file(source), None)

    def _remember(self, key: _Key, seconds: float, failure: Failure) -> float:
        self._known[key] = _Cooling(self._now() + seconds, seconds, _copy(failure, None))
        self._known.move_to_end(key)
        if len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)
        return seconds


def _copy(failure: Failure, retry_after_seconds: float | None) -> Failure:
    """Whoever is shown an error may add to it."""
    error = copy.copy(failure.error)
    error.retry_after_seconds = retry_after_seconds
    return Failure(error, is_passing=failure.is_passing, is_absent=failure.is_absent)


def _host(source: Source) -> _Key:
    # Port and scheme included; no URL is only that long, so the two kinds of keys never meet.
    return source.remote.remote_id, "/".join(source.url.split("/", 3)[:3])


def _file(source: Source) -> _Key:
    return source.remote.remote_id, f"{source.url} "
