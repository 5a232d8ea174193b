"""The process of the plugin."""

import asyncio

from entrepot_rpc import logs
from entrepot_sdk.serve import Settings, _serve
from entrepot_test_graph.mischief import NaughtyServicer
from entrepot_test_graph.plugin import plugin


def main() -> None:
    """Serve until told to stop."""
    settings = Settings.parse()
    logs.configure("plugin-graph")
    asyncio.run(_serve(plugin, settings, NaughtyServicer))


if __name__ == "__main__":
    main()
