"""URLs of object stores: what they may say, and that a secret is never repeated."""

from pathlib import Path

import pytest

from entrepot_rpc.bucket_url import BucketUrl

SETTING = "ENTREPOT_BLOBS_URL"


def test_a_url_says_where_and_how() -> None:
    """Options of the store go to it; ours are read here."""
    url = BucketUrl.parse(
        "s3://bucket/a/b/?region=eu-west-1&endpoint=http://s3:9000&allow_http=true"
        "&redirect=true&redirect_seconds=60&retries=0&scratch=/var/tmp/x",
        SETTING,
    )

    assert url is not None
    assert (url.url, url.scheme) == ("s3://bucket/a/b", "s3")
    assert url.options == {"region": "eu-west-1", "endpoint": "http://s3:9000"}
    assert (url.redirect, url.redirect_seconds, url.retries) == (True, 60, 0)
    assert url.scratch == "/var/tmp/x"
    assert url.arguments()["client_options"]["allow_http"] is True


@pytest.mark.parametrize("text", ["/srv/blobs", "blobs", "file:///srv/blobs?reserve_bytes=1"])
def test_a_folder_is_no_bucket(text: str) -> None:
    """A path and a file: URL are for others to read."""
    assert BucketUrl.parse(text, SETTING) is None


@pytest.mark.parametrize("scheme", ["s3", "gs", "az", "memory"])
def test_defaults(scheme: str) -> None:
    """Without options, clients are not redirected and HTTPS is required."""
    url = BucketUrl.parse(f"{scheme}://bucket", SETTING)

    assert url is not None
    assert (url.redirect, url.allow_http, url.options) == (False, False, {})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ftp://bucket", "s3://"),
        ("s3:///prefix", "name the bucket"),
        ("s3://bucket?color=red", "color is not an option of s3://; known are"),
        ("gs://bucket?region=x", "region is not an option of gs://"),
        ("s3://bucket?endpoint=http://localhost:9000", "add allow_http=true"),
        ("s3://bucket?redirect=yes", "redirect is true or false"),
        ("s3://bucket?redirect_seconds=0", "redirect_seconds is a number from 1"),
        ("s3://bucket?retries=many", "retries is a number"),
        ("s3://bucket?retries=" + "9" * 5000, "retries is a number"),
    ],
)
def test_what_cannot_be_is_refused(text: str, said: str) -> None:
    """The error names the setting, the option, and what may be written."""
    with pytest.raises(ValueError, match=f"^{SETTING}: .*{said}"):
        BucketUrl.parse(text, SETTING)


def test_certificates_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    """A wrong path is an error with the path in it."""
    url = BucketUrl.parse(f"s3://bucket?ca={tmp_path}/none.pem", SETTING)

    assert url is not None
    with pytest.raises(ValueError, match=r"none\.pem"):
        url.arguments()
