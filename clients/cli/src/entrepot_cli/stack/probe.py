"""Asks the gateways, as any client would, whether they serve."""

import http.client

ANSWER_SECONDS = 5.0


def ask(address: str, path: str, token: str = "") -> str:
    """Ask for a path: empty if it is served, else what came instead."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    connection = http.client.HTTPConnection(address, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        body = response.read(300).decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        return str(error) or type(error).__name__
    finally:
        connection.close()
    return "" if response.status == http.client.OK else f"{response.status} {body}"
