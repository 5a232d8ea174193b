"""`run`, `plan` and `task create`: flags from descriptors, and what becomes of the task."""

import json
from typing import Any

import pytest

from entrepot.core.v1 import difference_pb2, task_service_pb2
from entrepot.plugins.file.v1 import file_pb2
from entrepot.type.v1 import progress_pb2
from entrepot_rpc.errors import Code, ServiceError, Violation
from entrepot_rpc.status import to_status
from scripted_core import Cli, a_task, watching

Task = task_service_pb2.Task
SYNC = ("run", "file/syncs", "--repository", "foo", "--remote", "bar")


def creating(cli: Cli, *tasks: Task) -> None:
    """Have core create the first of these tasks, and show the others as it goes on."""
    created = task_service_pb2.CreateTaskResponse(task=tasks[0])
    cli.core.answers["CreateTask"] = lambda _: created
    cli.core.answers["WatchTask"] = watching(*tasks[1:])


def parameters(cli: Cli) -> file_pb2.Sync:
    """The parameters of the task that was created."""
    (request,) = cli.core.asked(task_service_pb2.CreateTaskRequest)
    sync = file_pb2.Sync()
    assert request.parameters.Unpack(sync)
    return sync


def test_flags_become_parameters(cli: Cli) -> None:
    """Names become full names within the plugin, and flags the fields of the message."""
    creating(cli, a_task())

    cli(*SYNC, "--mirror")

    expected = file_pb2.Sync(
        repository="repositories/file/foo", remote="remotes/file/bar", mirror=True
    )
    assert expected == parameters(cli)


def test_an_alias_is_a_flag(cli: Cli) -> None:
    """A field can be given by any of its names."""
    creating(cli, a_task())

    cli("run", "file/syncs", "--repository", "foo", "--importer", "/api/v3/remotes/file/bar/")

    assert parameters(cli).remote == "remotes/file/bar"


def test_a_required_flag_is_named(cli: Cli) -> None:
    """What is missing is said before the server is asked."""
    result = cli("run", "file/syncs", "--repository", "foo")

    assert result.status == 2
    assert "--remote/--importer" in result.err
    assert "try: entrepot run file/syncs --help" in result.err
    assert cli.core.asked(task_service_pb2.CreateTaskRequest) == []


def test_an_unknown_type_lists_what_there_is(cli: Cli) -> None:
    """A type that no plugin has ends with 4, the nearest one, and all there are."""
    result = cli("run", "file/sync")

    assert result.status == 4
    assert "Did you mean file/syncs?" in result.err
    assert "file/adds, file/removes, file/syncs, file/uploads" in result.err


def test_help_is_the_comments_of_the_proto(cli: Cli) -> None:
    """Help of a type is its documentation, and names the aliases."""
    result = cli("run", "file/syncs", "--help")

    assert result.status == 0
    assert "Remove files that upstream no longer lists" in result.out
    assert "--remote REMOTE, --importer REMOTE" in result.out


def test_the_token_comes_from_the_home(cli: Cli) -> None:
    """Calls carry the token of the home."""
    creating(cli, a_task())

    cli(*SYNC)

    assert cli.core.tokens == {"Bearer ent_test"}


def test_it_follows_to_the_end(cli: Cli) -> None:
    """`run` ends when the task does; talk is on stderr, the task on stdout."""
    creating(cli, a_task(state=Task.STATE_WAITING), a_task(state=Task.STATE_RUNNING), a_task())

    result = cli(*SYNC, "-o", "json")

    assert result.status == 0
    assert json.loads(result.out)["state"] == "completed"
    assert "waiting" in result.err
    assert "running" in result.err


def test_what_blocks_a_task_is_shown(cli: Cli) -> None:
    """A waiting task says what it waits for."""
    blocker = Task.Blocker(message="Task 0189 holds file/foo.")
    creating(cli, a_task(state=Task.STATE_WAITING, blocked_by=[blocker]), a_task())

    assert "Task 0189 holds file/foo." in cli(*SYNC).err


