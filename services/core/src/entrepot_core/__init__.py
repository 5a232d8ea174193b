"""Entrepot's core: the one program that writes tasks, repositories and content."""
