"""Adding, removing, copying and uploading units, one by one and by filter."""

import hashlib

import pytest

from rest import Answer, Api, Json
from upstream import Upstream, data_for, digest_of


@pytest.fixture
def source(api: Api, upstream: Upstream) -> Json:
    """A repository with ten files of 64 bytes."""
    return api.a_synced_repository(upstream)


def test_adds_by_name(api: Api, source: Json) -> None:
    """Units are added by name; the version has them and nothing else."""
    target = api.a_repository()
    wanted = api.units(source)[:4]

    task = api.completed(
        "file/adds", repository=target["name"], content=[unit["name"] for unit in wanted]
    )

    assert task["created_resource"] == f"{target['name']}/versions/1"
    assert {unit["name"] for unit in wanted} == {unit["name"] for unit in api.units(target)}


def test_adding_what_is_there_changes_nothing(api: Api, source: Json) -> None:
    """Adding units that a repository has makes no version, and says why."""
    unit = api.units(source)[0]

    task = api.completed("file/adds", repository=source["name"], content=[unit["href"]])

    assert task["changed"] is False
    assert task["differences"][0]["unchanged_reason"]
    assert api.versions(source) == [0, 1]


def test_adding_a_file_replaces_the_one_at_its_path(api: Api, source: Json) -> None:
    """A version has one file at a path: the one that was added last."""
    with Upstream({"files/000003.bin": b"other bytes"}) as other_upstream:
        other = api.a_synced_repository(other_upstream)
    (unit,) = api.units(other)

    task = api.completed("file/adds", repository=source["name"], content=[unit["name"]])

    (difference,) = task["differences"]
    assert (difference["added"], difference["removed"], difference["replaced"]) == (1, 1, 1)
    assert api.files(source)["files/000003.bin"] == digest_of(b"other bytes")


def test_removes_by_name(api: Api, source: Json) -> None:
    """A unit that is removed is gone from the new version, and still in the old one."""
    unit = api.units(source)[0]

    api.completed("file/removes", repository=source["name"], content=[unit["name"]])

    assert unit["name"] not in {item["name"] for item in api.units(source)}
    assert unit["name"] in {item["name"] for item in api.units(source, 1)}


def test_removes_by_filter(api: Api, source: Json) -> None:
    """A filter names the units to remove by their fields."""
    filter_ = 'relative_path = "files/000001.bin" OR relative_path = "files/000002.bin"'

    task = api.completed("file/removes", repository=source["name"], filter=filter_)

    assert task["differences"][0]["removed"] == 2
    assert {"files/000001.bin", "files/000002.bin"}.isdisjoint(api.files(source))


def test_removes_all(api: Api, source: Json) -> None:
    """With `all` the new version is empty, and has the digest of an empty version."""
    api.completed("file/removes", repository=source["name"], all=True)

    assert api.units(source) == []
    digests = {
        number: api.get(f"{source['href']}versions/{number}/")["set_digest"] for number in (0, 2)
    }
    assert digests[0] == digests[2]


def test_copies_by_filter(api: Api, source: Json) -> None:
    """Units of one repository that a filter matches are copied to another, without upstream."""
    target = api.a_repository()

    api.completed(
        "file/copies",
        source=source["name"],
        repository=target["name"],
        filter='relative_path < "files/000004.bin" AND size_bytes = 64',
    )

    expected = {path for path in api.files(source) if path < "files/000004.bin"}
    assert expected == set(api.files(target))


def test_copies_of_an_old_version(api: Api, source: Json) -> None:
    """Everything of one version is copied, whatever the latest one has."""
    before = api.files(source)
    target = api.a_repository()
    api.completed("file/removes", repository=source["name"], all=True)

    api.completed(
        "file/copies",
        source=f"{source['name']}/versions/1",
        repository=target["name"],
        all=True,
    )

    assert before == api.files(target)


def test_an_upload_becomes_a_file(api: Api) -> None:
    """Uploaded bytes become a unit at the path that is asked for, and are served."""
    repository = api.a_repository()
    data = data_for(1, 100_000)

    upload = _complete_upload(api, data, filename="a.bin")
    task = api.completed(
        "file/uploads",
        repository=repository["name"],
        upload=upload["name"],
        relative_path="some/where.bin",
    )

    assert task["created_resource"] == f"{repository['name']}/versions/1"
    assert {"some/where.bin": digest_of(data)} == api.files(repository)


def test_an_upload_has_its_own_name(api: Api) -> None:
    """Without a path, the file is at the name that the upload has."""
    repository = api.a_repository()
    upload = _complete_upload(api, b"bytes", filename="name.txt")

    api.completed("file/uploads", repository=repository["name"], upload=upload["name"])

    assert list(api.files(repository)) == ["name.txt"]


def test_many_files_make_one_version(api: Api, upstream: Upstream) -> None:
    """Uploads and URLs of one task become one version, also of a remote that is not there."""
    repository = api.a_repository()
    remote = api.a_remote(upstream)
    uploads = [_complete_upload(api, data_for(n, 100), filename=f"{n}") for n in range(3)]
    first, second = sorted(upstream.files)[:2]

    task = api.completed(
        "file/uploads",
        repository=repository["name"],
        files=[
            *(
                {"upload": upload["name"], "relative_path": f"up/{n}"}
                for n, upload in enumerate(uploads)
            ),
            {"url": upstream.url + first, "sha256": digest_of(upstream.files[first])},
        ],
    )
    api.completed(
        "file/uploads",
        repository=repository["name"],
        url=upstream.url + second,
        remote=remote["name"],
        relative_path="second",
    )

    assert task["created_resource"] == f"{repository['name']}/versions/1"
    assert api.files(repository) == {
        **{f"up/{n}": upload["sha256"] for n, upload in enumerate(uploads)},
        first.rpartition("/")[2]: digest_of(upstream.files[first]),
        "second": digest_of(upstream.files[second]),
    }


