"""Writes down every file and folder that this process opens; imported by Python at its start."""

import os
import sys

_EVENTS = {"open", "os.listdir", "os.scandir", "os.readlink"}
_log = os.open(os.environ["TRACE"], os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


def _note(event: str, arguments: tuple[object, ...]) -> None:
    if event in _EVENTS:
        name = arguments[0]
        text = os.fsdecode(name) if isinstance(name, bytes | str | os.PathLike) else repr(name)
        os.write(_log, text.encode("utf-8", "backslashreplace").replace(b"\n", b"\\n") + b"\n")


sys.addaudithook(_note)
