"""How much of everything is measured."""

from dataclasses import dataclass

KIB, MIB = 1024, 1024 * 1024


@dataclass(frozen=True)
class Size:
    """Counts and times; smaller for a look whether the bench works."""

    # A sync of small files, and one of files of 1 MiB.
    files: int = 5_000
    large_files: int = 1_000
    # Of a sync that has nothing to do.
    unchanged: int = 100_000
    # A large and a small repository, of units that are listed only.
    many: int = 100_000
    few: int = 100
    # Steps of the number of units over which memory is looked at.
    growth: tuple[int, ...] = (50_000, 150_000, 350_000)
    repeats: int = 3
    # Of what goes to the disk, which is the least steady of all: an odd number has a middle.
    turns: int = 5
    tasks: int = 100
    # Over how many repositories a burst of tasks goes, how many go to one, and how many wait.
    burst_repositories: int = 500
    burst_on_one: int = 300
    waiting: int = 100_000
    # Of what a peer is given to do: it takes seconds for what is done in milliseconds here.
    peer_tasks: int = 40
    # How often a dispatcher is killed, and how many files a sync has whose plugin is.
    kills: int = 7
    interrupted: int = 100_000
    # Of a file that is uploaded, and how many small ones are.
    upload_mib: int = 1024
    uploads: int = 2_000
    seconds: float = 4
    # Clients that follow events, and how long nothing happens.
    watchers: int = 1_000
    quiet_seconds: float = 30


QUICK = Size(
    files=300,
    large_files=20,
    unchanged=2_000,
    many=2_000,
    few=100,
    growth=(1_000, 2_000),
    repeats=1,
    turns=1,
    tasks=10,
    burst_repositories=30,
    burst_on_one=20,
    waiting=1_000,
    peer_tasks=5,
    kills=2,
    interrupted=2_000,
    upload_mib=64,
    uploads=100,
    seconds=1,
    watchers=50,
    quiet_seconds=2,
)
