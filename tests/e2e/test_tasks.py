"""What a task promises: checks, plans, waiting, events, cancelling, repeating."""

from collections.abc import Iterator

import pytest

from polling import until
from rest import Api, Json, ServerEvent
from upstream import MANIFEST, Upstream

NOBODY = "tasks/01900000-0000-7000-8000-000000000000/"


@pytest.fixture
def names(api: Api, upstream: Upstream) -> Json:
    """A new repository and a remote of the upstream, as parameters of a sync."""
    repository, remote = api.a_repository(), api.a_remote(upstream)
    return {"repository": repository["name"], "remote": remote["name"]}


def test_validate_only_stores_nothing(api: Api, names: Json) -> None:
    """With validate_only the answer is the task as it would be, and there is none."""
    task = api.post("tasks/file/syncs/", names, validate_only="true").expect(200, 201)

    assert task["parameters"]["repository"] == names["repository"]
    assert (task["name"], task["href"]) == ("", "")
    assert api.everything("tasks/", resource=names["repository"]) == []


def test_validate_only_refuses_what_creating_refuses(api: Api, names: Json) -> None:
    """With validate_only a wrong request gets the same answer as without."""
    body = names | {"remote": "nobody"}

    checked = api.post("tasks/file/syncs/", body, validate_only="true")
    created = api.post("tasks/file/syncs/", body)

    assert checked.status == created.status
    assert checked.json["reason"] == created.json["reason"] == "RESOURCE_NOT_FOUND"


def test_a_dry_run_tells_what_the_run_does(api: Api, names: Json, upstream: Upstream) -> None:
    """The numbers of a dry run are those of the run after it, and it changes nothing."""
    api.completed("file/syncs", **names)
    upstream.change(2)
    upstream.files["new.txt"] = b"twelve bytes"
    del upstream.files["files/000009.bin"]
    upstream.forget()

    plan = api.completed("file/syncs", {"dry_run": "true"}, **names, mirror=True)

    assert [request.path for request in upstream.requests] == [MANIFEST]
    assert plan["dry_run"] is True
    assert plan["created_resource"] == ""
    (planned,) = plan["differences"]
    assert (planned["fetch_files"], planned["fetch_bytes"]) == (3, 2 * 64 + 12)
    assert "new.txt" in {line["path"] for line in planned["added_units"]}
    assert "files/000009.bin" in {line["path"] for line in planned["removed_units"]}

    done = api.completed("file/syncs", **names, mirror=True)

    (found,) = done["differences"]
    for number in ("base_version", "added", "removed", "replaced", "changed"):
        assert planned[number] == found[number], number
    assert (found["added"], found["removed"], found["replaced"]) == (3, 3, 2)
    assert (planned["version"], found["version"]) == (0, 2)


def test_wait_answers_the_finished_task(api: Api, names: Json) -> None:
    """With ?wait= a POST answers the task at its end, still with 201."""
    task = api.post("tasks/file/syncs/", names, wait="60s").expect(201)

    assert task["state"] == "completed"


def test_wait_answers_when_the_time_is_up(api: Api, names: Json, upstream: Upstream) -> None:
    """A task that takes longer than ?wait= is answered as it is, and goes on."""
    gate = upstream.hold(MANIFEST)

    task = api.post("tasks/file/syncs/", names, wait="1s").expect(201)

    assert task["state"] in ("waiting", "running")
    gate.open()
    assert api.finished(task)["state"] == "completed"


def test_an_unchanged_sync_costs_one_conditional_request(
    api: Api, names: Json, upstream: Upstream
) -> None:
    """When nothing has changed upstream, a sync asks once, gets a 304, and makes no version."""
    api.completed("file/syncs", **names)
    upstream.forget()

    task = api.completed("file/syncs", **names)

    (request,) = upstream.requests
    assert request.path == MANIFEST
    assert upstream.not_modified[MANIFEST] == 1
    assert task["changed"] is False
    assert task["created_resource"] == ""
    assert task["differences"][0]["unchanged_reason"]
    assert task["result"]["manifest_unchanged"] is True
    assert api.versions({"href": f"/api/v3/{names['repository']}/"}) == [0, 1]


