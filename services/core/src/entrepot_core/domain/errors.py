"""Every error core can show, with its code, its reason and what its message must say.

The reasons are the values of entrepot.core.v1.ErrorReason; docs/problems has a page for each.
"""

from __future__ import annotations

from entrepot_rpc.errors import Code, Precondition, ServiceError, Violation

__all__ = [
    "AddressForbiddenError",
    "AttemptLostError",
    "AttemptSupersededError",
    "BaseMovedError",
    "BasePathOverlapsError",
    "BatchTooLargeError",
    "BlobMissingError",
    "CanceledError",
    "Code",
    "ContentConflictError",
    "DatabaseUnavailableError",
    "DeadlineExceededError",
    "DigestMismatchError",
    "DownloadFailedError",
    "EtagMismatchError",
    "EventOutOfRangeError",
    "FieldInvalidError",
    "NameTakenError",
    "NeededUnitMissingError",
    "OutcomeUnknownError",
    "PathInvalidError",
    "PathNotFoundError",
    "PathOverlapsError",
    "PermissionDeniedError",
    "PlanApprovedError",
    "PlanMissingError",
    "PluginContractViolationError",
    "PluginIncompatibleError",
    "PluginUnavailableError",
    "PluginUnknownError",
    "Precondition",
    "QueryInvalidError",
    "RepositoryKeyConflictError",
    "RequestIdReusedError",
    "ResourceInUseError",
    "ResourceNotFoundError",
    "SecretUnreadableError",
    "SequenceReusedError",
    "ServiceError",
    "SizeMismatchError",
    "StorageFailedError",
    "StorageFullError",
    "TaskFinishedError",
    "TaskTypeUnknownError",
    "TooManyWaitingError",
    "UnauthenticatedError",
    "UnitNotInRepositoryError",
    "UnitStillNeededError",
    "UploadConflictError",
    "VersionConflictError",
    "Violation",
]


class FieldInvalidError(ServiceError):
    """A field is unknown, missing or malformed; the violations say which and why."""

    code, reason = Code.INVALID_ARGUMENT, "FIELD_INVALID"

    @classmethod
    def at(cls, field: str, message: str) -> FieldInvalidError:
        """The error of a single field: its path and a sentence."""
        return cls(f"{field}: {message}", violations=(Violation(field, message),))


class TaskTypeUnknownError(ServiceError):
    """No plugin offers this task type."""

    code, reason = Code.INVALID_ARGUMENT, "TASK_TYPE_UNKNOWN"


class PluginUnknownError(ServiceError):
    """No plugin of this name is registered."""

    code, reason = Code.NOT_FOUND, "PLUGIN_UNKNOWN"


class PluginUnavailableError(ServiceError):
    """The plugin does not answer."""

    code, reason = Code.UNAVAILABLE, "PLUGIN_UNAVAILABLE"


class PluginContractViolationError(ServiceError):
    """The plugin broke the contract."""

    code, reason = Code.INTERNAL, "PLUGIN_CONTRACT_VIOLATION"


class PluginIncompatibleError(ServiceError):
    """The plugin's declaration cannot replace the one it has."""

    code, reason = Code.FAILED_PRECONDITION, "PLUGIN_INCOMPATIBLE"


class ResourceNotFoundError(ServiceError):
    """Nothing has this name."""

    code, reason = Code.NOT_FOUND, "RESOURCE_NOT_FOUND"

    @classmethod
    def of_name(cls, name: str, field: str = "") -> ResourceNotFoundError:
        """The error of one name, and of the field that has it."""
        violations = (Violation(field, f"There is no {name}.", cls.reason),) if field else ()
        return cls(f"There is no {name}.", metadata={"resource": name}, violations=violations)


class NameTakenError(ServiceError):
    """The name is taken."""

    code, reason = Code.ALREADY_EXISTS, "NAME_TAKEN"


