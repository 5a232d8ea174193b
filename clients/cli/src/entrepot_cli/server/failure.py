"""Errors of calls as failures of a command: the exit status, the fields, and what to type next."""

import shlex

import grpc

from entrepot_cli.outcome import Failure, Status, Unreachable
from entrepot_cli.settings import Settings
from entrepot_rpc.channel import reason_of_silence
from entrepot_rpc.errors import Code, ServiceError
from entrepot_rpc.status import from_rpc_error, has_status

_STATUS = {
    Code.INVALID_ARGUMENT: Status.USAGE,
    Code.OUT_OF_RANGE: Status.USAGE,
    Code.UNAUTHENTICATED: Status.DENIED,
    Code.PERMISSION_DENIED: Status.DENIED,
    Code.NOT_FOUND: Status.NOT_FOUND,
    Code.ALREADY_EXISTS: Status.CONFLICT,
    Code.FAILED_PRECONDITION: Status.CONFLICT,
    Code.ABORTED: Status.CONFLICT,
    Code.DEADLINE_EXCEEDED: Status.TIMED_OUT,
}
# Reasons of rules that an operator has made, whatever their code.
_POLICY_PREFIX = "POLICY_"
_NOUNS = {
    "repositories": "repository",
    "remotes": "remote",
    "distributions": "distribution",
    "tasks": "task",
    "limits": "limit",
}


def failure_of(error: grpc.RpcError, settings: Settings) -> Failure:
    """The failure that ends the command whose call this was."""
    known = from_rpc_error(error)
    if known.code in (Code.UNIMPLEMENTED, Code.INTERNAL) and not has_status(error):
        return Failure(
            f"What answers at {settings.grpc} is not core, or of another version.",
            details=(known.message,),
            suggestion="export ENTREPOT_GRPC=HOST:PORT",
        )
    return failure_of_error(known, settings)


def failure_of_error(error: ServiceError, settings: Settings) -> Failure:
    """The failure for an error, also for one that a task ended with."""
    if error.code == Code.UNAVAILABLE and error.reason == "UNAVAILABLE":
        return Unreachable(
            f"Nothing answers at {settings.grpc}.",
            details=tuple(filter(None, [reason_of_silence(error.message)])),
            suggestion="entrepot up",
        )
    message = error.message or error.reason
    if error.reason == "UNAUTHENTICATED" and not settings.read_token():
        message = (
            f"There is no token: {settings.token_file} does not exist. Set ENTREPOT_HOME to the "
            "folder of the server, as in the terminal where it runs, or ENTREPOT_TOKEN."
        )
    violations = (f"{one.field}: {one.message}" for one in error.violations if one.field)
    return Failure(
        message,
        status=status_of(error),
        details=(
            *(text for text in violations if text not in message),
            *(f"{one.subject}: {one.message}" for one in error.preconditions),
            *(
                f"{key}: {value}"
                for key, value in sorted(error.metadata.items())
                if value and value not in message
            ),
        ),
        suggestion=suggestion_for(error, settings),
    )


def status_of(error: ServiceError) -> Status:
    """The exit status for an error."""
    if error.reason.startswith(_POLICY_PREFIX):
        return Status.REFUSED_BY_POLICY
    return _STATUS.get(error.code, Status.FAILED)


def suggestion_for(error: ServiceError, settings: Settings) -> str:
    """The command to type next; empty if none would help."""
    resource = error.metadata.get("resource", "")
    match error.reason:
        case "UNAUTHENTICATED" if not settings.read_token():
            return ""
        case "UNAUTHENTICATED" | "PERMISSION_DENIED":
            return f'export ENTREPOT_TOKEN="$(cat {shlex.quote(str(settings.token_file))})"'
        case "TASK_TYPE_UNKNOWN" | "PLUGIN_UNKNOWN":
            return "entrepot explain"
        case "PLUGIN_UNAVAILABLE" | "PLUGIN_INCOMPATIBLE" | "PLUGIN_CONTRACT_VIOLATION":
            return "entrepot plugin list"
        case "RESOURCE_NOT_FOUND":
            return _list_of(resource)
        case "NAME_TAKEN" | "ETAG_MISMATCH":
            return _get_of(resource)
        case "BASE_PATH_OVERLAPS":
            return "entrepot distribution list"
        case "RESOURCE_IN_USE" if user := error.metadata.get("user"):
            return _get_of(user)
        case "RESOURCE_IN_USE" | "VERSION_CONFLICT":
            return (
                f"entrepot task list --resource {resource}" if resource else "entrepot task list"
            )
        case "INTERNAL" | "DATABASE_UNAVAILABLE" | "STORAGE_FULL" | "STORAGE_FAILED":
            return "entrepot status"
        case _:
            return ""


def _list_of(resource: str) -> str:
    parts = resource.split("/")
    if parts[0] == "tasks":
        return "entrepot task list"
    if parts[0] == "content" and len(parts) > 2:  # noqa: PLR2004, content/PLUGIN/COLLECTION/…
        return f"entrepot content list {parts[1]}/{parts[2]}"
    if parts[0] == "repositories" and "versions" in parts:
        return f"entrepot version list {'/'.join(parts[1:3])}"
    noun = _NOUNS.get(parts[0])
    return f"entrepot {noun} list" if noun else ""


def _get_of(resource: str) -> str:
    parts = resource.split("/")
    noun = _NOUNS.get(parts[0])
    return f"entrepot {noun} get {'/'.join(parts[1:])}" if noun and len(parts) > 1 else ""
