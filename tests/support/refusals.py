"""What a refusal and a failure must look like, whatever was refused."""

from rest import Answer, Api, Json, Rest


def refused(api: Api, answer: Answer, status: int, reason: str, *words: str) -> Json:
    """The problem, which must have this status and reason, say these words, and have its page."""
    assert answer.status == status, answer.body
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json
    assert problem["status"] == status
    explained(api, problem, reason, *words)
    return dict(problem)


def explained(api: Api, problem: Json, reason: str, *words: str) -> None:
    """Check reason and words of a problem, and that its `type` is a page with cause and cure."""
    assert problem["reason"] == reason, problem
    said = problem["detail"] + "".join(item["detail"] for item in problem.get("errors", []))
    for word in words:
        assert word in said, (word, problem)
    assert problem["type"].endswith(f"/problems/{reason}")
    page = Rest(api.origin).request("GET", f"/problems/{reason}")
    assert page.status == 200, f"there is no page /problems/{reason}"
    assert reason in page.body.decode()


def pointers(problem: Json) -> list[str]:
    """What the errors of a problem point at."""
    return [item["pointer"] for item in problem["errors"]]


def failed(api: Api, names: Json, task_type: str = "file/syncs", **more: object) -> Json:
    """The problem of a task that must fail, and leave no trace in its repository."""
    href = f"/api/v3/{names['repository']}/"
    before = api.get(href)["latest_version"]

    task = api.run(task_type, **names | more)

    assert task["state"] == "failed", task
    assert task["created_resource"] == ""
    assert "result" not in task
    assert before == api.get(href)["latest_version"]
    assert api.versions({"href": href})[-1] == before
    return dict(task["error"])
