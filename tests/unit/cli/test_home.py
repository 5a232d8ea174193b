"""The home: one holder at a time, and a token that nobody else can ever read."""

import os
import stat
from pathlib import Path

import pytest

from entrepot_cli.outcome import StartError
from entrepot_cli.stack.home import Home, HomeInUseError


def test_the_token_is_closed_whatever_the_umask(tmp_path: Path) -> None:
    """The file has mode 0600 even if the umask would allow more."""
    before = os.umask(0)
    try:
        with Home(tmp_path / "home") as home:
            home.token()
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / "home" / "token").stat().st_mode) == 0o600


def test_the_token_is_never_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is created with its mode, and not opened up and closed afterwards."""
    modes = []
    real_open = os.open

    def watched(path: Path, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_CREAT:
            modes.append((Path(path).name, oct(mode), bool(flags & os.O_EXCL)))
        return real_open(path, flags, mode)

    monkeypatch.setattr(os, "open", watched)
    with Home(tmp_path / "home") as home:
        home.token()

    assert [("0o600", True)] == [
        (mode, is_new) for name, mode, is_new in modes if name.startswith("token.")
    ]


def test_a_folder_that_is_none_is_named(tmp_path: Path) -> None:
    """A home below a file does not start, and the error says which setting to change."""
    (tmp_path / "file").touch()

    with pytest.raises(StartError, match=r"file/home cannot be used.*ENTREPOT_HOME"):
        Home(tmp_path / "file" / "home").__enter__()


def test_the_token_stays(tmp_path: Path) -> None:
    """It is made once, with 256 random bits behind a prefix."""
    with Home(tmp_path) as home:
        first = home.token()
    with Home(tmp_path) as home:
        second = home.token()

    assert first == second
    assert first.startswith("ent_")
    assert len(first) == len("ent_") + 43


def test_a_crash_before_the_end_leaves_no_half_token(tmp_path: Path) -> None:
    """What an interrupted first start left is not the token."""
    (tmp_path / "token.x.new").write_text("ent_half")

    with Home(tmp_path) as home:
        assert home.token() != "ent_half"


def test_the_folder_is_closed(tmp_path: Path) -> None:
    """The folder, when it is made, is for its owner only."""
    with Home(tmp_path / "home"):
        assert stat.S_IMODE((tmp_path / "home").stat().st_mode) == 0o700


def test_it_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    """A second holder is refused, with the first one's process; after its end it is free."""
    with (
        Home(tmp_path),
        pytest.raises(HomeInUseError, match=f"process {os.getpid()}"),
        Home(tmp_path),
    ):
        pass

    with Home(tmp_path):
        assert True
