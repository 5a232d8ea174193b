"""Plans: what a dry run tells, page by page, and that its approval does exactly that."""

import json

import pytest

from polling import until
from rest import Api, Json
from stack import Stack, StackFactory
from upstream import Upstream, lies


@pytest.fixture
def names(api: Api, upstream: Upstream) -> Json:
    """A repository that has all of an upstream, and the remote, as parameters of a mirror."""
    repository, remote = api.a_repository(), api.a_remote(upstream)
    names = {"repository": repository["name"], "remote": remote["name"]}
    api.completed("file/syncs", **names)
    return names | {"mirror": True}


def planned(api: Api, names: Json, upstream: Upstream) -> Json:
    """A dry run of a mirror that would add one file, replace one and remove one."""
    upstream.files["new.txt"] = f"of {upstream.salt:020}".encode()
    upstream.change(1)
    del upstream.files["files/000009.bin"]
    upstream.forget()
    return api.completed("file/syncs", {"dry_run": "true"}, **names)


def test_a_plan_is_paged_and_committed_as_it_was(
    api: Api, names: Json, upstream: Upstream
) -> None:
    """An approved plan makes the version that was planned, although upstream has more by now."""
    repository = {"href": f"/api/v3/{names['repository']}/"}
    run = planned(api, names, upstream)
    wanted = upstream.digests()

    plan = api.get(f"{run['href']}plan/")

    assert (plan["additions"], plan["replacements"], plan["removals"]) == (1, 1, 1)
    assert (plan["fetch_files"], plan["fetch_bytes"]) == (2, 23 + 64)
    assert plan["fetch_unknown_files"] == 0
    assert (plan["task"], plan["approved_by"], plan["moves"]) == (run["name"], "", [])
    units = api.everything(f"{run['href']}plan/units/", page_size=1)
    assert [(unit["change"], unit["path"]) for unit in units] == [
        ("addition", "new.txt"),
        ("replacement", "files/000000.bin"),
        ("removal", "files/000009.bin"),
    ]
    added, replaced, removed = units
    assert (added["size_bytes"], added["fetch_files"], added["replaces"]) == (23, 1, "")
    assert added["source_host"] == "127.0.0.1"
    assert replaced["replaces"].startswith("content/file/files/")
    assert replaced["replaces"] != replaced["unit"]
    assert (removed["fetch_files"], removed["source_host"]) == (0, "")
    only = api.everything(f"{run['href']}plan/units/", change="removal")
    assert only == [removed]

    upstream.files["later.txt"] = b"not planned"
    task = api.post(f"{run['href']}commits/", wait="30s").expect(201)

    assert task["state"] == "completed", task
    assert (task["commits"], task["dry_run"], task["task_type"]) == (
        run["name"],
        False,
        "file/syncs",
    )
    assert task["created_resource"] == f"{names['repository']}/versions/2"
    assert api.files(repository) == wanted
    assert task["result"] == run["result"]
    (found,), (foreseen,) = task["differences"], run["differences"]
    for number in ("base_version", "added", "removed", "replaced", "fetch_files"):
        assert found[number] == foreseen[number] or number == "fetch_files", number
    assert upstream.count("later.txt") == 0
    assert api.get(f"{run['href']}plan/")["approved_by"] == task["name"]
    listed = api.everything("tasks/", commits=run["name"])
    assert [one["name"] for one in listed] == [task["name"]]


def test_a_plan_whose_base_moved_is_refused(api: Api, names: Json, upstream: Upstream) -> None:
    """The refusal says which repository moved, from which version to which, and by which task."""
    run = planned(api, names, upstream)
    other = api.completed("file/syncs", **names)

    problem = api.post(f"{run['href']}commits/").expect(400)

    assert problem["reason"] == "BASE_MOVED"
    assert problem["metadata"] == {
        "repository": names["repository"],
        "base_version": "1",
        "latest_version": "2",
        "task": other["name"],
    }
    assert other["name"] in problem["detail"]
    assert [one["subject"] for one in problem["preconditions"]] == [names["repository"]]
    (move,) = api.get(f"{run['href']}plan/")["moves"]
    assert (move["latest_version"], move["task"]) == (2, other["name"])
    assert api.everything("tasks/", commits=run["name"]) == []


