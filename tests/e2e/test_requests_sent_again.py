"""Whatever a POST creates is created once for one Idempotency-Key, whoever lost the answer."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from rest import Answer, Api, Json
from stack import Stack

KINDS = ("repositories/file/", "remotes/file/", "distributions/file/", "limits/", "tokens/")


def body(api: Api, path: str) -> Json:
    """What makes a new one of these."""
    name = api.a_name("again")
    more: dict[str, Json] = {
        "remotes/file/": {
            "url": "http://127.0.0.1:9/",
            "username": "me",
            "password": "not in the database",
        },
        "distributions/file/": {"base_path": name},
        "limits/": {"task_type": "file/syncs", "max_running": 3},
    }
    return {"name": name} | more.get(path, {})


def post(api: Api, path: str, fields: Json, key: str) -> Answer:
    """A POST with a key."""
    return api.request("POST", path, fields, headers={"Idempotency-Key": key})


@pytest.mark.parametrize("path", KINDS)
def test_a_named_resource_is_created_once(api: Api, path: str) -> None:
    """The same request is answered as it was; another with its key is refused, and says why."""
    fields, key = body(api, path), api.a_name("key")

    first = post(api, path, fields, key).expect(201)
    again = post(api, path, fields, key).expect(200, 201)
    other = post(api, path, fields | {"name": api.a_name("other")}, key).expect(409)
    without = api.post(path, fields).expect(409)

    assert again == first
    assert (other["reason"], other["metadata"]) == ("REQUEST_ID_REUSED", {"request_id": key})
    assert first["name"] in other["detail"]
    assert without["reason"] == "NAME_TAKEN"
    api.delete(first["href"]).expect(200, 204)
    if path != "tokens/":
        assert post(api, path, fields, key).expect(404)["reason"] == "RESOURCE_NOT_FOUND"


def test_what_is_served_may_be_named_in_another_way(api: Api) -> None:
    """A repository by its last segment, its name or its address is the same request."""
    repository = api.a_repository()
    fields, key = body(api, "distributions/file/"), api.a_name("key")
    last = repository["name"].rpartition("/")[2]
    spellings = (last, f"file/{last}", repository["name"], repository["href"])

    made = [
        post(api, "distributions/file/", fields | {"repository": one}, key).expect(201)
        for one in spellings
    ]

    assert [one["repository"] for one in made] == [repository["name"]] * len(spellings)
    other = fields | {"repository": api.a_repository()["name"]}
    post(api, "distributions/file/", other, key).expect(409)


def test_a_secret_is_told_again_while_the_token_lives(stack: Stack, api: Api) -> None:
    """The secret of a token comes again for the same request, and no more once it is revoked."""
    fields, key = body(api, "tokens/"), api.a_name("key")
    first = post(api, "tokens/", fields, key).expect(201)
    again = post(api, "tokens/", fields, key).expect(200, 201)
    other = post(api, "tokens/", body(api, "tokens/"), api.a_name("key")).expect(201)

    works = Api(stack.api_url, again["secret"]).request("GET", "tasks/").status

    assert (works, first["secret"]) == (200, again["secret"])
    assert other["secret"] != first["secret"]
    assert not api.get(first["href"]).get("secret")
    api.delete(first["href"]).expect(200, 204)
    assert not post(api, "tokens/", fields, key).expect(200, 201).get("secret")


def test_a_key_belongs_to_its_caller(stack: Stack, api: Api) -> None:
    """Another token with the same key makes a thing of its own."""
    fields, key = {"filename": "mine.txt"}, api.a_name("key")
    secret = api.post("tokens/", {"name": api.a_name("caller")}).expect(201)["secret"]

    mine = post(api, "uploads/", fields, key).expect(201)
    theirs = post(Api(stack.api_url, secret), "uploads/", fields, key).expect(201)

    assert mine["name"] != theirs["name"]


def test_many_that_send_one_request_make_one_thing(api: Api) -> None:
    """Uploads, which have no name to collide: sixteen at once, and again with another body."""
    key = api.a_name("key")
    with ThreadPoolExecutor(16) as pool:
        made = list(
            pool.map(
                lambda _: post(api, "uploads/", {"filename": "one.txt"}, key).expect(200, 201),
                range(16),
            )
        )

    assert len({one["name"] for one in made}) == 1
    problem = post(api, "uploads/", {"filename": "two.txt"}, key).expect(409)
    assert problem["reason"] == "REQUEST_ID_REUSED"
    task = post(api, "tasks/core/orphans/", {}, key).expect(409)
    assert made[0]["name"] in task["detail"]
