"""The `entrepot` command: for people, and to start everything on one machine."""
