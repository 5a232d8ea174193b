"""Becomes another program that ends with its parent; run as a script, `command.py` says with what.

A step of its own, because after fork a process with threads may do nothing but start a program.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1


def main(parent: int, stop_signal: int, user: int, group: int, command: list[str]) -> None:
    """Take the identity if there is one (-1: none), ask the kernel for the signal, and become."""
    if user >= 0:
        os.setgroups([])
        os.setgid(group)
        os.setuid(user)
    if sys.platform == "linux":
        # After the identity: the kernel forgets the request when that changes.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, stop_signal, 0, 0, 0)
        if os.getppid() != parent:
            return
    os.execvp(command[0], command)  # noqa: S606, a shell is what it must not be


if __name__ == "__main__":
    _parent, _signal, _user, _group = map(int, sys.argv[1:5])
    main(_parent, _signal, _user, _group, sys.argv[5:])
