"""A reader of what is published, whom nothing that happens behind may concern (I16)."""

import hashlib
import http.client
import threading
import time

from installation import Installation

EVERY_SECONDS = 0.1
PATIENCE_SECONDS = 5.0


class Control:
    """Gets one published file ten times a second.

    Args:
        installation: Where.
        path: Of the file.
        sha256: Of its bytes.
    """

    def __init__(self, installation: Installation, path: str, sha256: str) -> None:
        self.served = 0
        self.slowest_seconds = 0.0
        # When each was asked for, when that ended, and why not well.
        self._refused: list[tuple[float, float, str]] = []
        self._installation = installation
        self._path = path
        self._sha256 = sha256
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="control", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stopping.set()
        self._thread.join(30)

    def judge(self, down: list[tuple[str, float, float]]) -> list[str]:
        """What was not served although the content gateway was there, all the while."""
        times = [(first, last) for name, first, last in down if name == "content"]
        return [
            f"I16: {why}"
            for began, ended, why in self._refused
            if not any(began <= last and first <= ended for first, last in times)
        ]

    def _run(self) -> None:
        while not self._stopping.wait(EVERY_SECONDS):
            began = time.monotonic()
            try:
                answer = self._installation.content.request(
                    "GET", self._path, timeout=PATIENCE_SECONDS
                )
            except (OSError, http.client.HTTPException) as error:
                self._refuse(began, f"{type(error).__name__}: {error}")
                continue
            if answer.status == 200 and hashlib.sha256(answer.body).hexdigest() == self._sha256:
                self.served += 1
                self.slowest_seconds = max(self.slowest_seconds, time.monotonic() - began)
            else:
                self._refuse(began, f"{answer.status}, {len(answer.body)} bytes")

    def _refuse(self, began: float, why: str) -> None:
        self._refused.append((began, time.monotonic(), why))
