"""`entrepot check`: core looks at its own data and says what is wrong."""

import contextlib
import os
import subprocess
from collections.abc import Iterator

from entrepot_cli.arguments import Parser
from entrepot_cli.settings import Settings


def run(words: list[str]) -> int:
    """Run core's check with what follows as its arguments."""
    parser = Parser(
        "check", "Looks for what is wrong with the data, one line each. It changes nothing."
    )
    parser.add_argument("--json", action="store_true", help="one JSON object per finding")
    parser.add_argument("--sizes", action="store_true", help="compare sizes only, read no bytes")
    parser.add_argument(
        "--grace", type=float, metavar="SECONDS", help="age of what may lie about; unset: a day"
    )
    parser.parse_args(words)
    from entrepot_cli.stack.installed import program

    settings = Settings.from_environment()
    with _database(settings) as dsn:
        environment = {
            **os.environ,
            "ENTREPOT_HOME": str(settings.home),
            "ENTREPOT_BLOBS_URL": settings.blobs_url,
            "ENTREPOT_BLOBS_PREVIOUS_URL": settings.blobs_previous_url,
            "ENTREPOT_DATABASE_URL": dsn,
        }
        command = [program("entrepot-core"), "check", *words]
        return subprocess.run(command, env=environment, check=False).returncode


@contextlib.contextmanager
def _database(settings: Settings) -> Iterator[str]:
    """The database: the one that is set, the one that runs, or the embedded one for a moment."""
    if settings.database_url:
        yield settings.database_url
        return
    from entrepot_cli.postgres import EmbeddedPostgres
    from entrepot_cli.stack.home import Home, HomeInUseError

    postgres = EmbeddedPostgres(settings.home / "postgres")
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(Home(settings.home))
        except HomeInUseError:
            # `entrepot up` has started it.
            yield postgres.dsn
            return
        yield stack.enter_context(postgres).dsn
