"""Core's settings."""

import pytest

from entrepot_core.config import Config


@pytest.mark.parametrize(
    ("environment", "allowed"),
    [
        ({}, True),
        ({"ENTREPOT_GRPC": "unix:/run/core"}, True),
        ({"ENTREPOT_GRPC": "0.0.0.0:50051"}, False),
        # Where core is found, in a process of core elsewhere.
        ({"ENTREPOT_GRPC": "dns:///core:50051"}, False),
        ({"ENTREPOT_HTTP": "0.0.0.0:8080"}, False),
        ({"ENTREPOT_CONTENT": "[::]:8081"}, False),
        ({"ENTREPOT_CONTENT": "[::]:8081", "ENTREPOT_ALLOW_LOOPBACK_UPSTREAMS": "1"}, True),
        ({"ENTREPOT_ALLOW_LOOPBACK_UPSTREAMS": "0"}, False),
    ],
)
def test_loopback_upstreams(environment: dict[str, str], *, allowed: bool) -> None:
    """Only a stack whose every address is this machine's own may mirror from it unasked."""
    assert Config.from_environment(environment).allow_loopback_upstreams == allowed


@pytest.mark.parametrize("name", ["ENTREPOT_HOST_CONNECTIONS", "ENTREPOT_DISPATCHER_SLOTS"])
@pytest.mark.parametrize("value", ["0", "-1", "many", "1.5", "\u00b2"])
def test_a_number_that_is_none_is_named(name: str, value: str) -> None:
    """A number of connections or attempts that cannot be names the setting."""
    with pytest.raises(ValueError, match=rf"{name}: .* is not a number"):
        Config.from_environment({name: value})


@pytest.mark.parametrize("value", ["0", "-1", "long", "nan", "inf"])
def test_a_silence_that_is_none_is_named(value: str) -> None:
    """A heartbeat timeout that cannot be names the setting."""
    with pytest.raises(ValueError, match="ENTREPOT_HEARTBEAT_TIMEOUT: "):
        Config.from_environment({"ENTREPOT_HEARTBEAT_TIMEOUT": value})


def test_a_database_that_is_none_is_named_without_its_password() -> None:
    """Another kind of database is refused by the name of the setting, and its URL is not shown."""
    with pytest.raises(ValueError, match="ENTREPOT_DATABASE_URL: ") as refused:
        Config.from_environment({"ENTREPOT_DATABASE_URL": "mysql://me:secret@host/db"})

    assert "secret" not in str(refused.value)


def test_what_is_over_is_kept_for_days() -> None:
    """Days may be fractions; `forever` keeps; without a word it is 30."""
    kept = Config.from_environment(
        {"ENTREPOT_RETAIN_FAILED_DAYS": "0.5", "ENTREPOT_RETAIN_EVENTS_DAYS": "forever"}
    ).retention

    assert (kept.completed_days, kept.failed_days, kept.events_days) == (30, 0.5, None)


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "never", "1e9"])
def test_days_that_are_none_are_named(value: str) -> None:
    """A time that cannot be names the setting."""
    with pytest.raises(ValueError, match="ENTREPOT_RETAIN_COMPLETED_DAYS: "):
        Config.from_environment({"ENTREPOT_RETAIN_COMPLETED_DAYS": value})
