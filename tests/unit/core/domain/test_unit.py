"""What makes two units the same."""

from dataclasses import replace

from entrepot_core.domain.unit import Artifact, ContentType, Edge, Source, Unit, unit_digest

TYPE = ContentType(1, "test", "test.file", "files")
FILE = Artifact("a", b"\1" * 32, 3, {"md5": "11"})
EDGE = Edge(1, 1, 1, "test.file", b"\2" * 32)
UNIT = Unit(TYPE, b"\0" * 32, b"attributes", artifacts=(FILE,), edges=(EDGE,))


def test_a_unit_is_named_by_its_key() -> None:
    """The name is the same on every server; the label is what people know it by."""
    assert UNIT.name == "content/test/files/" + "00" * 32
    assert UNIT.label == "a"
    assert replace(UNIT, artifacts=(), repo_key="key").label == "key"
    assert replace(UNIT, artifacts=()).label == UNIT.name


def test_what_does_not_count() -> None:
    """Sources, sizes, further digests, relations of one version, and the server's numbers."""
    same = (
        replace(UNIT, artifacts=(replace(FILE, sources=(Source(1, "http://x/"),)),)),
        replace(UNIT, artifacts=(replace(FILE, size_bytes=None, other_digests={}),)),
        replace(UNIT, edges=(EDGE, replace(EDGE, scope=2))),
        replace(UNIT, edges=(replace(EDGE, type_id=9),)),
        replace(UNIT, implied=True, filter={"x": 1}),
    )

    assert {unit_digest(UNIT)} == {unit_digest(unit) for unit in same}


def test_what_counts() -> None:
    """Attributes, paths and bytes of files, and relations that hold everywhere."""
    others = (
        UNIT,
        replace(UNIT, attributes=b"other"),
        replace(UNIT, artifacts=()),
        replace(UNIT, artifacts=(replace(FILE, relative_path="b"),)),
        replace(UNIT, artifacts=(replace(FILE, sha256=b"\3" * 32),)),
        replace(UNIT, artifacts=(replace(FILE, sha256=None),)),
        replace(UNIT, artifacts=(replace(FILE, sha256=None, other_digests={"md5": "22"}),)),
        replace(UNIT, edges=()),
        replace(UNIT, edges=(replace(EDGE, kind=2),)),
        replace(UNIT, edges=(replace(EDGE, key_digest=b"\4" * 32),)),
    )

    assert len(others) == len({unit_digest(unit) for unit in others})


def test_the_digest_is_the_same_for_ever() -> None:
    """It is stored with every unit, and compared with what comes later."""
    unit = replace(UNIT, artifacts=(FILE, Artifact("b", None, 3, {"sha1": "22", "md5": "11"})))

    expected = "e0065762f07198d0385a2be8d0203de4f41189dcdd9f82c63c263afc339c3c07"
    assert unit_digest(unit).hex() == expected
