"""Where the files of a manifest are."""

from urllib.parse import quote, urljoin

import pytest

from entrepot_plugin_file.sync import folder_of


@pytest.mark.parametrize(
    "manifest",
    [
        "http://up.test/PULP_MANIFEST",
        "http://up.test/a/b/PULP_MANIFEST",
        "https://up.test:8443/a/?list=1",
        "http://up.test/a;v=1/list?of=x/y",
        "http://up.test",
        "http://[::1]:80/a%2fb/list",
    ],
)
@pytest.mark.parametrize("path", ["a", "a/b.txt", "a:b", "50% + ~x;y?z#ä", "...", "x=1&y"])
def test_a_file_is_beside_its_manifest(manifest: str, path: str) -> None:
    """Its URL is what RFC 3986 makes of the manifest's URL and the path."""
    assert folder_of(manifest) + quote(path) == urljoin(manifest, quote(path))
