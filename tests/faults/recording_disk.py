"""A mounted disk whose every write and flush is logged: nbdkit, shown as a file by nbdfuse."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mounts
import recorder
from entrepot_cli.command import Command
from polling import until

SIZE_BYTES = 1024**3
_READY_SECONDS = 30.0
_END_SECONDS = 30.0
_PROGRAMS = {
    "nbdkit": "nbdkit", "nbdfuse": "libnbd-bin", "mkfs.ext4": "e2fsprogs", "mount": "mount",
}  # fmt: skip


def missing() -> str:
    """Why there can be no such disk here, in words; empty if there can."""
    if os.geteuid() != 0:
        return "only root may mount disks"
    for device in ("/dev/fuse", "/dev/loop-control"):
        if not os.access(device, os.R_OK | os.W_OK):
            return f"there is no {device}"
    if not _works("unshare", "--mount", "true"):
        return "this container may not mount anything"
    packages = [package for name, package in _PROGRAMS.items() if not shutil.which(name)]
    if "nbdkit" not in packages and not _works("nbdkit", "python", "--dump-plugin"):
        packages.append("nbdkit-plugin-python")
    return f"Debian's {', '.join(packages)} must be installed: make apt" if packages else ""


def _works(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@contextmanager
def recording_disk(folder: Path) -> Iterator[Path]:
    """Where a new disk with ext4 is mounted, which is kept in a folder.

    `blank` there is what it was when it was mounted, and `log` what has been written since.
    """
    blank, disk, shown = folder / "blank", folder / "disk", folder / "shown"
    mounts.make_filesystem(blank, SIZE_BYTES)
    mounts.copy(blank, disk)
    shown.touch()
    with _served(disk, shown, folder / "log"), mounts.mounted(shown, folder / "root") as root:
        yield root


@contextmanager
def _served(disk: Path, shown: Path, log: Path) -> Iterator[None]:
    """Show a file in place of an empty one, and log what is done to it."""
    plugin = [str(recorder.__file__), f"disk={disk}", f"log={log}"]
    serve = ("nbdkit", "--single", "--exit-with-parent", "python", *plugin)
    command = Command(
        ("nbdfuse", str(shown), "--command", *serve), os.environ, stop_signal=signal.SIGKILL
    )
    words = shown.with_name("nbdfuse.log")
    with words.open("wb") as output:
        process = command.start(output)
    try:
        until(
            lambda: shown.stat().st_size or process.poll() is not None, "nbdfuse", _READY_SECONDS
        )
        if process.poll() is not None:
            raise OSError(f"nbdfuse: {words.read_text().strip()}")
        yield
    finally:
        if process.poll() is None:
            mounts.unmount(shown)
        process.wait(_END_SECONDS)
