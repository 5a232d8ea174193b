"""Which store an address means."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote

from entrepot_core.blobs.directory import DirectoryBlobStore
from entrepot_rpc.bucket_url import BucketUrl

if TYPE_CHECKING:
    from entrepot_core.blobs.blob_store import BlobStore

__all__ = ["open_blob_store"]

_PREVIOUS = "ENTREPOT_BLOBS_PREVIOUS_URL"


def open_blob_store(
    url: str, scratch: Path, previous_url: str = "", *, setting: str = "ENTREPOT_BLOBS_URL"
) -> BlobStore:
    """The store at a path or a URL; ValueError for an address that means none.

    `file:///srv/blobs?reserve_bytes=0` says how much of the disk stays free. An object store, such
    as `s3://bucket/prefix?region=eu-west-1`, keeps bytes on their way in the folder `scratch`.
    With `previous_url`, what is not in the store is read from there.
    """
    store = _open(url, scratch, setting)
    if not previous_url:
        return store
    from entrepot_core.blobs.succession import Succession  # noqa: PLC0415  while moving only

    previous = _open(previous_url, scratch, _PREVIOUS, must_exist=True)
    return Succession(store, previous)


def _open(url: str, scratch: Path, setting: str, *, must_exist: bool = False) -> BlobStore:
    bucket_url = BucketUrl.parse(url, setting)
    if bucket_url is not None:
        from entrepot_core.blobs.bucket import Bucket  # noqa: PLC0415  a folder needs it not
        from entrepot_core.blobs.object_store import ObjectBlobStore  # noqa: PLC0415

        folder = Path(bucket_url.scratch) if bucket_url.scratch else scratch
        return ObjectBlobStore(Bucket(bucket_url), folder)
    if not url.startswith("file://"):
        return DirectoryBlobStore(_folder(Path(url), setting, must_exist=must_exist))
    path, _, query = url.removeprefix("file://").partition("?")
    options = dict(parse_qsl(query, strict_parsing=True)) if query else {}
    reserve = options.pop("reserve_bytes", None)
    if options:
        raise ValueError(f"{setting}: {', '.join(options)} is not an option of file://.")
    return DirectoryBlobStore(
        _folder(Path(unquote(path)), setting, must_exist=must_exist),
        reserve_bytes=None if reserve is None else int(reserve),
    )


def _folder(path: Path, setting: str, *, must_exist: bool) -> Path:
    if must_exist and not path.is_dir():
        raise ValueError(
            f"{setting}: there is no folder {path}. It is where blobs were before; unset it if "
            "none were stored elsewhere, and mount the disk if it is on one."
        )
    return path
