"""Lengths of time as flags: `30s`, `10m`, `24h`, `7d`, or seconds alone, as REST takes them."""

import argparse

from entrepot_rpc.duration import parse_nanos


def nanos(text: str) -> int:
    """The length in nanoseconds; for argparse, which shows the message of the error."""
    try:
        return parse_nanos(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def seconds(text: str) -> float:
    """The length in seconds; for argparse as well."""
    return nanos(text) / 1e9
