"""Plans: what a dry run tells, page by page, and that its approval does exactly that."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from entrepot_test_graph.fixtures import start_graph_plugin
from instant import Instant
from polling import until
from rest import Api, Json
from stack import Stack
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
    task = api.post(f"{run['href']}commits/", wait="60s").expect(201)

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


def an_orphan(api: Api, path: str) -> None:
    """Leave a unit that nothing has."""
    with Upstream({path: f"{path}, which nobody else has".encode()}) as lonely:
        repository = api.a_synced_repository(lonely)
        api.delete(repository["href"]).expect(200, 204)


def test_a_collection_does_what_was_planned_and_no_more(stack: Stack, api: Api) -> None:
    """What becomes an orphan after the plan of core/orphans was made stays when it is approved."""
    an_orphan(api, "planned.txt")
    run = api.completed("core/orphans", {"dry_run": "true"}, grace="0s")
    plan = api.get(f"{run['href']}plan/")
    units = api.everything(f"{run['href']}plan/units/", page_size=2)
    result = run["result"]
    an_orphan(api, "later.txt")

    shown = stack.cli("task", "plan", run["name"].removeprefix("tasks/")).stdout
    done = api.finished(api.post(f"{run['href']}commits/").expect(201))

    assert plan["removals"] == len(units) == result["content_units"] + result["blobs"]
    assert (plan["additions"], plan["replacements"], plan["differences"]) == (0, 0, [])
    assert {unit["change"] for unit in units} == {"removal"}
    assert "planned.txt" in [unit["path"] for unit in units]
    assert "entrepot task commit" in shown
    assert (done["state"], done["result"], done["commits"]) == ("completed", result, run["name"])
    assert api.post(f"{run['href']}commits/").expect(400)["reason"] == "PLAN_APPROVED"
    left = api.completed("core/orphans", {"dry_run": "true"}, grace="0s")
    paths = [unit["path"] for unit in api.everything(f"{left['href']}plan/units/")]
    assert ("planned.txt" in paths, "later.txt" in paths) == (False, True)


def test_a_collection_is_refused_if_something_is_needed_again(api: Api) -> None:
    """The task names what came into use since, and nothing goes."""
    content = {"back.txt": b"which comes back"}
    with Upstream(content) as lonely:
        repository = api.a_synced_repository(lonely)
        unit = api.units(repository)[0]["name"]
        api.delete(repository["href"]).expect(200, 204)
        an_orphan(api, "alone.txt")
        run = api.completed("core/orphans", {"dry_run": "true"}, grace="0s")
        api.a_synced_repository(lonely)

        failed = api.finished(api.post(f"{run['href']}commits/").expect(201))

    assert (failed["state"], failed["error"]["reason"]) == ("failed", "BASE_MOVED")
    assert unit in [one["subject"] for one in failed["error"]["preconditions"]]
    assert unit in failed["error"]["detail"]
    again = api.completed("core/orphans", {"dry_run": "true"}, grace="0s")
    paths = [one["path"] for one in api.everything(f"{again['href']}plan/units/")]
    assert ("alone.txt" in paths, "back.txt" in paths) == (True, False)


def test_a_reclaim_is_planned_and_approved(api: Api) -> None:
    """The plan of core/reclaims names the blobs that it would drop; its approval drops these."""
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
    done = api.finished(api.post(f"{run['href']}commits/").expect(201))
    assert (done["state"], done["result"]["blobs"]) == ("completed", 1)


def test_an_upload_is_planned_and_approved(api: Api) -> None:
    """What was uploaded is kept for the approval, although the upload is gone by then."""
    repository = api.a_repository()
    upload = api.post("uploads/", {"filename": "planned.txt"}).expect(201)
    api.request("PUT", upload["href"], b"uploaded and planned").expect(200)
    run = api.completed(
        "file/uploads",
        {"dry_run": "true"},
        repository=repository["name"],
        upload=upload["name"],
        relative_path="planned.txt",
    )
    plan = api.get(f"{run['href']}plan/")

    done = api.finished(api.post(f"{run['href']}commits/").expect(201))

    assert (plan["additions"], plan["fetch_files"]) == (1, 0)
    assert done["state"] == "completed", done
    digest = hashlib.sha256(b"uploaded and planned").hexdigest()
    assert api.files(repository) == {"planned.txt": digest}
    assert done["created_resource"] == f"{repository['name']}/versions/1"


def test_a_planned_publication_is_made_without_its_plugin(stack: Stack, api: Api) -> None:
    """What a plugin has generated is served after the approval, given when its process is gone.

    When the plugin is removed as well, an approval of its plans is refused with the reason.
    """
    with start_graph_plugin(stack.grpc) as process:
        api.post("plugins/", {"target": process.address}).expect(201)
        until(
            lambda: api.request("GET", "tasks/graph/growths/").status == 200,
            "the routes of the graph plugin",
        )
        repository = api.a_repository("graph")
        plant = api.a_name("tree")
        api.completed("graph/growths", repository=repository["name"], plants=[{"name": plant}])
        run = api.completed("graph/publications", {"dry_run": "true"}, version=repository["name"])
        other = api.completed(
            "graph/growths",
            {"dry_run": "true"},
            repository=repository["name"],
            plants=[{"name": api.a_name("leaf")}],
        )

    done = api.finished(api.post(f"{run['href']}commits/").expect(201))

    assert done["state"] == "completed", done
    base = api.a_distribution(plugin="graph", publication=done["created_resource"])["base_path"]
    served = stack.content.request("GET", f"/{base}/index.txt")
    assert (served.status, served.body.split()[0]) == (200, plant.encode())
    stack.settle()
    api.delete("plugins/graph/").expect(200, 204)
    problem = api.post(f"{other['href']}commits/").expect(400, 404)
    assert (problem["reason"], "graph" in problem["detail"]) == ("TASK_TYPE_UNKNOWN", True)


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


@pytest.fixture(scope="module")
def failpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where failpoints of `failing` are armed."""
    return tmp_path_factory.mktemp("failpoints")


@pytest.fixture(scope="module")
def failing(failpoints: Path) -> Iterator[Stack]:
    """An installation that fails where it is told to."""
    asks = {"ENTREPOT_FAILPOINTS": "ask", "ENTREPOT_FAILPOINT_DIR": str(failpoints)}
    with Stack(asks) as stack:
        yield stack


@pytest.mark.slow
@pytest.mark.parametrize("name", ["commit.before_commit", "commit.committed"])
def test_kill_9_while_an_approval_commits(
    failing: Stack, failpoints: Path, upstream: Upstream, name: str
) -> None:
    """A dispatcher that dies in the commit of a plan costs time: the version is made once."""
    api = failing.api
    repository, remote = api.a_repository(), api.a_remote(upstream)
    names = {"repository": repository["name"], "remote": remote["name"]}
    api.completed("file/syncs", **names)
    run = planned(api, names | {"mirror": True}, upstream)
    instant = Instant(failpoints, name, "kill")
    instant.arm()

    task = api.post(f"{run['href']}commits/").expect(201)
    ended = api.finished(task, wait=150)

    assert instant.has_fired()
    assert ended["state"] == "completed", ended
    assert ended["created_resource"] == f"{names['repository']}/versions/2"
    assert api.versions(repository) == [0, 1, 2]
    assert api.files(repository) == upstream.digests()
    failing.check()
