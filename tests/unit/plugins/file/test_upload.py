"""Where an uploaded file may go."""

import pytest

from entrepot.plugins.file.v1.file_pb2 import Upload
from entrepot_plugin_file.upload import check
from entrepot_sdk import Resources
from entrepot_sdk.testing import upload


@pytest.mark.parametrize(
    ("relative_path", "filename"),
    [("a/b.txt", ""), ("a/b.txt", "../evil"), ("", "name.txt"), ("a/#b", "")],
)
def test_a_good_path_is_accepted(relative_path: str, filename: str) -> None:
    """The path that is asked for counts, and without one the upload's own name."""
    resources = Resources([upload("0" * 64, 1, filename=filename)])

    assert list(check(Upload(upload="uploads/one", relative_path=relative_path), resources)) == []


@pytest.mark.parametrize(
    ("relative_path", "filename", "reason"),
    [
        ("../a", "fine", "PATH_INVALID"),
        ("", "../a", "PATH_INVALID"),
        ("#a", "fine", "PATH_INVALID"),
        ("", "#a", "PATH_INVALID"),
        ("\ufeffa", "fine", "PATH_INVALID"),
        ("", "", "FIELD_REQUIRED"),
    ],
)
def test_a_bad_path_is_an_error_of_its_field(
    relative_path: str, filename: str, reason: str
) -> None:
    """Whatever is wrong with the path points to relative_path."""
    resources = Resources([upload("0" * 64, 1, filename=filename)])

    (problem,) = check(Upload(upload="uploads/one", relative_path=relative_path), resources)

    assert problem.reason == reason
    assert problem.field == "relative_path"


URL = "https://example.org/a%20b/c%2Bd.txt?x=1"
BELOW = Upload.Entry(url=URL, relative_path="a/b")
ENTRY = Upload.Entry(upload="uploads/one", relative_path="a")


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        (Upload(), "upload"),
        (Upload(upload="uploads/one", files=[ENTRY]), "files"),
        (Upload(upload="uploads/one", url=URL), "upload"),
        (Upload(url="ftp://example.org/a"), "url"),
        (Upload(url="file:///etc/passwd"), "url"),
        (Upload(url="http://[x"), "url"),
        (Upload(url="https://example.org/"), "relative_path"),
        (Upload(url="https://example.org/a%2F..%2Fb"), "relative_path"),
        (Upload(url=URL, sha256="AB" * 32), "sha256"),
        (Upload(upload="uploads/one", sha256="ab" * 32), "sha256"),
        (Upload(files=[ENTRY, Upload.Entry(url=URL), ENTRY]), "files[2].relative_path"),
        (
            Upload(files=[ENTRY, BELOW]),
            "files[1].relative_path",
        ),
        (
            Upload(files=[BELOW, ENTRY]),
            "files[1].relative_path",
        ),
        (Upload(files=[ENTRY, Upload.Entry(relative_path="b")]), "files[1].upload"),
        (Upload(files=[ENTRY] * 10_001), "files"),
    ],
)
def test_a_wrong_file_is_named_by_its_field(parameters: Upload, field: str) -> None:
    """What is missing, said twice, or has no room, is an error of one field of one file."""
    resources = Resources([upload("0" * 64, 1), upload("0" * 64, 1, "files.upload")])

    (problem,) = check(parameters, resources)

    assert problem.field == field


def test_a_url_with_a_password_is_refused_and_not_repeated() -> None:
    """S37: what is refused is not shown either; the error says where such things belong."""
    (problem,) = check(Upload(url="https://ann:canary@example.org/a"), Resources([]))

    assert problem.field == "url"
    assert "canary" not in problem.message
    assert "name a remote" in problem.message


@pytest.mark.parametrize("host", ["[::1]:8080", "[2001:db8::1]", "example.org"])
def test_a_host_may_be_an_address(host: str) -> None:
    """An IPv6 address in brackets is a host like any other."""
    assert list(check(Upload(url=f"http://{host}/a"), Resources([]))) == []


def test_many_files_are_accepted() -> None:
    """Uploads and URLs may stand side by side; a URL's last part is the path, decoded."""
    resources = Resources([upload("0" * 64, 1, "files.upload")])

    assert list(check(Upload(files=[ENTRY, Upload.Entry(url=URL)]), resources)) == []
