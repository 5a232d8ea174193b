"""The command line: verbs, forms of output, exit codes, and a terminal with a person at it."""

import json
from pathlib import Path

import pytest

from rest import Api, Json
from stack import ENTREPOT, Stack
from terminal import CONTROL_C, Terminal
from upstream import MANIFEST, Upstream, answers, digest_of


@pytest.fixture
def names(stack: Stack, api: Api, upstream: Upstream) -> Json:
    """A repository and a remote, made with the command line."""
    repository, remote = api.a_name("file/repository"), api.a_name("file/remote")
    stack.cli("repository", "create", repository)
    stack.cli("remote", "create", remote, "--url", upstream.manifest_url)
    return {"repository": repository, "remote": remote}


def flags(names: Json) -> list[str]:
    """Names as flags of a sync."""
    return ["--repository", names["repository"], "--remote", names["remote"]]


def test_the_whole_road(stack: Stack, api: Api, names: Json, upstream: Upstream) -> None:
    """Create, sync, list, distribute, and use what is served, with nothing but the command."""
    stack.cli("run", "file/syncs", *flags(names))
    base = api.a_name("path")
    stack.cli(
        "distribution", "create", f"file/{base}", "--base-path", base,
        "--repository", names["repository"],
    )  # fmt: skip

    listed = json.loads(stack.cli("content", "list", names["repository"], "-o", "json").stdout)
    guide = stack.cli("use", f"file/{base}", "--client", "curl").stdout
    served = stack.content.request("GET", f"/{base}/files/000001.bin").body

    assert len(listed) == len(upstream.files)
    assert f"{stack.content_url}/{base}/" in guide
    assert upstream.files["files/000001.bin"] == served


def test_run_tells_on_stderr_and_answers_on_stdout(stack: Stack, names: Json) -> None:
    """With -o json stdout is one JSON document, the task at its end, and talk goes to stderr."""
    done = stack.cli("run", "file/syncs", *flags(names), "-o", "json")

    task = json.loads(done.stdout)
    assert task["state"] == "completed"
    assert task["created_resource"].endswith("/versions/1")


def test_create_with_wait_is_run(stack: Stack, names: Json) -> None:
    """`task create TYPE --wait` is the longhand of `run`."""
    done = stack.cli("task", "create", "file/syncs", *flags(names), "--wait", "-o", "json")

    assert json.loads(done.stdout)["state"] == "completed"


def test_a_plan_changes_nothing(stack: Stack, api: Api, names: Json) -> None:
    """`plan` says what a task would do, and there is no new version."""
    shown = stack.cli("plan", "file/syncs", *flags(names)).stdout

    assert "10" in shown
    repository = {"href": f"/api/v3/repositories/{names['repository']}/"}
    assert api.versions(repository) == [0]


def test_versions(stack: Stack, names: Json, upstream: Upstream) -> None:
    """Versions are listed, shown and compared."""
    stack.cli("run", "file/syncs", *flags(names))
    upstream.files["new.txt"] = b"new"
    stack.cli("run", "file/syncs", *flags(names))
    repository = names["repository"]

    listed = json.loads(stack.cli("version", "list", repository, "-o", "json").stdout)
    shown = json.loads(stack.cli("version", "get", f"{repository}@2", "-o", "json").stdout)
    different = stack.cli("version", "diff", f"{repository}@1", f"{repository}@2").stdout

    assert [version["number"] for version in listed] == [2, 1, 0]
    assert shown["unit_count"] == 11
    assert "new.txt" in different
    assert "000001.bin" not in different


def test_tasks(stack: Stack, names: Json) -> None:
    """Tasks are listed by state and type, shown, and cloned."""
    name = stack.cli("run", "file/syncs", *flags(names), "-o", "name").stdout.strip()

    listed = stack.cli(
        "task", "list", "--state", "completed", "--type", "file/syncs", "-o", "name"
    )
    shown = json.loads(stack.cli("task", "get", name, "-o", "json").stdout)
    clone = json.loads(stack.cli("task", "clone", name, "--wait", "-o", "json").stdout)

    assert name in listed.stdout.splitlines()
    assert shown["state"] == "completed"
    assert clone["cloned_from"].endswith(name.rpartition("/")[2])


