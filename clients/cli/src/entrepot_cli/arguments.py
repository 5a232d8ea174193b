"""The command line's grammar: what every verb understands, and errors that say what to type."""

import argparse
from textwrap import fill
from typing import NoReturn

from entrepot_cli.outcome import Failure, Status

FORMATS = ("table", "json", "jsonl", "name")


WIDTH = 80


class Parser(argparse.ArgumentParser):
    """A parser whose errors are failures of the command, and whose options are never guessed."""

    def __init__(self, prog: str, description: str = "", *, is_whole: bool = True) -> None:
        super().__init__(
            prog=f"entrepot {prog}",
            description="\n".join(fill(line, WIDTH) for line in description.splitlines()),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
            # One that reads ahead, before the flags are known, leaves --help to the whole one.
            add_help=is_whole,
        )

    def error(self, message: str) -> NoReturn:
        """End the command: what is wrong, and where the help is."""
        raise Failure(message, status=Status.USAGE, suggestion=f"{self.prog} --help")


def add_output(parser: Parser) -> None:
    """Let the user choose the form of the output."""
    group = parser.add_argument_group("output")
    group.add_argument("-o", "--output", choices=FORMATS, default="table", metavar="FORM",
                       help=f"{', '.join(FORMATS)}")  # fmt: skip
    group.add_argument("-q", "--quiet", action="store_true", help="print names only")
    group.add_argument("-v", "--verbose", action="store_true", help="print each call as curl")


def add_limit(parser: Parser) -> None:
    """Let the user choose how much of a list to see."""
    parser.add_argument("--limit", type=positive, default=0, metavar="N", help="at most so many")


def add_request_id(parser: argparse._ActionsContainer, what: str) -> None:
    """Let a script that lost an answer ask again without creating a second one."""
    parser.add_argument(
        "--request-id", default="", metavar="ID", help=f"the same id returns the same {what}"
    )


def add_yes(parser: Parser) -> None:
    """Let scripts answer the question before something is deleted."""
    parser.add_argument("--yes", action="store_true", help="do not ask; for scripts")


def read_ahead(words: list[str]) -> argparse.Namespace:
    """What of the output was asked for, while the other flags are not known yet."""
    parser = Parser("", is_whole=False)
    add_output(parser)
    return parser.parse_known_args(words)[0]


def positive(text: str) -> int:
    """A whole number above zero."""
    if not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above zero")
    return int(text)


def choose(noun: str, verbs: dict[str, str], words: list[str]) -> tuple[str, list[str]]:
    """Split `list --state waiting` into the verb of a noun and its words.

    Raises:
        Failure: there is no such verb.
    """
    if words and words[0] in ("-h", "--help"):
        print(f"usage: entrepot {noun} VERB …\n")
        for verb, text in verbs.items():
            print(f"  {verb:<10}{text}")
        raise SystemExit(0)
    if not words or words[0] not in verbs:
        said = f"There is no verb {words[0]} for {noun}." if words else f"Do what with {noun}?"
        raise Failure(
            f"{said} It has: {', '.join(verbs)}.",
            status=Status.USAGE,
            suggestion=f"entrepot {noun} --help",
        )
    return words[0], words[1:]


def confirm(name: str, options: argparse.Namespace) -> None:
    """Have the user type the name of what is about to go.

    Raises:
        Failure: the answer was another, or there is nobody to ask.
    """
    import sys

    if options.yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise Failure(
            f"{name} would be deleted, and there is no terminal to ask at.",
            status=Status.USAGE,
            suggestion="the same command with --yes",
        )
    print(f"This deletes {name}. Type its name to go on: ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip() != name:
        raise Failure("Nothing was deleted.", status=Status.USAGE)
