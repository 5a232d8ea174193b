"""Verifying bytes: the only way to a Blob."""

import hashlib

import pytest

from entrepot.type.v1.digest_pb2 import Digest
from entrepot_core.domain.blob import Blob, Expected, Verifier, parse_digest
from entrepot_core.domain.digest import ALGORITHMS, new_hash
from entrepot_core.domain.errors import (
    DigestMismatchError,
    FieldInvalidError,
    SizeMismatchError,
)

BLAKE2B_OF_ABC = (
    "ba80a53f981c4d0d6a2797b69f12f6e94c212f14685ac4b74b12bb6fdbffa2d1"
    "7d87c5392aab792dc252d5de4533cc9518d38aa8dbf1925ab92386edd4009923"
)


def digest(algorithm: str, data: bytes) -> tuple[str, bytes]:
    """A digest with its name."""
    hashed = new_hash(algorithm)
    hashed.update(data)
    return algorithm, hashed.digest()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_is_verified(algorithm: str) -> None:
    """Right bytes pass and wrong ones do not, whatever the digest."""
    expected = Expected((digest(algorithm, b"ab"),))
    right, wrong = Verifier(expected), Verifier(expected)

    right.update(b"a")
    right.update(b"b")
    wrong.update(b"xy")

    assert right.finish() == Blob(hashlib.sha256(b"ab").digest(), 2)
    with pytest.raises(DigestMismatchError) as caught:
        wrong.finish()
    assert caught.value.metadata["expected"] == digest(algorithm, b"ab")[1].hex()
    assert f"has {algorithm} " in caught.value.message


@pytest.mark.parametrize(
    ("algorithm", "of_abc"),
    [
        ("md5", "900150983cd24fb0d6963f7d28e17f72"),
        ("sha1", "a9993e364706816aba3e25717850c26c9cd0d89d"),
        ("sha224", "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7"),
        ("sha256", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        ("sha3_256", "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532"),
        ("blake2b_256", "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319"),
        ("blake2b_512", BLAKE2B_OF_ABC),
        ("blake2s_256", "508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982"),
        ("blake3", "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"),
    ],
)
def test_algorithms_are_the_standard_ones(algorithm: str, of_abc: str) -> None:
    """Digests of "abc" are those of FIPS 180-4, FIPS 202, RFC 1321, RFC 7693 and BLAKE3."""
    assert digest(algorithm, b"abc")[1].hex() == of_abc


def test_the_contract_names_the_same_algorithms() -> None:
    """What a message may name can be verified, with a digest of the length that is expected."""
    named = {name.removeprefix("ALGORITHM_").lower() for name in Digest.Algorithm.keys()}  # noqa: SIM118  no dict

    assert named - {"unspecified"} == set(ALGORITHMS)
    assert {name: len(new_hash(name).digest()) for name in ALGORITHMS} == ALGORITHMS


def test_all_digests_count() -> None:
    """One wrong digest among right ones is enough."""
    verifier = Verifier(Expected((digest("sha256", b"a"), digest("md5", b"b"))))
    verifier.update(b"a")

    with pytest.raises(DigestMismatchError):
        verifier.finish()


def test_too_many_bytes_are_refused_when_they_come() -> None:
    """Neither an exact size nor a limit is exceeded by one byte."""
    for verifier in (Verifier(Expected(size_bytes=2)), Verifier(max_bytes=2)):
        verifier.update(b"ab")
        with pytest.raises(SizeMismatchError):
            verifier.update(b"c")


def test_too_few_bytes_are_refused_at_the_end() -> None:
    """The message says what it is about, in words a person can use."""
    verifier = Verifier(Expected(size_bytes=2), url="http://up/f", unit="a/f")
    verifier.update(b"a")

    with pytest.raises(SizeMismatchError) as caught:
        verifier.finish()

    assert str(caught.value) == "What http://up/f sent has 1 bytes, not 2 (for the file a/f)."
    assert caught.value.metadata == {
        "url": "http://up/f",
        "unit": "a/f",
        "expected": "2",
        "actual": "1",
    }


def test_an_announced_length_must_be_possible() -> None:
    """What is told before the bytes is judged before them."""
    Verifier(Expected(size_bytes=2)).announce(2)
    Verifier(max_bytes=2).announce(1)
    for verifier in (Verifier(Expected(size_bytes=2)), Verifier(max_bytes=2)):
        with pytest.raises(SizeMismatchError):
            verifier.announce(3)


def test_only_a_sha256_says_that_a_blob_is_meant() -> None:
    """A blob that is here already is allowed by its SHA-256 and size, not by other digests."""
    blob = Blob(hashlib.sha256(b"a").digest(), 1)

    assert Expected((digest("sha256", b"a"),)).allows(blob)
    assert not Expected((digest("sha256", b"a"),), size_bytes=2).allows(blob)
    assert not Expected((digest("md5", b"a"),)).allows(blob)
    assert not Expected().allows(blob)


@pytest.mark.parametrize(
    ("algorithm", "text"),
    [
        ("sha256", "00" * 31),
        ("sha256", "AB" * 32),
        ("sha256", "zz" * 32),
        ("sha256", " " + "00" * 32),
        ("sha256", "00" * 16 + "\n" + "00" * 16),
        ("sha256", ""),
        ("crc32", "00000000"),
        ("", "00"),
    ],
)
def test_malformed_digests_are_refused(algorithm: str, text: str) -> None:
    """What is not lowercase hexadecimal of the right length names its field."""
    with pytest.raises(FieldInvalidError) as caught:
        parse_digest(algorithm, text, "digests[0]")

    assert caught.value.violations[0].field == "digests[0]"
