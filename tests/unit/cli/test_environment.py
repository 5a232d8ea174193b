"""Each program's environment has what it needs, and no key that it does not."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from entrepot_cli.settings import Settings
from entrepot_cli.stack.environment import Environment

KEYS = ("ENTREPOT_TOKEN", "ENTREPOT_CONTENT_TOKEN", "ENTREPOT_DATABASE_URL", "ENTREPOT_BLOBS_URL",
        "ENTREPOT_BLOBS_PREVIOUS_URL")  # fmt: skip


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Environment:
    """Environments of a stack, on a machine full of keys."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "key")
    monkeypatch.setenv("PGPASSWORD", "key")
    monkeypatch.setenv("ENTREPOT_TOKEN", "outer")
    settings = Settings.from_environment({"ENTREPOT_DATABASE_URL": "postgresql://u:p@h/d"})
    return Environment(settings, token="inner", content_token="content")


def keys(environment: Mapping[str, str]) -> set[str]:
    """The keys that are in an environment."""
    return {*KEYS, "AWS_SECRET_ACCESS_KEY", "PGPASSWORD"} & set(environment)


def test_core_has_all(environment: Environment) -> None:
    """Core has the database, the blobs and both tokens."""
    assert set(KEYS) <= keys(environment.core())
    assert environment.core()["ENTREPOT_TOKEN"] == "inner"


def test_a_plugin_has_none(environment: Environment) -> None:
    """A plugin has no key, also none of another tool."""
    assert keys(environment.plugin()) == set()


def test_gateways_have_their_own_token(environment: Environment) -> None:
    """Each gateway has the token of its role; only the content gateway knows where blobs are."""
    assert keys(environment.api_gateway()) == {"ENTREPOT_TOKEN"}
    assert keys(environment.content_gateway()) == {
        "ENTREPOT_CONTENT_TOKEN",
        "ENTREPOT_BLOBS_URL",
        "ENTREPOT_BLOBS_PREVIOUS_URL",
    }


def test_a_gateway_has_the_keys_to_the_store_it_reads(environment: Environment) -> None:
    """And to no other: those of S3 for blobs there, before or now, those of others never."""
    settings = environment.settings
    for changed in (
        replace(settings, blobs_url="s3://bucket"),
        replace(settings, blobs_previous_url="s3://bucket?region=x"),
    ):
        told = replace(environment, settings=changed)
        assert "AWS_SECRET_ACCESS_KEY" in told.content_gateway()
        assert "PGPASSWORD" not in told.content_gateway()
        assert "AWS_SECRET_ACCESS_KEY" not in told.api_gateway()
        assert "AWS_SECRET_ACCESS_KEY" not in told.plugin()
    other = replace(environment, settings=replace(settings, blobs_url="gs://bucket"))
    assert "AWS_SECRET_ACCESS_KEY" not in other.content_gateway()


def test_printing_shows_no_key(environment: Environment) -> None:
    """Neither environment nor settings show a token or a password when printed."""
    shown = repr(environment)

    assert not any(secret in shown for secret in ("inner", "content_token", "u:p@"))
