"""Every client guide works: its text is run with the real client, and then its check."""

from pathlib import Path

import pytest

from rest import Api, Json
from stack import Stack
from upstream import Upstream

CLIENTS = ("curl", "wget", "aria2")


@pytest.fixture
def distribution(api: Api, upstream: Upstream) -> Json:
    """A distribution of ten files."""
    return api.a_distribution(api.a_synced_repository(upstream))


@pytest.mark.parametrize("client", CLIENTS)
def test_a_guide_works(
    stack: Stack, api: Api, distribution: Json, upstream: Upstream, client: str, tmp_path: Path
) -> None:
    """Text and check of a guide, pasted into a shell, fetch a file and verify it."""
    (guide,) = api.get(f"{distribution['href']}guides/", client=client)["results"]

    stack.sh(guide["text"], tmp_path)
    stack.sh(guide["check"], tmp_path)

    fetched = {
        path.relative_to(tmp_path).as_posix(): path.read_bytes()
        for path in tmp_path.rglob("*.bin")
    }
    assert fetched
    assert fetched.items() <= upstream.files.items()


def test_a_check_fails_when_the_file_is_wrong(
    stack: Stack, api: Api, distribution: Json, tmp_path: Path
) -> None:
    """A guide's check is not satisfied by any file at all."""
    (guide,) = api.get(f"{distribution['href']}guides/", client="curl")["results"]
    stack.sh(guide["text"], tmp_path)
    (fetched,) = tmp_path.rglob("*.bin")
    fetched.write_bytes(b"wrong")

    with pytest.raises(AssertionError):
        stack.sh(guide["check"], tmp_path)


def test_the_command_prints_the_same_guides(stack: Stack, api: Api, distribution: Json) -> None:
    """`entrepot use` prints what the API answers, and no secret is in it."""
    guides = api.get(f"{distribution['href']}guides/")["results"]

    shown = stack.cli("use", distribution["name"].removeprefix("distributions/")).stdout

    assert tuple(guide["client"] for guide in guides) == CLIENTS
    for guide in guides:
        assert guide["text"].strip().splitlines()[-1] in shown
    assert stack.token not in shown
