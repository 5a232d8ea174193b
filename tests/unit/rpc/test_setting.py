"""Settings: what may be, and the sentence about what may not."""

import pytest

from entrepot_rpc import setting

NAME = "ENTREPOT_X"


@pytest.mark.parametrize("value", ["-1", "86401", "nan", "inf", "soon", "1e3s", " ", "1_0", "²"])
def test_seconds_that_are_none(value: str) -> None:
    """A time that cannot be names the setting, itself, and what may be."""
    with pytest.raises(ValueError, match=rf'^{NAME}: ".*" is not a number of seconds from 0 to'):
        setting.seconds({NAME: value}, NAME, 25)


def test_seconds() -> None:
    """A number may have a fraction; none is the default."""
    assert [25, 0.5, 0] == [setting.seconds({NAME: value}, NAME, 25) for value in ("", "0.5", "0")]


@pytest.mark.parametrize("value", ["yes", "true", "2", "-1", "01"])
def test_a_flag_is_one_or_zero(value: str) -> None:
    """Whoever writes `true` is told, not taken for no."""
    with pytest.raises(ValueError, match=f'{NAME}: "{value}" is neither 1 nor 0'):
        setting.flag({NAME: value}, NAME, default=True)

    assert setting.flag({NAME: "1"}, NAME, default=False)
    assert not setting.flag({NAME: "0"}, NAME, default=True)
    assert setting.flag({NAME: ""}, NAME, default=True)


def test_a_word_is_one_of_some() -> None:
    """In either case; another is refused with those that there are."""
    assert setting.word({NAME: "TEXT"}, NAME, ("text", "json"), "json") == "text"
    with pytest.raises(ValueError, match=f'{NAME}: "xml" is none of text, json'):
        setting.word({NAME: "xml"}, NAME, ("text", "json"), "json")


@pytest.mark.parametrize(
    "value",
    ["8080", "host", "host:", "host:http", "127.0.0.1:70000", "127.0.0.1:²", "a b:80", "::1:80",
     "[::1:80", "http://127.0.0.1:80", "a/b:80", "-1:-1", "a\n:80"],
)  # fmt: skip
def test_addresses_that_are_none(value: str) -> None:
    """Anything but host:port is refused, with an example."""
    with pytest.raises(ValueError, match=f'{NAME}: ".*is not host:port, such as 127.0.0.1:8080'):
        setting.address({NAME: value}, NAME, "127.0.0.1:8080")


@pytest.mark.parametrize(
    "value", ["127.0.0.1:0", "[::1]:8080", ":8080", "my-host.example:65535", "unix:/run/core"]
)
def test_addresses(value: str) -> None:
    """Names, both kinds of numbers, all of them, and sockets of the file system."""
    assert value == setting.address({NAME: value}, NAME, "127.0.0.1:1", or_socket=True)


def test_a_socket_only_where_there_may_be_one() -> None:
    """What listens on TCP only refuses a socket of the file system."""
    with pytest.raises(ValueError, match="is not host:port"):
        setting.address({NAME: "unix:/run/core"}, NAME, "127.0.0.1:1")


@pytest.mark.parametrize("value", ["two words", "na\u00efve", "line\nbreak", "tab\t", "\x7f"])
def test_a_token_that_cannot_be_sent(value: str) -> None:
    """It is refused, and not shown."""
    with pytest.raises(ValueError, match=f"^{NAME}: ") as refused:
        setting.token({NAME: value}, NAME)

    assert value not in str(refused.value)
    assert setting.token({NAME: "ent_a-Z0.~+/="}, NAME) == "ent_a-Z0.~+/="


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "localhost:1", "unix:/a", "unix-abstract:a"],
)
def test_what_only_this_machine_reaches(address: str) -> None:
    """Loopback, and sockets of this machine."""
    assert setting.is_private(address)


@pytest.mark.parametrize("address", ["0.0.0.0:1", ":1", "[::]:1", "127.0.0.1.example:1", "host:1"])
def test_what_others_reach(address: str) -> None:
    """Everything else, whatever its name begins with."""
    assert not setting.is_private(address)


@pytest.mark.parametrize("value", ["example.org", "http://", "http://h:x/", "http://h/?a", "//h"])
def test_urls_that_are_none(value: str) -> None:
    """An origin of content is http or https, with a host."""
    with pytest.raises(ValueError, match=f"^{NAME}: .* is not an http:// or https:// URL"):
        setting.url({NAME: value}, NAME, "")


def test_a_url_has_no_secret() -> None:
    """One with a password is refused, and not shown."""
    with pytest.raises(ValueError, match="has a name or password in it") as refused:
        setting.url({NAME: "http://me:hush@example.org"}, NAME, "")

    assert "hush" not in str(refused.value)


def test_a_refusal_ends_the_process(capsys: pytest.CaptureFixture[str]) -> None:
    """With status 78, which says "configuration", and the sentence."""
    with pytest.raises(SystemExit) as ended, setting.refused("program"):
        setting.flag({NAME: "yes"}, NAME, default=True)

    assert ended.value.code == 78
    assert capsys.readouterr().err == f'program: {NAME}: "yes" is neither 1 nor 0.\n'
