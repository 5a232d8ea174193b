"""`task`: lists, one task, cancelling, cloning."""

import json

import pytest

from entrepot.core.v1 import task_service_pb2
from entrepot.plugins.file.v1 import file_pb2
from entrepot.type.v1 import progress_pb2
from entrepot_cli.progress import pace, remaining
from entrepot_rpc.errors import Code, ServiceError
from entrepot_rpc.status import to_status
from scripted_core import Cli, a_task, watching

Task = task_service_pb2.Task


def knowing(cli: Cli, *tasks: Task) -> None:
    """Have core know some tasks; the first is the one that is read."""
    cli.core.answers["GetTask"] = lambda _: task_service_pb2.GetTaskResponse(task=tasks[0])
    cli.core.answers["ListTasks"] = lambda _: task_service_pb2.ListTasksResponse(tasks=tasks)


def test_filters_become_the_request(cli: Cli) -> None:
    """State, type and resource are the server's to filter by."""
    knowing(cli, a_task())

    filters = ("--state", "waiting", "--type", "file/syncs", "--resource", "file/foo")
    cli("task", "list", *filters, "--priority", "interactive")

    (request,) = cli.core.asked(task_service_pb2.ListTasksRequest)
    assert request.state == Task.STATE_WAITING
    assert request.task_type == "file/syncs"
    assert request.resource == "repositories/file/foo"
    assert request.priority == Task.PRIORITY_INTERACTIVE


def test_a_state_that_is_none_is_refused(cli: Cli) -> None:
    """A state that does not exist is a usage error that lists those that do."""
    result = cli("task", "list", "--state", "asleep")

    assert result.status == 2
    assert "waiting" in result.err


def test_a_table_for_people(cli: Cli) -> None:
    """A list has titles, ids that can be typed again, and what became of each task."""
    knowing(cli, a_task(created_resource="repositories/file/foo/versions/2", changed=True))

    lines = cli("task", "list").out.splitlines()

    assert lines[0].split() == ["TASK", "TYPE", "STATE", "CREATED", "OUTCOME"]
    assert lines[1].split() == ["0190", "file/syncs", "completed", "file/foo@2"]


def test_forms_for_scripts(cli: Cli) -> None:
    """The same list as JSON, as lines of JSON, and as names."""
    knowing(cli, a_task(), a_task(name="tasks/0191"))

    whole = json.loads(cli("task", "list", "-o", "json").out)
    lines = [json.loads(line) for line in cli("task", "list", "-o", "jsonl").out.splitlines()]
    names = cli("task", "list", "-o", "name").out.split()

    assert whole == lines
    assert [task["name"] for task in whole] == ["tasks/0190", "tasks/0191"]
    assert names == ["0190", "0191"]


def test_parameters_are_read_with_the_plugin(cli: Cli) -> None:
    """What only the plugin knows is a plain object in JSON."""
    task = a_task()
    task.parameters.Pack(file_pb2.Sync(repository="repositories/file/foo", mirror=True))
    knowing(cli, task)

    shown = json.loads(cli("task", "get", "0190", "-o", "json").out)

    expected = {"repository": "repositories/file/foo", "remote": "", "mirror": True}
    assert expected == shown["parameters"]
    assert shown["href"] == "/api/v3/tasks/0190/"


def test_lists_stop_at_the_limit(cli: Cli) -> None:
    """With --limit no page is asked for that nobody sees."""
    page = task_service_pb2.ListTasksResponse(tasks=[a_task()], next_page_token="more")
    cli.core.answers["ListTasks"] = lambda _: page

    out = cli("task", "list", "--limit", "2", "-o", "name").out

    assert out.split() == ["0190", "0190"]
    assert len(cli.core.asked(task_service_pb2.ListTasksRequest)) == 2


def test_cancel_asks_for_the_state(cli: Cli) -> None:
    """Canceling asks core for the state `canceled`."""
    canceled = task_service_pb2.CancelTaskResponse(task=a_task(state=Task.STATE_CANCELED))
    cli.core.answers["CancelTask"] = lambda _: canceled

    assert cli("task", "cancel", "0190").status == 0

    (request,) = cli.core.asked(task_service_pb2.CancelTaskRequest)
    assert (request.name, request.state) == ("tasks/0190", Task.STATE_CANCELED)


def test_a_clone_overrides_what_was_given(cli: Cli) -> None:
    """Flags replace single parameters, also by their default value; the rest stays."""
    knowing(cli, a_task())
    clone = task_service_pb2.CloneTaskResponse(task=a_task(name="tasks/0192"))
    cli.core.answers["CloneTask"] = lambda _: clone

    result = cli("task", "clone", "0190", "--no-mirror", "--repository", "copy", "-o", "name")

    (request,) = cli.core.asked(task_service_pb2.CloneTaskRequest)
    overrides = file_pb2.Sync()
    request.overrides.Unpack(overrides)
    assert result.out == "0192\n"
    assert list(request.override_paths) == ["repository", "mirror"]
    assert overrides == file_pb2.Sync(repository="repositories/file/copy")


