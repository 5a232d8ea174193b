"""Failed calls, without a call."""

import grpc


class FailedCall(grpc.RpcError):
    """What a stub raises."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__()
        self._code = code
        self._details = details

    def code(self) -> grpc.StatusCode:
        """The status code."""
        return self._code

    def details(self) -> str:
        """What the other side said."""
        return self._details

    def trailing_metadata(self) -> tuple[()]:
        """None."""
        return ()