def test_progress_off_a_terminal_is_lines(cli: Cli) -> None:
    """Without a terminal each phase is a line, without colours or cursor movements."""
    progress = progress_pb2.Progress(
        code="sync.download",
        message="Downloading",
        done=1 << 20,
        total=2 << 20,
        unit=progress_pb2.Progress.UNIT_BYTES,
    )
    creating(cli, a_task(state=Task.STATE_RUNNING, progress=[progress]), a_task())

    result = cli(*SYNC)

    assert "Downloading: 1.0 MiB of 2.0 MiB" in result.err
    assert "\x1b" not in result.out + result.err


def test_what_changed_is_said(cli: Cli) -> None:
    """People see from which version to which, and how many units came and left."""
    difference = difference_pb2.Difference(
        repository="repositories/file/foo", base_version=3, version=4, changed=True,
        added=1200, removed=5, replaced=2,
    )  # fmt: skip
    creating(cli, a_task(differences=[difference], changed=True))

    out = cli(*SYNC).out

    assert "file/foo@3 → file/foo@4: 1,200 added, 5 removed (2 of them replaced)" in out


def test_nothing_to_do_is_done(cli: Cli) -> None:
    """A task that changes nothing ends with 0, and the reason is shown."""
    difference = difference_pb2.Difference(
        repository="repositories/file/foo", unchanged_reason="the manifest has not changed"
    )
    creating(cli, a_task(differences=[difference], changed=False))

    result = cli(*SYNC)

    assert result.status == 0
    assert "nothing changed: the manifest has not changed" in result.out


@pytest.mark.parametrize(
    ("is_plan", "words"), [(False, "  nothing changed: no orphans"),
                           (True, "  nothing would change: no orphans")],
)  # fmt: skip
def test_nothing_to_do_without_a_repository(
    cli: Cli,
    is_plan: bool,
    words: str,
) -> None:
    """Of a dry run of core's own tasks it is said that nothing would change."""
    creating(cli, a_task(changed=False, unchanged_reason="no orphans", dry_run=is_plan))

    assert words in cli(*SYNC).out.splitlines()


def test_a_task_that_waits_may_answer(cli: Cli) -> None:
    """--absorb reaches core, as --priority does, and that no task was created is said."""
    response = task_service_pb2.CreateTaskResponse(task=a_task(), absorbed=True)
    cli.core.answers["CreateTask"] = lambda _: response

    result = cli("task", "create", *SYNC[1:], "--absorb", "--priority", "background")

    (request,) = cli.core.asked(task_service_pb2.CreateTaskRequest)
    assert (request.absorb, request.priority) == (True, Task.PRIORITY_BACKGROUND)
    assert "would do the same, so none was created" in result.err


def test_a_plan_is_a_dry_run(cli: Cli) -> None:
    """`plan` asks for a dry run, and shows counts, bytes and the first units."""
    difference = difference_pb2.Difference(
        repository="repositories/file/foo", base_version=3, changed=True, added=2, removed=1,
        fetch_files=2, fetch_bytes=3 << 20,
        added_units=[difference_pb2.Difference.UnitLine(path="a.txt")],
        removed_units=[difference_pb2.Difference.UnitLine(path="b.txt")],
    )  # fmt: skip
    creating(cli, a_task(dry_run=True, differences=[difference], changed=True))

    out = cli("plan", *SYNC[1:]).out

    (request,) = cli.core.asked(task_service_pb2.CreateTaskRequest)
    assert request.dry_run
    for text in ("would change", "2 files, 3.0 MiB", "+ a.txt", "- b.txt", "and 1 more"):
        assert text in out


def test_a_plan_has_the_signs_of_a_difference(cli: Cli) -> None:
    """A path that another unit takes over is one line, as in `version diff`."""
    line = difference_pb2.Difference.UnitLine
    difference = difference_pb2.Difference(
        repository="repositories/file/foo", changed=True, added=2, removed=2, replaced=1,
        added_units=[line(path="new.txt"), line(path="same.txt")],
        removed_units=[line(path="old.txt"), line(path="same.txt")],
    )  # fmt: skip
    creating(cli, a_task(dry_run=True, differences=[difference], changed=True))

    lines = cli("plan", *SYNC[1:]).out.splitlines()

    assert lines[-4:-1] == ["  + new.txt", "  - old.txt", "  ~ same.txt"]
    assert lines[-1].startswith("  to have it done: entrepot task commit ")


