"""Units that core knows, without a sync."""

from core_under_test import Core, pack
from declarations import file_plugin
from entrepot.plugins.file.v1 import file_pb2
from entrepot_core.domain.blob import Blob
from entrepot_core.domain.unit import Artifact, Unit
from entrepot_core.plugins.catalog import Catalog
from entrepot_core.plugins.descriptors import Declaration
from entrepot_core.plugins.units import parse_attributes
from entrepot_core.store import blobs, content_types, staging

__all__ = ["a_unit"]


def a_unit(core: Core, path: str) -> str:
    """The name of a file that is there, in no repository."""
    digest = bytes(31) + len(path).to_bytes(1, "big")
    attributes = file_pb2.File(relative_path=path, sha256=digest.hex(), size_bytes=1)
    parsed = parse_attributes(
        Catalog([Declaration(file_plugin())]), pack(attributes), "attributes"
    )
    with core.database.transaction() as cursor:
        blobs.register(cursor, [Blob(digest, 1)])
        types = content_types.number(cursor, [("file", "file.file", "files")])
        unit = Unit(
            type=types["file.file"],
            key_digest=parsed.key_digest,
            attributes=parsed.attributes,
            repo_key=parsed.repository_key,
            filter=parsed.filter,
            artifacts=(Artifact(path, digest, 1),),
        )
        staging._store(cursor, [unit])
    return parsed.name