def test_a_base_that_moves_while_the_approval_waits(
    api: Api, names: Json, upstream: Upstream
) -> None:
    """An approval takes the locks of its task; if one before it changes the base, it fails."""
    run = planned(api, names, upstream)
    gate = upstream.hold("new.txt")
    other = api.create("file/syncs", **names)
    gate.wait_entered()

    waiting = api.post(f"{run['href']}commits/").expect(201)
    blockers = api.get(waiting["href"])["blocked_by"]
    gate.open()

    assert [blocker["task"] for blocker in blockers] == [other["name"]]
    ended = api.finished(waiting)
    assert (ended["state"], ended["error"]["reason"]) == ("failed", "BASE_MOVED")
    assert other["name"] in ended["error"]["detail"]


def test_a_plan_is_approved_once(api: Api, names: Json, upstream: Upstream) -> None:
    """A second approval names the first; the same request is the same task."""
    run = planned(api, names, upstream)
    headers = {"Idempotency-Key": api.a_name("request")}
    path = f"{run['href']}commits/"

    first = api.request("POST", path, {}, headers=headers).expect(201)
    again = api.request("POST", path, {}, headers=headers).expect(200, 201)
    problem = api.post(path).expect(400)
    api.finished(first)
    later = api.post(path).expect(400)

    assert again["name"] == first["name"]
    for one in (problem, later):
        assert one["reason"] == "PLAN_APPROVED"
        assert one["metadata"]["approved_by"] == first["name"]
        assert first["name"] in one["detail"]


def test_bytes_that_are_not_those_planned_are_refused(
    api: Api, names: Json, upstream: Upstream
) -> None:
    """A file that upstream has changed since fails the approval, which can then be given again."""
    repository = {"href": f"/api/v3/{names['repository']}/"}
    run = planned(api, names, upstream)
    before = api.files(repository)
    upstream.behave("new.txt", lies(times=10))

    failed = api.finished(api.post(f"{run['href']}commits/").expect(201))

    assert (failed["state"], failed["error"]["reason"]) == ("failed", "DIGEST_MISMATCH")
    assert "new.txt" in failed["error"]["detail"]
    assert api.files(repository) == before
    upstream.behaviors.clear()
    second = api.finished(api.post(f"{run['href']}commits/").expect(201))
    assert second["state"] == "completed"
    assert api.files(repository) == upstream.digests()


def test_what_has_no_plan(api: Api, names: Json, upstream: Upstream) -> None:
    """A task that is no dry run and a failed one say why there is no plan."""
    real = api.completed("file/syncs", **names)
    upstream.files.clear()
    upstream.manifest_text = "not a manifest\n"
    failed = api.run("file/syncs", {"dry_run": "true"}, **names)

    for task, words in ((real, "no dry run"), (failed, "has failed")):
        for answer in (
            api.request("GET", f"{task['href']}plan/"),
            api.request("GET", f"{task['href']}plan/units/"),
            api.post(f"{task['href']}commits/"),
        ):
            problem = answer.expect(400)
            assert problem["reason"] == "PLAN_MISSING"
            assert words in problem["detail"], problem
    nobody = "tasks/01900000-0000-7000-8000-000000000000/"
    assert api.post(f"{nobody}commits/").expect(404)["reason"] == "RESOURCE_NOT_FOUND"
    refused = api.post(f"{real['href']}commits/", {"parameters": {}}).expect(400)
    assert refused["errors"][0]["pointer"] == "#/parameters"


@pytest.mark.parametrize("kind", ["adds", "removes", "copies"])
def test_core_work_is_planned_and_committed(api: Api, upstream: Upstream, kind: str) -> None:
    """Adds, removes and copies by name or filter have plans like any task."""
    source = api.a_synced_repository(upstream)
    target = api.a_repository()
    unit = api.units(source)[0]
    asked: dict[str, Json] = {
        "adds": {"repository": target["name"], "content": [unit["name"]]},
        "removes": {"repository": source["name"], "content": [unit["name"]]},
        "copies": {"source": source["name"], "repository": target["name"], "all": True},
    }

    run = api.completed(f"file/{kind}", {"dry_run": "true"}, **asked[kind])
    plan = api.get(f"{run['href']}plan/")
    done = api.finished(api.post(f"{run['href']}commits/").expect(201))

    assert done["state"] == "completed", done
    numbers = {"adds": (1, 0, 1), "removes": (0, 1, 9), "copies": (10, 0, 10)}
    changed = source if kind == "removes" else target
    assert (plan["additions"], plan["removals"], len(api.units(changed))) == numbers[kind]
    assert plan["fetch_files"] == 0