def test_waiting_ends_when_the_time_is_up(stack: Stack, names: Json, upstream: Upstream) -> None:
    """`task wait` with a time-out ends with 6 while the task goes on, and then with 0."""
    gate = upstream.hold(MANIFEST)
    name = stack.cli("task", "create", "file/syncs", *flags(names), "-o", "name").stdout.strip()

    stack.cli("task", "wait", name, "--timeout", "1s", expect=6)
    gate.open()
    stack.cli("task", "wait", name, "--timeout", "60s")


def test_cancelling(stack: Stack, names: Json, upstream: Upstream) -> None:
    """`task cancel` ends a running task; waiting for it then ends with 1."""
    gate = upstream.hold(MANIFEST)
    name = stack.cli("task", "create", "file/syncs", *flags(names), "-o", "name").stdout.strip()
    gate.wait_entered()

    stack.cli("task", "cancel", name)

    stack.cli("task", "wait", name, "--timeout", "60s", expect=1)
    shown = json.loads(stack.cli("task", "get", name, "-o", "json").stdout)
    assert shown["state"] == "canceled"


def test_uploads(stack: Stack, api: Api, names: Json, tmp_path: Path) -> None:
    """`upload` puts files of this machine into a repository."""
    (tmp_path / "a.txt").write_bytes(b"from a file")

    stack.cli("upload", names["repository"], str(tmp_path / "a.txt"))

    repository = {"href": f"/api/v3/repositories/{names['repository']}/"}
    assert {"a.txt": digest_of(b"from a file")} == api.files(repository)


def test_a_folder_makes_one_version(stack: Stack, api: Api, names: Json, tmp_path: Path) -> None:
    """`upload DIR` sends what is not there, makes one version of it, and says if all is there."""
    files = {f"{n % 3}/ü {n}": f"{n}".encode() * 100 for n in range(30)}
    for path, data in files.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(data)
    repository = {"href": f"/api/v3/repositories/{names['repository']}/"}
    upload = ("upload", names["repository"], str(tmp_path), "--base-path-in-repo", "docs")

    plan = stack.cli(*upload, "--dry-run").stdout
    before = api.versions(repository)
    stack.cli(*upload)
    again = stack.cli(*upload).stdout
    (tmp_path / "1/ü 1").write_bytes(b"changed")
    changed = json.loads(stack.cli(*upload, "-o", "json").stdout)

    files["1/ü 1"] = b"changed"
    assert "30 would be uploaded" in plan
    assert "30 of 30 files: nothing to do" in again
    assert [one["added"] for one in changed["differences"]] == [1]
    assert len(api.versions(repository)) == len(before) + 2
    assert {f"docs/{path}": digest_of(data) for path, data in files.items()} == {
        path: digest for path, digest in api.files(repository).items() if "docs/" in path
    }


def test_explain(stack: Stack) -> None:
    """`explain` shows a task type, and one field of it, as the plugin's proto documents them."""
    whole = stack.cli("explain", "file/syncs").stdout
    field = stack.cli("explain", "file/syncs.mirror").stdout

    assert "repository" in whole
    assert "mirror" in whole
    assert "Remove files that upstream no longer lists" in " ".join(field.split())


def test_status(stack: Stack) -> None:
    """`status` says that the server and its plugin are well."""
    shown = stack.cli("status").stdout

    assert "file" in shown
    assert json.loads(stack.cli("status", "-o", "json").stdout)["problems"] == []


def test_lists_as_names_and_lines(stack: Stack, names: Json) -> None:
    """-o name prints names only, -o jsonl one object a line."""
    by_name = stack.cli("repository", "list", "-o", "name").stdout.splitlines()
    by_line = stack.cli("repository", "list", "-o", "jsonl").stdout.splitlines()

    assert names["repository"] in by_name
    assert any(json.loads(line)["name"].endswith(names["repository"]) for line in by_line)


