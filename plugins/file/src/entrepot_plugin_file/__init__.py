"""Plain files, listed by a manifest: the smallest honest plugin."""
