"""An S3 server of this machine: moto, in a process of its own, over real HTTP."""

import hashlib
import hmac
import itertools
import re
import subprocess
import sys
import urllib.request
from types import TracebackType
from typing import Self
from urllib.parse import parse_qsl, quote, urlsplit

_PROGRAM = """
import logging, sys
logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""

# Anything will do, as long as it is signed with.
KEYS = {"AWS_ACCESS_KEY_ID": "somebody", "AWS_SECRET_ACCESS_KEY": "hush-do-not-tell"}


class S3Server:
    """Empty buckets, one after the other."""

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self.endpoint = ""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self._process.stdout is not None
        self.endpoint = f"http://127.0.0.1:{int(self._process.stdout.readline())}"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Be away, for ever."""
        self._process.kill()
        self._process.communicate()

    def bucket(self) -> str:
        """The name of a new, empty bucket."""
        name = f"bucket-{next(self._numbers)}"
        self.ask("PUT", name)
        return name

    def url(self, bucket: str, *options: str) -> str:
        """What ENTREPOT_BLOBS_URL says for a prefix in a bucket."""
        query = "&".join(
            [f"endpoint={self.endpoint}", "region=us-east-1", "allow_http=true", *options]
        )
        return f"s3://{bucket}/some/prefix?{query}"

    def ask(self, method: str, path: str, body: bytes | None = None) -> bytes:
        """The body of an answer to the owner, whom moto believes."""
        request = urllib.request.Request(f"{self.endpoint}/{path}", body, method=method)  # noqa: S310
        request.add_header("authorization", "AWS somebody:signature")
        request.add_header("content-type", "application/octet-stream")
        with urllib.request.urlopen(request) as answer:  # noqa: S310  as above
            return bytes(answer.read())

    def keys(self, bucket: str) -> list[str]:
        """The names of all objects in a bucket."""
        found = re.findall(
            r"<Key>([^<]*)</Key>", self.ask("GET", f"{bucket}?list-type=2").decode()
        )
        return sorted(found)

    def unfinished(self, bucket: str) -> int:
        """How many uploads of many parts have begun and not ended."""
        return self.ask("GET", f"{bucket}?uploads").count(b"<UploadId>")


def signed_seconds(url: str) -> int:
    """For how long a link works, which only its signature makes true (AWS Signature Version 4).

    moto looks at neither, so it is verified here.
    """
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    signature = query.pop("X-Amz-Signature")
    canonical = "\n".join(
        [
            "GET",
            parts.path,
            "&".join(f"{quote(n, safe='')}={quote(v, safe='')}" for n, v in sorted(query.items())),
            f"host:{parts.netloc}\n",
            "host",
            "UNSIGNED-PAYLOAD",
        ]
    )
    _, day, region, service, end = query["X-Amz-Credential"].split("/")
    to_sign = "\n".join(
        [
            "AWS4-HMAC-SHA256",
            query["X-Amz-Date"],
            f"{day}/{region}/{service}/{end}",
            hashlib.sha256(canonical.encode()).hexdigest(),
        ]
    )
    key = f"AWS4{KEYS['AWS_SECRET_ACCESS_KEY']}".encode()
    for word in (day, region, service, end, to_sign):
        key = hmac.digest(key, word.encode(), "sha256")
    assert key.hex() == signature, "the link is not signed by its key"
    return int(query["X-Amz-Expires"])
