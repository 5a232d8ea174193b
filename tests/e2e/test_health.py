"""Whether it is well: probes of the gateway, and the status in words, while parts are broken."""

from polling import until
from rest import Answer, Api, Rest
from stack import Stack


def problems(api: Api) -> str:
    """What the status complains of, in words."""
    return " ".join(api.get("status/")["problems"])


def test_a_gateway_without_core_lives_and_is_not_ready(stack: Stack) -> None:
    """While core is gone the probe for new requests says so, and why; then it recovers."""
    anybody = Rest(stack.api_url)
    core = stack.process("api")
    ready = anybody.request("GET", "/readyz").status

    with stack.unattended():
        core.kill()
        until(lambda: anybody.request("GET", "/readyz").status == 503, "the gateway to notice")
        alive = anybody.request("GET", "/livez")
    until(lambda: anybody.request("GET", "/readyz").status == 200, "core to be back", 60)

    assert (ready, alive.status, alive.json) == (200, 200, {"status": "serving"})


def test_a_gateway_without_a_database_is_not_ready(stack: Stack) -> None:
    """While PostgreSQL is gone the probe says so, within a second or so; then it recovers."""
    anybody = Rest(stack.api_url)

    with stack.unattended():
        stack.process("postgres").kill()
        refused = until(lambda: _not_ready(anybody), "the gateway to notice")
        alive = anybody.request("GET", "/livez")
    until(lambda: anybody.request("GET", "/readyz").status == 200, "the database to be back", 60)

    assert refused.json["reason"] in ("DATABASE_UNAVAILABLE", "CORE_UNAVAILABLE")
    assert "database" in refused.json["detail"].lower()
    assert alive.status == 200


def _not_ready(anybody: Rest) -> Answer | None:
    answer = anybody.request("GET", "/readyz", timeout=5)
    return answer if answer.status == 503 else None


def test_a_status_says_that_the_store_is_broken(stack: Stack, api: Api) -> None:
    """The folder for blobs is gone: the status names it, the probes stay; then all is well."""
    blobs = stack.home / "blobs"
    away = blobs.with_name("away")
    blobs.rename(away)
    try:
        found = until(lambda: "stor" in problems(api) and problems(api), "the problem", 60)
        probes = [Rest(stack.api_url).request("GET", f"/{one}").status for one in PROBES]
    finally:
        if blobs.exists():
            blobs.rmdir()
        away.rename(blobs)
    until(lambda: "stor" not in problems(api), "the store to be well again", 60)

    assert "No such file or directory" in found
    assert "ENTREPOT_BLOBS_URL" in found
    assert probes == [200, 200]


PROBES = ("livez", "readyz")
