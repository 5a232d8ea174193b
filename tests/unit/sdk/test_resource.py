"""Resources: found by role, typed, and without surprises."""

import pytest

from entrepot.plugins.file.v1.file_pb2 import File
from entrepot_sdk import Resources
from entrepot_sdk.testing import remote, repository, upload, version


def test_resources_are_found_by_role_and_kind() -> None:
    """Each kind has its own fields."""
    resources = Resources(
        [
            repository(base_version=3, unit_count=7, state=b"x"),
            version("source", number=2),
            remote("https://example.org/", policy="on_demand"),
            upload("0" * 64, 9, filename="a"),
        ]
    )

    assert resources.repository().base_version == 3
    assert resources.repository("source").is_version
    assert resources.remote().policy == "on_demand"
    assert resources.upload().size_bytes == 9
    assert [one.role for one in resources.repositories()] == ["repository", "source"]


def test_an_unknown_role_is_a_fault_of_the_plugin() -> None:
    """Asking for what the task does not have is an error that names it."""
    with pytest.raises(KeyError, match="no remote in the role 'importer'"):
        Resources().remote("importer")


def test_a_spec_is_unpacked_as_its_type() -> None:
    """A plugin reads its own fields, empty if there are none, and no others."""
    spec = File(relative_path="a")
    lent = Resources([remote("https://example.org/", spec=spec), upload("0" * 64, 1)])

    assert lent.remote().spec_as(File) == spec
    assert lent.upload().spec_as(File) == File()
