"""gRPC as a stranger meets it: `buf curl` with nothing but reflection."""

import json
import subprocess

from rest import Api
from stack import BIN, Stack
from upstream import Upstream

TASKS = "entrepot.core.v1.TaskService"


def buf_curl(
    stack: Stack, *arguments: str, path: str = "", token: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `buf curl` on core's address."""
    bearer = stack.token if token is None else token
    # Never against a schema of ours: what is known comes from the server.
    command = [
        str(BIN / "buf"),
        "curl",
        "--protocol",
        "grpc",
        "--http2-prior-knowledge",
        *arguments,
    ]
    if bearer:
        command += ["--header", f"Authorization: Bearer {bearer}"]
    return subprocess.run(
        [*command, f"http://{stack.grpc}{path}"],
        cwd=stack.home,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_reflection_lists_the_services(stack: Stack) -> None:
    """Reflection names core's services."""
    done = buf_curl(stack, "--list-services")

    assert done.returncode == 0, done.stderr
    for service in ("TaskService", "RepositoryService", "ContentService", "PluginService"):
        assert f"entrepot.core.v1.{service}" in done.stdout.split()


def test_a_task_is_created(stack: Stack, api: Api, upstream: Upstream) -> None:
    """CreateTask takes a plugin's message in its Any, resolved by reflection."""
    repository, remote = api.a_repository(), api.a_remote(upstream)
    request = {
        "parameters": {
            "@type": "type.googleapis.com/entrepot.plugins.file.v1.Sync",
            "repository": repository["name"],
            "remote": remote["name"],
        }
    }

    done = buf_curl(stack, "--data", json.dumps(request), path=f"/{TASKS}/CreateTask")

    assert done.returncode == 0, done.stderr
    task = json.loads(done.stdout)["task"]
    assert task["taskType"] == "file/syncs"
    assert api.finished({"href": f"/api/v3/{task['name']}/"} | task)["state"] == "completed"


def test_a_call_without_a_token_is_refused(stack: Stack) -> None:
    """Without the bearer token a call is UNAUTHENTICATED; with a wrong one as well."""
    for token in ("", "wrong"):
        done = buf_curl(stack, "--data", "{}", path=f"/{TASKS}/ListTasks", token=token)

        assert done.returncode != 0
        assert "unauthenticated" in done.stderr.lower()


def test_health_is_open(stack: Stack) -> None:
    """Whether core serves can be asked without a token."""
    done = buf_curl(stack, "--data", "{}", path="/grpc.health.v1.Health/Check", token="")

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["status"] == "SERVING"
