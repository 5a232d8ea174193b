"""Where metrics are shown, and to whom."""

from collections.abc import Iterator
from http.client import HTTPConnection

import pytest
from prometheus_client import CollectorRegistry, Counter

from entrepot_rpc.exposition import Exposition


@pytest.fixture
def registry() -> CollectorRegistry:
    """One counter."""
    registry = CollectorRegistry()
    Counter("cups", "Cups.", registry=registry).inc(3)
    return registry


@pytest.fixture
def guarded(registry: CollectorRegistry) -> Iterator[Exposition]:
    """Metrics that need a token."""
    exposition = Exposition(registry, "127.0.0.1:0", "sesame")
    yield exposition
    exposition.stop()


def ask(
    exposition: Exposition, path: str = "/metrics", authorization: str = ""
) -> tuple[int, bytes]:
    """What is answered."""
    connection = HTTPConnection("127.0.0.1", exposition.port, timeout=10)
    try:
        headers = {"Authorization": authorization} if authorization else {}
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer open", "Basic sesame", "sesame"])
def test_a_token_is_needed_where_one_is_set(guarded: Exposition, authorization: str) -> None:
    """Without the token, or with another, nothing is shown."""
    status, body = ask(guarded, authorization=authorization)

    assert status == 401
    assert b"cups" not in body


def test_the_token_opens(guarded: Exposition) -> None:
    """With the token there are metrics, and nothing at other paths."""
    assert b"cups_total 3.0" in ask(guarded, authorization="Bearer sesame")[1]
    assert ask(guarded, "/", "Bearer sesame")[0] == 404


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("0.0.0.0:0", "ENTREPOT_METRICS_TOKEN"),
        ("[::]:0", "ENTREPOT_METRICS_TOKEN"),
        (":0", "ENTREPOT_METRICS_TOKEN"),
        ("example.org:9464", "ENTREPOT_METRICS_TOKEN"),
        ("9464", "not host:port"),
        ("127.0.0.1:http", "not host:port"),
    ],
)
def test_an_open_address_needs_a_token(
    registry: CollectorRegistry, address: str, words: str
) -> None:
    """What others can reach is refused without a token, by the name of the setting."""
    with pytest.raises(ValueError, match=words):
        Exposition(registry, address, "")


def test_workers_share_a_setting(registry: CollectorRegistry) -> None:
    """Several workers take ports one after the other; one more than ports has none."""
    first = Exposition(registry, "127.0.0.1:0", "")
    address = f"127.0.0.1:{first.port}"
    try:
        with pytest.raises(OSError, match="ENTREPOT_METRICS: cannot listen"):
            Exposition(registry, address, "")
        second = Exposition(registry, address, "", ports=20)
        assert second.port != first.port
        second.stop()
    finally:
        first.stop()
