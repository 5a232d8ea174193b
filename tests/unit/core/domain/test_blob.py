"""Verifying bytes: the only way to a Blob."""

import hashlib

import pytest

from entrepot_core.domain.blob import ALGORITHMS, Blob, Expected, Verifier, parse_digest
from entrepot_core.domain.errors import (
    DigestMismatchError,
    FieldInvalidError,
    SizeMismatchError,
)


def digest(algorithm: str, data: bytes) -> tuple[str, bytes]:
    """A digest with its name."""
    return algorithm, hashlib.new(algorithm, data).digest()


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
    assert caught.value.metadata["expected"] == hashlib.new(algorithm, b"ab").hexdigest()


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
