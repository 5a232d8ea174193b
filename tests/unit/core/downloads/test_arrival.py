"""A file on its way, and those who read it."""

import asyncio
import hashlib
import threading

import pytest

from entrepot_core.domain.blob import Expected, Verifier
from entrepot_core.domain.errors import DigestMismatchError, DownloadFailedError
from entrepot_core.downloads.arrival import Arrival, VerifyingSink

DATA = bytes(range(256)) * 40


def an_arrival(*, verify_first: bool = False, data: bytes = DATA) -> Arrival:
    """One that has begun."""
    arrival = Arrival(VerifyingSink(), is_read=True, verify_first=verify_first)
    begin(arrival, data)
    return arrival


def begin(arrival: Arrival, data: bytes = DATA) -> None:
    """A try begins."""
    expected = Expected((("sha256", hashlib.sha256(data).digest()),), len(data))
    arrival.begin(Verifier(expected))


def bring(arrival: Arrival, *chunks: bytes) -> None:
    """Bytes come."""
    for chunk in chunks:
        asyncio.run(arrival.write(chunk))


def test_the_last_byte_waits_for_the_rest_to_be_verified() -> None:
    """All that has come but one byte is given out before, and that one only after."""
    arrival = an_arrival()
    chunks = arrival.chunks(arrival.reader())

    bring(arrival, DATA)
    before = next(chunks)
    arrival.finish()
    arrival.end(None)

    assert before == DATA[:-1]
    assert b"".join(chunks) == DATA[-1:]


def test_a_small_file_waits_as_a_whole() -> None:
    """Nothing is given out before all is verified."""
    arrival = an_arrival(verify_first=True, data=b"other")
    reader = arrival.reader()
    bring(arrival, b"wrong")

    with pytest.raises(DigestMismatchError) as caught:
        arrival.finish()
    arrival.end(caught.value)

    with pytest.raises(DigestMismatchError):
        next(arrival.chunks(reader))


def test_a_late_reader_gets_all_of_it() -> None:
    """From the start, while others are far ahead."""
    arrival = an_arrival()
    bring(arrival, DATA[:5000])
    early = arrival.chunks(arrival.reader())
    assert next(early) == DATA[:4999]
    bring(arrival, DATA[5000:])
    arrival.finish()
    arrival.end(None)

    assert b"".join(arrival.chunks(arrival.reader())) == DATA
    assert b"".join(early) == DATA[4999:]


def test_a_further_try_goes_on_where_readers_are() -> None:
    """When it brings the same bytes, readers notice nothing."""
    arrival = an_arrival()
    chunks = arrival.chunks(arrival.reader())
    bring(arrival, DATA[:5000])
    first = next(chunks)

    begin(arrival)
    bring(arrival, DATA[:3000], DATA[3000:])
    arrival.finish()
    arrival.end(None)

    assert first + b"".join(chunks) == DATA


@pytest.mark.parametrize("is_read", [True, False])
def test_a_further_try_may_not_change_what_was_given_out(is_read: bool) -> None:
    """Other bytes than readers have are a failure; than nobody has, are not."""
    arrival = an_arrival()
    bring(arrival, bytes(5000))
    chunks = arrival.chunks(arrival.reader())
    if is_read:
        next(chunks)

    begin(arrival)
    if is_read:
        with pytest.raises(DownloadFailedError):
            bring(arrival, DATA)
        return
    bring(arrival, DATA)
    arrival.finish()
    arrival.end(None)

    assert b"".join(chunks) == DATA


def test_a_reader_who_leaves_waits_no_longer() -> None:
    """And the others go on."""
    arrival = an_arrival()
    reader = arrival.reader()
    read: list[bytes] = []
    thread = threading.Thread(target=lambda: read.extend(arrival.chunks(reader)))
    thread.start()

    reader.leave()
    thread.join(20)
    bring(arrival, DATA)
    arrival.finish()
    arrival.end(None)

    assert not thread.is_alive()
    assert read == []
    assert b"".join(arrival.chunks(arrival.reader())) == DATA
