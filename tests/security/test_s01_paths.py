"""S01: no spelling of a path leads out of what is served (CVE-2024-4956)."""

import pytest

from entrepot_rpc.errors import Code, ServiceError
from evil_paths import EVIL, STRANGE
from gateway_core import TOKEN
from gateway_process import GatewayProcess, status
from served import DATA

SPELLINGS = [path.encode("latin-1") for path in [*EVIL, *STRANGE]]
WAYS = ((b"GET",), (b"HEAD",), (b"GET", b"Range: bytes=0-9"))
BEARER = b"Authorization: Bearer " + TOKEN.encode()
# Where an API has folders of its own: documents, pages, and what its resources are called.
PREFIXES = (b"/api/v3/docs", b"/problems", b"/api/v3/repositories/zoo")
# Neither a way of naming a file, nor what opened what is looked at.
SECRETS = (b"root:", TOKEN.encode())


def answers(process: GatewayProcess, target: bytes, *fields: bytes) -> list[bytes]:
    """What comes of each way to ask for a target."""
    return [process.ask(target, method, *more, *fields) for method, *more in WAYS]


def test_there_are_enough_spellings() -> None:
    """Sixty at least, each once."""
    assert len(set(SPELLINGS)) >= 60


def test_content_stays_in_its_folder(content: GatewayProcess) -> None:
    """400 or 404, and no file outside the folder of blobs is opened for any of them."""
    blobs = str(content.home / "blobs" / "sha256")
    assert answers(content, b"/dev/a/x.txt")[0].endswith(DATA)
    assert any(path.startswith(blobs) for path in content.opened), "the tracer sees nothing"
    before = len(content.opened)

    found = {target: answers(content, target) for target in SPELLINGS}

    for target, each in found.items():
        assert {status(answer) for answer in each} <= {400, 404}, target
        assert not any(secret in answer for answer in each for secret in SECRETS), target
    assert content.opened[before:] == []


def test_the_tracer_sees_blobs_alone(content: GatewayProcess) -> None:
    """Where files are served, what is opened is the blob, and nothing else."""
    for number in range(3):
        content.files[f"b/{number}"] = content.files["a/x.txt"]
    answers(content, b"/dev/a/x.txt")
    before = len(content.opened)

    served = [answer for number in range(3) for answer in answers(content, b"/dev/b/%d" % number)]

    assert {status(answer) for answer in served} == {200, 206}
    blobs = str(content.home / "blobs" / "sha256")
    assert all(path.startswith((blobs, "/proc/self/fd/")) for path in content.opened[before:])


@pytest.mark.parametrize("prefix", PREFIXES)
def test_the_api_has_no_files(api: GatewayProcess, prefix: bytes) -> None:
    """Neither the API nor its documents have a way to a file; nothing is opened."""
    api.core.on("GetRepository", ServiceError.of(Code.NOT_FOUND, "RESOURCE_NOT_FOUND", "None."))
    answers(api, b"/api/v3/docs/swagger-ui.css", BEARER)
    answers(api, b"/problems/PATH_NOT_FOUND", BEARER)
    answers(api, b"/problems/NO_SUCH_PAGE", BEARER)
    answers(api, b"/nowhere/../%", BEARER)
    # What reads errors of core is imported with the first of them.
    answers(api, b"/api/v3/repositories/zoo/none", BEARER)
    before = len(api.opened)

    for spelling in SPELLINGS:
        target = prefix + spelling.removeprefix(b"/dev") if b"/dev" in spelling else spelling
        for answer in answers(api, target, BEARER):
            assert status(answer) in (400, 404), (target, answer[:200])
            assert not any(secret in answer for secret in SECRETS), target

    assert api.opened[before:] == []
