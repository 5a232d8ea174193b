"""The demo's upstream: real files, shared and never changed, with a manifest of what is there."""

import hashlib
from pathlib import Path

import pytest

from entrepot_cli.upstream import MANIFEST, Upstream


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder with files of all kinds."""
    folder = tmp_path / "source"
    (folder / "package" / "__pycache__").mkdir(parents=True)
    (folder / "package" / "module.py").write_text("x = 1\n")
    (folder / "package" / "__pycache__" / "module.pyc").write_text("made again any time")
    (folder / "with,comma.txt").write_text("no")
    (folder / "wïth-accent.txt").write_text("no")
    return folder


def test_only_what_the_format_can_carry(source: Path, tmp_path: Path) -> None:
    """Names that a line or a URL cannot carry as they are, and caches, are left out."""
    upstream = Upstream(tmp_path / "upstream")
    with upstream:
        upstream.fill(source)

    assert list(upstream.files) == ["package/module.py"]


def test_an_edit_leaves_the_source_alone(source: Path, tmp_path: Path) -> None:
    """Files may share their bytes with the source, and are replaced, never written to."""
    upstream = Upstream(tmp_path / "upstream")
    with upstream:
        upstream.fill(source)
        upstream.write("package/module.py", b"x = 2\n")

    assert (source / "package" / "module.py").read_text() == "x = 1\n"
    assert upstream.files["package/module.py"] == hashlib.sha256(b"x = 2\n").hexdigest()


def test_the_manifest_is_what_is_there(source: Path, tmp_path: Path) -> None:
    """A line for each file: its path, its digest, its length."""
    upstream = Upstream(tmp_path / "upstream")
    with upstream:
        upstream.fill(source)
        upstream.write("new.txt", b"new")
        upstream.delete("package/module.py")
        upstream.publish()

    digest = hashlib.sha256(b"new").hexdigest()
    assert (tmp_path / "upstream" / MANIFEST).read_text() == f"new.txt,{digest},3\n"
