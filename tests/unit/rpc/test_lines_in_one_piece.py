"""Several threads write to one pipe: no line may be written in pieces."""

import io

import pytest
import structlog

from entrepot_rpc import logs
from entrepot_rpc.readiness import say_ready


class Pipe(io.StringIO):
    """A text stream that keeps what each call has written."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[str] = []

    def write(self, text: str) -> int:
        self.pieces.append(text)
        return len(text)


def test_a_process_is_ready_in_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for the line finds it on a line of its own."""
    pipe = Pipe()
    monkeypatch.setattr("sys.stdout", pipe)

    say_ready("grpc://127.0.0.1:7443")

    assert pipe.pieces == ["ready grpc://127.0.0.1:7443\n"]


def test_a_line_of_the_log_is_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written between two lines of the log stands on a line of its own."""
    pipe = Pipe()
    monkeypatch.setattr("sys.stderr", pipe)
    before = structlog.get_config()
    try:
        logs.configure("test")
        structlog.get_logger().info("it.happened")
    finally:
        structlog.configure(**before)

    (piece,) = pipe.pieces
    assert piece.endswith("}\n")