def test_a_result_is_said_where_no_repository_changes(cli: Cli) -> None:
    """What a task returns is in its conclusion if there is no difference to show."""
    task = a_task(changed=True)
    task.result.Pack(file_pb2.File(relative_path="a.txt", size_bytes=2048))
    creating(cli, task)

    out = cli(*SYNC).out

    assert "relative path: a.txt" in out
    assert "size bytes: 2.0 KiB" in out


def test_lists_in_a_result_have_lines(cli: Cli) -> None:
    """Each entry of a list is a line for people; an empty list is none."""
    task = a_task(changed=True)
    found = file_pb2.Upload(sha256="ab")
    found.files.add(upload="uploads/1", relative_path="a.txt")
    found.files.add(upload="uploads/2", relative_path="b.txt")
    task.result.Pack(found)
    creating(cli, task)

    out = cli(*SYNC).out

    assert [line for line in out.splitlines() if "files: " in line] == [
        "  files: uploads/1; a.txt",
        "  files: uploads/2; b.txt",
    ]
    assert "[" not in out


@pytest.mark.parametrize(
    ("verb", "words"),
    [
        (("run",), "follows it to its end"),
        (("plan",), "changes nothing"),
        (("task", "create"), "--wait"),
    ],
)
def test_help_without_a_type(cli: Cli, verb: tuple[str, ...], words: str) -> None:
    """Each of the three ways to create a task says what it does, and which types there are."""
    out = cli(*verb, "--help").out

    assert words in out
    assert "file/syncs" in out


def failing(error: ServiceError) -> Task:
    """A task that ended with an error."""
    task: Task = a_task(state=Task.STATE_FAILED, error=to_status(error))
    return task


@pytest.mark.parametrize(
    ("task", "status"),
    [
        (a_task(), 0),
        (failing(ServiceError.of(Code.UNAVAILABLE, "DOWNLOAD_FAILED", "no")), 1),
        (failing(ServiceError.of(Code.NOT_FOUND, "RESOURCE_NOT_FOUND", "no")), 1),
        (failing(ServiceError.of(Code.FAILED_PRECONDITION, "POLICY_TOO_YOUNG", "no")), 8),
        (a_task(state=Task.STATE_CANCELED), 1),
        (a_task(failures=2), 7),
    ],
)
def test_the_exit_status_of_a_task(cli: Cli, task: Task, status: int) -> None:
    """The exit status says how the task ended."""
    creating(cli, task)

    assert cli(*SYNC).status == status


def test_a_failed_task_says_why_and_where(cli: Cli) -> None:
    """The error, its facts and the next command are on stderr."""
    error = ServiceError.of(
        Code.UNAVAILABLE, "DOWNLOAD_FAILED", "A download failed.",
        metadata={"url": "http://up/PULP_MANIFEST", "http_status": "404"},
    )  # fmt: skip
    creating(cli, failing(error))

    err = cli(*SYNC).err

    for text in ("A download failed.", "http://up/PULP_MANIFEST", "404", "entrepot task get 0190"):
        assert text in err


@pytest.mark.parametrize(
    ("code", "reason", "status"),
    [
        (Code.INVALID_ARGUMENT, "FIELD_INVALID", 2),
        (Code.UNAUTHENTICATED, "UNAUTHENTICATED", 3),
        (Code.PERMISSION_DENIED, "PERMISSION_DENIED", 3),
        (Code.NOT_FOUND, "RESOURCE_NOT_FOUND", 4),
        (Code.ALREADY_EXISTS, "NAME_TAKEN", 5),
        (Code.FAILED_PRECONDITION, "RESOURCE_IN_USE", 5),
        (Code.INTERNAL, "INTERNAL", 1),
        (Code.PERMISSION_DENIED, "POLICY_REFUSED", 8),
    ],
)
def test_the_exit_status_of_a_refusal(cli: Cli, code: Code, reason: str, status: int) -> None:
    """What the server refuses ends with the status of its code."""

    def refuse(_: Any) -> Any:  # noqa: ANN401
        raise ServiceError.of(code, reason, "No.")

    cli.core.answers["CreateTask"] = refuse

    assert cli(*SYNC).status == status