class BasePathOverlapsError(ServiceError):
    """The base path equals another, lies inside it or contains it."""

    code, reason = Code.FAILED_PRECONDITION, "BASE_PATH_OVERLAPS"


class ResourceInUseError(ServiceError):
    """Something else still uses the resource."""

    code, reason = Code.FAILED_PRECONDITION, "RESOURCE_IN_USE"


class EtagMismatchError(ServiceError):
    """The resource changed since it was read."""

    code, reason = Code.ABORTED, "ETAG_MISMATCH"


class RequestIdReusedError(ServiceError):
    """The request id was used for another request."""

    code, reason = Code.ALREADY_EXISTS, "REQUEST_ID_REUSED"


class VersionConflictError(ServiceError):
    """The repository changed while the task ran."""

    code, reason = Code.ABORTED, "VERSION_CONFLICT"


class PlanMissingError(ServiceError):
    """The task is not a completed dry run, or its plan is not kept any more."""

    code, reason = Code.FAILED_PRECONDITION, "PLAN_MISSING"


class PlanApprovedError(ServiceError):
    """The plan was approved before; the metadata names the task that commits it."""

    code, reason = Code.FAILED_PRECONDITION, "PLAN_APPROVED"


class BaseMovedError(ServiceError):
    """What the plan is based on has changed since; the preconditions say what and how."""

    code, reason = Code.FAILED_PRECONDITION, "BASE_MOVED"


class AttemptSupersededError(ServiceError):
    """Another attempt owns the task now."""

    code, reason = Code.ABORTED, "ATTEMPT_SUPERSEDED"


class AttemptLostError(ServiceError):
    """The attempt was lost more often than it is repeated."""

    code, reason = Code.UNAVAILABLE, "ATTEMPT_LOST"


class OutcomeUnknownError(ServiceError):
    """An attempt that must not be repeated was lost: what it did outside is not known."""

    code, reason = Code.UNKNOWN, "OUTCOME_UNKNOWN"


class DeadlineExceededError(ServiceError):
    """The attempt took longer than its type allows."""

    code, reason = Code.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED"


class BatchTooLargeError(ServiceError):
    """The batch is larger than the limit its message names."""

    code, reason = Code.INVALID_ARGUMENT, "BATCH_TOO_LARGE"


class SequenceReusedError(ServiceError):
    """The sequence was used for another batch of this attempt."""

    code, reason = Code.ALREADY_EXISTS, "SEQUENCE_REUSED"


class ContentConflictError(ServiceError):
    """A unit with this key but other content exists."""

    code, reason = Code.FAILED_PRECONDITION, "CONTENT_CONFLICT"


class RepositoryKeyConflictError(ServiceError):
    """Two units of one version share a repository key or a path."""

    code, reason = Code.FAILED_PRECONDITION, "REPOSITORY_KEY_CONFLICT"


class PathOverlapsError(ServiceError):
    """The path of one file is a folder in the path of another."""

    code, reason = Code.FAILED_PRECONDITION, "PATH_OVERLAPS"


class PathInvalidError(ServiceError):
    """A path is absolute, or has an empty, "." or ".." segment or a control character."""

    code, reason = Code.INVALID_ARGUMENT, "PATH_INVALID"


class NeededUnitMissingError(ServiceError):
    """A unit needs another that is not there."""

    code, reason = Code.FAILED_PRECONDITION, "NEEDED_UNIT_MISSING"


class UnitStillNeededError(ServiceError):
    """Units that stay need one that would leave."""

    code, reason = Code.FAILED_PRECONDITION, "UNIT_STILL_NEEDED"


class UnitNotInRepositoryError(ServiceError):
    """The units named are not in the repository."""

    code, reason = Code.FAILED_PRECONDITION, "UNIT_NOT_IN_REPOSITORY"


class BlobMissingError(ServiceError):
    """Core has neither the bytes nor a source for them."""

    code, reason = Code.FAILED_PRECONDITION, "BLOB_MISSING"


