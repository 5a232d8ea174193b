"""The process of the plugin."""

import asyncio

from entrepot_sdk.serve import _serve, configure
from entrepot_test_graph.mischief import NaughtyServicer
from entrepot_test_graph.plugin import plugin


def main() -> None:
    """Serve until told to stop."""
    asyncio.run(_serve(plugin, configure("plugin-graph"), NaughtyServicer))


if __name__ == "__main__":
    main()
