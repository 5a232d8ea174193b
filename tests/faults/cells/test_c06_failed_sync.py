"""Cell 6: a sync that the kernel fails once is never asked again, and nothing of it is recorded.

The error is injected into the real system call by strace, where that is installed and allowed.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TRACER = shutil.which("strace") or ""
# Writes a batch of blobs into a folder, twice; says how each ended, and what is there.
PROGRAM = """
import sys
from pathlib import Path
from entrepot_core.blobs.directory import DirectoryBlobStore
from entrepot_core.domain.errors import ServiceError

store = DirectoryBlobStore(Path(sys.argv[1]))
for _ in range(2):
    try:
        with store.begin() as batch:
            for number in range(int(sys.argv[2])):
                writer = batch.create()
                writer.write(b"%d" % number)
                writer.close()
            print("settled", len(batch.settle()), flush=True)
    except ServiceError as error:
        print(error.reason, error.message, flush=True)
    print("stored", len(list(store.files())), "left", store.temporary_files(), flush=True)
store.close()
"""


def run(folder: Path, count: int, call: str, when: int) -> tuple[list[str], str]:
    """The lines of the program, whose system call fails once, and the calls that it made."""
    trace, blobs = folder / "trace", folder / "blobs"
    blobs.mkdir()
    done = subprocess.run(
        [
            TRACER, "-f", "-o", trace, "-e", f"trace={call}",
            "-e", f"inject={call}:error=EIO:when={when}",
            sys.executable, "-c", PROGRAM, blobs, str(count),
        ],
        capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip
    if "ptrace" in done.stderr.lower() and not done.stdout:
        pytest.skip(f"strace may not trace here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines(), trace.read_text()


@pytest.mark.skipif(not TRACER, reason="strace is not installed")
@pytest.mark.parametrize(
    ("count", "call", "when", "stored"),
    [(12, "syncfs", 1, 0), (12, "syncfs", 2, 12), (3, "fsync", 2, 0)],
    ids=["the bytes of many", "the names of many", "one of a few"],
)
def test_a_failed_sync_reaches_us(
    tmp_path: Path, count: int, call: str, when: int, stored: int
) -> None:
    """EIO of one sync fails the whole batch, and nothing of it counts; the next is written anew.

    Files that have their names already have no row: they are collected if nobody writes them.
    """
    lines, trace = run(tmp_path, count, call, when)

    failed, after_failure, settled, after = lines
    assert failed.startswith("STORAGE_FAILED"), lines
    assert "EIO" in failed
    assert after_failure == f"stored {stored} left 0"
    assert settled == f"settled {count}"
    assert after == f"stored {count} left 0"
    if call == "syncfs":
        # Not asked again for the same files: the kernel may have forgotten why it failed.
        assert trace.count("syncfs(") == when + 2
