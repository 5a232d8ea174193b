"""Addresses for programs that have to be told one before they start."""

import socket
from contextlib import ExitStack
from pathlib import Path
from random import SystemRandom

_LOWEST = 10_000
_HIGHEST = 30_000
_GIVEN_AWAY = Path("/proc/sys/net/ipv4/ip_local_port_range")
# What is marked stays so until this process ends.
_marks = ExitStack()


def free_addresses(count: int) -> list[str]:
    """Addresses on this machine, in a row, that nobody listens on and nobody else is told.

    A port that the kernel has chosen may be the end of somebody's connection at the next moment,
    also while the program that listened on it is started again. So these are none of those that
    the kernel gives away, and each is marked for others that look for one.
    """
    highest = int(_GIVEN_AWAY.read_text().split()[0])
    if highest < _LOWEST + 1_000:
        # It gives away all there are.
        highest = _HIGHEST
    while True:
        first = SystemRandom().randrange(_LOWEST, highest - count)
        ports = range(first, first + count)
        with ExitStack() as marks:
            try:
                for port in ports:
                    # Nobody talks UDP here: who has the number there, has it here.
                    mark = marks.enter_context(socket.socket(type=socket.SOCK_DGRAM))
                    mark.bind(("127.0.0.1", port))
                    with socket.socket() as probe:
                        probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            _marks.push(marks.pop_all())
        return [f"127.0.0.1:{port}" for port in ports]