def test_a_manifest_in_another_order_is_no_change(
    api: Api, names: Json, upstream: Upstream
) -> None:
    """The same files in another order are the same content: no version, no download."""
    api.completed("file/syncs", **names)
    lines = upstream.manifest().decode().splitlines()
    upstream.manifest_text = "\n".join(reversed(lines)) + "\n"
    upstream.forget()

    task = api.completed("file/syncs", **names)

    assert [request.path for request in upstream.requests] == [MANIFEST]
    assert task["changed"] is False
    assert task["differences"][0]["unchanged_reason"]


def test_additive_keeps_what_mirror_removes(api: Api, names: Json, upstream: Upstream) -> None:
    """A sync keeps files that upstream no longer lists, unless it is to mirror."""
    repository = {"href": f"/api/v3/{names['repository']}/"}
    api.completed("file/syncs", **names)
    everything = api.files(repository)
    del upstream.files["files/000000.bin"]

    api.completed("file/syncs", **names)
    kept = api.files(repository)
    api.completed("file/syncs", **names, mirror=True)

    assert everything == kept
    assert upstream.digests() == api.files(repository)


def test_a_repeated_request_is_the_same_task(api: Api, names: Json) -> None:
    """The same request under the same Idempotency-Key answers the task that it made before."""
    headers = {"Idempotency-Key": api.a_name("request")}

    first = api.request("POST", "tasks/file/syncs/", names, headers=headers).expect(201)
    second = api.request("POST", "tasks/file/syncs/", names, headers=headers).expect(200, 201)

    assert first["name"] == second["name"]
    assert first["request_id"] == headers["Idempotency-Key"]
    assert len(api.everything("tasks/", resource=names["repository"])) == 1


def test_another_request_under_the_same_key_is_refused(api: Api, names: Json) -> None:
    """A key that was used for another request answers 409 and makes no task."""
    headers = {"Idempotency-Key": api.a_name("request")}
    api.request("POST", "tasks/file/syncs/", names, headers=headers).expect(201)

    body = names | {"mirror": True}
    problem = api.request("POST", "tasks/file/syncs/", body, headers=headers).expect(409)

    assert problem["reason"] == "REQUEST_ID_REUSED"
    assert headers["Idempotency-Key"] in problem["detail"]
    assert len(api.everything("tasks/", resource=names["repository"])) == 1


def test_a_waiting_task_says_for_what(api: Api, names: Json, upstream: Upstream) -> None:
    """A task that waits names the resource, and the task that has it or is before it."""
    gate = upstream.hold(MANIFEST)
    first = api.create("file/syncs", **names)
    gate.wait_entered()
    second = api.create("file/syncs", **names)
    third = api.create("file/syncs", **names)

    blockers = {
        task["name"]: [
            (blocker["cause"], blocker["resource"], blocker["task"])
            for blocker in api.get(task["href"])["blocked_by"]
        ]
        for task in (second, third)
    }

    assert ("held", names["repository"], first["name"]) in blockers[second["name"]]
    assert any(
        cause in ("held", "queued") and resource == names["repository"]
        for cause, resource, _ in blockers[third["name"]]
    )
    gate.open()
    ended = [api.finished(task) for task in (first, second, third)]
    assert [task["state"] for task in ended] == ["completed"] * 3
    assert [task["blocked_by"] for task in ended] == [[], [], []]


def test_tasks_on_one_repository_run_in_order(api: Api, names: Json) -> None:
    """Tasks that change the same repository end in the order in which they were created."""
    tasks = [api.create("file/syncs", **names) for _ in range(5)]

    ended = [api.finished(task)["end_time"] for task in tasks]

    assert sorted(ended) == ended


def test_a_waiting_task_is_canceled_at_once(api: Api, names: Json, upstream: Upstream) -> None:
    """Cancelling a task that waits ends it, and it never runs."""
    gate = upstream.hold(MANIFEST)
    first = api.create("file/syncs", **names)
    gate.wait_entered()
    second = api.create("file/syncs", **names)

    canceled = api.patch(second["href"], {"state": "canceled"}).expect(200)

    assert canceled["state"] == "canceled"
    gate.open()
    assert api.finished(first)["state"] == "completed"
    assert api.get(second["href"])["attempt"] == 0


