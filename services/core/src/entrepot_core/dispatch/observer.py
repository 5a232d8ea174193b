"""Who is told of attempts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from entrepot_core.domain.task import LossCause
    from entrepot_core.store.queue import Claimed

__all__ = ["UNOBSERVED", "AttemptObserver"]


class AttemptObserver(Protocol):
    """Is told how attempts go, from any thread."""

    def started(self, claimed: Claimed) -> None:
        """An attempt began; told again if it goes on by itself after others were done with."""

    def settled(self, workspace_id: int, state: str) -> None:
        """Its task ended, or waits again, in this state."""

    def lost(self, cause: LossCause) -> None:
        """An attempt was lost, here or elsewhere."""

    def ended(self, workspace_id: int) -> None:
        """Nothing runs for the attempt any more, whatever became of it."""


class _Unobserved:
    def started(self, claimed: Claimed) -> None:
        pass

    def settled(self, workspace_id: int, state: str) -> None:
        pass

    def lost(self, cause: LossCause) -> None:
        pass

    def ended(self, workspace_id: int) -> None:
        pass


UNOBSERVED: AttemptObserver = _Unobserved()
