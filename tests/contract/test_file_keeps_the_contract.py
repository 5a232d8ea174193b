"""The file plugin, as a process of its own, against the contract suite."""

import hashlib
import sys
from typing import ClassVar

from entrepot.plugins.file.v1.file_pb2 import Sync, Upload
from entrepot_sdk.testing import Refusal, Scenario, remote, repository, upload
from entrepot_sdk.testing.contract import PluginContract

URL = "https://example.org/files/PULP_MANIFEST"
SYNC = Sync(repository="repositories/file/one", remote="remotes/file/one")
MIRROR = Sync(repository="repositories/file/one", remote="remotes/file/one", mirror=True)
BYTES = b"some bytes"


def sha256(data: bytes) -> str:
    """Hash as the manifest does."""
    return hashlib.sha256(data).hexdigest()


def manifest(files: int) -> bytes:
    """List so many files."""
    return b"".join(
        f"folder/{n}, and a comma.txt,{sha256(b'%d' % n)},{n}\n".encode() for n in range(files)
    )


def upload_to(path: str) -> Upload:
    """Ask for a path."""
    return Upload(repository="repositories/file/one", upload="uploads/one", relative_path=path)


def uploads_of(*entries: Upload.Entry) -> Upload:
    """Ask for many files."""
    return Upload(repository="repositories/file/one", files=entries)


FOLDER_URL = "https://example.org/files/"
SUMS_URL = f"{FOLDER_URL}SHA256SUMS"
FILE_URL = "https://example.org/a%20b.txt"
MANY = uploads_of(
    Upload.Entry(upload="uploads/one", relative_path="a"),
    Upload.Entry(upload="uploads/two"),
    Upload.Entry(url=FILE_URL, sha256=sha256(BYTES)),
)
UPLOADED = upload(sha256(BYTES), len(BYTES), filename="name.txt")


class TestFileKeepsTheContract(PluginContract):
    command: ClassVar = [sys.executable, "-m", "entrepot_plugin_file"]
    scenarios: ClassVar = [
        Scenario(
            name="a sync of more than a batch",
            task_type="file/syncs",
            parameters=SYNC,
            resources=[repository(), remote(URL)],
            upstream={URL: manifest(1234)},
        ),
        Scenario(
            name="a mirror of nothing",
            task_type="file/syncs",
            parameters=MIRROR,
            resources=[repository(base_version=3, unit_count=2), remote(URL)],
            upstream={URL: b"# nothing\n"},
        ),
        Scenario(
            name="a sync of a broken manifest",
            task_type="file/syncs",
            parameters=SYNC,
            resources=[repository(), remote(URL)],
            upstream={URL: manifest(600) + b"../evil," + b"0" * 64 + b",1\n"},
            verdict="failed",
            reason="MANIFEST_INVALID",
        ),
        Scenario(
            name="a sync of a manifest that is not there",
            task_type="file/syncs",
            parameters=SYNC,
            resources=[repository(), remote(URL)],
            verdict="failed",
            reason="DOWNLOAD_FAILED",
        ),
        Scenario(
            name="an upload",
            task_type="file/uploads",
            parameters=upload_to(""),
            resources=[repository(), UPLOADED],
            blobs=[BYTES],
            refusals=[
                Refusal(upload_to("../name.txt"), "relative_path"),
                Refusal(upload_to("/name.txt"), "relative_path"),
                Refusal(upload_to("a//b"), "relative_path"),
                Refusal(
                    upload_to(""),
                    "relative_path",
                    resources=[repository(), upload(sha256(BYTES), len(BYTES))],
                ),
            ],
        ),
        Scenario(
            name="many files",
            task_type="file/uploads",
            parameters=MANY,
            resources=[
                repository(),
                upload(sha256(BYTES), len(BYTES), "files.upload"),
                upload(
                    sha256(BYTES),
                    len(BYTES),
                    "files.upload",
                    name="uploads/two",
                    filename="name.txt",
                ),
            ],
            blobs=[BYTES],
            upstream={FILE_URL: BYTES},
            refusals=[
                Refusal(
                    uploads_of(MANY.files[0], MANY.files[0]),
                    "files[1].relative_path",
                    resources=[repository(), upload(sha256(BYTES), len(BYTES), "files.upload")],
                ),
            ],
        ),
        Scenario(
            name="a sync of checksums",
            task_type="file/syncs",
            parameters=SYNC,
            resources=[repository(), remote(SUMS_URL)],
            content={"repository": []},
            upstream={
                SUMS_URL: "".join(f"{sha256(b'%d' % n)}  {n}\n" for n in range(40)).encode(),
                **{f"{FOLDER_URL}{n}": b"%d" % n for n in range(40)},
            },
        ),
        Scenario(
            name="a sync of pages",
            task_type="file/syncs",
            parameters=MIRROR,
            resources=[repository(), remote(FOLDER_URL)],
            upstream={
                FOLDER_URL: b'<a href="../">..</a><a href="a">a</a><a href="b/">b/</a>',
                f"{FOLDER_URL}a": b"a",
                f"{FOLDER_URL}b/": b'<a href="/files/">up</a><a href="c%20d">c d</a>',
                f"{FOLDER_URL}b/c%20d": b"cd",
            },
        ),
        Scenario(
            name="a mirror of a page that lists nothing",
            task_type="file/syncs",
            parameters=MIRROR,
            resources=[repository(), remote(FOLDER_URL)],
            upstream={FOLDER_URL: b"<h1>Please log in</h1>"},
            verdict="failed",
            reason="LISTING_INVALID",
        ),
        Scenario(
            name="a sync of folders without end",
            task_type="file/syncs",
            parameters=SYNC,
            resources=[repository(), remote(FOLDER_URL)],
            upstream={
                FOLDER_URL + "loop/" * depth: b'<a href="loop/">loop/</a>' for depth in range(40)
            },
            verdict="failed",
            reason="LISTING_TOO_LARGE",
        ),
    ]