def test_a_running_task_is_canceled_within_seconds(
    api: Api, names: Json, upstream: Upstream
) -> None:
    """Cancelling a running sync ends it, frees the repository, and leaves no version."""
    repository = {"href": f"/api/v3/{names['repository']}/"}
    gate = upstream.hold("files/000005.bin")
    task = api.create("file/syncs", **names)
    gate.wait_entered()

    asked = api.patch(task["href"], {"state": "canceled"}).expect(200)
    # Sooner than by force, which comes after 30 s.
    ended = api.finished(task, wait=25)

    assert asked["cancel_requested"] or asked["state"] == "canceled"
    assert ended["state"] == "canceled"
    assert ended["error"]["reason"] == "CANCELED"
    assert ended["created_resource"] == ""
    assert api.versions(repository) == [0]
    gate.open()
    assert api.completed("file/syncs", **names)["created_resource"]
    assert api.versions(repository) == [0, 1]


def test_cancelling_again_changes_nothing(api: Api, names: Json, upstream: Upstream) -> None:
    """Cancelling is idempotent while the task is not over, and after it was canceled."""
    gate = upstream.hold(MANIFEST)
    api.create("file/syncs", **names)
    gate.wait_entered()
    second = api.create("file/syncs", **names)

    answers = [api.patch(second["href"], {"state": "canceled"}).expect(200) for _ in range(2)]

    assert [answer["state"] for answer in answers] == ["canceled", "canceled"]
    gate.open()


def test_a_completed_task_cannot_be_canceled(api: Api, names: Json) -> None:
    """Cancelling a task that is over is refused, with the state it has."""
    task = api.completed("file/syncs", **names)

    problem = api.patch(task["href"], {"state": "canceled"}).expect(400)

    assert problem["reason"] == "TASK_FINISHED"
    assert "completed" in problem["detail"]
    assert api.get(task["href"])["state"] == "completed"


def test_events_tell_the_whole_story(api: Api, names: Json) -> None:
    """The event stream shows the task on every change, in order, and ends when the task does."""
    task = api.create("file/syncs", **names)

    with api.events(f"{task['href']}events/") as stream:
        events = list(stream)

    states = [event.data["state"] for event in events]
    assert states[-1] == "completed"
    assert sorted(states, key=("waiting", "running", "completed").index) == states
    assert events[-1].data["created_resource"]
    numbers = _numbers(events)
    assert sorted(set(numbers)) == numbers


def test_events_go_on_where_a_client_left(api: Api, names: Json, upstream: Upstream) -> None:
    """With Last-Event-ID a client gets what came after that event, and nothing twice."""
    gate = upstream.hold(MANIFEST)
    task = api.create("file/syncs", **names)
    gate.wait_entered()
    path = f"{task['href']}events/"

    with api.events(path) as stream:
        seen = list(_until_running(stream))
    gate.open()
    api.finished(task)
    with api.events(path, last_event_id=seen[-1].id) as stream:
        rest = list(stream)

    assert rest[-1].data["state"] == "completed"
    assert min(_numbers(rest)) > max(_numbers(seen))


def test_progress_counts_what_is_done(api: Api, names: Json) -> None:
    """At its end every counter of a sync that has a total has reached it."""
    task = api.completed("file/syncs", **names)

    counters = {item["code"]: item for item in task["progress"]}
    assert counters
    for counter in counters.values():
        assert counter["message"]
        assert counter["done"] == counter.get("total", counter["done"])
    assert any(counter["done"] == 10 for counter in counters.values())


def test_tasks_are_found_by_what_they_lock_and_made(api: Api, names: Json) -> None:
    """Lists of tasks are filtered by resource and by created_resource."""
    task = api.completed("file/syncs", **names)

    for query in (
        {"resource": names["repository"]},
        {"resource": names["remote"]},
        {"created_resource": task["created_resource"]},
    ):
        assert [item["name"] for item in api.everything("tasks/", **query)] == [task["name"]]


def test_a_task_that_is_not_there(api: Api) -> None:
    """An unknown task is a 404 that names it."""
    problem = api.request("GET", NOBODY).expect(404)

    assert problem["reason"] == "RESOURCE_NOT_FOUND"
    assert NOBODY.strip("/") in problem["detail"]


