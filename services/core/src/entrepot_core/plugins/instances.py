"""The instances of a plugin that stand behind one address, and what they can run together."""

from __future__ import annotations

import socket
from concurrent import futures
from typing import TYPE_CHECKING

from entrepot_core.domain.errors import ServiceError
from entrepot_core.plugins.client import PluginClient

if TYPE_CHECKING:
    from entrepot.plugin.v1 import describe_pb2

__all__ = ["capacity", "single_addresses"]

_MOST = 64


def capacity(target: str, declared: describe_pb2.DescribeResponse) -> int:
    """How many attempts the plugin runs at once: the sum over its instances that answer.

    `declared` is what one of them said, which is all there is to it behind a single address.
    """
    addresses = single_addresses(target)
    if len(addresses) < 2:  # noqa: PLR2004  then that one was asked
        return declared.max_concurrent_attempts
    with futures.ThreadPoolExecutor(len(addresses), thread_name_prefix="instances") as threads:
        answers = [answer for answer in threads.map(_describe, addresses) if answer is not None]
    # One instance may have several addresses.
    by_instance = {
        answer.instance_id or str(number): answer.max_concurrent_attempts
        for number, answer in enumerate(answers)
        if answer.name == declared.name and answer.max_concurrent_attempts > 0
    }
    return sum(by_instance.values()) or declared.max_concurrent_attempts


def single_addresses(target: str) -> list[str]:
    """The addresses that a gRPC target stands for, at most 64; itself if it is one, or unknown.

    "ipv4:10.0.0.1:7443,10.0.0.2:7443" lists them, and "dns:///plugin-file:7443" or
    "plugin-file:7443" is a name that may have several.
    """
    scheme, _, rest = target.partition(":")
    if scheme in {"ipv4", "ipv6"}:
        return [f"{scheme}:{one}" for one in rest.split(",") if one][:_MOST] or [target]
    if scheme in {"unix", "unix-abstract", "vsock"}:
        return [target]
    host, _, port = target.removeprefix("dns:").rpartition("/")[2].rpartition(":")
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return [target]
    addresses = [
        "ipv6:[{}]:{}".format(*place) if family == socket.AF_INET6 else "ipv4:{}:{}".format(*place)
        for family, _, _, _, place in found
    ]
    return list(dict.fromkeys(addresses))[:_MOST] or [target]


def _describe(address: str) -> describe_pb2.DescribeResponse | None:
    # Only for this: the addresses behind a name come and go.
    client = PluginClient(address)
    try:
        return client.describe()
    except ServiceError:
        return None
    finally:
        client.close()