def test_a_refusal_is_said_once(cli: Cli) -> None:
    """A message that names the field already is not followed by the same words again."""

    def refuse(_: Any) -> Any:  # noqa: ANN401
        raise ServiceError.of(
            Code.INVALID_ARGUMENT, "FIELD_INVALID", "remote: must be one of yours.",
            violations=(Violation("remote", "must be one of yours."),),
        )  # fmt: skip

    cli.core.answers["CreateTask"] = refuse

    err = cli(*SYNC).err

    assert err.count("must be one of yours.") == 1
    assert "try: entrepot run file/syncs --help" in err


@pytest.mark.parametrize(
    ("user", "command"),
    [
        ("distributions/file/dev", "entrepot distribution get file/dev"),
        ("tasks/0190", "entrepot task get 0190"),
    ],
)
def test_what_is_in_use_leads_to_its_user(cli: Cli, user: str, command: str) -> None:
    """When something else stands in the way, the next command shows it."""

    def refuse(_: Any) -> Any:  # noqa: ANN401
        raise ServiceError.of(
            Code.FAILED_PRECONDITION, "RESOURCE_IN_USE", f"It is served by {user}.",
            metadata={"resource": "repositories/file/foo", "user": user},
        )  # fmt: skip

    cli.core.answers["CreateTask"] = refuse

    assert f"try: {command}\n" in cli(*SYNC).err


def test_no_token_names_the_file(cli: Cli) -> None:
    """Without a token the error says where it was looked for, and which setting moves that."""

    def refuse(_: Any) -> Any:  # noqa: ANN401
        raise ServiceError.of(Code.UNAUTHENTICATED, "UNAUTHENTICATED", "A token is needed.")

    (cli.home / "token").unlink()
    cli.core.answers["CreateTask"] = refuse

    err = cli(*SYNC).err

    assert f"{cli.home / 'token'} does not exist" in err
    assert "ENTREPOT_HOME" in err


def test_a_time_out_ends_with_six(cli: Cli) -> None:
    """When the time is up the task goes on, and the command to come back is named."""

    def never(_: Any) -> Any:  # noqa: ANN401
        yield task_service_pb2.WatchTaskResponse(task=a_task(state=Task.STATE_RUNNING))
        cli.stopped.wait()

    creating(cli, a_task(state=Task.STATE_WAITING))
    cli.core.answers["WatchTask"] = never

    result = cli(*SYNC, "--timeout", "0.2s")

    assert result.status == 6
    assert "try: entrepot task watch 0190" in result.err


def test_create_shows_the_task_as_it_is(cli: Cli) -> None:
    """`task create` does not follow, and -q prints the name alone."""
    creating(cli, a_task(state=Task.STATE_WAITING))

    result = cli("task", "create", *SYNC[1:], "-q")

    assert (result.status, result.out) == (0, "0190\n")


def test_verbose_prints_curl_without_the_token(cli: Cli) -> None:
    """-v prints the call as curl, in the collection of the type, with the token as a variable."""
    creating(cli, a_task())

    err = cli(*SYNC, "-v").err

    assert '"Authorization: Bearer $ENTREPOT_TOKEN"' in err
    assert "ent_test" not in err
    assert "http://127.0.0.1:8080/api/v3/tasks/file/syncs/" in err
    assert '"repository": "repositories/file/foo"' in err


def test_a_server_that_is_not_there(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a server the error says where it was looked for, and what starts one."""
    monkeypatch.setenv("ENTREPOT_GRPC", "127.0.0.1:1")

    result = cli(*SYNC)

    assert result.status == 1
    assert "127.0.0.1:1" in result.err
    assert "try: entrepot up" in result.err
