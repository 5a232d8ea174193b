"""The `entrepot` command: finds what was asked for and imports only that."""

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from entrepot_cli.outcome import Failure

Verb = Callable[[list[str]], int]

SUMMARY = "Mirror, version, publish and serve software repositories of any format."

# Groups as they stand in the help: verb, what it does.
HELP: dict[str, dict[str, str]] = {
    "this machine": {
        "up": "start everything on this machine, in this terminal",
        "check": "look for what is wrong with the data",
        "status": "how the server and its plugins are",
    },
    "work": {
        "run": "create a task and follow it: run file/syncs --repository …",
        "plan": "show what a task would do, and change nothing",
        "upload": "put files into a repository",
        "use": "how clients use a distribution",
        "explain": "what a task type, a type of content, a noun or a field is",
    },
    "nouns": {
        "repository": "create, list, get, update, delete",
        "remote": "create, list, get, update, delete",
        "distribution": "create, list, get, update, delete",
        "version": "list, get, diff, delete",
        "content": "list, get",
        "task": "create, list, get, watch, wait, cancel, clone, lineage, plan, commit",
        "plugin": "create, list, get, update, delete",
        "limit": "create, list, get, update, delete",
        "token": "create, list, revoke",
    },
    "shell": {
        "completion": "print the completion script for bash, zsh or fish",
    },
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    return _guarded(list(sys.argv[1:] if arguments is None else arguments))


def help_text() -> str:
    """What `entrepot --help` prints."""
    lines = [f"usage: entrepot VERB …\n\n{SUMMARY}\n"]
    for group, verbs in HELP.items():
        lines.append(f"{group}:")
        lines += [f"  {verb:<14}{text}" for verb, text in verbs.items()]
        lines.append("")
    lines.append(
        "entrepot VERB --help says more. Settings: ENTREPOT_HOME, ENTREPOT_GRPC and others."
    )
    return "\n".join(lines)


def find(verb: str) -> Verb | None:
    """The function behind a verb, with nothing imported for the others."""
    match verb:
        case "up":
            from entrepot_cli.verbs.up import run
        case "check":
            from entrepot_cli.verbs.check import run
        case "status":
            from entrepot_cli.verbs.status import run
        case "run" | "plan":
            from entrepot_cli.verbs import run as runs

            return runs.run if verb == "run" else runs.plan
        case "upload":
            from entrepot_cli.verbs.upload import run
        case "use":
            from entrepot_cli.verbs.use import run
        case "explain":
            from entrepot_cli.verbs.explain import run
        case "repository" | "remote" | "distribution":
            from entrepot_cli.verbs import resource

            return lambda words: resource.run(verb, words)
        case "version":
            from entrepot_cli.verbs.version import run
        case "content":
            from entrepot_cli.verbs.content import run
        case "task":
            from entrepot_cli.verbs.task import run
        case "plugin":
            from entrepot_cli.verbs.plugin import run
        case "limit":
            from entrepot_cli.verbs.limit import run
        case "token":
            from entrepot_cli.verbs.token import run
        case "completion":
            from entrepot_cli.verbs.completion import run
        case "__complete":
            from entrepot_cli.verbs.completion import complete as run
        case _:
            return None
    return run


def _guarded(words: list[str]) -> int:
    # Light, and every verb raises from it.
    from entrepot_cli.outcome import Failure, Status, tell

    try:
        status = _run(words)
        # Here it can still be said that the output is not written.
        if sys.stdout is not None:
            sys.stdout.flush()
    except Failure as failure:
        if failure.status in (Status.USAGE, Status.NOT_FOUND) and not failure.suggestion:
            failure.suggestion = f"entrepot {_with_object(words[0], words[1:])} --help"
        return tell(failure)
    except BrokenPipeError:
        # Whoever read our output has seen enough.
        _discard_output()
        return Status.DONE
    except OSError as error:
        _discard_output()
        what = f"{error.filename}: " if error.filename else ""
        return tell(Failure(f"{what}{error.strerror or error}."))
    except UnicodeEncodeError as error:
        return tell(Failure(f"{error.object!r} is not UTF-8.", status=Status.USAGE))
    except KeyboardInterrupt:
        return Status.INTERRUPTED
    return status


def _run(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(help_text())
        return 0
    if words[0] in ("-V", "--version"):
        return _version()
    run = find(words[0])
    if run is None:
        raise _unknown(words[0])
    return run(words[1:])


def _discard_output() -> None:
    """Let nothing that could not be written be tried again at the end of the process."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _with_object(verb: str, words: list[str]) -> str:
    """The verb, with the word that decides which flags it has."""
    decides = verb in HELP["nouns"] or verb in ("run", "plan")
    return f"{verb} {words[0]}" if decides and words and words[0][:1] != "-" else verb


def _unknown(verb: str) -> "Failure":
    from difflib import get_close_matches

    from entrepot_cli.outcome import Failure, Status

    verbs = [verb for group in HELP.values() for verb in group]
    near = get_close_matches(verb, verbs, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    return Failure(
        f"There is no verb {verb}.{hint}",
        status=Status.USAGE,
        suggestion=f"entrepot {near[0]} --help" if near else "entrepot --help",
    )


def _version() -> int:
    from importlib.metadata import version

    print(f"entrepot {version('entrepot')}")
    return 0
