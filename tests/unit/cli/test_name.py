"""Names as people type them become the server's, and back."""

import pytest

from entrepot_cli.outcome import Failure, Status
from entrepot_cli.server.name import full_name, resource_name, short_name, version_name


@pytest.mark.parametrize(
    "text",
    [
        "foo",
        "file/foo",
        "repositories/file/foo",
        "/api/v3/repositories/file/foo/",
        "http://127.0.0.1:8080/api/v3/repositories/file/foo/",
    ],
)
def test_every_form_is_understood(text: str) -> None:
    """A last segment within a plugin, a short name, a full name, an href and a URL are one."""
    assert full_name(text, "repositories", "file") == "repositories/file/foo"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("file/foo@3", "repositories/file/foo/versions/3"),
        ("file/foo@latest", "repositories/file/foo/versions/latest"),
        ("file/foo", "repositories/file/foo/versions/latest"),
        ("foo@3", "repositories/file/foo/versions/3"),
        ("/api/v3/repositories/file/foo/versions/3/", "repositories/file/foo/versions/3"),
    ],
)
def test_versions(text: str, expected: str) -> None:
    """A version is named by a number after @, else it is the latest."""
    assert expected == version_name(text, "file")


@pytest.mark.parametrize("text", ["foo", "file/", "foo/"])
def test_a_resource_without_a_plugin_is_refused(text: str) -> None:
    """Where no plugin is known, a name without one is a usage error that shows the form."""
    with pytest.raises(Failure, match=r"such as file/\w+\.") as failure:
        resource_name(text, "repositories")

    assert failure.value.status == Status.USAGE


def test_a_version_without_a_plugin_is_refused() -> None:
    """A version needs a plugin as its repository does."""
    with pytest.raises(Failure, match="such as file/foo") as failure:
        version_name("foo@3")

    assert failure.value.status == Status.USAGE


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("repositories/file/foo", "file/foo"),
        ("repositories/file/foo/versions/3", "file/foo@3"),
        ("tasks/0190", "0190"),
        ("content/file/files/ab12", "file/files/ab12"),
    ],
)
def test_short_names(name: str, expected: str) -> None:
    """What is printed can be typed again."""
    assert expected == short_name(name)