def test_a_lineage_is_told_both_ways(api: Api, names: Json) -> None:
    """A task knows its originals and its clones, and which fields differ from one to the next."""
    first = api.completed("file/syncs", **names)
    second = api.post(f"{first['href']}clones/", {"mirror": True}, dry_run="true").expect(201)
    third = api.post(f"{second['href']}clones/").expect(201)

    lineage = api.get(f"{second['href']}lineage/")

    mirror = {"field": "mirror", "before": "false", "after": "true"}
    assert lineage["task"] == second["name"]
    assert lineage["changes"] == [
        mirror,
        {"field": "dry_run", "before": "false", "after": "true"},
    ]
    (before,), (after,) = lineage["ancestors"], lineage["descendants"]
    assert (before["task"], before["cloned_from"], before["changes"]) == (first["name"], "", [])
    assert (after["task"], after["cloned_from"]) == (third["name"], second["name"])
    assert after["changes"] == [{"field": "dry_run", "before": "true", "after": "false"}]
    both = api.get(f"{first['href']}lineage/")["descendants"]
    assert [one["task"] for one in both] == [second["name"], third["name"]]
    # A clone of a dry run does what was tried.
    assert (third["dry_run"], api.finished(third)["state"]) == (False, "completed")
    api.finished(second)


@pytest.mark.parametrize(
    ("body", "pointer"), [({"mirrors": True}, "#/mirrors"), ({"mirror": "perhaps"}, "#/mirror")]
)
def test_a_clone_that_overrides_nonsense_is_refused(
    api: Api, names: Json, body: Json, pointer: str
) -> None:
    """A field that the task type does not have, or a value it cannot have, is named."""
    task = api.completed("file/syncs", **names)

    problem = api.post(f"{task['href']}clones/", body).expect(400)

    assert [error["pointer"] for error in problem["errors"]] == [pointer]
    assert api.everything("tasks/", cloned_from=task["name"]) == []


@pytest.mark.parametrize("wait", ["-1s", "-1", "1h", "99999999999999999999", "inf", "nan", "1e9"])
def test_a_wait_that_is_negative_or_endless_is_refused(api: Api, names: Json, wait: str) -> None:
    """A time to wait is from 0 s to 10 minutes, wherever it is asked for; no task is made."""
    task = api.completed("file/syncs", **names)

    for answer in (
        api.post("tasks/file/syncs/", names, wait=wait),
        api.post(f"{task['href']}clones/", {}, wait=wait),
        api.post(f"{task['href']}commits/", {}, wait=wait),
        api.request("GET", task["href"], query={"wait": wait}),
    ):
        assert answer.expect(400)["errors"][0]["pointer"] == "#/wait"
    assert len(api.everything("tasks/", resource=names["repository"])) == 1


@pytest.mark.parametrize(
    ("path", "query", "words"),
    [
        ("content/file/files/", {"filter": 'relative_path = "a" AND'}, "position"),
        ("tasks/", {"state": "ready"}, "state"),
        ("tasks/", {"filter": "state = waiting"}, "filter"),
        ("tasks/", {"cloned_from": "x"}, "cloned_from"),
        ("tasks/", {"commits": "x"}, "commits"),
        ("tasks/", {"page_token": "eA"}, "page_token"),
    ],
)
def test_a_list_names_what_it_cannot_read(api: Api, path: str, query: Json, words: str) -> None:
    """A filter that does not parse is refused with its position, any other with its name."""
    problem = api.request("GET", path, query=query).expect(400)

    if "content" in path:
        assert problem["metadata"]["position"] == "23"
    else:
        assert words in str(problem["errors"] if "errors" in problem else problem["detail"])


def test_orphans_are_collected_with_a_plan(api: Api, upstream: Upstream) -> None:
    """Content that no version has is collected: first told in a dry run, then removed."""
    with Upstream({"orphan.txt": b"nobody else has these bytes"}) as lonely:
        repository = api.a_synced_repository(lonely)
    (unit,) = api.units(repository)
    api.delete(repository["href"]).expect(200, 204)

    plan = api.completed("core/orphans", {"dry_run": "true"}, grace="0s")
    assert api.request("GET", unit["href"]).status == 200
    done = api.completed("core/orphans", grace="0s")

    assert plan["result"]["content_units"] >= 1
    assert plan["result"]["content_units"] <= done["result"]["content_units"]
    until(lambda: api.request("GET", unit["href"]).status == 404, "the unit to be gone")


def _numbers(events: list[ServerEvent]) -> list[int]:
    return [int(event.id) for event in events if event.id]


def _until_running(stream: Iterator[ServerEvent]) -> Iterator[ServerEvent]:
    for event in stream:
        yield event
        if event.data["state"] == "running" and int(event.id or 0) > 0:
            return
