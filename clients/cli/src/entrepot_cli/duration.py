"""Lengths of time as people write them: `30s`, `10m`, `24h`, `7d`, or seconds alone."""

import argparse
import re

_FORM = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(ms|s|m|h|d)?")
_SECONDS = {None: 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def seconds(text: str) -> float:
    """The length in seconds; for argparse, which shows the message of the error."""
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a length of time, such as 30s or 10m")
    return float(match[1]) * _SECONDS[match[2]]
