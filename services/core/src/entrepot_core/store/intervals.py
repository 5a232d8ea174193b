"""Membership by interval: a row is in the versions from added_in to before removed_in."""

from __future__ import annotations

__all__ = ["CURRENT"]

CURRENT = 2147483647
"""The `removed_in` of what is still there; null would need two conditions in every query."""
