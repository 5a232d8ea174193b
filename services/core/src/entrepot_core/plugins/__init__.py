"""Talking to plugins, and knowing what each one declared."""
