"""S37: keys to an object store are refused in its URL, and are in no setting that is printed."""

import pytest

from entrepot_core.config import Config
from entrepot_rpc.bucket_url import BucketUrl


@pytest.mark.parametrize(
    "url",
    [
        "s3://name:canary@bucket/prefix",
        "s3://canary@bucket",
        "s3://bucket?access_key_id=canary",
        "s3://bucket?secret_access_key=canary",
        "s3://bucket?AWS_SECRET_ACCESS_KEY=canary",
        "s3://bucket?session_token=canary",
        "s3://bucket?sse_customer_key_base64=canary",
        "gs://bucket?service_account_key=canary",
        "gs://bucket?bearer_token=canary",
        "az://container?account_key=canary",
        "az://container?sas_token=canary",
        "az://container?client_secret=canary",
        "s3://bucket?color=canary",
        "s3://bucket?endpoint=https://name:canary@minio:9000",
        "gs://bucket?base_url=https://canary@gcs:4443",
        "s3://bucket#canary",
    ],
)
@pytest.mark.parametrize("setting", ["ENTREPOT_BLOBS_URL", "ENTREPOT_BLOBS_PREVIOUS_URL"])
def test_a_key_in_a_url_is_refused_unseen(setting: str, url: str) -> None:
    """S37: the program ends before it could log the URL, and the error does not repeat the key."""
    with pytest.raises(ValueError, match=setting) as caught:
        Config.from_environment({setting: url})

    assert "canary" not in str(caught.value)


def test_the_hint_names_the_right_variables() -> None:
    """S37: whoever wrote a key into the URL is told where it belongs."""
    with pytest.raises(ValueError, match="environment: AWS_ACCESS_KEY_ID"):
        BucketUrl.parse("s3://bucket?secret_access_key=x", "ENTREPOT_BLOBS_URL")
