"""An upstream on loopback whose every path behaves as told: well, badly, or not at all.

It speaks just enough HTTP/1.1, on bare sockets, so that it can also break it.
"""

from entrepot_sdk.testing.upstream.behaviours import BEHAVIOURS, EVIL_LOCATIONS
from entrepot_sdk.testing.upstream.exchange import Exchange, Request
from entrepot_sdk.testing.upstream.server import Upstream

__all__ = ["BEHAVIOURS", "EVIL_LOCATIONS", "Exchange", "Request", "Upstream"]