class DownloadFailedError(ServiceError):
    """A download failed. Its metadata names the URL, the unit and the HTTP status."""

    code, reason = Code.UNAVAILABLE, "DOWNLOAD_FAILED"
    # Whether the failure may pass, so that the same download may succeed later.
    retryable = False


class DigestMismatchError(ServiceError):
    """Downloaded or uploaded bytes do not have the digest they should."""

    code, reason = Code.DATA_LOSS, "DIGEST_MISMATCH"


class SizeMismatchError(ServiceError):
    """Downloaded or uploaded bytes do not have the size they should, in bytes."""

    code, reason = Code.DATA_LOSS, "SIZE_MISMATCH"


class AddressForbiddenError(ServiceError):
    """The address of an upstream is not allowed."""

    code, reason = Code.PERMISSION_DENIED, "ADDRESS_FORBIDDEN"


class SecretUnreadableError(ServiceError):
    """A secret cannot be encrypted or decrypted. Its metadata names whose it is."""

    code, reason = Code.FAILED_PRECONDITION, "SECRET_UNREADABLE"


class UnauthenticatedError(ServiceError):
    """No token, or not a valid one."""

    code, reason = Code.UNAUTHENTICATED, "UNAUTHENTICATED"


class PermissionDeniedError(ServiceError):
    """The token does not allow this."""

    code, reason = Code.PERMISSION_DENIED, "PERMISSION_DENIED"


class QueryInvalidError(ServiceError):
    """A list's page token or filter cannot be read; its metadata has the position."""

    code, reason = Code.INVALID_ARGUMENT, "QUERY_INVALID"

    @classmethod
    def at(cls, field: str, message: str, position: int) -> QueryInvalidError:
        """The error of one field, a character of it, and a sentence about both."""
        return cls(
            message,
            metadata={"position": str(position)},
            violations=(Violation(field, message, cls.reason),),
        )


class TaskFinishedError(ServiceError):
    """The task is over and cannot be changed."""

    code, reason = Code.FAILED_PRECONDITION, "TASK_FINISHED"


class StorageFullError(ServiceError):
    """The disk is too full to take more."""

    code, reason = Code.RESOURCE_EXHAUSTED, "STORAGE_FULL"


class StorageFailedError(ServiceError):
    """The store for blobs fails."""

    code, reason = Code.UNAVAILABLE, "STORAGE_FAILED"


class DatabaseUnavailableError(ServiceError):
    """The database cannot be reached."""

    code, reason = Code.UNAVAILABLE, "DATABASE_UNAVAILABLE"


class UploadConflictError(ServiceError):
    """The upload's offset, size or state does not fit."""

    code, reason = Code.FAILED_PRECONDITION, "UPLOAD_CONFLICT"


class CanceledError(ServiceError):
    """The task was canceled."""

    code, reason = Code.CANCELLED, "CANCELED"


class PathNotFoundError(ServiceError):
    """The distribution serves nothing at this path."""

    code, reason = Code.NOT_FOUND, "PATH_NOT_FOUND"


class EventOutOfRangeError(ServiceError):
    """The log of events does not go on after this number: it is too old, or not there yet."""

    code, reason = Code.OUT_OF_RANGE, "EVENT_OUT_OF_RANGE"

    @classmethod
    def after(cls, after: int, oldest: int, newest: int) -> EventOutOfRangeError:
        """The error for a number, and the numbers of the oldest and newest event that is kept."""
        message = (
            f"The log has no event {after} yet; the newest is {newest}."
            if after > newest
            else f"Events after {after} are no longer kept; the oldest is {oldest}."
        )
        metadata = {"oldest": str(oldest), "newest": str(newest)}
        return cls(message, metadata=metadata)


class TooManyWaitingError(ServiceError):
    """So many calls wait already that one more would take the threads of the others."""

    code, reason = Code.RESOURCE_EXHAUSTED, "TOO_MANY_WAITING"
