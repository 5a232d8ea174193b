"""Pages of folders: the links below are found, and no other."""

import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot_plugin_file.format.listing import ListingError, read_listing

URL = "https://example.org/pub/files/"


def names(page: str, url: str = URL) -> list[str]:
    """What a page lists, folders with a slash."""
    return [f"{one.name}{'/' * one.is_folder}" for one in read_listing(page, url)]


@pytest.mark.parametrize(
    "href",
    [
        "../",
        "/pub/",
        "/",
        "./",
        "",
        "?C=N;O=D",
        "?C=M&amp;O=A",
        "a.txt?download=1",
        "#top",
        "https://example.org/pub/other/",
        "https://evil.example/pub/files/a.txt",
        "http://example.org/pub/files/a.txt",
        "//evil.example/pub/files/a.txt",
        "https://example.org:444/pub/files/a.txt",
        "https://user@example.org/pub/files/a.txt",
        "a/b.txt",
        "../../etc/passwd",
        "javascript:alert(1)",
        f"javascript:{'x' * 9_000}",
        "mailto:a@example.org",
        "file:///etc/passwd",
        "http://[x",
    ],
)
def test_what_is_not_right_below_is_none_of_the_folder(href: str) -> None:
    """Links up, elsewhere, deeper, with a query, or of another scheme are left out."""
    page = f'<a href="{href}">x</a><a href="good">good</a>'

    assert names(page) == ["good"]


@pytest.mark.parametrize(
    "href",
    [
        "..%2fup",
        "a%2Fb",
        "%2e%2e",
        "%2e%2e/",
        "%2e",
        "a%00b",
        "a%0ab",
        "a%ffb",
        "a" * 1025,
        "a" * 9_000,
    ],
)
def test_an_evil_name_names_its_line(href: str) -> None:
    """S02: a name that is no name, once it is decoded, refuses the page."""
    with pytest.raises(ListingError) as caught:
        names(f'<a href="good">good</a>\n<a href="{href}">x</a>')

    assert caught.value.line == 2
    assert len(str(caught.value)) < 200


def test_names_are_decoded_once() -> None:
    """Entities, then percent-encoding; the URL stays as it was spelled."""
    page = '<a href="a%20b%2541+c&amp;d;e">x</a><a HREF=\'%C3%BC/\'>y</a><a href="./f:g">z</a>'

    found = list(read_listing(page, URL))

    assert [one.name for one in found] == ["a b%41+c&d;e", "ü", "f:g"]
    assert found[0].url == f"{URL}a%20b%2541+c&d;e"


@pytest.mark.parametrize(
    ("beside", "is_dated"),
    [
        ("  22-Nov-2026 19:00    1234\n", True),
        ("<td align=right>2026-11-22 19:00  </td><td>1.2M</td>", True),
        ("", False),
        ("  -  ", False),
    ],
)
def test_dates_are_seen(beside: str, is_dated: bool) -> None:
    """Whether the server says when a file was changed, in the ways that nginx and Apache do."""
    (link,) = read_listing(f'<a href="a">a</a>{beside}', URL)

    assert link.is_dated is is_dated


def test_a_name_counts_once() -> None:
    """An icon and a name that lead to the same file are one."""
    assert names('<a href="a"><img src="i"></a> <a href="a">a</a>') == ["a"]


@pytest.mark.parametrize(
    "page",
    [
        '<!-- <a href="old">old</a> -->',
        '<script>"<a href=x>"</script>',
        "<STYLE><a href=x></Style >",
        "<title><a href=x></title>",
        '<abbr href="x">',
        "<a>x</a><a href>y</a><a href=''>z</a>",
        '<a title="href=x">x</a>',
        '<a data-href="x">x</a>',
    ],
)
def test_what_only_looks_like_a_link_is_none(page: str) -> None:
    """Comments, scripts, and other elements and attributes list no file."""
    assert names(f'{page}<a class="b" HREF = good\n>good</a><!-- <a href="late">') == ["good"]


@pytest.mark.parametrize(
    "piece",
    ["<!--", "<", "<a ", "<a\n", "</a", "<?", "<![if ", "<![CDATA[", "<a a='", "a=", "&#9"],
)
def test_a_page_made_to_be_slow_is_not(piece: str) -> None:
    """S32: unfinished markup takes time that grows with its length, not with its square."""
    page = piece * (200_000 // len(piece))
    start = time.process_time()

    assert names(f"<a {page}>{page}") == []

    assert time.process_time() - start < 2


def test_a_number_that_is_no_character_is_no_fault() -> None:
    """An entity with more digits than a number may have fails nothing, wherever it stands."""
    huge = f"&#{'9' * 5_000};"

    assert names(f'<a href="?{huge}">{huge}</a>{huge}<a href="good">{huge}</a>') == ["good"]


@given(st.text(max_size=200))
def test_garbage_is_refused_or_read(page: str) -> None:
    """Whatever comes, it ends with links or an error of a line."""
    with suppress(ListingError):
        names(page)
