"""Channels: what gRPC says about silence, in words for people."""

import pytest

from entrepot_rpc.channel import reason_of_silence


@pytest.mark.parametrize(
    ("details", "expected"),
    [
        (
            (
                "connections to all backends failing; last error: UNKNOWN: ipv4:127.0.0.1:1: "
                "Failed to connect to remote host: Connection refused"
            ),
            "Connection refused",
        ),
        (
            (
                "errors resolving up: [field:hostname lookup error:address lookup failed for up: "
                "Domain name not found]"
            ),
            "address lookup failed for up: Domain name not found",
        ),
        ("Socket closed", "Socket closed"),
        (None, ""),
    ],
)
def test_the_reason_of_silence(details: str | None, expected: str) -> None:
    """What the system said is taken out of what gRPC says around it."""
    assert expected == reason_of_silence(details)
