"""What a check of the installation finds to be wrong."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Finding"]


@dataclass(frozen=True, slots=True)
class Finding:
    """A broken invariant: its number, such as "I8", what it is about, and a sentence."""

    invariant: str
    subject: str
    message: str