def test_collections_have_plans_that_keep_nothing(api: Api) -> None:
    """The plan of core/orphans names units and blobs, and what it names is collected after it."""
    with Upstream({"orphan.txt": b"which nobody else has"}) as lonely:
        repository = api.a_synced_repository(lonely)
        api.delete(repository["href"]).expect(200, 204)

    run = api.completed("core/orphans", {"dry_run": "true"}, grace="0s")
    plan = api.get(f"{run['href']}plan/")
    units = api.everything(f"{run['href']}plan/units/", page_size=2)

    result = run["result"]
    assert plan["removals"] == len(units) == result["content_units"] + result["blobs"]
    assert (plan["additions"], plan["replacements"], plan["differences"]) == (0, 0, [])
    assert {unit["change"] for unit in units} == {"removal"}
    assert "orphan.txt" in [unit["path"] for unit in units]
    problem = api.post(f"{run['href']}commits/").expect(400)
    assert (problem["reason"], "no repository" in problem["detail"]) == ("PLAN_MISSING", True)
    done = api.completed("core/orphans", grace="0s")
    assert done["result"]["content_units"] >= result["content_units"]


def test_a_reclaim_has_a_plan(api: Api) -> None:
    """The plan of core/reclaims names the blobs that it would drop, and drops none."""
    with Upstream({"again.txt": b"can be had again"}) as upstream:
        repository = api.a_synced_repository(upstream)
        digest = upstream.digests()["again.txt"]
    asked: Json = {
        "repositories": [repository["name"]],
        "older_than": "0s",
        "include_immediate": True,
    }

    def dropping() -> Json | None:
        run = api.completed("core/reclaims", {"dry_run": "true"}, **asked)
        # It may let go between the list and the count.
        plan = api.get(f"{run['href']}plan/")
        return run if run["result"]["blobs"] == plan["removals"] == 1 else None

    run = until(dropping, "the attempt that fetched it to let go")

    units = api.everything(f"{run['href']}plan/units/")
    assert [unit["unit"] for unit in units] == [f"blobs/{digest}"]
    done = api.completed("core/reclaims", **asked)
    assert done["result"]["blobs"] == 1


def test_a_plan_on_the_command_line(
    stack: Stack, api: Api, names: Json, upstream: Upstream
) -> None:
    """`task plan` shows counts and units, and `task commit` does just that."""
    run = planned(api, names, upstream)
    name = run["name"].removeprefix("tasks/")

    shown = stack.cli("task", "plan", name).stdout
    rows = stack.cli("task", "plan", name, "--change", "removal", "-o", "jsonl").stdout
    done = stack.cli("task", "commit", name).stdout

    assert "1 added, 1 replaced, 1 removed" in shown
    assert "to fetch: 2 files, 87 B" in shown
    assert f"entrepot task commit {name}" in shown
    assert [line.split()[:2] for line in shown.splitlines() if line[:1] in "+~-" and line] == [
        ["+", "new.txt"],
        ["~", "files/000000.bin"],
        ["-", "files/000009.bin"],
    ]
    assert json.loads(rows)["path"] == "files/000009.bin"
    assert "2 added, 2 removed (1 of them replaced)" in done
    assert "approved: task" in stack.cli("task", "plan", name).stdout
    lineage = stack.cli("task", "lineage", name).stdout
    assert lineage.strip() == f"{name} (this)"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["commit.before_commit", "commit.committed"])
def test_kill_9_while_an_approval_commits(a_stack: StackFactory, name: str) -> None:
    """A dispatcher that dies in the commit of a plan costs time: the version is made once."""
    with Upstream().fill(10) as upstream:
        stack = a_stack({"ENTREPOT_FAILPOINTS": f"{name}=kill*1@2"})
        api = stack.api
        repository, remote = api.a_repository(), api.a_remote(upstream)
        names = {"repository": repository["name"], "remote": remote["name"]}
        api.completed("file/syncs", **names)
        run = planned(api, names | {"mirror": True}, upstream)

        task = api.post(f"{run['href']}commits/").expect(201)
        ended = api.finished(task, wait=90)

        assert ended["state"] == "completed", ended
        assert ended["created_resource"] == f"{names['repository']}/versions/2"
        assert api.versions(repository) == [0, 1, 2]
        assert api.files(repository) == upstream.digests()
        stack.check()
