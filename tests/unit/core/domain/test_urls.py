"""The rule for URLs of remotes."""

import pytest

from entrepot_core.domain.errors import FieldInvalidError
from entrepot_core.domain.urls import check_proxy_url, check_remote_url, check_source_url


@pytest.mark.parametrize(
    "url",
    [
        "http://x/",
        "https://example.test:8443/a/b?c=d",
        "HTTP://x",
        "http://[::1]:1/",
        "http://x/@",
    ],
)
def test_a_usable_url_is_itself(url: str) -> None:
    """Nothing is rewritten."""
    assert url == check_remote_url(url, "remote.url")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "x",
        "/a",
        "ftp://x/",
        "file:///etc/passwd",
        "http://",
        "http:///a",
        "http://user:secret@x/",
        "http://user@x/",
        "http://x/ a",
        "http://x/\n",
        "http://x\\y/",
        "http://x:99999/",
        "http://x:0/",
        "http://x/#part",
        "http://[::1/",
        "http://a..b/",
        "http://.../",
        f"http://{'a' * 64}.example/",
        "http://x/" + "a" * 2000,
    ],
)
def test_any_other_url_is_refused(url: str) -> None:
    """The field is named, and no password is shown."""
    with pytest.raises(FieldInvalidError) as refused:
        check_remote_url(url, "remote.url")

    assert refused.value.violations[0].field == "remote.url"
    assert "secret" not in refused.value.message


def test_a_proxy_whose_name_cannot_be_looked_up_is_refused() -> None:
    """A name that the resolver would choke on is refused at once, and said to be one."""
    with pytest.raises(FieldInvalidError, match="host name with an empty part"):
        check_proxy_url("http://a..b:3128", "remote.proxy_url")


def test_a_file_may_have_the_longest_path_below_the_longest_url() -> None:
    """The URL of a file has room for every path that is allowed, percent-encoded."""
    url = ("http://x/" + "a" * 2000)[:2000] + "%C3%A9" * 512

    assert url == check_source_url(url, "sources[0].url")
    with pytest.raises(FieldInvalidError, match="longer than 8000 bytes"):
        check_source_url(url + "a" * 8000, "sources[0].url")
