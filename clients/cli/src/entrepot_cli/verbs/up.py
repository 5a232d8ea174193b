"""`entrepot up`."""

from entrepot_cli.arguments import Parser, positive


def run(words: list[str]) -> int:
    """Start everything on this machine."""
    parser = Parser(
        "up",
        "Starts everything on this machine, in this terminal, until Ctrl-C: the database, core, "
        "the gateways and every installed plugin. Data is kept in ENTREPOT_HOME.",
    )
    parser.add_argument(
        "--dispatchers", type=positive, default=1, metavar="N", help="processes that run tasks"
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="logs to their files only")
    options = parser.parse_args(words)

    from entrepot_cli.settings import Settings
    from entrepot_cli.stack.stack import up

    return up(Settings.from_environment(), dispatchers=options.dispatchers, quiet=options.quiet)
