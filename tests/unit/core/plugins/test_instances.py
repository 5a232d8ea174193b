"""Which single addresses a gRPC target stands for."""

import pytest

from entrepot_core.plugins.instances import single_addresses


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("unix:/run/file.sock", ["unix:/run/file.sock"]),
        ("127.0.0.1:7443", ["ipv4:127.0.0.1:7443"]),
        ("dns:///127.0.0.1:7443", ["ipv4:127.0.0.1:7443"]),
        ("[::1]:7443", ["ipv6:[::1]:7443"]),
        ("ipv4:127.0.0.1:1,127.0.0.2:1", ["ipv4:127.0.0.1:1", "ipv4:127.0.0.2:1"]),
        ("ipv6:[::1]:1,[::1]:2", ["ipv6:[::1]:1", "ipv6:[::1]:2"]),
        ("no such host:7443", ["no such host:7443"]),
        ("127.0.0.1", ["127.0.0.1"]),
    ],
)
def test_a_target_stands_for_addresses(target: str, expected: list[str]) -> None:
    """Lists are taken apart, names looked up, and what is one address or none stays as it is."""
    assert single_addresses(target) == expected
