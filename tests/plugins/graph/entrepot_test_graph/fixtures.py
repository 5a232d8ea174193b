"""How tests start the plugin: `start_graph_plugin(core)`, or the fixture made from it."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from entrepot_sdk.testing import PluginProcess

__all__ = ["GRAPH_COMMAND", "GRAPH_ENVIRONMENT", "graph_plugin", "start_graph_plugin"]

GRAPH_COMMAND = [sys.executable, "-m", "entrepot_test_graph"]
GRAPH_ENVIRONMENT = {
    "PYTHONPATH": os.pathsep.join(
        [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    )
}


def start_graph_plugin(core: str, *, listen: str = "127.0.0.1:0") -> PluginProcess:
    """Return the plugin's process, to be entered; `core` is the address it calls back."""
    return PluginProcess(GRAPH_COMMAND, core, environment=GRAPH_ENVIRONMENT, listen=listen)


@pytest.fixture
def graph_plugin() -> Iterator[Callable[[str], PluginProcess]]:
    """Start the plugin for the core at an address; it ends with the test."""
    with ExitStack() as stack:
        yield lambda core: stack.enter_context(start_graph_plugin(core))
