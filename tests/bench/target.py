"""What a figure must reach: a number, or a part of its floor."""

from dataclasses import dataclass

__all__ = [
    "Target",
    "at_least",
    "at_least_of_floor",
    "at_most",
    "at_most_times_floor",
    "floor_and_at_most",
]


@dataclass(frozen=True)
class Target:
    """A bound: so much, and so many times the floor.

    Args:
        text: The bound as people read it.
        amount: In the figure's unit.
        factor: Of the floor.
        is_least: More is better, so that it is a lower bound.
    """

    text: str
    amount: float = 0
    factor: float = 0
    is_least: bool = False

    def is_met(self, value: float, ratio: float | None) -> bool:
        """Say whether a value that is so many times its floor reaches it."""
        floor = value / ratio if ratio else 0
        bound = self.amount + self.factor * floor
        return value >= bound if self.is_least else value <= bound


def at_most(amount: float, unit: str) -> Target:
    """No more than a number."""
    return Target(f"≤ {amount:g} {unit}", amount)


def at_least(amount: float, unit: str) -> Target:
    """No less than a number, of a rate."""
    return Target(f"≥ {amount:g} {unit}", amount, is_least=True)


def at_most_times_floor(factor: float) -> Target:
    """No more than so many times the floor."""
    return Target(f"≤ {factor:g} × floor", factor=factor)


def at_least_of_floor(part: float) -> Target:
    """No less than a part of the floor, of a rate."""
    return Target(f"≥ {100 * part:g} % of floor", factor=part, is_least=True)


def floor_and_at_most(amount: float, unit: str) -> Target:
    """No more than the floor and a number."""
    return Target(f"≤ floor + {amount:g} {unit}", amount, 1)
