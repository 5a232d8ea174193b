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

    assert list(check(Upload(relative_path=relative_path), resources)) == []


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

    (problem,) = check(Upload(relative_path=relative_path), resources)

    assert problem.reason == reason
    assert problem.field == "relative_path"
