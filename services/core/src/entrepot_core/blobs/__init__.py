"""Bytes, addressed by their digest."""
