"""Help is there at once: it imports nothing heavy, and asks no server."""

import subprocess
import sys
from pathlib import Path

import pytest

from entrepot_cli.app import HELP, find, main

MAIN = "import sys; from entrepot_cli.app import main; sys.exit(main())"
VERBS = [verb for group in HELP.values() for verb in group]


def test_help_imports_nothing_heavy() -> None:
    """`entrepot --help` needs neither gRPC nor protobuf nor rich."""
    program = (
        "import sys; from entrepot_cli.app import main; main(['--help']);"
        "print(sorted({'grpc', 'google', 'rich', 'asyncio', 'argparse'} & set(sys.modules)))"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_of_the_help_is_there(verb: str) -> None:
    """What the help lists can be called."""
    assert find(verb) is not None


def test_an_unknown_verb_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    """A typing error ends with 2, and the error has the verb that was meant."""
    status = main(["repositoryy"])

    captured = capsys.readouterr()
    assert (status, captured.out) == (2, "")
    assert "Did you mean repository?" in captured.err
    assert "try: entrepot repository --help" in captured.err


@pytest.mark.parametrize("noun", ["repository", "version", "content", "task", "plugin", "token"])
def test_a_noun_alone_says_its_verbs(noun: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A noun without a verb is a usage error that lists the verbs."""
    status = main([noun])

    captured = capsys.readouterr()
    assert (status, captured.out) == (2, "")
    assert "list" in captured.err


def test_an_output_that_is_closed_early_is_no_error() -> None:
    """`entrepot --help | head -c 1` ends quietly."""
    program = subprocess.Popen(
        [sys.executable, "-c", MAIN, "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert program.stdout is not None
    program.stdout.close()
    _, said = program.communicate(timeout=30)

    assert (program.returncode, said) == (0, b"")


def test_an_output_that_cannot_be_written_is_an_error() -> None:
    """A full disk is said in one line, and the status is that of a failure."""
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-c", MAIN, "--help"],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip

    assert (done.returncode, done.stderr) == (1, "error: No space left on device.\n")


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    """`--version` prints the version of the command."""
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("entrepot 0.")