def test_a_file_of_many_is_named_in_errors(api: Api) -> None:
    """What is wrong with one file points to it; no version is made."""
    repository = api.a_repository()
    good = _complete_upload(api, b"good", filename="a")
    open_ = api.post("uploads/", {"size_bytes": 10}).expect(201)

    for files, pointer in (
        ([{"upload": good["name"]}, {"upload": open_["name"]}], "files[1].upload"),
        ([{"upload": good["name"]}, {"upload": good["name"]}], "#/files/1/relative_path"),
        ([{"url": "http://127.0.0.1:1/x", "relative_path": "../x"}], "#/files/0/relative_path"),
    ):
        body = {"repository": repository["name"], "files": files}
        problem = api.post("tasks/file/uploads/", body).expect(400)
        assert pointer in str(problem)
    assert api.versions(repository) == [0]


def test_an_upload_in_pieces(api: Api) -> None:
    """Bytes may come in several requests, each with its range; the upload says where to go on."""
    data = data_for(2, 300_000)
    upload = api.post("uploads/", {"size_bytes": len(data), "filename": "b.bin"}).expect(201)

    first = _put(api, upload, data, 0, 200_000).expect(200)
    again = _put(api, upload, data, 100_000, 300_000)
    where = api.get(upload["href"])
    last = _put(api, upload, data, 200_000, 300_000).expect(200)

    assert (first["received_bytes"], first["complete"]) == (200_000, False)
    assert again.json["reason"] == "UPLOAD_CONFLICT"
    assert again.json["metadata"]["offset"] == "200000"
    assert where["received_bytes"] == 200_000
    assert last["complete"] is True
    assert last["sha256"] == digest_of(data)


def test_an_upload_with_another_digest_is_refused(api: Api) -> None:
    """Bytes that do not have the digest they were announced with are not kept."""
    body = {"size_bytes": 5, "sha256": hashlib.sha256(b"other").hexdigest(), "filename": "c"}
    upload = api.post("uploads/", body).expect(201)

    problem = api.request("PUT", upload["href"], b"these").json

    assert problem["reason"] == "DIGEST_MISMATCH"
    assert body["sha256"] in problem["detail"]
    assert api.request("GET", upload["href"]).status in (404, 200)


def test_an_incomplete_upload_is_refused(api: Api) -> None:
    """A task cannot take an upload of which bytes are missing."""
    repository = api.a_repository()
    upload = api.post("uploads/", {"size_bytes": 10, "filename": "d"}).expect(201)

    answer = api.post(
        "tasks/file/uploads/", {"repository": repository["name"], "upload": upload["name"]}
    )

    problem = answer.expect(400)
    assert problem["reason"] == "UPLOAD_CONFLICT"
    assert upload["name"] in problem["detail"]
    assert api.versions(repository) == [0]


def test_old_versions_go_when_fewer_are_kept(api: Api, source: Json) -> None:
    """With retain_versions only the newest stay, with their content and numbers."""
    api.patch(source["href"], {"retain_versions": 2}).expect(200)
    for path in sorted(api.files(source))[:3]:
        api.completed(
            "file/removes", repository=source["name"], filter=f'relative_path = "{path}"'
        )

    assert api.versions(source) == [3, 4]
    assert len(api.units(source, 3)) == 8
    assert len(api.units(source, 4)) == 7


def test_deleting_a_version_changes_no_other(api: Api, source: Json) -> None:
    """A version in the middle can be deleted; its neighbours keep content and digest."""
    unit = api.units(source)[0]
    api.completed("file/removes", repository=source["name"], content=[unit["name"]])
    api.completed("file/adds", repository=source["name"], content=[unit["name"]])
    before = {number: _facts(api, source, number) for number in (1, 3)}

    api.delete(f"{source['href']}versions/2/").expect(200, 204)

    assert api.versions(source) == [0, 1, 3]
    assert before == {number: _facts(api, source, number) for number in (1, 3)}
    api.completed("file/removes", repository=source["name"], content=[unit["name"]])
    assert api.versions(source) == [0, 1, 3, 4]


def _facts(api: Api, repository: Json, number: int) -> tuple[object, ...]:
    version = api.get(f"{repository['href']}versions/{number}/")
    return version["set_digest"], version["unit_count"], api.files(repository, number)


def _complete_upload(api: Api, data: bytes, **fields: object) -> Json:
    upload = api.post("uploads/", {"size_bytes": len(data)} | fields).expect(201)
    return dict(api.request("PUT", upload["href"], data).expect(200))


def _put(api: Api, upload: Json, data: bytes, first: int, end: int) -> Answer:
    headers = {"Content-Range": f"bytes {first}-{end - 1}/{len(data)}"}
    return api.request("PUT", upload["href"], data[first:end], headers=headers)
