"""The plugin dies twice in a large sync, halfway and at its end; nothing is downloaded twice.

Run by `make test-faults`, with 100,000 files unless it is told otherwise. Downloads that were
under way when the plugin died are broken off, and asked for again: these are counted, and bounded.
"""

import sys
from collections.abc import Sequence

from interrupted import CONCURRENCY, interrupted_sync

FILES = 100_000


def main(arguments: Sequence[str]) -> int:
    """Sync, and say how often the upstream was asked; 1 if it was too often."""
    files = int(arguments[0]) if arguments else FILES
    sync = interrupted_sync(files)
    for number, reason in enumerate(sync.reasons, 1):
        print(f"attempt {number} was lost: {reason}")
    print(
        f"{sync.state} in attempt {sync.attempts}, {sync.units:,} units, {sync.seconds:.0f} s\n"
        f"{sync.asked:,} requests, {sync.attempts} of them for the manifest; "
        f"{sync.again} files asked for again"
    )
    well = sync.state == "completed" and sync.attempts == 3 and sync.units == files
    return 0 if well and sync.again <= 2 * CONCURRENCY else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
