"""Asks the gateways, as any client would, whether they serve."""

import http.client
import time

from entrepot_cli.outcome import StartError

ANSWER_SECONDS = 5.0
PAUSE_SECONDS = 0.05


class ProbeError(StartError):
    """A gateway does not answer as it should."""


def wait_for(address: str, path: str, token: str, seconds: float) -> None:
    """Return once a GET of this path succeeds."""
    give_up = time.monotonic() + seconds
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    answer = "nothing"
    while time.monotonic() < give_up:
        connection = http.client.HTTPConnection(address, timeout=ANSWER_SECONDS)
        try:
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            if response.status == http.client.OK:
                return
            answer = f"{response.status} {response.read(300).decode(errors='replace')}"
        except OSError as error:
            answer = str(error)
        finally:
            connection.close()
        time.sleep(PAUSE_SECONDS)
    raise ProbeError(f"http://{address}{path} does not answer as it should: {answer}")
