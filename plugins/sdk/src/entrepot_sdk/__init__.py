"""What a plugin author imports: declare types and tasks, and serve them."""

__all__: list[str] = []
