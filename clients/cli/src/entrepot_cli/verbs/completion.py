"""`entrepot completion`: scripts for shells, and the words they ask for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from entrepot_cli.arguments import Parser

if TYPE_CHECKING:
    from google.protobuf.descriptor import ServiceDescriptor
    from google.protobuf.message import Message

    from entrepot_cli.server.declaration import Declarations

SCRIPTS = {
    "bash": """_entrepot() {
  local IFS=$'\\n'
  COMPREPLY=($(entrepot __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _entrepot entrepot
""",
    "zsh": """#compdef entrepot
_entrepot() {
  local -a found
  found=("${(@f)$(entrepot __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
  if [[ -n "$found" ]]; then compadd -a found; else _files; fi
}
compdef _entrepot entrepot
""",
    "fish": """function __entrepot_complete
  set -l words (commandline -opc) (commandline -ct)
  entrepot __complete $words[2..-1] 2>/dev/null
end
complete -c entrepot -a '(__entrepot_complete)'
""",
}
# So many names of the server's are offered.
OFFERED = 200
_NAMED = {"repository": "repositories", "remote": "remotes", "distribution": "distributions"}


def run(words: list[str]) -> int:
    """Print the script of a shell."""
    parser = Parser(
        "completion",
        "Prints a completion script. For bash: source <(entrepot completion bash)",
    )
    parser.add_argument("shell", choices=list(SCRIPTS))
    print(SCRIPTS[parser.parse_args(words).shell], end="")
    return 0


def complete(words: list[str]) -> int:
    """Print what the last word, which may be empty, can become."""
    from entrepot_cli.outcome import Failure

    *before, partial = words or [""]
    try:
        for word in sorted(set(_candidates(before, partial))):
            if word.startswith(partial):
                print(word)
    except Failure:
        # A shell that waits for words has no place for errors.
        return 0
    return 0


def _candidates(before: list[str], partial: str) -> Iterable[str]:
    from entrepot_cli.app import HELP

    match before:
        case []:
            return [verb for group in HELP.values() for verb in group]
        case ["run" | "plan"] | ["task", "create"]:
            return _task_types()
        case ["run" | "plan", kind, *_]:
            return _of_task_type(kind, before[-1], partial)
        case ["task", "create", kind, *_]:
            return _of_task_type(kind, before[-1], partial)
        case ["completion"]:
            return SCRIPTS
        case ["upload"] | ["version", _]:
            return _names("repositories")
        case ["use"]:
            return _names("distributions")
        case ["explain"]:
            return [*_task_types(), *_NAMED]
        case [noun]:
            return _verbs(noun)
        case ["task", verb] if verb not in ("create", "list"):
            return _names("tasks")
        case ["content", "list"]:
            return _names("repositories")
        case ["plugin", "get" | "update" | "delete"]:
            return _names("plugins")
        case ["limit", "get" | "update" | "delete"]:
            return _names("limits")
        case ["token", "revoke"]:
            return _names("tokens")
        case [noun, "get" | "update" | "delete"] if noun in _NAMED:
            return _names(_NAMED[noun])
        case _:
            return []


def _verbs(noun: str) -> Iterable[str]:
    if noun in _NAMED:
        from entrepot_cli.verbs.resource import VERBS
    elif noun == "task":
        from entrepot_cli.verbs.task import VERBS
    elif noun == "version":
        from entrepot_cli.verbs.version import VERBS
    elif noun == "content":
        from entrepot_cli.verbs.content import VERBS
    elif noun == "plugin":
        from entrepot_cli.verbs.plugin import VERBS
    elif noun == "limit":
        from entrepot_cli.verbs.limit import VERBS
    elif noun == "token":
        from entrepot_cli.verbs.token import VERBS
    else:
        return []
    return VERBS


def _task_types() -> Iterable[str]:
    return _declarations().task_types()


def _declarations() -> Declarations:
    """What was kept from the last command, so that a key press need not wait for the server."""
    from entrepot_cli.server.declaration import load, load_kept
    from entrepot_cli.session import connected
    from entrepot_cli.settings import Settings

    kept = load_kept(Settings.from_environment())
    if kept is not None:
        return kept
    with connected() as connection:
        return load(connection)


def _of_task_type(name: str, previous: str, partial: str) -> Iterable[str]:
    from entrepot_cli.flag import flag_names
    from entrepot_cli.server.reference import COLLECTIONS, reference_kind
    from entrepot_rpc.field import descriptor_of, enum_choices

    kind = _declarations().task_type(name)
    fields = descriptor_of(kind.parameters).fields
    for field in fields:
        if previous in flag_names([field]):
            if field.enum_type is not None:
                return enum_choices(field.enum_type)
            if collection := COLLECTIONS.get(reference_kind(field)):
                is_ours = collection in _NAMED.values()
                return _names(f"{collection}/{kind.plugin}") if is_ours else []
    if partial.startswith("-") or not previous.startswith("--"):
        return flag_names(fields)
    return []


def _names(parent: str) -> Iterator[str]:
    """Names that the server has, as people type them."""
    from entrepot_cli.server.name import short_name
    from entrepot_cli.session import connected

    listing = _listing(parent)
    if listing is None:
        return
    service, method, request = listing
    with connected() as connection:
        for one in connection.pages(service, method, request, OFFERED):
            yield short_name(one.name)


def _listing(parent: str) -> tuple[ServiceDescriptor, str, Message] | None:
    collection = parent.partition("/")[0]
    if collection in _NAMED.values():
        from entrepot_cli.verbs.resource import KINDS

        kind = next(kind for kind in KINDS.values() if kind.collection == collection)
        request = kind.request("List", parent=parent if "/" in parent else "")
        return kind.service, f"List{collection.capitalize()}", request
    if collection == "tasks":
        from entrepot.core.v1 import task_service_pb2
        from entrepot_cli.follow import SERVICE

        return SERVICE, "ListTasks", task_service_pb2.ListTasksRequest()
    if collection == "plugins":
        from entrepot.core.v1 import plugin_service_pb2
        from entrepot_cli.server.declaration import SERVICE

        return SERVICE, "ListPlugins", plugin_service_pb2.ListPluginsRequest()
    if collection == "limits":
        from entrepot.core.v1 import limit_service_pb2
        from entrepot_cli.verbs.limit import SERVICE

        return SERVICE, "ListLimits", limit_service_pb2.ListLimitsRequest()
    if collection == "tokens":
        from entrepot.core.v1 import token_service_pb2
        from entrepot_cli.verbs.token import SERVICE

        return SERVICE, "ListTokens", token_service_pb2.ListTokensRequest()
    return None