def test_a_clone_without_flags_overrides_nothing(cli: Cli) -> None:
    """A clone is the same task again."""
    knowing(cli, a_task())
    clone = task_service_pb2.CloneTaskResponse(task=a_task(name="tasks/0192"))
    cli.core.answers["CloneTask"] = lambda _: clone
    cli.core.answers["WatchTask"] = watching(a_task(name="tasks/0192"))

    cli("task", "clone", "0190", "--wait")

    (request,) = cli.core.asked(task_service_pb2.CloneTaskRequest)
    assert not request.HasField("overrides")


def test_one_task_says_each_thing_once(cli: Cli) -> None:
    """What stands in sentences above the fields is not among them again."""
    error = ServiceError.of(Code.UNAVAILABLE, "DOWNLOAD_FAILED", "Upstream is gone.")
    task = a_task(
        state=Task.STATE_FAILED, error=to_status(error),
        lost_attempts=[Task.Attempt(number=1, reason="It was killed.")],
        progress=[progress_pb2.Progress(message="Reading", done=2, total=3)],
    )  # fmt: skip
    knowing(cli, task)

    out = cli("task", "get", "0190").out

    assert "  error: Upstream is gone." in out
    assert "  attempt 1 ended: It was killed." in out
    assert "  Reading: 2 of 3" in out
    assert out.count("Upstream is gone.") == out.count("It was killed.") == 1


def test_a_list_says_what_a_task_returned(cli: Cli) -> None:
    """A task that changes no repository has its result as its outcome."""
    task = a_task(task_type="core/orphans", changed=True)
    task.result.Pack(file_pb2.File(size_bytes=3072))
    knowing(cli, task)

    assert "size bytes: 3.0 KiB" in cli("task", "list").out


def test_why_speaks_in_sentences(cli: Cli) -> None:
    """What the server says in words is shown to people, and all of it as JSON to scripts."""
    explanation = task_service_pb2.Explanation(
        task="tasks/0190", state=Task.STATE_WAITING,
        sentences=["It waits for repositories/file/foo.", "It has waited so far: 2 s for locks."],
        blocked_by=[Task.Blocker(cause=Task.Blocker.CAUSE_HELD, place=3)],
    )  # fmt: skip
    response = task_service_pb2.ExplainTaskResponse(explanation=explanation)
    cli.core.answers["ExplainTask"] = lambda _: response

    out = cli("task", "why", "0190").out
    shown = json.loads(cli("task", "why", "0190", "-o", "json").out)

    (asked, _) = cli.core.asked(task_service_pb2.ExplainTaskRequest)
    assert asked.task == "tasks/0190"
    assert out.splitlines() == [
        "Task 0190 is waiting.",
        "  It waits for repositories/file/foo.",
        "  It has waited so far: 2 s for locks.",
    ]
    assert shown["blocked_by"][0]["place"] == 3


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (Task.STATE_RUNNING, "is running"),
        (Task.STATE_FAILED, "has failed"),
        (Task.STATE_CANCELED, "was canceled"),
    ],
)
def test_why_names_the_state_as_people_would(
    cli: Cli, state: Task.State.ValueType, words: str
) -> None:
    """A task that has failed is not called one that "is failed"."""
    explanation = task_service_pb2.Explanation(task="tasks/0190", state=state)
    response = task_service_pb2.ExplainTaskResponse(explanation=explanation)
    cli.core.answers["ExplainTask"] = lambda _: response

    assert cli("task", "why", "0190").out == f"Task 0190 {words}.\n\n"


def test_a_dry_run_that_would_change_nothing_is_listed_as_such(cli: Cli) -> None:
    """That nothing has changed would be true of every dry run."""
    knowing(cli, a_task(dry_run=True, changed=False))

    assert "nothing would change" in cli("task", "list").out


def test_pace_and_rest_of_a_counter() -> None:
    """A rate is told a second or a minute, the rest as a length of time; unknown is empty."""
    progress = progress_pb2.Progress(rate=12.4, remaining=5, total=9)
    progress.estimated_end_time.FromSeconds(1_000)

    assert (pace(progress), remaining(progress, 730)) == (", 12/s", "0:04:30")
    progress.rate = 0.1
    assert pace(progress) == ", 6/min"
    progress.unit, progress.rate = progress_pb2.Progress.UNIT_BYTES, 2048
    assert pace(progress) == ", 2.0 KiB/s"
    assert (pace(progress_pb2.Progress()), remaining(progress_pb2.Progress(), 0)) == ("", "")
