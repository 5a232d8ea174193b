"""What a client would rather have (RFC 9110, sections 12.4.2, 12.5.1 and 12.5.3)."""

from __future__ import annotations

import re

# Longer than any honest Accept, and short enough to cost nothing.
_MAX_BYTES = 4096
_WEIGHT = re.compile(r"[qQ]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")


def prefers(accept: str, wanted: str, default: str) -> bool:
    """Say whether the media type `wanted` is to be sent rather than `default`."""
    weights = _weights(accept)
    return _of_type(weights, wanted) > (_of_type(weights, default) if weights else 1.0)


def takes_gzip(accept_encoding: str) -> bool:
    """Say whether the client takes gzip, and likes the bytes as they are no better."""
    weights = _weights(accept_encoding)
    every = weights.get("*", 0.0)
    gzip = weights.get("gzip", weights.get("x-gzip", every))
    return gzip > 0 and gzip >= weights.get("identity", 0.0)


def _of_type(weights: dict[str, float], media_type: str) -> float:
    """The weight that the most specific range gives the type; zero: not wanted."""
    for name in (media_type, f"{media_type.partition('/')[0]}/*", "*/*"):
        if name in weights:
            return weights[name]
    return 0.0


def _weights(field: str) -> dict[str, float]:
    """Each element of a list without its parameters, and its weight; the higher if it comes twice.

    A malformed weight is 0, so that what nobody can read wins over nothing.
    """
    found: dict[str, float] = {}
    if len(field) > _MAX_BYTES:
        return found
    for element in field.split(","):
        name, *parameters = (part.strip() for part in element.split(";"))
        if not name:
            continue
        weight = 1.0
        for parameter in parameters:
            if parameter[:2].lower() == "q=":
                match = _WEIGHT.fullmatch(parameter)
                weight = float(match[1]) if match else 0.0
        key = name.lower()
        found[key] = max(found.get(key, 0.0), weight)
    return found