def test_update_and_delete(stack: Stack, api: Api, names: Json) -> None:
    """A repository is changed and deleted; without a terminal only with --yes."""
    repository = names["repository"]
    stack.cli("repository", "update", repository, "--description", "for a test")
    shown = json.loads(stack.cli("repository", "get", repository, "-o", "json").stdout)

    stack.cli("repository", "delete", repository, expect=2)
    stack.cli("repository", "delete", repository, "--yes")

    assert shown["description"] == "for a test"
    stack.cli("repository", "get", repository, expect=4)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("run", "file/syncs"), 2),
        (("run", "file/syncs", "--nonsense"), 2),
        (("run", "docker/adds"), 4),
        (("run", "file/miracles"), 4),
        (("fly",), 2),
        (("repository", "get", "file/nobody"), 4),
        (("task", "get", "01900000-0000-7000-8000-000000000000"), 4),
        (("remote", "create", "file/x"), 2),
        (("remote", "create", "file/x", "--url", "ftp://127.0.0.1/"), 2),
    ],
)
def test_exit_codes_of_mistakes(stack: Stack, arguments: tuple[str, ...], code: int) -> None:
    """A mistake ends with its code, says what is wrong on stderr, and what to type next."""
    done = stack.cli(*arguments, expect=code)

    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert "try: entrepot" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_exit_code_of_a_name_that_is_taken(stack: Stack, names: Json) -> None:
    """A conflict ends with 5."""
    stack.cli("repository", "create", names["repository"], expect=5)


def test_the_exit_code_of_a_wrong_token(stack: Stack) -> None:
    """A wrong token ends with 3."""
    stack.cli("repository", "list", expect=3, extra={"ENTREPOT_TOKEN": "wrong"})


def test_the_exit_code_of_a_failed_task(stack: Stack, names: Json, upstream: Upstream) -> None:
    """A task that fails ends the command with 1, and its error is told."""
    upstream.behave(MANIFEST, answers(404))

    done = stack.cli("run", "file/syncs", *flags(names), expect=1)

    assert upstream.manifest_url in done.stderr
    assert "404" in done.stderr


def test_the_exit_code_of_nothing_to_do(stack: Stack, names: Json) -> None:
    """A sync that changes nothing ends with 0, and says that nothing has changed."""
    stack.cli("run", "file/syncs", *flags(names))

    done = stack.cli("run", "file/syncs", *flags(names))

    assert "changed" in (done.stdout + done.stderr)


def test_no_server(stack: Stack) -> None:
    """Without a server the command says where it looked, and what starts one."""
    done = stack.cli("status", expect=1, extra={"ENTREPOT_GRPC": "127.0.0.1:1"})

    assert "127.0.0.1:1" in done.stderr
    assert "entrepot up" in done.stderr


def test_control_c_detaches(stack: Stack, api: Api, names: Json, upstream: Upstream) -> None:
    """Ctrl-C leaves a running task alone, and says how to come back to it."""
    gate = upstream.hold("files/000005.bin")
    command = [str(ENTREPOT), "run", "file/syncs", *flags(names)]

    with Terminal(command, stack.environment) as terminal:
        gate.wait_entered()
        terminal.expect("Downloading files")
        terminal.press(CONTROL_C)
        terminal.expect("entrepot task watch")
        terminal.end()

    (task,) = api.everything("tasks/", resource=f"repositories/{names['repository']}")
    assert task["state"] == "running"
    assert task["cancel_requested"] is False
    assert f"entrepot task watch {task['name'].rpartition('/')[2]}" in terminal.shown
    gate.open()
    assert api.finished(task)["state"] == "completed"


def test_a_terminal_shows_progress(stack: Stack, names: Json) -> None:
    """On a terminal a sync shows what it counts, and ends with what it made."""
    command = [str(ENTREPOT), "run", "file/syncs", *flags(names)]

    with Terminal(command, stack.environment) as terminal:
        code = terminal.end()

    assert code == 0
    assert "10" in terminal.shown
    assert names["repository"].rpartition("/")[2] in terminal.shown


def test_help_needs_no_server(stack: Stack) -> None:
    """Help is there without a server, and lists the verbs."""
    shown = stack.cli("--help", extra={"ENTREPOT_GRPC": "127.0.0.1:1"}).stdout

    for verb in ("up", "run", "plan", "task", "repository", "use", "explain", "check"):
        assert f"  {verb} " in shown
