"""Pages: sizes, and tokens that come back as what they were made of."""

import pytest

from entrepot_core.api.named_resource import next_token, read_position
from entrepot_core.api.paging import check_id, page_size, read_token, write_token
from entrepot_core.domain.errors import FieldInvalidError, QueryInvalidError


@pytest.mark.parametrize(("asked", "size"), [(0, 100), (1, 1), (1000, 1000)])
def test_a_page_has_a_size(asked: int, size: int) -> None:
    """Zero means the default."""
    assert size == page_size(asked)


@pytest.mark.parametrize("asked", [-1, 1001, 2**31 - 1])
def test_a_size_out_of_range_is_refused(asked: int) -> None:
    """It is refused, and not silently made smaller."""
    with pytest.raises(FieldInvalidError):
        page_size(asked)


@pytest.mark.parametrize("position", ["", "a", "file/é", "\U0001f642", "a" * 1000])
def test_a_token_is_what_it_was_made_of(position: str) -> None:
    """Any text comes back, and the token needs no escaping in a URL."""
    token = write_token(position)

    assert position == read_token(token)
    assert not set(token) & set("+/=?&% ")


@pytest.mark.parametrize(
    "token", ["a", "abcde", "é", "_w", "/w==", "!", "!!!!", "YQ==YQ==", "Y Q", "="]
)
def test_what_is_no_token_is_refused(token: str) -> None:
    """Wrong lengths, other alphabets and bytes that are no text are refused alike."""
    with pytest.raises(QueryInvalidError):
        read_token(token)


def test_the_first_page_has_no_position() -> None:
    """An empty token is the beginning."""
    assert read_position("", (str, int)) is None


def test_a_position_keeps_its_types() -> None:
    """What a page ended with is what the next one begins after."""
    assert ("a/é", 3) == read_position(next_token(("a/é", 3)), (str, int))


@pytest.mark.parametrize(
    "text",
    [
        "null",
        "{}",
        "[]",
        '["a"]',
        '["a", true]',
        '["a", 1.0]',
        '["a", -1]',
        '["a", NaN]',
        '["\\u0000", 1]',
        '["\\ud800", 1]',
        f'["a", {2**63}]',
        f'["a", {"9" * 5000}]',
        "[" * 100_000,
    ],
    ids=range(13),
)
def test_a_position_of_another_form_is_refused(text: str) -> None:
    """A token that was made up is refused whatever is in it, and never reaches a statement."""
    with pytest.raises(QueryInvalidError):
        read_position(write_token(text), (str, int))


@pytest.mark.parametrize("text", ["", "x", "{0199f0c2-7a51-7c3e-9d2b-5f0a4b6c7d8e}"])
def test_an_id_has_one_spelling(text: str) -> None:
    """What Python takes for a UUID and PostgreSQL may not is refused."""
    with pytest.raises(QueryInvalidError):
        check_id(text)
