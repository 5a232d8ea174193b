"""JSON as this API answers it."""

from typing import Any

from starlette.responses import JSONResponse

__all__ = ["JsonAnswer"]


class JsonAnswer(JSONResponse):
    """A document that ends its line, so that the next prompt of a terminal has its own."""

    def render(self, content: Any) -> bytes:  # noqa: ANN401, as Starlette has it
        """The bytes of the document."""
        return super().render(content) + b"\n"
