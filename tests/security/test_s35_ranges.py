"""S35: what a Range costs does not grow with what it asks for (CVE-2025-62727)."""

import contextlib
import time

import pytest

from entrepot_gateway.content.conditions import wanted_ranges
from entrepot_gateway.content.files import File, Kind
from entrepot_gateway.content.ranges import NotSatisfiableError
from gateway_process import GatewayProcess, fields_of, status
from served import DATA

FIELDS = {
    "ten thousand": "bytes=" + ",".join(f"{n}-{n}" for n in range(0, 20_000, 2)),
    "a thousand": "bytes=" + ",".join(f"{n}-{n}" for n in range(0, 2_000, 2)),
    "all the same": "bytes=" + ",".join(["0-"] * 10_000),
    "overlapping": "bytes=" + ",".join(f"{n}-{n + 10}" for n in range(10_000)),
    "suffixes": "bytes=" + ",".join(f"-{n}" for n in range(1, 10_000)),
    "outside": "bytes=" + ",".join(f"{10**9 + n}-" for n in range(5_000)),
    "commas": "bytes=" + "," * 65_000,
    "digits": "bytes=0-" + "9" * 65_000,
    "blanks": "bytes=" + " " * 65_000 + "0-1",
    "dashes": "bytes=" + "-" * 65_000,
    "as many as are served": "bytes=" + ",".join(f"{n}-{n}" for n in range(0, 200, 2)),
    "ninety-nine times all": "bytes=" + ",".join(["0-"] * 99),
}
CONDITIONS = {
    "many tags": b"If-None-Match: " + b",".join([b'"x"'] * 16_000),
    "open tags": b"If-None-Match: " + b'"' * 65_000,
    "weak tags": b"If-None-Match: " + b"W/" * 32_000,
    "a long date": b"If-Modified-Since: " + b"Mon, " * 13_000,
    "a long If-Range": b"Range: bytes=0-1\r\nIf-Range: " + b"9 " * 32_000,
    "many forms": b"Accept: " + b"a/b;q=0.1," * 6_500,
    "many codings": b"Accept-Encoding: " + b"gzip;q=0.001," * 5_000,
}
A_FILE = File(Kind.KIND_STORED, "0" * 64, 10**9, "text/plain", 1, "x")


@pytest.mark.parametrize("name", FIELDS)
def test_a_range_is_read_within_ten_milliseconds(name: str) -> None:
    """Ten thousand pieces, or 64 KiB of anything."""
    request = {b"range": FIELDS[name].encode()}

    def read() -> float:
        started = time.perf_counter()
        with contextlib.suppress(NotSatisfiableError):
            wanted_ranges(A_FILE, request)
        return time.perf_counter() - started

    assert min(read() for _ in range(5)) < 0.01


@pytest.mark.parametrize("name", FIELDS)
def test_a_range_is_never_more_than_the_file(content: GatewayProcess, name: str) -> None:
    """What comes back is the file, some of it once, or 416; nothing a thousand times."""
    answer = content.ask(b"/dev/a/x.txt", b"GET", b"Range: " + FIELDS[name].encode())

    assert status(answer) in (200, 206, 416)
    fields = fields_of(answer)
    overhead = 200 * 100 if "multipart" in fields.get("content-type", "") else 0
    assert int(fields["content-length"]) <= len(DATA) + overhead


@pytest.mark.parametrize("name", CONDITIONS)
def test_no_other_field_costs_more(content: GatewayProcess, name: str) -> None:
    """Conditions and preferences of 64 KiB are answered in about the time of a plain request."""

    def seconds(target: bytes, *fields: bytes) -> float:
        started = time.perf_counter()
        assert status(content.ask(target, b"GET", *fields)) == 200
        return time.perf_counter() - started

    usual = min(seconds(b"/dev/a/x.txt") for _ in range(5))
    best = min(seconds(b"/dev/a/x.txt", CONDITIONS[name]) for _ in range(5))

    assert best < usual + 0.02
