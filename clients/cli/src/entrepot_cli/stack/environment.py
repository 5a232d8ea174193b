"""What each program is told: its settings, and no secret that it does not need."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from entrepot_cli.outcome import StartError, Status
from entrepot_cli.settings import Settings
from entrepot_rpc import setting

# Keys to the database and to the stores of blobs, as their own tools call them.
_STORE_KEYS = re.compile(r"(AWS|AZURE|GOOGLE|GCS|S3|PG)[A-Z0-9_]*|DATABASE_URL")
# Those that a gateway needs to read from a store of a kind.
_KEYS_OF = {"s3": "AWS_", "gs": "GOOGLE_", "az": "AZURE_"}
_OURS = (
    "ENTREPOT_BLOBS_PREVIOUS_URL",
    "ENTREPOT_BLOBS_URL",
    "ENTREPOT_CONTENT_TOKEN",
    "ENTREPOT_DATABASE_URL",
    "ENTREPOT_METRICS",
    "ENTREPOT_METRICS_TOKEN",
    "ENTREPOT_SECRET_KEY_FILE",
    "ENTREPOT_TOKEN",
)

# Lost attempts are repeated, so a stop need not wait for them.
PLUGIN_GRACE_SECONDS = "5"


@dataclass(frozen=True, slots=True)
class Environment:
    """The environments of one stack's programs."""

    settings: Settings
    token: str = field(repr=False)
    # Known to core and the content gateway only, and only for this start.
    content_token: str = field(repr=False)
    text_logs: bool = False

    def core(self) -> dict[str, str]:
        """For core, which alone has the database and the blobs."""
        return {
            # With an arena for each of its threads, glibc keeps a tenth more than is used; there
            # is no need for them, as Python runs one thread at a time.
            "MALLOC_ARENA_MAX": "1",
            **os.environ,
            **self._shared(),
            "ENTREPOT_DATABASE_URL": self.settings.database_url,
            **self._blobs(),
            "ENTREPOT_TOKEN": self.token,
            "ENTREPOT_CONTENT_TOKEN": self.content_token,
        }

    def api_gateway(self) -> dict[str, str]:
        """For the gateway of the API."""
        return {**self._without_keys(), "ENTREPOT_TOKEN": self.token}

    def content_gateway(self) -> dict[str, str]:
        """For the gateway of the content, which reads blobs itself."""
        return {
            **self._without_keys(),
            **self._keys_of_blobs(),
            "ENTREPOT_CONTENT_TOKEN": self.content_token,
            **self._blobs(),
        }

    def metrics(self, number: int) -> dict[str, str]:
        """For a program that shows metrics: its own port, so many after the first one's."""
        if not self.settings.metrics:
            return {}
        token = os.environ.get("ENTREPOT_METRICS_TOKEN", "")
        try:
            listen, _ = setting.metrics(_metrics(self.settings.metrics, token))
            host, _, port = listen.rpartition(":")
            told = _metrics(f"{host}:{int(port) + number}", token)
            setting.metrics(told)
        except ValueError as error:
            raise StartError(str(error), status=Status.MISCONFIGURED) from None
        return told

    def plugin(self) -> Mapping[str, str]:
        """For a plugin, which has no key at all."""
        return {"ENTREPOT_PLUGIN_GRACE": PLUGIN_GRACE_SECONDS, **self._without_keys()}

    def _blobs(self) -> dict[str, str]:
        return {
            "ENTREPOT_BLOBS_URL": self.settings.blobs_url,
            "ENTREPOT_BLOBS_PREVIOUS_URL": self.settings.blobs_previous_url,
        }

    def _keys_of_blobs(self) -> dict[str, str]:
        schemes = {url.partition("://")[0] for url in self._blobs().values()}
        needed = tuple(prefix for scheme, prefix in _KEYS_OF.items() if scheme in schemes)
        return {name: value for name, value in os.environ.items() if name.startswith(needed)}

    def _without_keys(self) -> dict[str, str]:
        kept = {
            name: value
            for name, value in os.environ.items()
            if name not in _OURS and not _STORE_KEYS.fullmatch(name)
        }
        return {**kept, **self._shared()}

    def _shared(self) -> Mapping[str, str]:
        logs = {"ENTREPOT_LOG_FORMAT": "text"} if self.text_logs else {}
        return {
            **logs,
            "ENTREPOT_HOME": str(self.settings.home),
            "ENTREPOT_HTTP": self.settings.http,
            "ENTREPOT_CONTENT": self.settings.content,
            "ENTREPOT_CONTENT_URL": self.settings.content_url,
            "ENTREPOT_GRPC": self.settings.grpc,
            "PYTHONUNBUFFERED": "1",
        }


def _metrics(listen: str, token: str) -> dict[str, str]:
    return {"ENTREPOT_METRICS": listen, "ENTREPOT_METRICS_TOKEN": token}
